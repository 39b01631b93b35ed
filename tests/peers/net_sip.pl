#!/usr/bin/perl
# Net::SIP as a phone: perl net_sip.pl ADDRESS:PORT TRANSPORT OWN_PORT REALM USER PASSWORD [CALLED]
# Registers; then waits for a call and answers it, or calls CALLED and hangs up. Says what it does.

use strict;
use warnings;
use Net::SIP;

$| = 1;
my ($home, $transport, $own, $realm, $user, $password, $called) = @ARGV;
my ($address) = split /:/, $home;
my $leg = Net::SIP::Leg->new(proto => $transport, addr => $address, port => $own);
my $phone = Net::SIP::Simple->new(
    legs           => [$leg],
    outgoing_proxy => $home,
    registrar      => $home,
    domain         => $realm,
    from           => "sip:$user\@$realm",
    auth           => [ $user, $password ],
);
$phone->register(expires => 60) or die 'not registered: ' . ($phone->error // '') . "\n";
print "registered\n";
if ($called) {
    my $call = $phone->invite("sip:$called\@$realm", init_media => $phone->rtp('media_recv_echo'));
    die 'not called: ' . ($phone->error // $call->error) . "\n" if !$call || $call->error;
    print "called\n";
    my $over;
    $call->bye(cb_final => \$over);
    $phone->loop(5, \$over);
    print "ended\n" if $over;
} else {
    my $ended;
    $phone->listen(
        cb_established => sub { print "answered\n" },
        init_media     => $phone->rtp('media_recv_echo'),
        recv_bye       => sub { print "ended\n"; $ended = 1 },
    );
    $phone->loop(20, \$ended);
    $phone->loop(0.5);  # the answer to the BYE
}

"""Mutated requests by the ten thousand: what is SIP is answered, and nothing is left behind."""

import os
from contextlib import suppress

import pytest
import sip
from kamailio import Server, wait_for
from memory import growth, private, shared
from mutations import Mutator
from phone import Endpoint, MakeEndpoint, MakePhone, Phone

SEED = 4475
OVER_UDP = int(os.environ.get("SBCAUTH_FUZZ", "20000"))
OVER_TCP = OVER_UDP // 20
AT_ONCE = 16
PRIVATE_GROWTH = 6 * 1024
"""KiB that a process may have grown by, over what it had after the first tenth."""
SHARED_GROWTH = 2 * 1024
"""KiB of shared memory that may still be in use once the transactions have ended."""
OUR_LONGEST_LINE = 1000
"""Characters of the longest log line of sbcauth; Kamailio's own may quote a request."""
ERRORS_MEANT = ("",)  # what is sent is no SIP
CONFIG = """
realm: example.com
max_auth_attempts: 100
max_failures_per_source: 0
max_failures_per_user: 0
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE, MESSAGE]
    auth_algorithms: [SHA-256, MD5]
    auth_qop: both
    username_as_server: "1001"
    password_as_server: secret
    classification: [{address: 127.0.0.0/16}]
"""
OPTIONS = ["--shared-memory", "1024"]  # 14 KB for each request with credentials, for five seconds
ANSWERED = (200, 400, 401, 403, 404)


class Sender:
    """Sends a mutated request after the other; `phone` has a genuine one to begin with."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone
        self.values = Mutator(SEED)
        self.messages = Mutator(SEED, line_breaks=True)
        self.renew()

    def renew(self) -> None:
        """Answer a new challenge: a nonce that was used is soon no more than that."""
        self.challenge = self.phone.request("REGISTER").challenges[1]
        field = sip.answer(self.challenge, "REGISTER", "sip:example.com", "1001", "secret")
        self.value = field.partition(": ")[2].encode()

    def readable(self) -> bytes:
        """Return a request that is SIP, whatever its credentials are."""
        raw = self.phone.build("REGISTER", headers=["Authorization: @@@"])
        return raw.replace(b"@@@", self.values.change(self.value))

    def wild(self) -> bytes:
        """Return a request of which any byte may be another; its answer comes to nobody."""
        raw = self.phone.build("REGISTER", headers=["Authorization: @@@"])
        raw = raw.replace(
            self.phone.last_branch.encode(), b"z9hG4bKwild" + os.urandom(4).hex().encode()
        )
        return self.messages.change(raw.replace(b"@@@", self.value))


def exchange(sender: Sender, wild: Endpoint) -> None:
    """Send a batch of both kinds; each that is SIP must be answered, and rightly."""
    waiting = set()
    for _ in range(AT_ONCE // 2):
        raw = sender.readable()
        waiting.add(sender.phone.last_branch)
        sender.phone.send(raw)
        wild.send(sender.wild())
    while waiting:
        reply = sender.phone.response()
        branch = reply.header("via").partition("branch=")[2].partition(";")[0]
        assert reply.status in ANSWERED, reply
        waiting.discard(branch)
    wild.socket.setblocking(False)
    with suppress(BlockingIOError):  # what it got is what Kamailio could make of it
        while wild.socket.recv(65535):
            pass


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_mutated_requests_are_answered_and_leave_nothing(
    server: Server, phone: MakePhone, endpoint: MakeEndpoint, transport: str
) -> None:
    print(f"seed {SEED}")
    count = OVER_UDP if transport == "udp" else OVER_TCP
    began_at = server.log_size()
    sender = Sender(phone(expires=0, transport=transport))
    wild = endpoint()
    for number in range(0, count, AT_ONCE):
        if number % (AT_ONCE * 8) == 0:
            sender.renew()
        exchange(sender, wild)
        if number <= count // 10:
            settled = private(server), shared(server)
    processes, memory = settled
    print(f"grown: {growth(processes, private(server))} KiB; shared: {shared(server) - memory}")
    assert growth(processes, private(server)) < PRIVATE_GROWTH
    assert wait_for(lambda: shared(server) - memory < SHARED_GROWTH)
    assert phone(expires=0).register().status == 200
    ours = [line for line in server.log(began_at).splitlines() if " decision=" in line]
    assert max(map(len, ours)) < OUR_LONGEST_LINE

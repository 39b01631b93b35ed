#!/bin/sh
# Make the sample user, and run the server in the foreground; it says what to try when it serves.
set -eu
cd "$(dirname "$0")/.."
sbcauth=.venv/bin/sbcauth

$sbcauth user show 1001 --ip-group Phones >/dev/null 2>&1 ||
	echo "secret-of-1001" | $sbcauth user add 1001 --ip-group Phones --password-stdin >/dev/null

SBCAUTH_TRY="
sbcauth runs on 127.0.0.1:5060, UDP and TCP, by sbcauth.yaml; Ctrl-C stops it.
The user 1001 of the IP Group Phones has the password secret-of-1001. Try, in another shell:

    sipsak -H 127.0.0.1 -U -i -s sip:1001@127.0.0.1:5060 -u 1001 -a secret-of-1001 -x 60 -vv

(sipsak: apt install sipsak). A second user: .venv/bin/sbcauth user add 1002

"
export SBCAUTH_TRY
$sbcauth run &
server=$!
trap 'kill -TERM $server' INT TERM HUP
code=0
wait $server || code=$?
if kill -0 $server 2>/dev/null; then  # a signal came: the server ends by itself
	code=0
	wait $server || code=$?
fi
[ $code = 0 ] || echo "sbcauth does not run: see above; .venv/bin/sbcauth doctor looks further" >&2
exit $code

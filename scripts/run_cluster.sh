#!/bin/sh
# Run the three nodes of docs/cluster.md, as the page has them, in build/cluster; Ctrl-C ends them.
set -eu
cd "$(dirname "$0")/.."
page=$PWD/docs/cluster.md
PATH=$PWD/.venv/bin:$PATH
export PATH
rm -rf build/cluster
mkdir -p build
cd build
home=$PWD/cluster
sed -n '/^```sh$/,/^```$/{/^```/!p}' "$page" > run-cluster.sh
end() {
	trap '' INT TERM HUP  # a second Ctrl-C leaves nothing behind
	for pid in "$home"/node*/pid "$home"/engine.pid; do
		[ ! -s "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || true
	done
}
trap 'exit 0' INT TERM HUP
trap end EXIT
. ./run-cluster.sh
echo "Three nodes run in $home: 127.0.0.1:5061, 5062 and 5063, UDP and TCP; Ctrl-C ends them.
The users 1001 and 1002 have the passwords secret-of-1001 and secret-of-1002. Try, in another shell:

    sipsak -H 127.0.0.1 -U -i -s sip:1001@127.0.0.1:5061 -u 1001 -a secret-of-1001 -x 60 -vv
    $(dirname "$page" | sed 's,/docs$,,')/.venv/bin/sbcauth --config $home/node2/sbcauth.yaml status"
wait

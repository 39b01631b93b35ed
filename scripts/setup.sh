#!/bin/sh
# Install what sbcauth needs on Debian 12 or 13: packages by apt, the rest into .venv.
#
#   scripts/setup.sh run     what the server needs
#   scripts/setup.sh test    that, and the programs that the tests drive
#
# Run again, it looks and changes nothing. Only packages that are missing are installed, and a
# service that comes with one of them is not started: `make run` starts what it needs itself.
set -eu
cd "$(dirname "$0")/.."

packages="kamailio kamailio-python3-modules kamailio-sqlite-modules kamailio-tls-modules netbase python3-venv"
lock=requirements.lock
if [ "${1:-run}" = test ]; then
	packages="$packages sip-tester sipsak baresip-core fail2ban freeradius procps systemd systemd-journal-remote faketime iproute2 mandoc nftables"
	packages="$packages kamailio-websocket-modules chromium linphone-cli libnet-sip-perl postgresql"
	# What the nodes of a cluster count with, in tests: Debian 12 has Redis, Debian 13 Valkey as well.
	case $(. /etc/os-release && echo "${VERSION_ID:-}") in
	12) packages="$packages redis-server" ;;
	*) packages="$packages valkey-server" ;;
	esac
	command -v npm >/dev/null || packages="$packages npm"
	lock=requirements-dev.lock
fi

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=
for package in $packages; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' ||
		missing="$missing $package"
done
if [ -n "$missing" ]; then
	echo "installing:$missing"
	as_root apt-get -qq update
	# Debian starts a service as soon as it is installed, unless this file forbids it.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
		as_root chmod 755 $policy
		trap 'as_root rm -f '$policy EXIT
	fi
	# shellcheck disable=SC2086 # words are wanted
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends \
		$missing >/dev/null
	for service in kamailio freeradius fail2ban systemd-journal-remote postgresql redis-server valkey-server; do
		case $missing in *" $service"*)
			as_root systemctl disable --quiet "$service" 2>/dev/null || true ;;
		esac
	done
fi

# Debian's own Python: the one that Kamailio embeds. The stamp says what was installed.
stamp=.venv/.$lock.$(cat $lock pyproject.toml | md5sum | cut -c1-12)
if [ ! -e "$stamp" ]; then
	echo "installing Python packages from $lock"
	[ -x .venv/bin/python ] || /usr/bin/python3 -m venv .venv
	# The lock names everything: no dependency is looked for, whose newest version may be another.
	pip='.venv/bin/pip install --quiet --disable-pip-version-check --no-deps'
	$pip -r $lock
	$pip --no-build-isolation --editable .
	.venv/bin/python scripts/one_owner.py
	touch "$stamp"
fi

# The phones that run in a browser.
browser=tests/peers/browser
if [ "${1:-run}" = test ] && ! cmp -s $browser/package-lock.json $browser/node_modules/.stamp; then
	echo "installing npm packages"
	npm ci --prefix $browser --ignore-scripts --no-audit --no-fund --loglevel=error
	cp $browser/package-lock.json $browser/node_modules/.stamp
fi

#!/bin/sh
# Run the tests on Debian 13 (Kamailio 6.0, Python 3.13), in a chroot that debootstrap makes.
#
#   scripts/debian13.sh                   everything that `make test` runs
#   scripts/debian13.sh tests/e2e -k tcp  what pytest is given
#
# The chroot stays in .debian13, so that a second run begins at once; remove it by hand. Packages are
# fetched as on this machine: from the same mirror, by the same proxy, with the same certificates.
set -eu
cd "$(dirname "$0")/.."
root=$PWD/.debian13
home=$root/opt/sbcauth

if [ "$(id -u)" != 0 ]; then
	echo "a chroot needs root: sudo scripts/debian13.sh" >&2
	exit 1
fi
command -v debootstrap >/dev/null || apt-get -qq install --no-install-recommends debootstrap

if [ ! -e "$root/.made" ]; then
	rm -rf "$root"
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
		grep -E '/debian/?$' | head -n 1)
	debootstrap --variant=minbase --include=ca-certificates,git,make,tzdata trixie "$root" $mirror
	for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt /etc/apt/apt.conf.d/*roxy*; do
		if [ -e "$file" ]; then cp "$file" "$root$file"; fi
	done
	touch "$root/.made"
fi

# The working tree as git knows it, and what was installed into it before.
mkdir -p "$home"
git ls-files -z --cached --others --exclude-standard | tar --null -cf - -T - | tar -xf - -C "$home"

[ $# -gt 0 ] && what="scripts/setup.sh test && .venv/bin/pytest $*" || what="make test"
pip=$(env | grep -E '^(PIP_CERT|PIP_INDEX_URL|PIP_DEFAULT_TIMEOUT|NODE_EXTRA_CA_CERTS|https?_proxy)=' || true)
# A mount namespace of its own: nothing of it is left when the tests end.
exec unshare --mount --fork sh -eu -c '
	root=$1 what=$2; shift 2
	mount -t proc proc "$root/proc"
	mount --rbind /dev "$root/dev"
	mount -t tmpfs tmpfs "$root/tmp"
	exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" \
		sh -c "cd /opt/sbcauth && $what"
' sh "$root" "$what" $pip

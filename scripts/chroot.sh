#!/bin/sh
# A fresh Debian in a folder, with root's rights.
#
#   scripts/chroot.sh make SUITE FOLDER   as README asks for: debootstrap's least, git, make
#   scripts/chroot.sh run FOLDER COMMAND  run a shell's COMMAND in it; all it starts ends with it
#
# Packages are fetched as on this machine: from the same mirror, by the same proxy, with the same
# certificates.
set -eu

if [ "$(id -u)" != 0 ]; then
	echo "a chroot needs root" >&2
	exit 1
fi

case $1 in
make)
	suite=$2 root=$3
	[ ! -e "$root/.made" ] || exit 0
	command -v debootstrap >/dev/null || apt-get -qq install --no-install-recommends debootstrap
	rm -rf "$root"
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
		grep -E '/debian/?$' | head -n 1)
	debootstrap --variant=minbase --include=ca-certificates,git,make,tzdata "$suite" "$root" $mirror
	for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt /etc/apt/apt.conf.d/*roxy*; do
		if [ -e "$file" ]; then cp "$file" "$root$file"; fi
	done
	# Nobody starts services in a chroot.
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	touch "$root/.made"
	;;
run)
	root=$2 what=$3
	pip=$(env | grep -E '^(PIP_CERT|PIP_INDEX_URL|PIP_DEFAULT_TIMEOUT|https?_proxy)=' || true)
	# Namespaces of its own: no mount and no process is left when the command ends.
	# shellcheck disable=SC2016,SC2086 # the inner shell expands; each variable is a word
	exec unshare --mount --pid --fork --kill-child sh -eu -c '
		root=$1 what=$2; shift 2
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount -t tmpfs tmpfs "$root/tmp"
		exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 \
			PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" sh -c "$what"
	' sh "$root" "$what" $pip
	;;
esac

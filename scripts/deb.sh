#!/bin/sh
# Build the Debian package for the Debian that this machine runs: build/sbcauth_VERSION_ARCH.deb.
#
#   scripts/deb.sh [FOLDER]   from the sources in FOLDER, if not from this repository
set -eu
cd "$(dirname "$0")/.."
out=$PWD/build
sources=${1:-.}

missing=
for package in debhelper dpkg-dev python3-venv; do
	dpkg-query -W -f '${Status}' $package 2>/dev/null | grep -q ' installed$' || missing="$missing $package"
done
if [ -n "$missing" ]; then
	as_root=
	[ "$(id -u)" = 0 ] || as_root=sudo
	$as_root apt-get -qq update
	# shellcheck disable=SC2086 # words are wanted
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends $missing >/dev/null
fi

# A copy, so that nothing is left in the repository: dpkg-buildpackage writes around itself.
rm -rf "$out/deb"
mkdir -p "$out/deb/sbcauth"
tar -C "$sources" --exclude='./.*' --exclude=./build --exclude=./run --exclude=__pycache__ -cf - . |
	tar -xf - -C "$out/deb/sbcauth"
cd "$out/deb/sbcauth"

# The version is that of the program; of two Debians the later one's package is the newer.
. /etc/os-release
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' sbcauth/__init__.py)
released=$(sed -n "s/^## \[$version\] - //p" CHANGELOG.md)
cat >debian/changelog <<TEXT
sbcauth ($version~deb$VERSION_ID) $VERSION_CODENAME; urgency=medium

  * $version: /usr/share/doc/sbcauth/docs/CHANGELOG.md tells what has changed.

 -- the sbcauth authors <authors@sbcauth.invalid>  $(LC_ALL=C date -u -R -d "${released:-1970-01-01}")
TEXT
cp CHANGELOG.md docs/
# -d: build-essential is asked of every package, and there is nothing to compile here.
dpkg-buildpackage --build=binary --no-sign --unsigned-changes --no-check-builddeps >"$out/deb/log" 2>&1 || {
	tail -n 40 "$out/deb/log" >&2
	exit 1
}
mv "$out"/deb/*.deb "$out"
ls "$out"/sbcauth_"$version"~*.deb

#!/bin/sh
# Run the tests on Debian 13 (Kamailio 6.0, Python 3.13), in a chroot that debootstrap makes.
#
#   scripts/debian13.sh                   everything that `make test` runs
#   scripts/debian13.sh tests/e2e -k tcp  what pytest is given
#
# The chroot stays in .debian/trixie, so that a second run begins at once; `make clean` removes it.
set -eu
cd "$(dirname "$0")/.."
root=$PWD/.debian/trixie
home=$root/opt/sbcauth
scripts/chroot.sh make trixie "$root"

# The working tree as git knows it, without what it had before, and what was installed into it.
mkdir -p "$home"
git ls-files | cut -d/ -f1 | sort -u | while read -r name; do
    find "$home/$name" -type f ! -path '*/node_modules/*' -delete 2>/dev/null || true
done
git ls-files -z --cached --others --exclude-standard | tar --null -cf - -T - | tar -xf - -C "$home"

what="make test"
if [ $# -gt 0 ]; then
    what="scripts/setup.sh test && .venv/bin/pytest"
    for word; do  # quoted, since it passes through another shell
        what="$what '$(printf %s "$word" | sed "s/'/'\\\\''/g")'"
    done
fi
exec scripts/chroot.sh run "$root" "cd /opt/sbcauth && $what"

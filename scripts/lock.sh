#!/bin/sh
# Make the locks: every Python package with its version and the hashes of its files, from PyPI.
#
#   scripts/lock.sh            add what pyproject.toml asks for anew; the rest stays as it is
#   scripts/lock.sh --upgrade  the newest of everything
#
# What is locked for the Python 3.11 of Debian 12 serves the 3.13 of Debian 13 as well. No line
# names a registry, so that pip asks the one it is set up with.
set -eu
cd "$(dirname "$0")/.."

# uv, of one version, and in a folder of its own: what it needs is not among what is locked.
uv=.lock/bin/uv
[ -x $uv ] && [ "$($uv --version | cut -d ' ' -f 2)" = 0.13.9 ] || {
	/usr/bin/python3 -m venv --clear .lock
	.lock/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
}

lock() {
	file=$1
	shift
	$uv pip compile --quiet --python /usr/bin/python3 --python-version 3.11 --generate-hashes \
		--no-header --annotation-style line --output-file "$file" "$@" pyproject.toml
}

lock requirements.lock --extra build --extra cluster --extra postgresql --extra console "$@"
# What the server runs with is the same where it is tested.
lock requirements-dev.lock --extra build --extra cluster --extra postgresql --extra console --extra dev --constraint requirements.lock "$@"
# The mutation tester brings a terminal interface along, which nobody needs who only runs the tests.
lock requirements-mutants.lock --extra build --extra cluster --extra postgresql --extra console --extra dev --extra mutants \
	--constraint requirements-dev.lock "$@"

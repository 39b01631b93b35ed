#!/bin/sh
# Change the code in thousands of ways, and count how many changes the unit tests notice (mutmut).
#
#   scripts/mutants.sh                          digest/, policy/, sealing and the RADIUS client
#   scripts/mutants.sh 'sbcauth.users.sealing*' what is called so
#
# `.venv-mutants/bin/mutmut results` names what nobody noticed, and `mutmut show NAME` shows it.
set -eu
cd "$(dirname "$0")/.."
lock=requirements-mutants.lock
stamp=.venv-mutants/.$(md5sum <$lock | cut -c1-12)
if [ ! -e "$stamp" ]; then
	/usr/bin/python3 -m venv --clear .venv-mutants
	.venv-mutants/bin/pip install --quiet --disable-pip-version-check --no-deps -r $lock
	touch "$stamp"
fi

# What an interrupted run has left half written would be taken as it is.
rm -rf mutants
# Half of the cores: what a test waits for must not come late because others are tested.
PYTHONPATH=. .venv-mutants/bin/mutmut run --max-children $((($(nproc) + 1) / 2)) "$@"
.venv-mutants/bin/mutmut export-cicd-stats >/dev/null
/usr/bin/python3 -c "
import json
found = json.load(open('mutants/mutmut-cicd-stats.json'))
noticed = found['killed'] + found.get('timeout', 0)
tried = noticed + found['survived']
print(f'{noticed} of {tried} changes were noticed: {100 * noticed / max(tried, 1):.1f} %')
"

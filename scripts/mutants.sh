#!/bin/sh
# Change the code in thousands of ways, and count how many changes the unit tests notice (mutmut).
#
#   scripts/mutants.sh                    digest/, policy/, sealing and the RADIUS client
#   scripts/mutants.sh digest             one of them: digest, policy, sealing, radius
#   scripts/mutants.sh policy '*.cseq.*'  what is called so
#
# Each is held to its own tests. It fails where they notice less than they did when it was measured.
# Requests at random are left out: what they notice, they notice by chance, and late.
# What nobody noticed is listed; `mutmut show NAME` in build/mutants shows it. Of what is left in
# digest/ nothing changes what anybody sees: a name of a codec in upper case, a shortcut not taken, a
# cache not filled, more randomness drawn at once, a hash of a set that all have.
set -eu
cd "$(dirname "$0")/.."
lock=requirements-mutants.lock
stamp=.venv-mutants/.$(md5sum <$lock | cut -c1-12)
if [ ! -e "$stamp" ]; then
	/usr/bin/python3 -m venv --clear .venv-mutants
	.venv-mutants/bin/pip install --quiet --disable-pip-version-check --no-deps -r $lock
	touch "$stamp"
fi
mutmut=$PWD/.venv-mutants/bin/mutmut copy=build/mutants

measure() { # ROOM FLOOR CODE TESTS [NAMES]: change CODE, run TESTS, and want FLOOR per cent
	room=$1 floor=$2 code=$3 tests=$4
	shift 4
	# A copy: what an interrupted run has left half written would be taken as it is.
	rm -rf $copy
	mkdir -p $copy
	git ls-files -z --cached --others --exclude-standard | tar --null -cf - -T - | tar -xf - -C $copy
	cat >>$copy/pyproject.toml <<-END

		[tool.mutmut]
		source_paths = ["sbcauth/"]
		only_mutate = ["$code"]
		also_copy = ["kemi", "tests", "schema.sql", "kamailio.cfg", "sbcauth.yaml", "sbcauth.schema.json"]
		pytest_add_cli_args = ["--ignore=tests/unit/policy/test_fuzz.py"]
		pytest_add_cli_args_test_selection = ["$tests"]
	END
	# Half of the cores: what a test waits for must not come late because others are tested.
	(
		cd $copy
		PYTHONPATH=. "$mutmut" run --max-children $((($(nproc) + 1) / 2)) "$@"
		"$mutmut" results | grep -v ': \(killed\|not checked\)' || true
		"$mutmut" export-cicd-stats >/dev/null
	)
	/usr/bin/python3 - "$room" "$floor" $copy/mutants/mutmut-cicd-stats.json <<-'END'
		import json, sys
		room, floor, file = sys.argv[1:]
		found = json.load(open(file))
		noticed = found["killed"] + found.get("timeout", 0)
		tried = noticed + found["survived"]
		share = 100 * noticed / max(tried, 1)
		print(f"{room}: {noticed} of {tried} changes were noticed: {share:.1f} %, {floor} % are wanted")
		sys.exit(share < float(floor))
	END
}

wanted=${1:-all}
[ $# -eq 0 ] || shift
failed=0
for room in digest policy sealing radius; do
	[ "$wanted" = all ] || [ "$wanted" = $room ] || continue
	case $room in
	digest) measure digest 94 'sbcauth/digest/*' tests/unit/digest "$@" ;;
	policy) measure policy 75 'sbcauth/policy/*' tests/unit/policy "$@" ;;
	sealing) measure sealing 96 sbcauth/users/sealing.py tests/unit/users/test_sealing.py "$@" ;;
	radius) measure radius 98 sbcauth/radius/client.py tests/unit/radius/test_radius_client.py "$@" ;;
	esac || failed=1
done
exit $failed

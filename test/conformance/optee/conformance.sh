#!/bin/sh
# Judges the emulator with OP-TEE's own conformance program: the PKCS#11 suite and the storage suite.
#
#     npm run conformance:optee
#
# Prints a line for each suite and the sum of its cases. Ends with 1 when a case fails, and with 0 when
# none does, or when this machine can't run it, which is said.
set -eu

. "$(dirname "$0")/programs.sh"
minutes=10

(make_ready) || {
	status=$?
	[ $status -eq 77 ] && exit 0
	exit $status
}

passed=0
failed=0

# suite NAME CASES XTEST-ARGUMENTS [-- WORLD-ARGUMENTS]
suite() {
	name=$1 cases=$2
	shift 2
	log="$cache/$(echo "$name" | tr ' ' -).log"
	status=0
	timeout $((60 * minutes)) sh "$here/xtest.sh" "$@" >"$log" 2>&1 || status=$?
	subtests=$(sed -n 's/^\([0-9]*\) subtests of which \([0-9]*\) failed$/\1 subtests, \2 failed/p' "$log")
	ran=$(sed -n 's/^\([0-9]*\) test cases* of which [0-9]* failed$/\1/p' "$log")
	bad=$(sed -n 's/^[0-9]* test cases* of which \([0-9]*\) failed$/\1/p' "$log")
	echo "$name: ${ran:-0} cases, ${bad:-0} failed (${subtests:-no result})"
	if [ $status -eq 0 ] && [ "${ran:-0}" -eq "$cases" ] && [ "$bad" -eq 0 ]; then
		passed=$((passed + ran))
		return
	fi
	# What did not run has not passed.
	good=$((${ran:-0} - ${bad:-0}))
	passed=$((passed + good))
	failed=$((failed + (good < cases ? cases - good : 1)))
	echo "$name: $cases cases were to pass; xtest ended with $status. In $log:"
	grep -E 'FAILED first error|panicked|did not start' "$log" || tail -n 20 "$log"
}

suite 'pkcs11 on REE-FS' 31 -t pkcs11
suite 'storage on REE-FS' 20 -t regression regression_60
suite 'pkcs11 on RPMB' 31 -t pkcs11 -- --rpmb --private rpmb
suite 'storage on RPMB' 20 -t regression regression_60 -- --rpmb --private rpmb
suite 'storage on REE-FS with RPMB' 20 -t regression regression_60 -- --rpmb

echo "conformance: $passed passed, $failed failed"
[ $failed -eq 0 ]

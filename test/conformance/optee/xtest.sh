#!/bin/sh
# Runs OP-TEE's own conformance program once, over an unmodified libckteec, against a new secure world.
#
#     sh test/conformance/optee/xtest.sh XTEST-ARGUMENTS [-- WORLD-ARGUMENTS]
#
# For example `-t pkcs11 1019`, or `-t regression regression_6004`. The world has the storage suite's
# trusted applications beside its own. Ends as xtest does; with 77 when this machine can't run it.
set -eu

. "$(dirname "$0")/programs.sh"
[ $# -gt 0 ] || {
	sed -n '2,/^set/{/^set/d; s/^# \{0,1\}//; p}' "$0" >&2
	exit 2
}
make_ready

work=$(mktemp -d)
xtest="$work/xtest"
arguments=''
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	arguments="$arguments $1"
	shift
done
[ $# -eq 0 ] || shift
node "$tee/secure-world/main.ts" --strict \
	--ta "$here/storage-ta.ts" --ta "$here/storage2-ta.ts" \
	--storage "$work/storage" --socket "$work/socket" "$@" &
world=$!
trap 'kill "$world" 2>/dev/null; wait "$world"; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
while [ ! -S "$work/socket" ]; do
	kill -0 "$world" 2>/dev/null || {
		echo 'xtest.sh: the secure world did not start; see above' >&2
		exit 2
	}
	sleep 0.1
done

# One of its cases executes argv[0] again, so that has to be something that starts qemu.
cat >"$xtest" <<-END
	#!/bin/sh
	exec qemu-aarch64-static -0 "$xtest" -L "$cache/root" \\
		-E "LD_LIBRARY_PATH=$cache/build:$cache/root/usr/lib/aarch64-linux-gnu" \\
		"$cache/root/usr/bin/xtest" "\$@"
END
chmod +x "$xtest"

# shellcheck disable=SC2086 # one argument per word
OTA_TEE_SOCKET="$work/socket" "$xtest" $arguments

# Makes OP-TEE's own programs ready to run, for the scripts beside it to source. Sets `cache`.
#
# Debian carries xtest and libckteec for arm64 alone. They are unpacked under test/.cache, not
# installed, and run with qemu-user on an arm64 build of our libteec.

here=$(cd "$(dirname "$0")" && pwd)
tee=$(cd "$here/../../tee" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/xtest
PATH=$(cd "$here/../../.." && pwd)/node_modules/.bin:$PATH

release=trixie
packages='optee-test-qemu libckteec0t64 libc6 libgcc-s1 libssl3t64 zlib1g libzstd1'

# What stands in the way is this machine's, not the emulator's: exit code 77, as test drivers have it.
skip() {
	echo "skipped: $*"
	exit 77
}

make_ready() {
	for program in qemu-aarch64-static aarch64-linux-gnu-gcc apt-get dpkg-deb flock; do
		command -v "$program" >/dev/null ||
			skip "$program is missing; apt-get install qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
	done
	mkdir -p "$cache"
	exec 9<"$cache"
	flock 9
	# shellcheck disable=SC2086 # one argument per package
	sh "$here/../../../systemd/package/debian-arm64.sh" "$cache/root" "$release" $packages ||
		skip "cannot have Debian's arm64 packages; see above"
	make -s -C "$tee/normal-world" CC=aarch64-linux-gnu-gcc BUILD="$cache/build" || exit
	exec 9<&-
}

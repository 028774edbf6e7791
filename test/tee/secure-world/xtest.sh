#!/bin/sh
# Judges the emulator in strict mode with OP-TEE's own conformance program, over an unmodified
# libckteec.
#
#     sh test/tee/secure-world/xtest.sh [XTEST ARGUMENTS]     # default: -t pkcs11
#
# Debian carries xtest and libckteec for arm64 alone. They are unpacked under test/.cache, not
# installed, and run with qemu-user on an arm64 build of our libteec. Needs the packages
# qemu-user-static and gcc-aarch64-linux-gnu. Ends as xtest does.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/xtest
release=trixie
packages='optee-test-qemu libckteec0t64 libc6 libgcc-s1 libssl3t64 zlib1g libzstd1'

die() {
	echo "xtest.sh: $*" >&2
	exit 2
}

for program in qemu-aarch64-static aarch64-linux-gnu-gcc apt-get dpkg-deb; do
	command -v "$program" >/dev/null ||
		die "$program is missing; apt-get install qemu-user-static gcc-aarch64-linux-gnu"
done

# apt with lists, a cache and a state of its own: the system's are not touched.
fetch() {
	site=$(apt-get indextargets --format '$(SITE) $(ORIGIN)' | awk '$2 == "Debian" { print $1; exit }')
	[ -n "$site" ] || die 'apt knows no Debian mirror; see /etc/apt/sources.list'
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial" "$cache/apt/packages" "$cache/root"
	: >"$cache/apt/status"
	key=/usr/share/keyrings/debian-archive-keyring.gpg
	echo "deb [signed-by=$key] $site $release main" >"$cache/apt/sources.list"
	cat >"$cache/apt/apt.conf" <<-END
		Dir::State::Lists "$cache/apt/lists";
		Dir::State::status "$cache/apt/status";
		Dir::Cache "$cache/apt";
		Dir::Etc::sourcelist "$cache/apt/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		APT::Architectures { "$(dpkg --print-architecture)"; "arm64"; };
		APT::Sandbox::User "";
	END
	(
		export APT_CONFIG="$cache/apt/apt.conf"
		apt-get -qq update
		cd "$cache/apt/packages"
		for package in $packages; do apt-get -qq download "$package:arm64"; done
	)
	for deb in "$cache"/apt/packages/*.deb; do dpkg-deb -x "$deb" "$cache/root"; done
	ln -sfn usr/lib "$cache/root/lib"
}

[ -x "$cache/root/usr/bin/xtest" ] && [ -L "$cache/root/lib" ] || fetch
make -s -C "$here/../normal-world" CC=aarch64-linux-gnu-gcc BUILD="$cache/build"

work=$(mktemp -d)
node "$here/main.ts" --strict --storage "$work/storage" --socket "$work/socket" &
world=$!
trap 'kill "$world" 2>/dev/null; wait "$world"; rm -rf "$work"' EXIT
while [ ! -S "$work/socket" ]; do
	kill -0 "$world" 2>/dev/null || die 'the secure world did not start; see above'
	sleep 0.1
done

# One of its cases executes argv[0] again, so that has to be something that starts qemu.
cat >"$work/xtest" <<-END
	#!/bin/sh
	exec qemu-aarch64-static -0 "$work/xtest" -L "$cache/root" \\
		-E "LD_LIBRARY_PATH=$cache/build:$cache/root/usr/lib/aarch64-linux-gnu" \\
		"$cache/root/usr/bin/xtest" "\$@"
END
chmod +x "$work/xtest"

[ $# -gt 0 ] || set -- -t pkcs11
OTA_TEE_SOCKET="$work/socket" "$work/xtest" "$@"

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

# apt with lists, a cache and a state of its own: the system's are not touched.
fetch_packages() {
	site=$(apt-get indextargets --format '$(SITE) $(ORIGIN)' | awk '$2 == "Debian" { print $1; exit }')
	[ -n "$site" ] || skip 'apt knows no Debian mirror; see /etc/apt/sources.list'
	rm -rf "$cache/apt"
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial" "$cache/apt/packages"
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
		cd "$cache/apt/packages"
		apt-get -qq update && for package in $packages; do
			apt-get -qq download "$package:arm64" || exit
		done
	) || skip "cannot have Debian's arm64 packages from $site; see above"
}

# A directory that is there is whole.
unpack_packages() {
	rm -rf "$cache/root" "$cache/root.new"
	mkdir -p "$cache/root.new"
	for deb in "$cache"/apt/packages/*.deb; do
		dpkg-deb -x "$deb" "$cache/root.new" || exit
	done
	ln -s usr/lib "$cache/root.new/lib"
	echo "$release $packages" >"$cache/root.new/packages"
	mv "$cache/root.new" "$cache/root"
}

make_ready() {
	for program in qemu-aarch64-static aarch64-linux-gnu-gcc apt-get dpkg-deb flock; do
		command -v "$program" >/dev/null ||
			skip "$program is missing; apt-get install qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
	done
	mkdir -p "$cache"
	exec 9<"$cache"
	flock 9
	if [ "$(cat "$cache/root/packages" 2>/dev/null)" != "$release $packages" ]; then
		fetch_packages
		unpack_packages
	fi
	make -s -C "$tee/normal-world" CC=aarch64-linux-gnu-gcc BUILD="$cache/build" || exit
	exec 9<&-
}

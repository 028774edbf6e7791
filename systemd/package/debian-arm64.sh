#!/bin/sh
# Unpacks Debian packages for arm64 into a directory: libraries to build against, or to run with qemu-user.
#
#   sh systemd/package/debian-arm64.sh DIRECTORY RELEASE PACKAGE...
#
# Nothing is installed. apt has lists, a cache and a state of its own: the system's are not touched. Does
# nothing where the same was unpacked before.
set -eu

root=$1 release=$2
shift 2
packages=$*
[ "$(cat "$root/packages" 2>/dev/null)" != "$release $packages" ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
site=$(apt-get indextargets --format '$(SITE) $(ORIGIN)' | awk '$2 == "Debian" { print $1; exit }')
[ -n "$site" ] || {
	echo 'debian-arm64: apt knows no Debian mirror; see /etc/apt/sources.list' >&2
	exit 1
}
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/packages"
: >"$work/status"
key=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$key] $site $release main" >"$work/sources.list"
cat >"$work/apt.conf" <<-END
	Dir::State::Lists "$work/lists";
	Dir::State::status "$work/status";
	Dir::Cache "$work";
	Dir::Etc::sourcelist "$work/sources.list";
	Dir::Etc::sourceparts "/dev/null";
	Dir::Etc::preferencesparts "/dev/null";
	APT::Architecture "arm64";
	APT::Architectures { "arm64"; };
	APT::Sandbox::User "";
END
(
	export APT_CONFIG="$work/apt.conf"
	cd "$work/packages"
	apt-get -qq update
	for package in $packages; do apt-get -qq download "$package:arm64"; done
)
# A directory that is there is whole.
rm -rf "$root" "$root.new"
mkdir -p "$root.new"
for deb in "$work"/packages/*.deb; do dpkg-deb -x "$deb" "$root.new"; done
[ -e "$root.new/lib" ] || ln -s usr/lib "$root.new/lib"
echo "$release $packages" >"$root.new/packages"
mv "$root.new" "$root"

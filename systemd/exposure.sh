#!/bin/sh
# Prints what `systemd-analyze security` says of each unit that is shipped: 0 is best, 10 worst.
#
#   sh systemd/exposure.sh
#
# Exits 1 where a unit is above the bound that it is held to.
set -eu

cd -- "$(dirname -- "$0")"
status=0

# unit BOUND
unit() {
	line=$(systemd-analyze security --offline=true --no-pager "$1" | grep 'Overall exposure level')
	level=$(printf '%s\n' "$line" | sed 's/.*: \([0-9.]*\) .*/\1/')
	printf '%-30s %s (at most %s)\n' "$1" "$level" "$2"
	awk "BEGIN { exit !($level <= $2) }" || status=1
}

# with DROP-IN BOUND: the daemon, as that drop-in leaves it
with() {
	place=$(mktemp -d)
	mkdir "$place/ota-agent.service.d"
	cp ota-agent.service "$place"
	cp "drop-ins/$1.conf" "$place/ota-agent.service.d"
	line=$(cd "$place" && SYSTEMD_UNIT_PATH=$place: systemd-analyze security --offline=true --no-pager "$place/ota-agent.service" | grep 'Overall exposure level')
	rm -r "$place"
	level=$(printf '%s\n' "$line" | sed 's/.*: \([0-9.]*\) .*/\1/')
	printf '%-30s %s (at most %s)\n' "  with drop-ins/$1.conf" "$level" "$2"
	awk "BEGIN { exit !($level <= $2) }" || status=1
}

unit ota-agent.service 1.5
with rauc 1.5
with ab-slot 1.8
with swupdate 1.8
with ostree 4.0
unit ota-agent-once.service 1.5
unit ota-agent-secrets.service 1.5
unit ota-agent-installer@.service 1.5
unit ota-agent-confirm.service 0.5
exit $status

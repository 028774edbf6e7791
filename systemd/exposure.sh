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

unit ota-agent.service 1.5
unit ota-agent-once.service 1.5
unit ota-agent-secrets.service 1.5
unit ota-agent-installer@.service 1.5
unit ota-agent-confirm.service 0.5
exit $status

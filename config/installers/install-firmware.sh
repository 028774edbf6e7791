#!/bin/sh
# An installing program for `installer.type = "command"`: firmware that another processor loads.
#
# Called as: install-firmware.sh DIRECTORY VERB. The contract is in agent/INSTALLERS.md: every step may
# be repeated, and power may fail between any two lines.
set -eu
cd -- "$1"

refuse() {
	printf '{"message": "%s"}\n' "$1"
	exit 65
}
digest() { sha256sum "$1" | cut -d ' ' -f 1; }
is_target() { [ -e "$1" ] && [ "$(digest "$1")" = "$OTA_SHA256" ]; }

case $2 in
describe)
	[ -w . ] || refuse "$1 cannot be written"
	printf '{"reboot": false, "firmware": "%s"}\n' "$([ ! -e firmware ] || digest firmware)"
	;;
check)
	[ "$(($(stat -f -c '%a * %S' .)))" -ge "$OTA_LENGTH" ] || refuse "no room for $OTA_LENGTH bytes in $1"
	;;
write)
	cp -- "$OTA_IMAGE_PATH" next.part
	sync next.part
	echo '{"progress": 80}'
	mv next.part next
	sync .
	printf '{"sha256": "%s"}\n' "$(digest next)"
	;;
activate)
	is_target firmware && exit 64
	is_target next || refuse "$OTA_FILENAME was not written"
	[ ! -e firmware ] || ln -f firmware previous
	mv next firmware
	sync .
	;;
booted)
	[ -e firmware ] || exit 64
	printf '{"sha256": "%s"}\n' "$(digest firmware)"
	;;
confirm) ;;
roll-back)
	rm -f next next.part
	is_target firmware || exit 64
	[ -e previous ] || refuse 'there is no firmware before this one'
	mv previous firmware
	sync .
	;;
*) refuse "no verb $2" ;;
esac

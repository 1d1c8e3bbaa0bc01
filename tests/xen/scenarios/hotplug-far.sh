# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# limit: 400
# A guest on atlas asks borealis for any keyboard; borealis has none. One is
# plugged in, types, is pulled out with a key held down, and another one comes.
# shellcheck source=tests/xen/lib/two.sh
. "$LAB_HERE/lib/two.sh"
boot_hosts 2
config 2 <<'C'
[platform]
name = borealis
[listen]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[hotplug usb]
match-name = Lab plug*
want = keys
allow = atlas
any = on
C
config_client 1
farside 2
farside 1
guest 1 g1 'vkb=["backend-type=linux,unique-id=borealis/.any.keys"]'
guest_says g1 '^DEV kbd0 ' 10
host 2 'make_input other keys' # its name does not fit
host 1 'until_true 20 sh -c "farside status | grep -q \"no device that fits\""'

call_plug1() { host 2 "play plug1 'key $LAB_CALL'"; }
call_plug2() { host 2 "play plug2 'key $LAB_CALL'"; }
host 2 'make_input plug1 keys'
guest_hears g1 kbd0 20 call_plug1
host 2 "play plug1 'text plugged in'"
guest_typed g1 kbd0 "$(keys_of 'plugged in')" 20
host 1 'farside devices' >"$LAB_LOGS/devices"
grep -q 'borealis/usb-Lab_plug1 ' "$LAB_LOGS/devices" ||
    fail 'farside devices does not list what was announced'

host 2 "play plug1 'press a'"
guest_says g1 '^EV kbd0 KEY 30 1' 10
mark g1
host 2 'drop_input plug1'
guest_says g1 '^EV kbd0 KEY 30 0' 10
host 2 'make_input plug2 keys'
guest_hears g1 kbd0 20 call_plug2
host 2 "play plug2 'text and again'"
guest_typed g1 kbd0 "$(keys_of 'and again')" 20
guest_never g1 '^GONE kbd0'
guest_lives 1 g1

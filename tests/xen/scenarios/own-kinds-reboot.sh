# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# Devices of our own kinds come back after xl reboot, and leave nothing behind
# after xl destroy, though libxl does not know them.
# shellcheck source=tests/xen/lib/own.sh
. "$LAB_HERE/lib/own.sh"
boot_hosts 1
config 1 <<'C'
[platform]
name = atlas
[device timer0]
type = timer
[device bell0]
type = doorbell
[guest g1]
attach = timer timer0
attach = doorbell bell0
C
farside 1
own_ramdisk 1
own_guest 1 g1 timers
own 1 g1 'open 0 16 0' 'ok' 10
own 1 g1 'connected 20000' 'ok' 30
host 1 'xl domid g1 >/run/lab/first'

# The guest's init ends: a reboot by itself, as xl's on_reboot says.
mark g1
guest_tell 1 g1 'sh reboot -f'
host 1 'until_true 60 sh -c "xl domid g1 2>/dev/null |
    grep -qv ^\$(cat /run/lab/first)\$"' 120
guest_says g1 '^READER ready' 60
host 1 'd=$(xl domid g1); f=$(cat /run/lab/first); [ "$d" != "$f" ]
    until_true 10 xenstore-read /local/domain/0/backend/fartimer/$d/0/address
    until_true 10 xenstore-read /local/domain/0/backend/fardoorbell/$d/0/state
    until_true 10 sh -c "! xenstore-exists /local/domain/0/backend/fartimer/$f"'

# By hand, and gone again.
host 1 'd=$(xl domid g1); farside attach -t 0 g1 timer timer0 || [ $? = 4 ]
    xenstore-read /local/domain/0/backend/fartimer/$d/1/address
    farside detach g1 timer 1
    until_true 10 sh -c "! xenstore-exists /local/domain/0/backend/fartimer/$d/1"'
host 1 'd=$(xl domid g1); xl destroy g1
    until_true 20 sh -c "! xenstore-exists /local/domain/0/backend/fartimer/$d"
    until_true 20 sh -c "! xenstore-exists /local/domain/0/backend/fardoorbell/$d"'
guests_are_sound

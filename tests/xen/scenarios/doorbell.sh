# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# limit: 500
# Two guests on two hosts ring each other: the doorbell is borealis's, the one
# guest lives on atlas, the other on borealis itself. One of them is saved and
# restored meanwhile.
# shellcheck source=tests/xen/lib/own.sh
. "$LAB_HERE/lib/own.sh"
boot_hosts 2
config 2 <<'C'
[platform]
name = borealis
[listen]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[device bell0]
type = doorbell
[export bell0]
allow = atlas
[guest g2]
attach = doorbell bell0
C
config 1 <<'C'
[platform]
name = atlas
[server borealis]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[guest g1]
attach = doorbell borealis/bell0
C
farside 2
farside 1
own_ramdisk 1
own_ramdisk 2
own_guest 1 g1 bell
own_guest 2 g2 bell
own 1 g1 'open 0' 'ok' 10
own 2 g2 'open 0' 'ok' 10
own 1 g1 'connected 20000' 'ok' 40
own 2 g2 'connected 20000' 'ok' 40

# rings HOST GUEST VALUE: until the other end is there
rings() {
    local i
    for i in {1..20}; do
        mark "$2"
        guest_tell "$1" "$2" "sh echo \"ring $3\" >/lines"
        guest_says "$2" '^OWN ok' 20
        ! guest_said "$2" '^OWN ok 0 0$' || return 0
        nap 1
    done
    fail "guest $2 rings in vain"
}
rings 1 g1 4711
own 2 g2 'heard 1 20000' 'ok 1 4711 4711$' 30
rings 2 g2 815
own 1 g1 'heard 1 20000' 'ok 1 815 815$' 30
own 1 g1 'rings 0 100' 'ok 100$' 60
own 2 g2 'heard 101 20000' 'ok 101 99 9661$' 40

# Another domain now, with pages and a port of its own.
host 1 'xl save g1 /var/lib/xen/g1.save' 60
host 1 'xl restore /var/lib/xen/g1.save' 90
own 1 g1 'heard 1000 3000' 'ok 1 ' 60
own 1 g1 'connected 20000' 'ok' 60
rings 1 g1 17
own 2 g2 'heard 102 20000' 'ok 102 17 9678$' 40
rings 2 g2 185
own 1 g1 'heard 2 20000' 'ok 2 185 1000$' 40
guest_lives 1 g1
guest_lives 2 g2

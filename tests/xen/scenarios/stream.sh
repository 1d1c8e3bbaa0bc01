# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# limit: 600
# Programs in two guests on two hosts, which know libxenvchan's calls alone, send
# each other bytes both ways, while netproxies and backends are killed: each byte
# comes once and in order. A guest that is saved has closed.
# shellcheck source=tests/xen/lib/own.sh
. "$LAB_HERE/lib/own.sh"
boot_hosts 2
config 2 <<'C'
[platform]
name = borealis
[listen]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[device wire]
type = stream
[export wire]
allow = atlas
[guest g2]
attach = stream wire path=lab/wire
C
config 1 <<'C'
[platform]
name = atlas
[server borealis]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[guest g1]
attach = stream borealis/wire path=lab/wire
C
farside 2
farside 1
own_ramdisk 1
own_ramdisk 2
own_guest 1 g1 vchan-peer
own_guest 2 g2 vchan-peer

# connect: g2 is the server. A client that finds none asks again.
connect() {
    local i
    own 2 g2 'server 0 lab/wire 0 0' 'ok' 40
    for i in {1..10}; do
        mark g1
        guest_tell 1 g1 'sh echo "client 0 lab/wire" >/lines'
        guest_says g1 '^OWN (ok|no)' 40
        ! guest_said g1 '^OWN ok' || return 0
        nap 1
    done
    fail "guest g1 finds no server"
}

# begin BYTES: both ways at once; ends BYTES: all of them came
begin() {
    mark g1
    mark g2
    guest_tell 1 g1 "sh echo \"move $1 $1 1\" >/lines"
    guest_tell 2 g2 "sh echo \"move $1 $1 1\" >/lines"
}
ends() {
    guest_says g1 "^OWN ok $1 $1\$" 120
    guest_says g2 "^OWN ok $1 $1\$" 120
}
connect
begin 3000000
ends 3000000
for what in '1 netproxy' '2 netproxy' '1 backend' '2 backend'; do
    begin 8000000
    host "${what% *}" "slay ${what#* }"
    nap 1
    host "${what% *}" "start ${what#* }"
    ends 8000000
done
own 1 g1 'move 50000 0 1' 'ok 50000 0$' 20
own 1 g1 'close' 'ok' 20
own 2 g2 'move 0 50000 1' 'ok 0 50000$' 20
own 2 g2 'move 0 1 1' 'closed 0 0$' 20
own 2 g2 'close' 'ok' 20
connect
host 1 'xl save g1 /var/lib/xen/g1.save' 60
own 2 g2 'move 0 1 1' 'closed 0 0$' 60
host 1 'xl restore /var/lib/xen/g1.save' 90
own 1 g1 'move 0 1 1' 'closed 0 0$' 60
own 1 g1 'close' 'ok' 20
own 2 g2 'close' 'ok' 20
connect
begin 100000
ends 100000
guest_lives 1 g1
guest_lives 2 g2

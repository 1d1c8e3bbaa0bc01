# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# limit: 800
# An interrupt controller in a Debian guest, over gntalloc and evtchn: vectors
# that devices here raise, a program on the other host, and a device there that
# was never attached; masked, ended, limited, on channels of their own; through
# kills of the daemons, a save and a restore.
# shellcheck source=tests/xen/lib/own.sh
. "$LAB_HERE/lib/own.sh"
boot_hosts 2
config 2 <<'C'
[platform]
name = borealis
[listen]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[device board]
type = outside
class = intc
socket = /run/farside/board.sock
[export board]
allow = atlas
[device alarm]
type = interrupts
[export alarm]
may-interrupt = atlas/g1
C
config 1 <<'C'
[platform]
name = atlas
[server borealis]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
may-interrupt = g1
[device edges]
type = interrupts
[device levels]
type = interrupts
trigger = level
[device irqs]
type = vectors
source = 0-15 intc edges
source = 16-31 intc levels priority=1
source = 32-39 intc borealis/board
source = 40-47 notices borealis/alarm
source = 50 intc edges line=50 max=20
[guest g1]
attach = intc irqs
C
farside 2
# shellcheck disable=SC2016
host 2 'runuser -u farside -- env FARSIDE_SOCKET=/run/farside/board.sock \
    FARSIDE_DEVICE=board "$LAB_BUILD/docs/examples/outside-interrupts" \
    /run/farside/board.lines >/lab/board.log 2>&1 </dev/null &
    until_true 20 test -S /run/farside/board.sock'
farside 1
own_ramdisk 1
own_guest 1 g1 vectors
own 1 g1 'open 0 64 4 0' 'ok' 10
own 1 g1 'connected 20000' 'ok' 40

board() { host 2 "echo '$1' >/run/farside/board.lines"; }
# waits N: so many interrupts of all vectors by now
waits() { own 1 g1 "wait $1 30000" "ok $1\$" 40; }
# there VECTOR: its source is
there() {
    for _ in {1..20}; do
        own 1 g1 "ask $1" 'ok ' 20
        ! guest_said g1 '^OWN ok 0 0 3$' || return 0
        nap 1
    done
    fail "the source of vector $1 is not there"
}
there 32

host 1 'farside send edges key 0x5'
waits 1
own 1 g1 'count 5' 'ok 1 1$' 10
own 1 g1 'set 5 0 2 0 0 0' 'ok 0 0 0$' 10
host 1 'farside send edges key 0x5'
waits 2
host 1 'farside send levels press 0x3'
waits 3
own 1 g1 'eoi 19' 'ok 0$' 10
waits 4
host 1 'farside send levels release 0x3'
own 1 g1 'eoi 19' 'ok 0$' 10
board 1
waits 5
board 2+
waits 6
own 1 g1 'eoi 34' 'ok 0$' 10
waits 7
board 2-
host 2 'farside send alarm --to atlas/g1 key 0x3'
waits 8
own 1 g1 'count 43' 'ok 1 1$' 10
own 1 g1 'count 33' 'ok 1 1$' 10

# Twenty interrupts a second at most, and each press is counted.
host 1 "farside send edges$(printf ' key 0x32%.0s' {1..50})"
waits 58
own 1 g1 'count 50' 'ok 50 [0-9]$' 10

# Nobody loses or doubles one: neither a daemon that is killed …
host 1 'slay backend'
board 1
host 1 'start backend'
own 1 g1 'connected 20000' 'ok' 60
waits 59
host 1 'slay netproxy'
board 1
host 1 'start netproxy'
waits 60
host 2 'slay netproxy && start netproxy'
board 1
waits 61
host 2 'farside send alarm --to atlas/g1 key 0x3'
waits 62

# … nor a save: what is masked stays pending.
own 1 g1 'mask 5' 'ok 0$' 10
host 1 'farside send edges key 0x5 key 0x6'
waits 63
host 1 'xl save g1 /var/lib/xen/g1.save' 60
host 1 'farside send edges key 0x5 key 0x6'
host 1 'xl restore /var/lib/xen/g1.save' 90
own 1 g1 'wait 1000000 5000' 'ok' 60
own 1 g1 'connected 20000' 'ok' 60
waits 64
own 1 g1 'pending 5' 'ok 1$' 10
own 1 g1 'unmask 5' 'ok 0$' 10
own 1 g1 'count 5' 'ok 4 ' 10
own 1 g1 'count 6' 'ok 2 ' 10
there 32
board 1
waits 67
own 1 g1 'wait 68 2000' 'ok 67$' 20
guest_lives 1 g1

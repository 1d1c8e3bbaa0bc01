# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# Farside's timers and clock in a Debian guest, over gntalloc and evtchn: armed
# by stores, counted, through a save and restore, and the host's clock from the
# guest's own counter.
# shellcheck source=tests/xen/lib/own.sh
. "$LAB_HERE/lib/own.sh"
boot_hosts 1
config 1 <<'C'
[platform]
name = atlas
[device timer0]
type = timer
[guest g1]
attach = timer timer0
C
farside 1
own_ramdisk 1
own_guest 1 g1 timers
own 1 g1 'open 0 1024 0' 'ok' 10
own 1 g1 'connected 20000' 'ok' 30

# milliseconds of dom0's uptime, which its CLOCK_MONOTONIC counts too
dom0_ms() { host 1 "sed 's/\\.\\(.*\\) .*/\\10/' /proc/uptime"; }
guest_ms() {
    own 1 g1 now 'ok [0-9]+ [0-9]+' 10
    guest_new g1 | sed -n 's/^OWN ok \([0-9]*\)[0-9]\{6\} .*/\1/p' | tail -n 1
}
clock_is_dom0s() {
    local before after got
    before=$(dom0_ms)
    got=$(guest_ms)
    after=$(dom0_ms)
    [ "$got" -ge $((before - 20)) ] && [ "$got" -le $((after + 20)) ] ||
        fail "the guest reads $got ms, dom0 $before to $after"
    step "the guest reads $got ms, dom0 $before to $after"
}
clock_is_dom0s

own 1 g1 'in 5 50000000 0 0' 'ok 0' 10
own 1 g1 'wait 1 20000' 'ok 1$' 30
own 1 g1 'many 1000 500000000' 'ok' 10
own 1 g1 'wait 1001 30000' 'ok 1001$' 40
own 1 g1 'in 7 20000000 20000000 0' 'ok 0' 10
# a period that went by while the console was slow is counted too
own 1 g1 'wait 1051 30000' 'ok (10[5-9][0-9]|1[1-9][0-9]+|[2-9][0-9]+)$' 40
own 1 g1 'cancel 7' 'ok 0' 10
own 1 g1 'outside 2 1000000' 'ok 0 0' 10
host 1 'farside status --json | grep -q fast-timer'

# armed before the save, due after the restore
own 1 g1 'in 1009 60000000000 0 0' 'ok 0' 10
own 1 g1 'in 1010 1000000000 0 0' 'ok 0' 10
host 1 'xl save g1 /var/lib/xen/g1.save' 60
host 1 'sleep 2; xl restore /var/lib/xen/g1.save' 90
own 1 g1 'wait 1000000 5000' 'ok' 60
own 1 g1 'connected 20000' 'ok' 60
own 1 g1 'wait 1000000 3000' 'ok' 60
own 1 g1 'count 1010' 'ok 1 ' 10
own 1 g1 'in 1011 1000000 0 0' 'ok 0' 10
own 1 g1 'wait 1000000 1000' 'ok' 30
own 1 g1 'count 1011' 'ok 1 ' 10
clock_is_dom0s
guest_lives 1 g1

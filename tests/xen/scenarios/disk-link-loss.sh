# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pvh
# limit: 700
# The network is cut for ten seconds, and the serving netproxy is killed and
# started again, three times each while a guest's fio writes to a far disk and
# checks it: the guest sees no error and no bad block.
# shellcheck source=tests/xen/lib/disk.sh
. "$LAB_HERE/lib/disk.sh"
boot_hosts 2
disk_server
disk_client 1
farside 2
farside 1
disk_guest 1 g1 "$(disk_line xvda borealis/disk0)"
guest_disk_there 1 g1 xvda 131072
for n in 1 2; do host $n 'modprobe sch_netem'; done
# What is on its way is lost, too.
network() {
    local n
    for n in 1 2; do
        host $n "for n in /sys/class/net/*/device; do
            n=\${n%/device}
            tc qdisc replace dev \${n##*/} root netem loss $1% || exit 1
        done"
    done
}
fio_begin 1 g1 xvda
for i in 1 2 3; do
    network 100
    nap 10
    network 0
    fio_goes_on 1
done
for i in 1 2 3; do
    host 2 'slay netproxy'
    nap 3
    host 2 'start netproxy'
    fio_goes_on 1
done
fio_end 1 g1
disk_use 1 g1 xvda
disk_sound g1
guest_lives 1 g1

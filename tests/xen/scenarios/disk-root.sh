# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv
# limit: 500
# A guest boots whose root file system is on a disk of another host, and runs
# from it; what it writes there is there at its next boot.
# shellcheck source=tests/xen/lib/disk.sh
. "$LAB_HERE/lib/disk.sh"
boot_hosts 2
disk_tools
host 2 "mkdir -p /run/lab && cp '$LAB_TOOLS' /run/lab/disk0.img" 120
disk_server
disk_client 1
farside 2
farside 1
boots() {
    guest 1 g1 "memory=192
disk=[$(disk_line xvda borealis/disk0)]
extra=\"console=hvc0 panic=1 loglevel=5 root=/dev/xvda\"" 120
    guest_says g1 '^ROOT /dev/xvda' 1
    guest_sh 1 g1 'grep -q "^/dev/xvda / ext4 rw" /proc/mounts'
}
boots
guest_sh 1 g1 "/usr/bin/fio --name=root --filename=/root/file $FIO --bs=4k --size=2m --rw=randrw" 120
guest_sh 1 g1 'md5sum /root/file >/root/sum && sync'
guest_sh 1 g1 'mount -o remount,ro /'
disk_sound g1
guests_are_sound
host 1 'xl destroy g1'
boots
guest_sh 1 g1 'md5sum -c /root/sum'
disk_sound g1
guest_lives 1 g1

# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv
# A guest has a CD-ROM drive and reads its medium, which changes when the drive
# is taken away and comes again. (PVH guests refuse CD-ROMs.)
# shellcheck source=tests/xen/lib/disk.sh
. "$LAB_HERE/lib/disk.sh"
boot_hosts 1
disk_config 1 <<'C'
[platform]
name = atlas
[device cd0]
type = file
cdrom = yes
path = /run/lab/cd0.img
[device cd1]
type = file
cdrom = yes
path = /run/lab/cd1.img
C
host 1 'mkdir -p /run/lab/cd && cd /run/lab && for n in 0 1; do
    echo "medium $n" >cd/label
    mke2fs -q -t ext4 -d cd cd$n.img $((4 + n))M || exit 1
done'
farside 1
cd_line() {
    echo "vdev=xvdc,access=ro,devtype=cdrom,script=block-farside,target=$1"
}
# medium NUMBER: the guest reads it, in a drive
medium() {
    guest_disk_there 1 g1 xvdc $((8192 + 2048 * $1))
    guest_sh 1 g1 '[ "$(cat /sys/block/xvdc/removable /sys/block/xvdc/ro | tr -d "\\n")" = 11 ]'
    guest_sh 1 g1 "mkdir -p /mnt && mount -t ext4 -o ro /dev/xvdc /mnt"
    guest_sh 1 g1 "[ \"\$(cat /mnt/label)\" = \"medium $1\" ] && umount /mnt"
}
disk_guest 1 g1 "\"$(cd_line cd0)\""
medium 0
host 1 'xl block-detach g1 xvdc'
guest_sh 1 g1 'while [ -e /sys/block/xvdc ]; do sleep 0.2; done'
host 1 "xl block-attach g1 $(cd_line cd1)"
medium 1
disk_sound g1
guest_lives 1 g1

# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pvh
# A disk grows under a mounted file system and fio: the guest sees the new
# size, and the file system grows into it.
# shellcheck source=tests/xen/lib/disk.sh
. "$LAB_HERE/lib/disk.sh"
boot_hosts 1
disk_config_file 1
farside 1
disk_guest 1 g1 "$(disk_line xvda disk0)"
guest_disk_there 1 g1 xvda 131072
guest_sh 1 g1 '/usr/bin/mke2fs -q -t ext4 /dev/xvda' 60
guest_sh 1 g1 'mkdir -p /mnt && mount -t ext4 /dev/xvda /mnt'
guest_sh 1 g1 'truncate -s 32M /mnt/load'
fio_begin 1 g1 /mnt/load
host 1 'truncate -s 128M /run/lab/disk0.img'
guest_disk_there 1 g1 xvda 262144
guest_sh 1 g1 '/usr/bin/resize2fs /dev/xvda' 60
fio_end 1 g1
guest_sh 1 g1 '[ "$(df -m /mnt | tail -n 1 | { read -r d size r; echo $size; })" -gt 100 ]'
guest_sh 1 g1 "/usr/bin/fio --name=grown --filename=/mnt/grown $FIO --bs=128k --size=8m --rw=write" 120
guest_sh 1 g1 'umount /mnt && /usr/bin/e2fsck -fn /dev/xvda' 60
disk_sound g1
guest_lives 1 g1

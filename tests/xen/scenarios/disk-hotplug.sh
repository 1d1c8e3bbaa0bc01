# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pvh
# limit: 500
# Disks come to and leave a running guest, by xl and by farside, also while a
# file system on one is mounted (this kernel's driver lets go of it then, with
# any backend); one that can't be had is refused with the reason.
# shellcheck source=tests/xen/lib/disk.sh
. "$LAB_HERE/lib/disk.sh"
boot_hosts 1
disk_config_file 1
farside 1
disk_guest 1 g1
host 1 'xl block-attach g1 vdev=xvdb,access=rw,script=block-farside,target=disk0'
guest_disk_there 1 g1 xvdb 131072
disk_use 1 g1 xvdb

guest_sh 1 g1 'mount -t ext4 /dev/xvdb /mnt && echo here >/mnt/word && umount /mnt'
guest_sh 1 g1 'mount -t ext4 -o ro /dev/xvdb /mnt'
host 1 'xl block-detach g1 xvdb'
guest_sh 1 g1 'while [ -e /sys/block/xvdb ]; do sleep 0.2; done; umount /mnt'
host 1 'until_true 10 no_disk g1 51728'

host 1 'farside attach g1 block disk0 vdev=xvdc access=ro'
guest_disk_there 1 g1 xvdc 131072
guest_sh 1 g1 'mount -t ext4 -o ro /dev/xvdc /mnt'
guest_sh 1 g1 '[ "$(cat /mnt/word)" = here ] && umount /mnt'
guest_sh 1 g1 '[ "$(cat /sys/block/xvdc/ro)" = 1 ]'
host 1 'farside detach g1 block disk0'
guest_sh 1 g1 'while [ -e /sys/block/xvdc ]; do sleep 0.2; done'
host 1 'until_true 10 no_disk g1 51744'

host 1 'if xl block-attach g1 vdev=xvdd,script=block-farside,target=nothing \
            >/run/lab/out 2>&1; then exit 1; fi
    cat /run/lab/out
    grep -q "there is no \[device nothing\]" /run/lab/out'
# libxl leaves what it has made of one that failed, closed.
host 1 'xl block-detach g1 xvdd && until_true 10 no_disk g1 51760'
disk_sound g1
guest_lives 1 g1

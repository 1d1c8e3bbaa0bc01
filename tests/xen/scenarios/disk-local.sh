# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# core: pvh
# A stock guest's disk is a file of this dom0: a file system is made on it and
# used under fio's checks, and the file holds it.
# shellcheck source=tests/xen/lib/disk.sh
. "$LAB_HERE/lib/disk.sh"
boot_hosts 1
disk_config_file 1
farside 1
disk_guest 1 g1 "$(disk_line xvda disk0)"
guest_disk_there 1 g1 xvda 131072
disk_use 1 g1 xvda
# What the guest calls written is in the file.
host 1 'e2fsck -fn /run/lab/disk0.img' 60
disk_sound g1
guest_lives 1 g1

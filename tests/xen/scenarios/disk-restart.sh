# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pvh
# limit: 500
# The backend is killed, and told to end, and started again each time, while a
# guest's fio writes and checks: the guest sees no error and no bad block.
# shellcheck source=tests/xen/lib/disk.sh
. "$LAB_HERE/lib/disk.sh"
boot_hosts 1
disk_config_file 1
farside 1
disk_guest 1 g1 "$(disk_line xvda disk0)"
guest_disk_there 1 g1 xvda 131072
fio_begin 1 g1 xvda
for how in slay slay slay 'stop'; do
    host 1 "$how backend"
    nap 2
    host 1 'start backend'
    fio_goes_on 1
done
fio_end 1 g1
# A whole disk of the guest's work, by a successor of successors.
disk_use 1 g1 xvda
disk_sound g1
guest_lives 1 g1

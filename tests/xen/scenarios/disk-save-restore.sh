# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pvh
# A guest is saved while its fio writes and checks, and goes on where it was
# when it is restored.
# shellcheck source=tests/xen/lib/disk.sh
. "$LAB_HERE/lib/disk.sh"
boot_hosts 1
disk_config_file 1
farside 1
disk_guest 1 g1 "$(disk_line xvda disk0)"
guest_disk_there 1 g1 xvda 131072
fio_begin 1 g1 xvda
host 1 'xl save g1 /var/lib/xen/g1.save' 90
host 1 'until_true 10 no_disk g1 51712'
host 1 'xl restore /var/lib/xen/g1.save' 90
fio_goes_on 1
fio_end 1 g1
disk_use 1 g1 xvda
disk_sound g1
guest_lives 1 g1

# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# limit: 700
# The same, into and out of a WAV file of another machine.
# shellcheck source=tests/xen/lib/sound.sh
. "$LAB_HERE/lib/sound.sh"
boot_hosts 2
sound_server
disk_client 1
farside 2
farside 1
sound_guest 1 g1 borealis/wav0
sound_plays 1 g1
sound_played 2
sound_records 1 g1
disk_sound g1
guest_lives 1 g1

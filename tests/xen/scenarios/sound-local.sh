# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# limit: 500
# aplay in a stock guest: the same samples are in a WAV file of this dom0, none
# missing; arecord: those of the file are in the guest.
# shellcheck source=tests/xen/lib/sound.sh
. "$LAB_HERE/lib/sound.sh"
boot_hosts 1
sound_local
farside 1
sound_guest 1 g1 wav0
sound_plays 1 g1
sound_played 1
sound_records 1 g1
disk_sound g1
guest_lives 1 g1

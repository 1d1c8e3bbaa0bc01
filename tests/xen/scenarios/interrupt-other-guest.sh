# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# limit: 400
# A keyboard of borealis, attached by g1, interrupts g2, which never attached
# it and has only one of its own; nobody else gets that, and only who may.
# shellcheck source=tests/xen/lib/two.sh
. "$LAB_HERE/lib/two.sh"
boot_hosts 2
config 2 <<'C'
[platform]
name = borealis
[listen]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[device kbd0]
type = virtual
[export kbd0]
allow = atlas
may-interrupt = atlas/g2 atlas/g3
C
config 1 <<'C'
[platform]
name = atlas
[server borealis]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
may-interrupt = g1 g2
[device typist]
type = virtual
C
farside 2
farside 1
own='vkb=["backend-type=linux,unique-id=typist"]'
guest 1 g1 'vkb=["backend-type=linux,unique-id=borealis/kbd0"]'
guest 1 g2 "$own"
call_g1() { host 2 "farside send kbd0 key $LAB_CALL"; }
call_g2() { host_try 2 "farside send kbd0 --to atlas/g2 key $LAB_CALL" || :; }
guest_hears g1 kbd0 20 call_g1
guest_hears g2 kbd0 20 call_g2

to_g2() {
    host 2 "farside send kbd0 --to atlas/g2 text '$1'"
    guest_typed g2 kbd0 "$(keys_of "$1")" 15
}
mark g1
to_g2 'only you'
host 2 "farside send kbd0 text 'not you'"
guest_typed g1 kbd0 "$(keys_of 'not you')" 15
guest_never g2 '^EV '
# Its own keyboard and the other's: each stroke once, none is lost.
host 1 'farside send typist text mine'
guest_typed g2 kbd0 "$(keys_of mine)" 15
to_g2 theirs

# Not to whom the export, or the guest's platform, does not allow.
! host_try 2 'farside send kbd0 --to atlas/g1 key a' ||
    fail 'borealis interrupted g1, which its export does not name'
! host_try 2 'farside send kbd0 --to atlas/g3 key a' ||
    fail 'borealis interrupted g3, which is not there'
guest_never g1 '^EV '

# A key that is pressed and forgotten does not stay down.
host 2 'farside send kbd0 --to atlas/g2 press q'
guest_typed g2 kbd0 '16:1 16:0' 15

# Once, whoever is killed meanwhile.
host 1 'slay backend'
typing=$(host_begin 2 "farside send kbd0 --to atlas/g2 text killed")
host 1 'start backend'
host_end 2 "$typing" 30
guest_typed g2 kbd0 "$(keys_of killed)" 15
host 1 'slay netproxy'
typing=$(host_begin 2 "farside send kbd0 --to atlas/g2 text again")
host 1 'start netproxy'
host_end 2 "$typing" 30
guest_typed g2 kbd0 "$(keys_of again)" 15

# A new guest of that name is another one, and gets what is sent to it.
host 1 'xl destroy g2' 30
! host_try 2 'farside send kbd0 --to atlas/g2 key a' ||
    fail 'borealis interrupted a guest that is gone'
guest 1 g2 "$own"
guest_hears g2 kbd0 20 call_g2
to_g2 'a new one'
guest_lives 1 g1
guest_lives 1 g2

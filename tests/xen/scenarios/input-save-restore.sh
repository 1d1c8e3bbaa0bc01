# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# core: pv
# A guest that was saved and restored gets keys again, and its absolute
# pointer is still one, though Linux does not ask for it again.
boot_hosts 1
config 1 <<'C'
[platform]
name = atlas
[device kbd0]
type = evdev
match-name = Lab kbd0
[device typist]
type = virtual
C
host 1 'make_input kbd0 -x 1024 -y 768 keys abs'
farside 1
guest 1 g1 'vkb=["backend-type=linux,unique-id=kbd0,feature-abs-pointer=1,width=1024,height=768",
"backend-type=linux,unique-id=typist"]'
guest_says g1 '^DEV kbd1 ' 10
guest_hears g1 kbd0 20 host 1 "play kbd0 'key $LAB_CALL'"
host 1 "play kbd0 'text before'"
guest_typed g1 kbd0 "$(keys_of before)" 10
host 1 "play kbd0 'abs 100 200'"
guest_at g1 ptr0 100 200 10

host 1 'xl save g1 /var/lib/xen/g1.save' 60
host 1 "play kbd0 'text nobody'"
host 1 'xl restore /var/lib/xen/g1.save' 90
guest_hears g1 kbd0 30 host 1 "play kbd0 'key $LAB_CALL'"
guest_never g1 '^GONE'
host 1 'until_true 10 connected g1 0'
host 1 "play kbd0 'text after'"
guest_typed g1 kbd0 "$(keys_of after)" 10
host 1 "play kbd0 'abs 700 500'"
guest_at g1 ptr0 700 500 10
guest_never g1 '^EV ptr0 REL 0'
host 1 "farside send typist text 'me too'"
guest_typed g1 kbd1 "$(keys_of 'me too')" 10
guest_lives 1 g1

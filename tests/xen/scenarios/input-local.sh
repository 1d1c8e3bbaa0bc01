# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# core: pv pvh
# Keyboards and pointers of this dom0: an evdev device and a virtual one give
# a stock guest keys, relative and absolute motion, wheel, buttons, touch.
boot_hosts 1
config 1 <<'C'
[platform]
name = atlas
[device kbd0]
type = evdev
match-name = Lab kbd0
grab = on
[device tablet]
type = evdev
match-name = Lab tablet
[device typist]
type = virtual
[device screen]
type = virtual
C
host 1 'make_input kbd0 keys pointer'
host 1 'make_input tablet -x 1024 -y 768 abs'
farside 1
guest 1 g1 'vkb=["backend-type=linux,unique-id=kbd0",
"backend-type=linux,unique-id=tablet,feature-abs-pointer=1,width=1024,height=768",
"backend-type=linux,unique-id=typist",
"backend-type=linux,unique-id=screen,feature-multi-touch=1,multi-touch-width=800,multi-touch-height=600,multi-touch-num-contacts=5"]'
for d in kbd0 ptr0 kbd1 ptr1 kbd2 ptr2 mt3; do
    guest_says g1 "^DEV $d " 10
done
guest_says g1 '^ABS ptr1 0 0 1024' 5
guest_says g1 '^ABS ptr1 1 0 768' 5
guest_says g1 '^ABS mt3 53 0 800' 5
host 1 'until_true 20 connected g1 0; until_true 5 connected g1 3'

guest_hears g1 kbd0 20 host 1 "play kbd0 'key $LAB_CALL'"
for words in 'the quick' 'brown fox' 'jumps 24 times'; do
    host 1 "play kbd0 'text $words'"
    guest_typed g1 kbd0 "$(keys_of "$words")" 20
done
host 1 "play kbd0 'press leftshift'; play kbd0 'key a'
        play kbd0 'release leftshift'"
guest_typed g1 kbd0 '42:1 30:1 30:0 42:0' 10
host 1 "play kbd0 'move 3 -4'; play kbd0 'wheel 1'; play kbd0 'key btn_left'"
guest_says g1 '^EV ptr0 KEY 272 0' 10
guest_says g1 '^EV ptr0 REL 0 3' 1
guest_says g1 '^EV ptr0 REL 1 -4' 1
guest_says g1 '^EV ptr0 REL 8 1' 1
mark g1

host 1 "play tablet 'abs 512 384'"
guest_at g1 ptr1 512 384 10
host 1 "play tablet 'abs 1023 767'"
guest_at g1 ptr1 1024 768 10
host 1 "play tablet 'abs 0 0'"
guest_at g1 ptr1 0 0 10

host 1 "farside send typist text 'dom0 types'"
guest_typed g1 kbd2 "$(keys_of 'dom0 types')" 10
host 1 'farside send typist move 7 9'
guest_says g1 '^EV ptr2 REL 1 9' 10
host 1 'farside send screen touch 0 down 65535 32768'
host 1 'farside send screen touch 0 up'
guest_says g1 '^EV mt3 ABS 57 -1' 10
guest_says g1 '^EV mt3 ABS 53 (799|800)' 1
guest_says g1 '^EV mt3 ABS 54 (299|300|301)' 1
guest_lives 1 g1

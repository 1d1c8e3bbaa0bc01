# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# core: pv
# limit: 700
# Linux's kbdfront crashes on a key where keyboard or pointer are disabled.
# Whatever the device sends, at boot and over 100 hot attaches with those
# features, the guest's kernel has nothing to complain about.
boot_hosts 1
config 1 <<'C'
[platform]
name = atlas
[device all]
type = virtual
[device good]
type = virtual
C
all="key a key btn_left key 0x2fe key 0xfa key 0x12c key 0x2ff move 5 5 wheel 1 abs 100 100 \
touch 0 down 10 10 touch 0 move 20 20 touch 0 up key leftshift"
farside 1
v=backend-type=linux,unique-id=all
t=feature-multi-touch=1,multi-touch-width=800,multi-touch-height=600,multi-touch-num-contacts=5
guest 1 g1 "vkb=[\"$v,feature-disable-keyboard=1\",
\"$v,feature-disable-pointer=1\",
\"$v,feature-disable-keyboard=1,feature-disable-pointer=1\",
\"$v,feature-disable-keyboard=1,feature-disable-pointer=1,$t\",
\"$v,feature-abs-pointer=1,width=640,height=480,$t\",
\"backend-type=linux,unique-id=good\"]"
guest_says g1 '^DEV kbd5 ' 10
host 1 'until_true 10 connected g1 5'
host 1 "for i in 1 2 3; do farside send all $all || exit 1; done"
# The pointer that nobody wanted is there so that keys are safe to send.
guest_says g1 '^EV ptr0 KEY 272 0' 10
guest_says g1 '^EV kbd1 KEY 30 0' 5
guest_says g1 '^EV mt3 ABS 57 -1' 5
guest_says g1 '^EV kbd4 KEY 30 0' 5
host 1 "farside send good text 'still alive'"
guest_typed g1 kbd5 "$(keys_of 'still alive')" 20
guest_lives 1 g1

# Six attach and leave at a time, the device sending all the while; what they
# are allowed to become is Farside's choice, that the guest lives is not.
# (xl vkb-attach wants words, not commas.) The reader prints what comes again
# only once: each line costs the guest an interrupt or two, and in a PVH guest
# each interrupt is a chance for the emulator to lose it (README.md).
guest_tell 1 g1 once
pause=0.3
[ "$LAB_TYPE" = pv ] || pause=1.5
host 1 "mkdir -p /run/lab
    while [ ! -e /run/lab/stop ]; do
            farside send all $all
            sleep $pause
        done >/lab/sender.log 2>&1 &
    for round in \$(seq 17); do
        for f in feature-disable-keyboard=1 feature-disable-pointer=1 \\
            'feature-disable-keyboard=1 feature-disable-pointer=1'; do
            xl vkb-attach g1 ${v/,/ } \$f || exit 1
            xl vkb-attach g1 ${v/,/ } \$f ${t//,/ } || exit 1
        done
        for i in 6 7 8 9 10 11; do
            xl vkb-detach g1 \$i || exit 1
        done
    done
    touch /run/lab/stop" 300
# Who was refused got nothing, the others had their events.
guest_says g1 '^EV ptr6 KEY 272 0' 5
guest_never g1 '^EV kbd(8|9) '
guest_tell 1 g1 each
mark g1
host 1 "farside send good text 'and again'"
guest_typed g1 kbd5 "$(keys_of 'and again')" 20
guest_lives 1 g1

# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# core:
# Keyboards come to and leave a running guest, by xl and by farside, one and
# many; each types while it is there.
many=8
boot_hosts 1
{
    printf '[platform]\nname = atlas\n'
    for ((i = 0; i < many; i++)); do
        printf '[device typist%d]\ntype = virtual\n' $i
    done
} | config 1
farside 1
guest 1 g1

mark g1
host 1 'xl vkb-attach g1 backend-type=linux unique-id=typist0'
guest_says g1 '^DEV kbd0 ' 15
host 1 'until_true 10 connected g1 0'
host 1 'farside send typist0 text "by xl"'
guest_typed g1 kbd0 "$(keys_of 'by xl')" 10
host 1 'farside attach g1 input typist1 feature-abs-pointer=1 width=640 height=480'
guest_says g1 '^ABS ptr1 0 0 640' 15
mark g1
host 1 'farside send typist1 text "by farside"'
guest_typed g1 kbd1 "$(keys_of 'by farside')" 10
host 1 'farside send typist1 abs 65535 65535'
guest_at g1 ptr1 640 480 10

host 1 'xl vkb-detach g1 0'
guest_says g1 '^GONE kbd0' 15
guest_never g1 '^GONE kbd1'
host 1 'farside send typist1 text "still here"'
guest_typed g1 kbd1 "$(keys_of 'still here')" 10
host 1 'farside detach g1 input 1'
guest_says g1 '^GONE kbd1' 15
host 1 'until_true 10 no_vkb g1'

mark g1
host 1 "for i in $(seq -s ' ' 0 $((many - 1))); do
            xl vkb-attach g1 backend-type=linux unique-id=typist\$i || exit 1
        done" 120
for ((i = 0; i < many; i++)); do
    guest_says g1 "^DEV kbd$i " 20
done
host 1 "until_true 10 connected g1 $((many - 1))"
mark g1
host 1 "for i in $(seq -s ' ' 0 $((many - 1))); do
            farside send typist\$i key \$(printf 0x%x \$((16 + i))) || exit 1
        done" 60
for ((i = 0; i < many; i++)); do
    guest_says g1 "^EV kbd$i KEY $((16 + i)) 0" 10
done
[ "$(guest_count g1 '^EV ')" -eq $((many * 2)) ] ||
    fail "$(guest_count g1 '^EV ') events for $((many * 2))"
# Out of order, and while another one types.
host 1 "for i in $(seq 0 $((many - 1)) | sort -k 1,1 -R --random-source=/dev/zero |
    grep -vx 5 | tr '\n' ' '); do
            xl vkb-detach g1 \$i && farside send typist5 key a || exit 1
        done" 120
for ((i = 0; i < many; i++)); do
    [ $i -eq 5 ] || guest_says g1 "^GONE kbd$i" 20
done
strokes=
for ((i = 1; i < many; i++)); do strokes="$strokes 30:1 30:0"; done
guest_typed g1 kbd5 "21:1 21:0$strokes" 10
guest_lives 1 g1

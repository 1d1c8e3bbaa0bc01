# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# core: pv pvh
# A keyboard that is plugged into borealis types into a guest on atlas.
# shellcheck source=tests/xen/lib/two.sh
. "$LAB_HERE/lib/two.sh"
boot_hosts 2
config_server
config_client 1
farside 2
farside 1
guest 1 g1 "vkb=[$LAB_REMOTE]"
guest_says g1 '^DEV kbd0 ' 10
guest_says g1 '^ABS ptr0 0 0 1024' 5
guest_hears g1 kbd0 20 call_remote
for words in 'from the' 'other machine' 'to this one'; do
    host 2 "play kbd0 'text $words'"
    guest_typed g1 kbd0 "$(keys_of "$words")" 20
done
host 2 "play kbd0 'press leftctrl'; play kbd0 'key c'
        play kbd0 'release leftctrl'"
guest_typed g1 kbd0 '29:1 46:1 46:0 29:0' 10
host 2 "play kbd0 'abs 300 200'"
guest_at g1 ptr0 300 200 10
host 2 "play kbd0 'key btn_right'"
guest_says g1 '^EV ptr0 KEY 273 0' 10
guest_lives 1 g1

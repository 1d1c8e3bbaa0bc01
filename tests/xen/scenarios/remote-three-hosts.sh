# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# core:
# limit: 500
# A keyboard of cygnus types into a stock guest on atlas, which knows only
# borealis: that passes all on, and is killed and comes back meanwhile.
# shellcheck source=tests/xen/lib/two.sh
. "$LAB_HERE/lib/two.sh"
boot_hosts 3
config 3 <<'C'
[platform]
name = cygnus
[listen]
address = 10.0.0.3:7420
psk-file = /etc/farside/psk.keys
[device keyboard]
type = evdev
match-name = Lab kbd0
[export keyboard]
allow = atlas
[relay borealis]
may-carry = atlas
C
config 2 <<'C'
[platform]
name = borealis
[listen]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[server cygnus]
address = 10.0.0.3:7420
psk-file = /etc/farside/psk.keys
[export kbd0]
forward = cygnus/keyboard
allow = atlas
C
# What is typed while the relay is dead may be old when it is back.
config 1 <<'C'
[platform]
name = atlas
stale = off
[server borealis]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
may-reach = cygnus/keyboard
C
# The owner wants the signature of the guest's platform: atlas and cygnus share
# a key, which borealis has not.
printf 'atlas:%064x\n' 4711 >"$LAB_LOGS/h1/key"
host 1 'install -d -o farside /etc/farside/trust /etc/farside/trust/psk
    install -o farside -m 400 /lab/key /etc/farside/trust/psk/server-cygnus'
host 3 'make_input kbd0 -x 1024 -y 768 keys abs'
farside 3
farside 2
farside 1
guest 1 g1 "vkb=[$LAB_REMOTE]"
guest_says g1 '^DEV kbd0 ' 10
call_owner() { host 3 "play kbd0 'key $LAB_CALL'"; }
guest_hears g1 kbd0 20 call_owner
for words in 'from the' 'third machine' 'by the second'; do
    host 3 "play kbd0 'text $words'"
    guest_typed g1 kbd0 "$(keys_of "$words")" 20
done
host 3 "play kbd0 'abs 300 200'"
guest_at g1 ptr0 300 200 10

# The relay holds nothing: what is typed while it is dead comes once.
host 2 'slay netproxy'
host 3 "play kbd0 'text while away'"
nap 1
host 2 'start netproxy'
guest_typed g1 kbd0 "$(keys_of 'while away')" 30
host 2 'slay netproxy; start netproxy'
host 3 "play kbd0 'text and again'"
guest_typed g1 kbd0 "$(keys_of 'and again')" 30

# So does the client's netproxy; and the owner's is asked again.
host 1 'slay netproxy; start netproxy'
host 3 "play kbd0 'text client'"
guest_typed g1 kbd0 "$(keys_of client)" 30
host 3 'slay netproxy; start netproxy'
guest_hears g1 kbd0 30 call_owner
host 3 "play kbd0 'text owner'"
guest_typed g1 kbd0 "$(keys_of owner)" 20
guest_lives 1 g1

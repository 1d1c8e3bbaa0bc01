# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pvh
# core:
# limit: 700
# A guest goes from atlas to cygnus and back while a trace plays on borealis'
# keyboard: every key comes at most once and in order, none stays down, and
# keys come on each side.
# shellcheck source=tests/xen/lib/two.sh
. "$LAB_HERE/lib/two.sh"
boot_hosts 3
config_server
config_client 1
config_client 3
farside 2
farside 1
farside 3
guest 1 g1 "vkb=[$LAB_REMOTE]"
guest_says g1 '^DEV kbd0 ' 10
guest_hears g1 kbd0 20 call_remote
host 2 "play kbd0 'abs 100 100'"
guest_at g1 ptr0 100 100 10

# Another key each 250 ms: a repeat or a swap shows, a gap does not matter
# (what is older than two seconds is not typed).
host 2 "awk 'BEGIN { for (i = 0; i < 2000; i++) {
            printf \"%d press 0x%x\n\", i * 250000, 2 + i % 90
            printf \"%d release 0x%x\n\", i * 250000 + 100000, 2 + i % 90 } }' \\
    >/run/lab/trace
    cat /run/lab/trace >/run/lab/kbd0 &"

# Key events so far: sound, and at least $1 of them.
sound_keys() {
    guest_keys g1 kbd0 | tr ' ' '\n' | awk -F : -v least="$1" '
        NF < 2 { next }
        $2 == 1 {
            if (down) { print "press of " $1 " while " down " is down"; exit }
            step = ($1 - last + 90) % 90
            if (n && step == 0) { print $1 " twice"; exit }
            if (n && step > 80) { print $1 " after " last; exit }
            down = $1; last = $1; n++
        }
        $2 == 0 {
            if (down != $1) { print "release of " $1 ", down is " down; exit }
            down = ""
        }
        END { if (n < least) print "only " n + 0 " keys" }'
}
keys_flow() {
    local n
    n=$(guest_count g1 '^EV kbd0 KEY [0-9]* 1')
    wait_for 60 "keys after $1" more_keys $((n + 8))
}
more_keys() { [ "$(guest_count g1 '^EV kbd0 KEY [0-9]* 1')" -ge "$1" ]; }

keys_flow 'the start'
for way in '1 3' '3 1'; do
    # shellcheck disable=SC2086
    set -- $way
    host "$2" 'socat TCP-LISTEN:4444,reuseaddr EXEC:"xl migrate-receive" \
        >/lab/receive.log 2>&1 &
        sleep 0.5'
    host "$1" "xl migrate -s '' g1 'socat - TCP:10.0.0.$2:4444'" 180
    keys_flow "the way from host $1 to host $2"
    host "$2" 'until_true 10 connected g1 0'
    host_try "$1" 'xl domid g1' && fail "host $1 still has the guest"
    why=$(sound_keys 8)
    [ -z "$why" ] || fail "after the way from host $1 to host $2: $why"
done
# shellcheck disable=SC2016
host 2 'kill "$(cat /run/lab/kbd0.pid)"'
nap 3
why=$(sound_keys 8)
[ -z "$why" ] || fail "at the end: $why"
mark g1
guest_tell 1 g1 held
guest_says g1 '^HELD end' 10
guest_never g1 '^HELD kbd0'
guest_lives 1 g1

# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The words that scenarios are written in: hosts that boot, commands in their
# dom0, guests and what they say. Sourced by lib/one; judging and ordering of
# scenarios is run's. $LAB_LOGS is the scenario's folder, with one folder per
# host (h1, h2, h3) that is /lab in that host's dom0.

LAB_NAMES=(- atlas borealis cygnus)
LAB_HOSTS=0
LAB_QEMU=(- '' '' '')
LAB_SOCAT=(- '' '' '')
exec {LAB_TICK}<> <(:)

nap() { read -r -t "$1" -u "$LAB_TICK" || :; }

fail() {
    local why=$* complaint
    complaint=$(lab_complaint) && why="$why ($complaint)"
    echo "$why" >"$LAB_LOGS/why"
    exit 1
}

step() { printf '%6.1f %s\n' "$(now)" "$*" >>"$LAB_LOGS/steps"; }
now() { awk -v a="$LAB_START" '{ print $1 - a }' /proc/uptime; }

# Seconds in scenarios are those of a quiet machine with two cores; on a busy
# one it takes longer, and is no failure.
LAB_PATIENCE=${LAB_PATIENCE:-3}

# wait_for SECONDS WHAT COMMAND…: until the command succeeds
wait_for() {
    local end=$((SECONDS + $1 * LAB_PATIENCE)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt $end ] || fail "waited in vain for $what"
        lab_alive
        nap 0.1
    done
}

lab_alive() {
    local n
    for ((n = 1; n <= LAB_HOSTS; n++)); do
        [ -n "${LAB_QEMU[n]}" ] || continue
        kill -0 "${LAB_QEMU[n]}" 2>/dev/null ||
            fail "host $n (${LAB_NAMES[n]}) ended: see h$n/dom0.console"
    done
}

# boot_hosts N: N machines with Xen on one network (10.0.0.1 …)
boot_hosts() {
    local n
    LAB_HOSTS=$1
    # The second host listens for the others' network.
    case $1 in
    1) lab_boot 1 ;;
    *)
        lab_boot 2
        for ((n = 1; n <= $1; n++)); do
            [ "$n" != 2 ] || continue
            while [ ! -S "$LAB_LOGS/net$n" ]; do
                lab_alive
                nap 0.1
            done
            lab_boot "$n"
        done
        ;;
    esac
    for ((n = 1; n <= $1; n++)); do
        wait_for 120 "dom0 of host $n" test -e "$LAB_LOGS/h$n/ready"
    done
    step "hosts are up"
}

lab_boot() {
    local n=$1 d=$LAB_LOGS/h$1 net=() cpus=1 address=10.0.0.$1
    mkdir -p "$d/cmd" "$d/console"
    ln -s "$LAB_IMAGES/xen.elf" "$LAB_IMAGES/dom0.cpio" "$d/"
    # Names without a folder: QEMU splits this option at blanks and commas.
    ln -s "$LAB_IMAGES/vmlinux" "$d/kernel"
    cp "$LAB_HERE/dom0/start" "$LAB_HERE/dom0/words" "$d/"
    [ "$LAB_HOSTS" -gt 1 ] || address=
    {
        printf 'LAB_NAME=%q\n' "${LAB_NAMES[n]}"
        printf 'LAB_ADDRESS=%q\n' "$address"
        printf 'LAB_STORE=%q\n' "${LAB_STORE:-xenstored}"
        printf 'LAB_PARTS=%q\n' "$LAB_PARTS"
        printf 'LAB_IMAGES=%q\n' "$LAB_IMAGES"
        printf 'LAB_BUILD=%q\n' "$LAB_BUILD"
        printf 'LAB_SOURCE=%q\n' "$(realpath "$LAB_HERE/../..")"
        printf 'LAB_TYPE=%q\n' "$LAB_TYPE"
    } >"$d/env"
    # shellcheck disable=SC2054
    # Unix sockets in the logs instead of ports: nothing listens outside.
    # The second host is the hub when there are three.
    case $LAB_HOSTS.$n in
    # A PVH guest shares its processor with dom0, which then can't wake it while
    # the guest handles an interrupt: see README.md, "What is the emulator's".
    1.*) [ "$LAB_TYPE" = pvh ] || cpus=2 ;;
    2.1 | 3.1 | 3.3)
        net=(-netdev "stream,id=n,addr.type=unix,addr.path=../net$n")
        ;;
    2.2) net=(-netdev "stream,id=n,server=on,addr.type=unix,addr.path=../net1") ;;
    3.2) net=(-netdev "stream,id=s1,server=on,addr.type=unix,addr.path=../net1"
        -netdev "stream,id=s3,server=on,addr.type=unix,addr.path=../net3"
        -netdev hubport,id=p1,hubid=0,netdev=s1
        -netdev hubport,id=p3,hubid=0,netdev=s3
        -netdev hubport,id=n,hubid=0) ;;
    esac
    [ "$LAB_HOSTS" -eq 1 ] ||
        net+=(-device "virtio-net-pci,netdev=n,mac=52:54:00:00:00:0$n,disable-legacy=on,iommu_platform=on")
    local virtio=disable-legacy=on,iommu_platform=on
    (
        cd "$d" || exit
        exec timeout -k 5 "$LAB_LIMIT" qemu-system-x86_64 \
            -accel tcg,thread=multi -cpu qemu64,+svm,+npt,+rdrand \
            -smp "$cpus" -m "${LAB_MEMORY:-1536}" -nodefaults -display none \
            -no-reboot -serial file:dom0.console \
            -kernel xen.elf \
            -append "console=com1 com1=115200,8n1 dom0_mem=${LAB_DOM0:-768}M,max:${LAB_DOM0:-768}M" \
            -initrd "kernel console=hvc0 panic=1 loglevel=5,dom0.cpio" \
            -fsdev local,id=r,path=/,security_model=none,readonly=on,multidevs=remap \
            -device "virtio-9p-pci,fsdev=r,mount_tag=hostroot,$virtio" \
            -fsdev local,id=l,path=.,security_model=none,multidevs=remap \
            -device "virtio-9p-pci,fsdev=l,mount_tag=lab,$virtio" \
            -chardev socket,id=a,path=agent,server=on,wait=off \
            -device "virtio-serial-pci,$virtio" \
            -device virtserialport,chardev=a,name=lab.agent \
            "${net[@]}" >qemu.log 2>&1 </dev/null 41>&- 42>&- 43>&-
    ) &
    LAB_QEMU[n]=$!
    mkfifo "$d/agent.in"
    # Held open here, so that the agent's line lives as long as this shell.
    eval "exec $((40 + n))<>\"\$d/agent.in\""
    (
        while [ ! -S "$d/agent" ]; do nap 0.1; done
        cd "$d" || exit
        exec socat -u STDIN UNIX-CONNECT:agent
    ) <"$d/agent.in" 2>>"$d/qemu.log" 41>&- 42>&- 43>&- &
    LAB_SOCAT[n]=$!
}

lab_end() {
    local n
    for ((n = 1; n <= 3; n++)); do
        [ -z "${LAB_QEMU[n]}" ] || kill "${LAB_QEMU[n]}" 2>/dev/null || :
        [ -z "${LAB_SOCAT[n]}" ] || kill "${LAB_SOCAT[n]}" 2>/dev/null || :
    done
    wait
}

# host N 'commands' [SECONDS]: runs them in dom0 of host N, prints what they
# print; fails the scenario if they fail. host_try gives their status instead.
host() {
    local rc=0 id
    id=$(host_begin "$1" "$2")
    host_end "$1" "$id" "${3:-60}" || rc=$?
    [ $rc -eq 0 ] || fail "on host $1, exit $rc: ${2//$'\n'/; }: $(tail -n 1 \
        "$LAB_LOGS/h$1/cmd/$id.out" 2>/dev/null)"
}

host_try() {
    local id
    id=$(host_begin "$1" "$2")
    host_end "$1" "$id" "${3:-60}"
}

# host_begin N 'commands': starts them and prints a number for host_end N
# NUMBER SECONDS, which waits for their end.
host_begin() {
    local c=$LAB_LOGS/h$1/cmd id=${EPOCHREALTIME/[.,]/}
    printf '. /lab/words\n%s\n' "$2" >"$c/$id"
    step "host $1: $2"
    echo "$id" >"$LAB_LOGS/h$1/agent.in"
    echo "$id"
}

host_end() {
    local c=$LAB_LOGS/h$1/cmd/$2 end=$((SECONDS + $3 * LAB_PATIENCE))
    until [ -e "$c.rc" ]; do
        lab_alive
        [ $SECONDS -lt $end ] ||
            fail "on host $1, no end in $3 s: $(tail -n +2 "$c" | tr '\n' ';')"
        nap 0.03
    done
    cat "$c.out"
    return "$(cat "$c.rc")"
}

# guest HOST NAME ['xl lines'] [SECONDS]: xl create of a guest of this run's
# kind, and its reader's first words
guest() {
    local d=$LAB_LOGS/h$1
    {
        printf 'name="%s"\ntype="%s"\n' "$2" "$LAB_TYPE"
        printf 'kernel="%s"\nramdisk="%s"\n' "$LAB_IMAGES/vmlinux" \
            "$LAB_IMAGES/guest.cpio.gz"
        printf 'extra="console=hvc0 panic=1 loglevel=5"\n'
        printf 'memory=128\nvcpus=1\non_crash="destroy"\n%s\n' "${3:-}"
    } >"$d/$2.cfg"
    mark "$2"
    host "$1" "xl create /lab/$2.cfg" 60
    guest_says "$2" '^READER ready' "${4:-60}"
}

# The files of a guest's console, on whichever hosts it lived, in that order.
lab_consoles() {
    find "$LAB_LOGS"/h?/console "(" -name "guest-$1.log" -o \
        -name "guest-$1--*.log" ")" -printf '%T@ %p\n' | sort -n |
        cut -d ' ' -f 2-
}

# guest_log NAME: all that the guest printed
guest_log() { lab_consoles "$1" | xargs -r -d '\n' cat | tr -d '\r'; }

# mark NAME: from here on guest_says and guest_new look at later words only
declare -A LAB_MARK
mark() {
    local f
    while read -r f; do
        LAB_MARK[$f]=$(stat -c %s "$f")
    done < <(lab_consoles "$1")
}

guest_new() {
    local f
    lab_consoles "$1" | while read -r f; do
        tail -c "+$((${LAB_MARK[$f]:-0} + 1))" "$f"
    done | tr -d '\r'
}

# No grep -q: it would leave before the others of the pipe are done.
guest_said() { [ "$(guest_new "$1" | grep -Ec -- "$2")" != 0 ]; }

# guest_says NAME REGEX SECONDS: since the mark, or within that time
guest_says() {
    wait_for "$3" "guest $1 to say '$2'" guest_said "$1" "$2"
    step "guest $1 said $2"
}

# guest_never NAME REGEX: it has not said that since the mark
guest_never() {
    ! guest_said "$1" "$2" ||
        fail "guest $1 said '$(guest_new "$1" | grep -E -m 1 -- "$2")'"
}

# guest_count NAME REGEX: how many lines since the mark
guest_count() { guest_new "$1" | grep -Ec -- "$2" || :; }

# guest_tell HOST NAME 'line': types a line at the guest's console
guest_tell() { host "$1" "tell $2 '$3'"; }

# config N: farside.conf of host N, from standard input; with two or more
# hosts all share the keys in psk.keys.
config() {
    cat >"$LAB_LOGS/h$1/farside.conf"
    printf '%s:%064x\n' atlas 4711 borealis 2206 cygnus 815 >"$LAB_LOGS/h$1/psk.keys"
}

# farside N: installs and starts both daemons on host N
farside() { host "$1" 'install_farside && start netproxy && start backend'; }

# keys_of TEXT: what guest_typed sees when that is typed (letters, digits,
# blanks), "code:value …". At most 14 of them at once: Linux keeps 64 events
# (a key makes four) for a reader that is slow to come.
keys_of() {
    local rows=' 1234567890-=..qwertyuiop[]..asdfghjkl;..\\zxcvbnm,./' i c
    for ((i = 0; i < ${#1}; i++)); do
        c=${1:i:1}
        if [ "$c" = ' ' ]; then
            c=57
        else
            c=${rows%%"$c"*}
            c=$((${#c} + 1))
        fi
        printf '%s:1 %s:0 ' "$c" "$c"
    done
}

# A key that no sequence holds: sent until heard, where a test waits for a
# device to be reachable and not for that key.
LAB_CALL=f13
LAB_CALL_CODE=183

# guest_hears GUEST DEVICE SECONDS COMMAND…: repeats the command until the
# guest got a $LAB_CALL from the device; then marks.
guest_hears() {
    local end=$((SECONDS + $3 * LAB_PATIENCE)) guest=$1 device=$2 i
    shift 3
    mark "$guest"
    until guest_said "$guest" "^EV $device KEY $LAB_CALL_CODE 0"; do
        [ $SECONDS -lt $end ] || fail "guest $guest: $device stays deaf"
        "$@"
        for ((i = 0; i < 10; i++)); do
            nap 0.1
            ! guest_said "$guest" "^EV $device KEY $LAB_CALL_CODE 0" || break
        done
    done
    step "guest $guest hears $device"
    mark "$guest"
}

guest_keys() {
    guest_new "$1" | sed -n "s/^EV $2 KEY \\([0-9]*\\) \\([0-9]*\\)\$/\\1:\\2/p" |
        grep -v "^$LAB_CALL_CODE:" | tr '\n' ' ' || :
}

# guest_typed GUEST DEVICE 'code:value …' SECONDS: these key events since the
# mark, each once, in this order, and no other; then marks.
guest_typed() {
    local end=$((SECONDS + $4 * LAB_PATIENCE)) got
    until
        got=$(guest_keys "$1" "$2")
        [ "${got% }" = "${3% }" ]
    do
        [ $SECONDS -lt $end ] ||
            fail "guest $1 got '$got' from $2, not '$3'"
        lab_alive
        nap 0.1
    done
    step "guest $1 got $3 from $2"
    mark "$1"
}

# guest_at GUEST DEVICE X Y SECONDS: the pointer's last place, give or take 2
guest_at() {
    local end=$((SECONDS + $5 * LAB_PATIENCE)) x y
    while :; do
        x=$(guest_new "$1" | sed -n "s/^EV $2 ABS 0 //p" | tail -n 1)
        y=$(guest_new "$1" | sed -n "s/^EV $2 ABS 1 //p" | tail -n 1)
        [ -z "$x" ] || [ -z "$y" ] || [ $((x - $3)) -gt 2 ] ||
            [ $((x - $3)) -lt -2 ] || [ $((y - $4)) -gt 2 ] ||
            [ $((y - $4)) -lt -2 ] || break
        [ $SECONDS -lt $end ] ||
            fail "guest $1: $2 is at '$x' '$y', not at $3 $4"
        lab_alive
        nap 0.1
    done
    step "guest $1: $2 is at $x $y"
    mark "$1"
}

# guest_lives HOST GUEST: it answers, and its kernel did not complain
guest_lives() {
    mark "$2"
    guest_tell "$1" "$2" 'echo alive'
    guest_says "$2" '^SAID alive' 15
    guests_are_sound
}

# A kernel that complained, the guest's or dom0's, fails the scenario, whatever
# else passed.
guests_are_sound() {
    ! lab_complaint >/dev/null || fail 'a kernel complains'
}

LAB_COMPLAINTS='WARNING:|BUG:|Oops|Call Trace|general protection|UBSAN'
LAB_COMPLAINTS+='|unhandled keycode|Kernel panic|unable to handle'
lab_complaint() {
    local f line
    for f in "$LAB_LOGS"/h?/console/guest-*.log "$LAB_LOGS"/h?/dom0.console; do
        [ -e "$f" ] || continue
        line=$(grep -aEm 1 "$LAB_COMPLAINTS" "$f") || continue
        echo "${f#"$LAB_LOGS/"}: $line" | tr -d '\r'
        return 0
    done
    return 1
}

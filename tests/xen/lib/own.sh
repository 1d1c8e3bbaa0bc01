# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the scenarios with Farside's own kinds share: a guest in which programs
# use Farside's frontend over Debian's gntalloc and evtchn, told by lines at
# its console. What they answer stands in the console behind "OWN ".

# own_ramdisk HOST: own.cpio.gz in its folder, the lab's ramdisk with the
# programs, their libraries and the modules behind it
own_ramdisk() {
    local d=$LAB_LOGS/h$1/own version path
    version=$(cd "$LAB_PARTS/boot" && printf "%s\n" vmlinuz-* | sort -V |
        tail -n 1)
    mkdir -p "$d/own"
    for path in "$LAB_BUILD"/tests/frontend/timers \
        "$LAB_BUILD"/tests/frontend/bell \
        "$LAB_BUILD"/tests/frontend/vectors \
        "$LAB_BUILD"/tests/frontend/vchan-peer; do
        cp "$path" "$d/own/" || fail "no $path: build it (make check TESTS=)"
        ldd "$path" | sed -n 's/.*[[:space:]]\(\/[^ ]*\) (.*/\1/p'
        # libxenstore ends its thread when it is closed: that loads this one
        ldconfig -p | sed -n 's/.*libgcc_s.so.1 .*x86-64.* => //p'
    done | sort -u | while read -r path; do
        mkdir -p "$d${path%/*}"
        cp "$path" "$d$path"
    done
    for path in xen-evtchn xen-gntalloc; do
        modprobe -d "$LAB_PARTS" -S "${version#vmlinuz-}" --show-depends "$path"
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | while read -r path; do
        cp "$path" "$d/own/"
        echo "/own/${path##*/}"
    done >"$LAB_LOGS/h$1/order"
    mv "$LAB_LOGS/h$1/order" "$d/own/order"
    # One stream: libxl unpacks a ramdisk, and only the first of several.
    {
        gunzip -c "$LAB_IMAGES/guest.cpio.gz"
        (cd "$d" && find . -mindepth 1 -print0 | LC_ALL=C sort -z |
            cpio --quiet -0 -o -H newc -R 0:0)
    } | gzip -1 >"$LAB_LOGS/h$1/own.cpio.gz"
    rm -rf "$d"
}

# own_guest HOST NAME PROGRAM: a guest in which that program waits for lines
own_guest() {
    guest "$1" "$2" 'ramdisk="/lab/own.cpio.gz"'
    guest_tell "$1" "$2" 'sh for m in $(cat /own/order); do insmod $m; done'
    guest_tell "$1" "$2" 'sh mkfifo /lines'
    guest_tell "$1" "$2" 'sh sleep 100000 >/lines &'
    guest_tell "$1" "$2" \
        "sh /own/$3 </lines 2>&1 | while read -r l; do echo OWN \$l; done &"
    guest_says "$2" '^OWN ok' 30
}

# own HOST NAME 'line' REGEX SECONDS: what the program answers to a line
own() {
    mark "$2"
    guest_tell "$1" "$2" "sh echo \"$3\" >/lines"
    guest_says "$2" "^OWN $4" "$5"
}

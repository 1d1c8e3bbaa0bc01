# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes what the lab boots (Xen as an ELF, the kernel, dom0's and the guest's
# ramdisk, the small static programs) in the cache, and names the folder in
# $LAB_IMAGES. Sourced by run; nothing here starts a machine.

lab_need() {
    local tool missing=
    for tool in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static \
        cpio:cpio depmod:kmod modprobe:kmod socat:socat gcc:gcc \
        xenstore-ls:xenstore-utils flock:util-linux; do
        command -v "${tool%%:*}" >/dev/null || missing="$missing ${tool##*:}"
    done
    [ -z "$missing" ] || {
        echo "tests/xen/run: missing:$missing; install with apt-get" >&2
        return 1
    }
}

# modules ROOT LISTED VERSION FOLDER [NAME]: copies what the listed modules
# need, with a file (order) that says the order to load them in.
lab_modules() {
    local names=$2 version=$3 to=$4 order=${5:-order} name path
    mkdir -p "$to/modules"
    for name in $names; do
        modprobe -d "$1" -S "$version" --show-depends "$name"
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' |
        while read -r path; do
            cp "$path" "$to/modules/"
            echo "/modules/${path##*/}"
        done >"$to/modules/$order"
}

# lab_kernel VMLINUZ TO: the ELF inside; under emulation Xen and libxl take
# seconds to unpack it, each time. As it is where that fails.
lab_kernel() {
    local sectors offset bytes
    sectors=$(od -An -tu1 -j 497 -N 1 "$1")
    offset=$(od -An -tu4 -j 584 -N 4 "$1")
    bytes=$(od -An -tu4 -j 588 -N 4 "$1")
    tail -c "+$(((sectors + 1) * 512 + offset + 1))" "$1" | head -c "$bytes" |
        xz -dc --single-stream >"$2" 2>/dev/null
    [ "$(head -c 4 "$2" | tail -c 3)" = ELF ] || cp "$1" "$2"
}

lab_pack() {
    (cd "$1" && find . -print0 | LC_ALL=C sort -z |
        cpio --quiet -0 -o -H newc -R 0:0)
}

lab_images() {
    local here=$1 cache key tmp version busybox
    LAB_PARTS=$("$here/../../packaging/xen-parts" lab) || return 1
    version=$(cd "$LAB_PARTS/boot" && printf "%s\n" vmlinuz-* | sort -V |
        tail -n 1)
    version=${version#vmlinuz-}
    cache=${FARSIDE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/farside}
    busybox=$(command -v busybox)
    key=$(cat "$here/lib/build.sh" "$here/dom0/init" "$here"/guest/* \
        "$here/lib/pngsame.c" "$here/../backend/picture.h" \
        "$busybox" "$LAB_PARTS/boot/xen-4.17-amd64.gz" \
        "$LAB_PARTS/boot/vmlinuz-$version" | sha256sum | cut -c 1-16)
    LAB_IMAGES=$cache/lab-$key
    export LAB_PARTS LAB_IMAGES
    exec 8>"$cache/lab.lock"
    flock 8
    [ ! -e "$LAB_IMAGES/done" ] || {
        touch "$LAB_IMAGES/done"
        exec 8>&-
        return 0
    }
    # Another tree's may be in use.
    find "$cache" -path "$cache/lab-*/done" -mtime +7 -printf '%h\0' |
        xargs -r0 rm -rf
    rm -rf "$LAB_IMAGES"
    tmp=$LAB_IMAGES
    mkdir -p "$tmp/d0/bin" "$tmp/gu/bin"
    echo "tests/xen/run: building the lab's ramdisks" >&2
    gunzip -c "$LAB_PARTS/boot/xen-4.17-amd64.gz" >"$tmp/xen.elf" &&
        lab_kernel "$LAB_PARTS/boot/vmlinuz-$version" "$tmp/vmlinux" &&
        depmod -b "$LAB_PARTS" "$version" || return 1
    {
        echo '/* names of keys, from linux/input-event-codes.h */'
        sed -n 's/^#define \(\(KEY\|BTN\)_[A-Z0-9_]*\)[[:space:]].*/\1/p' \
            /usr/include/linux/input-event-codes.h |
            grep -v '_CNT$' | sed 's/.*/{"&", &},/'
    } >"$tmp/keynames.h"
    for name in evread mkinput; do
        gcc -std=gnu17 -D_GNU_SOURCE -O2 -static -s -I"$tmp" \
            -o "$tmp/$name" "$here/guest/$name.c" || return 1
    done
    lab_modules "$LAB_PARTS" "virtio_pci 9pnet_virtio 9p overlay virtio_net
        virtio_console xen-evtchn xen-gntdev xen-gntalloc xenfs xen-privcmd
        uinput evdev xen-blkback" "$version" "$tmp/d0"
    gcc -std=gnu17 -D_GNU_SOURCE -O2 -static -s -I"$here/../.." \
        -o "$tmp/drmdraw" "$here/guest/drmdraw.c" &&
        gcc -std=gnu17 -D_GNU_SOURCE -O2 -I"$here/../.." \
            -o "$tmp/pngsame" "$here/lib/pngsame.c" -lpng || return 1
    lab_modules "$LAB_PARTS" "evdev ext4 xen-blkfront" "$version" "$tmp/gu"
    # loaded by those that want it: it takes its time
    lab_modules "$LAB_PARTS" snd_xen_front "$version" "$tmp/gu" sound
    lab_modules "$LAB_PARTS" drm_xen_front "$version" "$tmp/gu" screen
    cp "$busybox" "$tmp/d0/bin/busybox"
    cp "$busybox" "$tmp/evread" "$tmp/drmdraw" "$tmp/gu/bin/"
    cp "$here/dom0/init" "$tmp/d0/init"
    cp "$here/guest/init" "$tmp/gu/init"
    chmod 755 "$tmp/d0/init" "$tmp/gu/init"
    lab_pack "$tmp/d0" >"$tmp/dom0.cpio" || return 1
    lab_pack "$tmp/gu" | gzip -1 >"$tmp/guest.cpio.gz" || return 1
    rm -rf "$tmp/d0" "$tmp/gu"
    : >"$tmp/done"
    exec 8>&-
}

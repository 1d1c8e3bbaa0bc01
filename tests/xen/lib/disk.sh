# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the scenarios with disks share: a guest with fio and e2fsprogs on a
# read-only disk of its own (xvdz, a Farside disk like the others), commands in
# it that succeed or fail the scenario, and fio with verify beside which things
# go wrong.

# libraries_of PROGRAM [FOLDER]: their paths, those of the folder first
libraries_of() {
    LD_LIBRARY_PATH=${2:-} ldd "$1" | sed -n 's/^[^/]*\(\/[^ ]*\) (.*/\1/p'
}

# fio_names FOLDER: fio is linked to the libraries of engines that nobody uses
# here (Ceph's, Gluster's …: 80 MB, which an emulated guest takes a minute to
# load). In their place: their names, with nothing behind.
fio_names() (
    local fio use='(^|/)(ld-linux[^/]*|lib(c|m|z|aio|numa)\.so[^/]*)$'
    fio=$(command -v fio)
    cd "$1" || return
    libraries_of "$fio" | grep -E "$use" | xargs nm -D --defined-only |
        sed -n 's/.* [A-Za-z] \([^@]*\).*/\1/p' | sort -u >have
    nm -D --undefined-only "$fio" | sed -n 's/.* U //p' | tr -s @ ' ' |
        sort -u | awk 'NR == FNR { have[$1]; next } !($1 in have)' have - >lack
    awk '{ print ".globl " $1; print $1 ":" } END { print "hlt" }' lack >names.s
    awk 'NF == 2 { of[$2] = of[$2] " " $1 ";" }
        END { for (v in of) print v " {" of[v] " };" }' lack >versions
    readelf -d "$fio" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' |
        grep -Ev "$use" | while read -r path; do
        gcc -shared -nostdlib -o "$path" \
            -Wl,-soname,"$path",--version-script=versions names.s || exit
    done
    rm -f have lack names.s versions
)

# The image of that disk, made once: this machine's fio and e2fsprogs (or what
# LAB_PROGRAMS says) with their libraries, and what the guest's ramdisk holds, so
# that a copy of it is a root file system, too.
LAB_PROGRAMS='fio mke2fs e2fsck resize2fs'
LAB_WARM='/usr/bin/fio --version && /usr/bin/mke2fs -V 2>&1'
disk_tools() {
    local image tmp path libs=usr/lib/x86_64-linux-gnu
    PATH=$PATH:/usr/sbin:/sbin
    for path in $LAB_PROGRAMS; do
        command -v "$path" >/dev/null ||
            fail "$path is missing: packaging/install-deps lab"
    done
    image=$({
        echo "$LAB_PROGRAMS"
        cat "$LAB_HERE/lib/disk.sh" "$(command -v "${LAB_PROGRAMS%% *}")"
    } | sha256sum)
    image=$LAB_IMAGES/tools-${image:0:16}.img
    LAB_TOOLS=$image
    (
        flock 9
        [ ! -e "$image" ] || exit 0
        tmp=$(mktemp -d "$LAB_IMAGES/tools.XXXXXX")
        mkdir -p "$tmp"/{bin,sbin,dev,proc,sys,tmp,root,mnt,lib64,usr/bin,$libs}
        ln -s usr/lib "$tmp/lib"
        [ "${LAB_PROGRAMS%% *}" != fio ] || fio_names "$tmp/$libs"
        [ "${LAB_PROGRAMS%% *}" != aplay ] || {
            mkdir -p "$tmp/usr/share"
            cp -rL /usr/share/alsa "$tmp/usr/share/"
        }
        for path in $LAB_PROGRAMS; do
            cp -L "$(command -v $path)" "$tmp/usr/bin/"
            libraries_of "$(command -v $path)" "$tmp/$libs"
        done | sort -u | while read -r path; do
            case $path in
            */ld-linux*) cp -L "$path" "$tmp/lib64/" ;;
            *) [ -e "$tmp/$libs/${path##*/}" ] || cp -L "$path" "$tmp/$libs/" ;;
            esac
        done
        gunzip -c "$LAB_IMAGES/guest.cpio.gz" | (cd "$tmp" && cpio --quiet -idu)
        for path in $(busybox --list); do
            [ -e "$tmp/bin/$path" ] || ln -s busybox "$tmp/bin/$path"
        done
        mke2fs -q -t ext4 -O ^has_journal -m 0 -E root_owner=0:0 -L tools \
            -d "$tmp" "$image.tmp" 64M
        rm -rf "$tmp"
        mv "$image.tmp" "$image"
    ) 9>"$image.lock" || fail "the image with fio can't be made"
}

# disk_config N: farside.conf of host N, from standard input, with the tools
disk_config() {
    disk_tools
    {
        cat
        printf '[device tools]\ntype = file\nread-only = yes\npath = %s\n' \
            "$LAB_TOOLS"
    } | config "$1"
}

# disk_config_file N: the same with disk0 and disk1, files; disk0 has 64 MiB,
# disk1 is the scenario's to make longer
disk_config_file() {
    disk_config "$1" <<C
[platform]
name = ${LAB_NAMES[$1]}
[device disk0]
type = file
path = /run/lab/disk0.img
[device disk1]
type = file
path = /run/lab/disk1.img
C
    host "$1" 'mkdir -p /run/lab && cd /run/lab &&
        truncate -s 64M disk0.img && truncate -s 4096 disk1.img'
}

# disk_server: borealis (10.0.0.2) has such a disk0, and serves it to others
disk_server() {
    config 2 <<'C'
[platform]
name = borealis
[listen]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[device disk0]
type = file
path = /run/lab/disk0.img
[export disk0]
allow = atlas cygnus
C
    # the netproxy's user is there before its programs are
    host 2 'mkdir -p /run/lab
        [ -e /run/lab/disk0.img ] || truncate -s 64M /run/lab/disk0.img
        chown farside /run/lab/disk0.img'
}

# disk_client N: atlas is 1, cygnus 3
disk_client() {
    disk_config "$1" <<C
[platform]
name = ${LAB_NAMES[$1]}
[server borealis]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
C
}

# disk_line VDEV ADDRESS [OPTION,…]: a disk as xl writes it
disk_line() {
    echo "\"vdev=$1,access=rw,${3:+$3,}script=block-farside,target=$2\""
}

# disk_guest HOST NAME 'disk lines, commas between' ['other xl lines']
disk_guest() {
    guest "$1" "$2" "memory=192
disk=[${3:+$3,}\"vdev=xvdz,access=ro,script=block-farside,target=tools\"]
${4:-}"
    guest_sh "$1" "$2" 'until [ -b /dev/xvdz ]; do sleep 0.2; done' 60
    guest_sh "$1" "$2" 'mkdir -p /tools && mount -t ext4 -o ro /dev/xvdz /tools' 30
    guest_sh "$1" "$2" 'for d in lib lib64 usr; do ln -s /tools/$d /$d; done'
    # Read once, so that later no program waits for the disk it is on.
    guest_sh "$1" "$2" "$LAB_WARM" 60
}

# guest_sh HOST NAME 'command' [SECONDS]: its end with status 0
guest_sh() {
    mark "$2"
    guest_tell "$1" "$2" "sh $3"
    wait_for "${4:-30}" "guest $2's end of '$3'" guest_said "$2" '^SH [-0-9]+'
    guest_said "$2" '^SH 0' || fail "guest $2: '$3' failed: $(guest_new "$2" |
        grep -v '^SH ' | tail -n 1)"
}

# guest_disk_there HOST NAME DISK SECTORS [SECONDS]
guest_disk_there() {
    guest_sh "$1" "$2" \
        "until [ \"\$(cat /sys/block/$3/size 2>/dev/null)\" = $4 ]; do sleep 0.2; done" \
        "${5:-60}"
}

# A file system is made, mounted, filled under fio's checks, checked by fsck
# after it was unmounted. disk_use HOST NAME DISK
disk_use() {
    guest_sh "$1" "$2" "/usr/bin/mke2fs -q -t ext4 /dev/$3" 60
    guest_sh "$1" "$2" "mkdir -p /mnt && mount -t ext4 /dev/$3 /mnt"
    guest_sh "$1" "$2" "/usr/bin/fio --name=small --filename=/mnt/small \
$FIO --bs=4k --size=2m --rw=randrw" 120
    guest_sh "$1" "$2" "/usr/bin/fio --name=large --filename=/mnt/large \
$FIO --bs=128k --size=8m --rw=write" 120
    guest_sh "$1" "$2" "umount /mnt"
    guest_sh "$1" "$2" "/usr/bin/e2fsck -fn /dev/$3" 60
}
FIO='--ioengine=libaio --direct=1 --iodepth=16 --verify=crc32c
--verify_fatal=1 --end_fsync=1 --eta=never --minimal --output=/fio.out'
FIO=${FIO//$'\n'/ }

# disk_sound NAME: its kernel never saw anything wrong with a disk
disk_sound() {
    ! guest_log "$1" | grep -Em 1 "$DISK_COMPLAINTS" ||
        fail "guest $1 complains of its disk: $(guest_log "$1" |
            grep -Em 1 "$DISK_COMPLAINTS")"
}
DISK_COMPLAINTS='op failed|I/O error|EXT4-fs error|EXT4-fs warning|blkfront:.*bad'

# fio writes blocks and checks them again, round by round until it is told to
# stop, while the scenario does its worst. fio_begin HOST NAME DISK|FILE
fio_begin() {
    local on=$3
    [ -z "${on##/*}" ] || on=/dev/$on
    mark "$2"
    guest_tell "$1" "$2" "sh (rm -f /stop; until [ -e /stop ]; do \
/usr/bin/fio --name=load --filename=$on $FIO --size=32m --bs=4k \
--rw=randwrite --verify_backlog=64 --time_based --runtime=10 || break; \
done; [ -e /stop ]; echo FIO \$?) &"
    guest_says "$2" '^SH 0' 20
    nap 5
}

# fio_goes_on HOST [SECONDS]: the disk there gets new requests, some of which
# were made after this was called
fio_goes_on() {
    local before
    before=$(disk_written "$1")
    wait_for "${2:-60}" "fio to go on" disk_wrote_more "$1" $((before + 100))
}
disk_written() {
    host "$1" 'farside status --json' | sed -n 's/^.*"writes": *\([0-9]*\).*/\1/p' |
        awk '{ n += $1 } END { print n + 0 }'
}
disk_wrote_more() { [ "$(disk_written "$1")" -ge "$2" ]; }

# fio_end HOST NAME: the round under way is the last one; judges
fio_end() {
    ! guest_said "$2" '^FIO' || fail "guest $2's fio ended too early: \
$(guest_new "$2" | grep -v '^SH ' | tail -n 2 | head -n 1)"
    # without a mark: what fio said since its beginning counts
    guest_tell "$1" "$2" "sh : >/stop"
    guest_says "$2" '^FIO ' 90
    guest_says "$2" '^FIO 0' 1
    guest_never "$2" 'I/O error|verify:|Buffer I/O'
}

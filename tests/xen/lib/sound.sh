# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the scenarios with sound share: a guest with Debian's snd_xen_front and
# alsa-utils, a known signal, and what is to be in the file at the other end.
# shellcheck source=tests/xen/lib/disk.sh
. "$LAB_HERE/lib/disk.sh"
LAB_PROGRAMS='aplay arecord'
LAB_WARM='/usr/bin/aplay --version'

# The signal: the beginning of a program that both sides have. Three seconds.
SIGNAL_BYTES=576000
SIGNAL="head -c $SIGNAL_BYTES /bin/busybox"
PCM='-q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2'

# sound_server: borealis (10.0.0.2) has such a wav0, and serves it to others
sound_server() {
    config 2 <<'C'
[platform]
name = borealis
[listen]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[device wav0]
type = wav
path = /run/lab/wav0.wav
[export wav0]
allow = atlas
C
    host 2 'mkdir -p /run/lab && : >/run/lab/wav0.wav
        chown farside /run/lab/wav0.wav'
}

# sound_local: atlas has it itself
sound_local() {
    disk_config 1 <<'C'
[platform]
name = atlas
[device wav0]
type = wav
path = /run/lab/wav0.wav
C
    host 1 'mkdir -p /run/lab'
}

# sound_guest HOST NAME ADDRESS: its card 0 plays into that device and records
# from it
sound_guest() {
    disk_guest "$1" "$2" '' "vsnd=[['card, short-name=Main, sample-rates=48000,\
 sample-formats=s16_le, channels-min=1, channels-max=2, buffer-size=65536',\
'pcm, name=Main','stream, unique-id=$3, type=p','stream, unique-id=$3, type=c']]"
    guest_sh "$1" "$2" 'while read -r m; do insmod $m; done </modules/sound' 60
    guest_sh "$1" "$2" 'until [ -c /dev/snd/pcmC0D0p ]; do sleep 0.2; done' 60
    guest_sh "$1" "$2" "$SIGNAL >/signal"
}

# sound_plays HOST NAME: the signal, to its end
sound_plays() {
    guest_sh "$1" "$2" "/usr/bin/aplay $PCM /signal" 60
}

# sound_played HOST [TIMES]: the file there holds it, so often; behind each only
# what fills aplay's last period
sound_played() {
    host "$1" "$SIGNAL >/run/lab/signal
        tail -c +45 /run/lab/wav0.wav | head -c $SIGNAL_BYTES |
            cmp - /run/lab/signal"
    host "$1" "[ \$(stat -c %s /run/lab/wav0.wav) -lt \
$((44 + ${2:-1} * (SIGNAL_BYTES + 65536))) ]"
}

# sound_records HOST NAME: two seconds of what is in the file
sound_records() {
    guest_sh "$1" "$2" "/usr/bin/arecord $PCM -d 2 /recorded" 60
    guest_sh "$1" "$2" 'head -c 384000 /signal | cmp - /recorded'
}

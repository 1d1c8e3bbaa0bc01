# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the scenarios with screens share: a guest with Debian's drm_xen_front and
# a DRM client that draws known pictures, and what is to be seen of them.

# screen_guest HOST NAME CONNECTORS ['xl lines']: its client is ready
screen_guest() {
    guest "$1" "$2" "vdispl=['connectors=$3']
${4:-}"
    guest_tell "$1" "$2" 'sh while read -r m; do insmod $m; done </modules/screen'
    guest_tell "$1" "$2" 'sh drmdraw /pictures &'
    guest_says "$2" '^DRM 0 [0-9]+x[0-9]+' 60
}

# screen_draws HOST NAME FIRST LAST: these pictures, one flip each
screen_draws() {
    mark "$2"
    guest_tell "$1" "$2" "sh echo $3 $4 >/pictures"
    guest_says "$2" "^DRM 0 shows $4 " 60
    guest_never "$2" '^DRM error'
}

screen_same() {
    host_try "$1" "rm -f /lab/shot.png; farside screenshot $2 /lab/shot.png" \
        >/dev/null 2>&1 &&
        "$LAB_IMAGES/pngsame" "$LAB_LOGS/h$1/shot.png" "$3" "$4" "$5" \
            >"$LAB_LOGS/pngsame"
}

# screen_shows HOST GUEST[/CONNECTOR] SEED WIDTH HEIGHT SECONDS
screen_shows() {
    wait_for "$6" "picture $3 of $2 on host $1" screen_same "$1" "$2" "$3" \
        "$4" "$5"
    step "host $1 shows picture $3 of $2, pixel by pixel"
}

# screen_config_server: borealis (10.0.0.2) has a screen for atlas
screen_config_server() {
    config 2 <<'C'
[platform]
name = borealis
[listen]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[device screen0]
type = screen
[export screen0]
allow = atlas
C
}

screen_config_client() {
    config 1 <<'C'
[platform]
name = atlas
[server borealis]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[device screen0]
type = screen
[device screen1]
type = screen
C
}

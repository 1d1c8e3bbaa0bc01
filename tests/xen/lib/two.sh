# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the scenarios with a remote keyboard share: borealis (10.0.0.2) serves
# a real evdev device, the others reach it as borealis/kbd0.

config_server() {
    config 2 <<'C'
[platform]
name = borealis
[listen]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[device kbd0]
type = evdev
match-name = Lab kbd0
[export kbd0]
allow = atlas cygnus
C
    host 2 'make_input kbd0 -x 1024 -y 768 keys abs'
}

# config_client N: atlas is 1, cygnus 3
config_client() {
    config "$1" <<C
[platform]
name = ${LAB_NAMES[$1]}
[server borealis]
address = 10.0.0.2:7420
psk-file = /etc/farside/psk.keys
[device typist]
type = virtual
C
}

LAB_REMOTE='"backend-type=linux,unique-id=borealis/kbd0,feature-abs-pointer=1,width=1024,height=768"'

call_remote() { host 2 "play kbd0 'key $LAB_CALL'"; }

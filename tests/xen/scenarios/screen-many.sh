# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# core:
# Two connectors of a guest, each with its own size and its own pictures.
# shellcheck source=tests/xen/lib/screen.sh
. "$LAB_HERE/lib/screen.sh"
boot_hosts 1
screen_config_client
farside 1
screen_guest 1 g1 'screen0:1280x800;screen1:1024x768'
screen_draws 1 g1 1 10
guest_says g1 '^DRM 1 shows 1010 ' 30
screen_shows 1 g1/0 10 1280 800 10
screen_shows 1 g1/1 1010 1024 768 10
guest_lives 1 g1

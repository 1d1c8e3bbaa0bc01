# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# core:
# The same, with the screen at another platform: the PNG is made there.
# shellcheck source=tests/xen/lib/screen.sh
. "$LAB_HERE/lib/screen.sh"
boot_hosts 2
screen_config_server
screen_config_client
farside 2
farside 1
screen_guest 1 g1 borealis/screen0:1280x800
screen_draws 1 g1 1 20
screen_shows 2 g1 20 1280 800 20
screen_draws 1 g1 30 33
screen_shows 2 g1 33 1280 800 20
guest_lives 1 g1

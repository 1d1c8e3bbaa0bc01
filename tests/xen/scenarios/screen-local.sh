# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# core:
# A DRM client in a stock guest draws known pictures with page flips; what
# farside screenshot shows is equal to them, pixel by pixel.
# shellcheck source=tests/xen/lib/screen.sh
. "$LAB_HERE/lib/screen.sh"
boot_hosts 1
screen_config_client
farside 1
screen_guest 1 g1 screen0:1280x800
screen_draws 1 g1 1 20
screen_shows 1 g1 20 1280 800 10
screen_draws 1 g1 30 33
screen_shows 1 g1/0 33 1280 800 10
guest_lives 1 g1

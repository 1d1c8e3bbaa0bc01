# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# core:
# The backend, then either netproxy, is killed under a DRM client: it goes on
# drawing, and is seen.
# shellcheck source=tests/xen/lib/screen.sh
. "$LAB_HERE/lib/screen.sh"
boot_hosts 2
screen_config_server
screen_config_client
farside 2
farside 1
screen_guest 1 g1 borealis/screen0:800x600
screen_draws 1 g1 1 5
screen_shows 2 g1 5 800 600 20
host 1 'slay backend; start backend'
screen_draws 1 g1 11 15
screen_shows 2 g1 15 800 600 20
host 1 'slay netproxy; start netproxy'
screen_draws 1 g1 21 25
screen_shows 2 g1 25 800 600 30
host 2 'slay netproxy; start netproxy'
screen_draws 1 g1 31 35
screen_shows 2 g1 35 800 600 30
guest_lives 1 g1

# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# A guest of each kind boots and speaks; the lab itself works.
boot_hosts 1
guest 1 g1
guest_tell 1 g1 'echo hello'
guest_says g1 '^SAID hello' 10

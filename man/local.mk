# SPDX-License-Identifier: GPL-2.0-or-later
# The programs' pages are listed by the rooms of the programs.
dist_man_MANS += man/farside.conf.5 man/farside-block.7 \
	man/farside-display.7 man/farside-sound.7 man/farside-probes.7

# SPDX-License-Identifier: GPL-2.0-or-later
EXTRA_DIST += docs/PROTOCOL.md docs/OUTSIDE.md docs/TIMER.md docs/DOORBELL.md docs/INTC.md \
	docs/STREAM.md docs/DIRECTORY.md

# SPDX-License-Identifier: GPL-2.0-or-later
# The lab builds what it boots by itself; here it is only shipped.
EXTRA_DIST += tests/xen/README.md tests/xen/run tests/xen/dom0 \
	tests/xen/guest tests/xen/lib tests/xen/scenarios

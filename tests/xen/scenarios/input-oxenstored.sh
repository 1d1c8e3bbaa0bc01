# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv
# The local scenario on the store daemon that Debian starts.
# shellcheck disable=SC2034
LAB_STORE=oxenstored
# shellcheck source=tests/xen/scenarios/input-local.sh
. "$LAB_HERE/scenarios/input-local.sh"
# shellcheck disable=SC2016
host 1 'grep -q oxenstored "/proc/$(cat /run/xen/xenstored.pid)/cmdline"'

# SPDX-License-Identifier: GPL-2.0-or-later
# The lab builds what it boots by itself; here it is only shipped.
EXTRA_DIST += tests/xen/README.md tests/xen/run tests/xen/dom0 \
	tests/xen/guest tests/xen/lib tests/xen/scenarios
EXTRA_DIST += tests/xen/README.md tests/xen/run \
	tests/xen/lib/build.sh tests/xen/lib/lab.sh tests/xen/lib/one \
	tests/xen/lib/disk.sh tests/xen/lib/sound.sh \
	tests/xen/lib/own.sh tests/xen/lib/two.sh \
	tests/xen/lib/screen.sh tests/xen/lib/pngsame.c \
	tests/xen/guest/drmdraw.c \
	tests/xen/scenarios/screen-local.sh \
	tests/xen/scenarios/screen-many.sh \
	tests/xen/scenarios/screen-remote.sh \
	tests/xen/scenarios/screen-restart.sh \
	tests/xen/dom0/init tests/xen/dom0/start tests/xen/dom0/words \
	tests/xen/guest/init tests/xen/guest/evread.c \
	tests/xen/guest/mkinput.c \
	tests/xen/scenarios/boot-server-away.sh \
	tests/xen/scenarios/doorbell.sh \
	tests/xen/scenarios/intc.sh \
	tests/xen/scenarios/interrupt-other-guest.sh \
	tests/xen/scenarios/own-kinds-reboot.sh \
	tests/xen/scenarios/remote-three-hosts.sh \
	tests/xen/scenarios/timer.sh \
	tests/xen/scenarios/stream.sh \
	tests/xen/scenarios/disk-link-loss.sh \
	tests/xen/scenarios/disk-local.sh \
	tests/xen/scenarios/disk-restart.sh \
	tests/xen/scenarios/disk-hotplug.sh \
	tests/xen/scenarios/disk-resize.sh \
	tests/xen/scenarios/disk-root.sh \
	tests/xen/scenarios/disk-save-restore.sh \
	tests/xen/scenarios/boot.sh tests/xen/scenarios/input-absent.sh \
	tests/xen/scenarios/hotplug-far.sh tests/xen/scenarios/input-hotplug.sh \
	tests/xen/scenarios/input-local.sh \
	tests/xen/scenarios/input-migrate.sh \
	tests/xen/scenarios/input-oops.sh \
	tests/xen/scenarios/input-oxenstored.sh \
	tests/xen/scenarios/input-remote.sh \
	tests/xen/scenarios/input-restart.sh \
	tests/xen/scenarios/input-save-restore.sh \
	tests/xen/scenarios/sound-local.sh \
	tests/xen/scenarios/sound-remote.sh

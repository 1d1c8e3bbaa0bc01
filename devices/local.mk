# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LIBRARIES += devices/libdevices.a

devices_libdevices_a_SOURCES = \
	devices/device.c devices/device.h \
	devices/fast-input.c \
	devices/feed-json.c devices/feed-json.h \
	devices/input-queue.c devices/input-queue.h \
	devices/input-source.c devices/input-source.h \
	devices/local-client.c devices/local-server.c devices/local-server.h \
	devices/key-names.c \
	devices/types.c devices/types.h \
	devices/virtual.c \
	devices/words.c devices/words.h

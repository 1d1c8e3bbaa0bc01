# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LIBRARIES += xenbus/libxenbus.a
xenbus_libxenbus_a_SOURCES = \
	xenbus/evtchn.c xenbus/evtchn.h \
	xenbus/grant.c xenbus/grant.h \
	xenbus/handshake.c xenbus/handshake.h \
	xenbus/kbd-ring.c xenbus/kbd-ring.h \
	xenbus/xs.c xenbus/xs.h

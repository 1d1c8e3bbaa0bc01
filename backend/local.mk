# SPDX-License-Identifier: GPL-2.0-or-later
sbin_PROGRAMS += farside-backend

# Everything but main(), for tests.
noinst_LIBRARIES += backend/libbackend.a
backend_libbackend_a_SOURCES = \
	backend/backend.h \
	backend/control.c \
	backend/hotplug.c \
	backend/journal.c backend/journal.h \
	backend/port-input.c \
	backend/port-input-checks.c backend/port-input-checks.h
backend/port-input.$(OBJEXT): xenstore-schema/schema.h

farside_backend_SOURCES = backend/main.c
farside_backend_LDADD = backend/libbackend.a devices/libdevices.a \
	xenbus/libxenbus.a xenstore-schema/libschema.a core/libcore.a \
	$(XEN_LIBS) $(JANSSON_LIBS) $(EVDEV_LIBS)

# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LIBRARIES += xenbus/libxenbus.a
xenbus_libxenbus_a_SOURCES = \
	xenbus/evtchn.c xenbus/evtchn.h \
	xenbus/grant.c xenbus/grant.h \
	xenbus/handshake.c xenbus/handshake.h \
	xenbus/kbd-ring.c xenbus/kbd-ring.h xenbus/ring.h \
	xenbus/xs.c xenbus/xs.h

if HAVE_CHECK
check_PROGRAMS += tests/xenbus/test-kbd-ring tests/xenbus/test-schema
TESTS += tests/xenbus/test-kbd-ring tests/xenbus/test-schema
tests_xenbus_test_kbd_ring_SOURCES = tests/xenbus/test-kbd-ring.c
tests_xenbus_test_kbd_ring_LDADD = xenbus/libxenbus.a $(CHECK_LIBS)
tests_xenbus_test_schema_SOURCES = tests/xenbus/test-schema.c
tests_xenbus_test_schema_LDADD = xenstore-schema/libschema.a \
	xenbus/libxenbus.a core/libcore.a $(XEN_LIBS) $(CHECK_LIBS)
$(tests_xenbus_test_schema_OBJECTS): xenstore-schema/schema.h

# In dom0 of a simulated host, with a guest's process that does as it is told.
check_PROGRAMS += tests/xenbus/puppet tests/xenbus/test-sim-xenbus
TESTS += tests/xenbus/sim-xenbus.test
tests_xenbus_puppet_SOURCES = tests/xenbus/puppet.c
tests_xenbus_puppet_LDADD = xenbus/libxenbus.a core/libcore.a $(XEN_LIBS)
tests_xenbus_test_sim_xenbus_SOURCES = tests/xenbus/test-sim-xenbus.c \
	tests/xenbus/puppeteer.c tests/xenbus/puppet.h
tests_xenbus_test_sim_xenbus_LDADD = xenbus/libxenbus.a core/libcore.a \
	$(XEN_LIBS) $(CHECK_LIBS)
endif
EXTRA_DIST += tests/xenbus/on-sim tests/xenbus/sim-xenbus.test

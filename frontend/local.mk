# SPDX-License-Identifier: GPL-2.0-or-later
# The library's objects, once: into the shared library, into the program (which
# a guest can then run without the library) and into tests.
noinst_LTLIBRARIES += frontend/libfront.la
frontend_libfront_la_SOURCES = \
	core/clock.h \
	core/loop.c core/loop.h \
	frontend/blk.c frontend/blk.h \
	frontend/client.c frontend/farside-client.h \
	frontend/displ.c frontend/displ.h \
	frontend/event-check.c \
	frontend/farside-frontend.h \
	frontend/frontend.c \
	frontend/doorbell.c \
	frontend/intc.c \
	frontend/kbd.c frontend/kbd.h \
	frontend/own.c frontend/own.h \
	frontend/snd.c frontend/snd.h \
	frontend/step.c frontend/step.h \
	frontend/timer.c \
	xenbus/evtchn.c xenbus/evtchn.h \
	xenbus/grant.c xenbus/grant.h \
	xenbus/handshake.c xenbus/handshake.h \
	xenbus/kbd-ring.c xenbus/kbd-ring.h xenbus/ring.h \
	xenbus/xs.c xenbus/xs.h \
	xenstore-schema/schema-read.c xenstore-schema/schema-read.h
nodist_frontend_libfront_la_SOURCES = \
	xenstore-schema/schema.c xenstore-schema/schema.h
# Flags of its own: the same files are built without libtool elsewhere.
frontend_libfront_la_CFLAGS = $(AM_CFLAGS)
frontend_libfront_la_LIBADD = $(XEN_LIBS)

lib_LTLIBRARIES += frontend/libfarside-frontend.la
frontend_libfarside_frontend_la_SOURCES =
frontend_libfarside_frontend_la_LIBADD = frontend/libfront.la
frontend_libfarside_frontend_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 \
	-no-undefined -export-symbols-regex '^far_frontend_'
include_HEADERS += frontend/farside-frontend.h frontend/farside-client.h
dist_man_MANS += man/farside-frontend.1 man/libfarside-frontend.3

# libxenvchan's calls, by Xen's header.
if HAVE_VCHAN
noinst_LTLIBRARIES += frontend/libvchan.la
frontend_libvchan_la_SOURCES = frontend/stream.c frontend/stream.h \
	frontend/vchan.c
frontend_libvchan_la_CFLAGS = $(AM_CFLAGS) $(VCHAN_CFLAGS)
frontend_libvchan_la_LIBADD = frontend/libfront.la
lib_LTLIBRARIES += frontend/libfarside-vchan.la
frontend_libfarside_vchan_la_SOURCES =
frontend_libfarside_vchan_la_LIBADD = frontend/libvchan.la
frontend_libfarside_vchan_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 \
	-no-undefined -export-symbols-regex '^libxenvchan_'
nodist_pkgconfig_DATA += frontend/farside-vchan.pc
dist_man_MANS += man/libfarside-vchan.3
CLEANFILES += frontend/farside-vchan.pc
frontend/farside-vchan.pc: frontend/farside-vchan.pc.in Makefile
	$(AM_V_GEN)$(MKDIR_P) frontend && $(SED) -e 's|@prefix[@]|$(prefix)|g' \
		-e 's|@libdir[@]|$(libdir)|g' \
		-e 's|@VERSION[@]|$(VERSION)|g' \
		$(srcdir)/frontend/farside-vchan.pc.in >$@.tmp && mv $@.tmp $@
endif

bin_PROGRAMS += frontend/farside-frontend
frontend_farside_frontend_SOURCES = \
	frontend/main.c \
	frontend/nbd.c frontend/nbd.h \
	frontend/socket.c frontend/socket.h \
	frontend/uinput.c frontend/uinput.h
frontend_farside_frontend_LDADD = frontend/libfront.la $(XEN_LIBS) \
	$(EVDEV_LIBS)

$(frontend_libfront_la_OBJECTS): xenstore-schema/schema.h
$(frontend_libvchan_la_OBJECTS): xenstore-schema/schema.h

if HAVE_CHECK
check_PROGRAMS += tests/frontend/test-step
TESTS += tests/frontend/test-step
tests_frontend_test_step_SOURCES = tests/frontend/test-step.c
tests_frontend_test_step_LDADD = frontend/libfront.la $(XEN_LIBS) \
	$(CHECK_LIBS)

# In dom0 of a simulated host, as the backend of farside-frontend in a guest.
check_PROGRAMS += tests/frontend/timers tests/frontend/bell tests/frontend/client tests/frontend/vectors tests/frontend/cycle tests/frontend/test-sim-frontend
tests_frontend_client_SOURCES = tests/frontend/client.c
tests_frontend_client_LDADD = frontend/libfront.la $(XEN_LIBS)
tests_frontend_bell_SOURCES = tests/frontend/bell.c
tests_frontend_bell_LDADD = frontend/libfront.la $(XEN_LIBS)
tests_frontend_vectors_SOURCES = tests/frontend/vectors.c
tests_frontend_vectors_LDADD = frontend/libfront.la $(XEN_LIBS)
tests_frontend_timers_SOURCES = tests/frontend/timers.c
tests_frontend_timers_LDADD = frontend/libfront.la $(XEN_LIBS)
if HAVE_VCHAN
check_PROGRAMS += tests/frontend/vchan-peer tests/frontend/vchan-peer-xen \
	tests/frontend/vchan-echo
tests_frontend_vchan_echo_SOURCES = tests/sim/vchan_echo.c
tests_frontend_vchan_echo_LDADD = frontend/libvchan.la $(XEN_LIBS)
tests_frontend_vchan_peer_SOURCES = tests/frontend/vchan-peer.c
tests_frontend_vchan_peer_LDADD = frontend/libvchan.la $(XEN_LIBS)
tests_frontend_vchan_peer_xen_SOURCES = tests/frontend/vchan-peer.c
tests_frontend_vchan_peer_xen_LDADD = $(VCHAN_LIBS)
endif
tests_frontend_cycle_SOURCES = tests/frontend/cycle.c
tests_frontend_cycle_LDADD = frontend/libfront.la $(XEN_LIBS)
TESTS += tests/frontend/sim-frontend.test
tests_frontend_test_sim_frontend_SOURCES = tests/frontend/test-sim-frontend.c \
	tests/xenbus/puppeteer.c tests/xenbus/puppet.h
tests_frontend_test_sim_frontend_LDADD = xenbus/libxenbus.a core/libcore.a \
	$(XEN_LIBS) $(CHECK_LIBS)
endif
EXTRA_DIST += frontend/farside-vchan.pc.in tests/frontend/sim-frontend.test

# SPDX-License-Identifier: GPL-2.0-or-later
sbin_PROGRAMS += farside-backend

# Everything but main(), for tests.
noinst_LIBRARIES += backend/libbackend.a
backend_libbackend_a_SOURCES = \
	backend/backend.h \
	backend/chain.c backend/chain.h \
	backend/clock.c backend/clock.h \
	backend/control.c \
	backend/grant-cache.c backend/grant-cache.h \
	backend/hotplug.c \
	backend/journal.c backend/journal.h \
	backend/kept.c backend/kept.h \
	backend/line.c backend/line.h \
	backend/notify.c backend/notify.h \
	backend/own.h backend/own-nodes.c backend/own-port.c \
	backend/page-directory.c backend/page-directory.h \
	backend/port-doorbell.c \
	backend/port-intc.c \
	backend/port-intc-checks.c backend/port-intc-checks.h \
	backend/port-stream.c \
	backend/port-stream-checks.c backend/port-stream-checks.h \
	backend/port-input.c \
	backend/port-timer.c \
	backend/port-timer-checks.c backend/port-timer-checks.h \
	backend/port-input-checks.c backend/port-input-checks.h \
	backend/port-vdispl.c backend/port-vdispl.h \
	backend/port-vdispl-buffers.c \
	backend/port-vdispl-checks.c backend/port-vdispl-checks.h \
	backend/port-vdispl-nodes.c \
	backend/port-vbd.c backend/port-vbd.h \
	backend/port-vbd-checks.c backend/port-vbd-checks.h \
	backend/port-vbd-journal.c backend/port-vbd-journal.h \
	backend/port-vbd-nodes.c \
	backend/port-vsnd.c backend/port-vsnd.h \
	backend/port-vsnd-checks.c backend/port-vsnd-checks.h \
	backend/port-vsnd-nodes.c \
	backend/wish.c backend/wish.h
backend/port-vbd-nodes.$(OBJEXT): xenstore-schema/schema.h
backend/port-vsnd.$(OBJEXT): xenstore-schema/schema.h
backend/port-vsnd-checks.$(OBJEXT) backend/port-vsnd-nodes.$(OBJEXT): xenstore-schema/schema.h
backend/port-vdispl-nodes.$(OBJEXT): xenstore-schema/schema.h
backend/port-input.$(OBJEXT): xenstore-schema/schema.h
backend/own-port.$(OBJEXT) backend/own-nodes.$(OBJEXT): xenstore-schema/schema.h
backend/port-doorbell.$(OBJEXT) backend/port-intc.$(OBJEXT): xenstore-schema/schema.h
backend/port-stream.$(OBJEXT): xenstore-schema/schema.h
backend/port-timer.$(OBJEXT) backend/hotplug.$(OBJEXT): xenstore-schema/schema.h
backend/main.$(OBJEXT) backend/control.$(OBJEXT): xenstore-schema/schema.h

farside_backend_SOURCES = backend/main.c
farside_backend_LDADD = backend/libbackend.a devices/libdevices.a \
	xenbus/libxenbus.a xenstore-schema/libschema.a core/libcore.a \
	$(XEN_LIBS) $(JANSSON_LIBS) $(DEVICES_LIBS)

if HAVE_CHECK
backend_tests = tests/backend/test-handshake \
	tests/backend/test-input-checks \
	tests/backend/test-journal \
	tests/backend/test-kept \
	tests/backend/test-backend tests/backend/test-notify \
	tests/backend/test-line tests/backend/test-name \
	tests/backend/test-interrupt-relay \
	tests/backend/test-intc-checks tests/backend/test-intc \
	tests/backend/test-own-far \
	tests/backend/test-guest-socket \
	tests/backend/test-own \
	tests/backend/test-stream-checks \
	tests/backend/test-timer-checks \
	tests/backend/test-vbd-checks \
	tests/backend/test-vbd \
	tests/backend/test-vbd-far \
	tests/backend/test-vsnd tests/backend/test-vsnd-far \
	tests/backend/test-wish
if HAVE_VCHAN
backend_tests += tests/backend/test-stream tests/backend/test-stream-far
endif
if HAVE_LIBPNG
backend_tests += tests/backend/test-vdispl tests/backend/test-vdispl-far
check_PROGRAMS += tests/backend/displguest
endif
if HAVE_LIBVNCSERVER
if HAVE_LIBVNCCLIENT
backend_tests += tests/backend/test-vnc
endif
endif
if HAVE_LIBNBD
backend_tests += tests/backend/test-vbd-nbd tests/backend/test-vbd-export
endif
if HAVE_LIBRBD
# not among those of `make check`: it needs a cluster (tests/ceph/run)
check_PROGRAMS += tests/backend/test-vbd-rbd
endif
check_PROGRAMS += $(backend_tests) tests/backend/front tests/backend/blkguest \
	tests/backend/sndguest \
	tests/backend/wild-lines
TESTS += $(backend_tests)
endif
backend_test_libs = backend/libbackend.a devices/libdevices.a \
	xenbus/libxenbus.a xenstore-schema/libschema.a core/libcore.a \
	$(CHECK_LIBS) $(XEN_LIBS) $(JANSSON_LIBS) $(DEVICES_LIBS)
tests_backend_test_handshake_SOURCES = tests/backend/test-handshake.c \
	tests/core/suite.h
tests_backend_test_handshake_LDADD = $(backend_test_libs)
tests_backend_test_input_checks_SOURCES = tests/backend/test-input-checks.c \
	tests/core/suite.h
tests_backend_test_input_checks_LDADD = $(backend_test_libs)
tests_backend_test_journal_SOURCES = tests/backend/test-journal.c \
	tests/core/suite.h
tests_backend_test_journal_LDADD = $(backend_test_libs)
tests_backend_test_backend_SOURCES = tests/backend/test-backend.c \
	tests/backend/keyboard.h \
	tests/backend/simhost.h tests/core/suite.h
tests_backend_test_backend_LDADD = core/libcore.a $(CHECK_LIBS) $(JANSSON_LIBS)
tests_backend_test_line_SOURCES = tests/backend/test-line.c \
	tests/core/suite.h
tests_backend_test_line_LDADD = $(backend_test_libs)
tests_backend_test_intc_checks_SOURCES = tests/backend/test-intc-checks.c \
	tests/core/suite.h
tests_backend_test_intc_checks_LDADD = $(backend_test_libs)
tests_backend_test_intc_SOURCES = tests/backend/test-intc.c \
	tests/backend/simhost.h tests/core/suite.h
tests_backend_test_intc_LDADD = core/libcore.a $(CHECK_LIBS) $(JANSSON_LIBS)
tests_backend_test_own_far_SOURCES = tests/backend/test-own-far.c \
	tests/backend/simhost.h tests/core/suite.h
tests_backend_test_own_far_LDADD = core/libcore.a $(CHECK_LIBS) $(JANSSON_LIBS)
tests_backend_test_notify_SOURCES = tests/backend/test-notify.c \
	tests/backend/simhost.h tests/core/suite.h
tests_backend_test_notify_LDADD = core/libcore.a $(CHECK_LIBS) $(JANSSON_LIBS)
tests_backend_test_interrupt_relay_SOURCES = \
	tests/backend/test-interrupt-relay.c \
	tests/backend/simhost.h tests/core/suite.h
tests_backend_test_interrupt_relay_LDADD = core/libcore.a $(CHECK_LIBS) \
	$(JANSSON_LIBS)
tests_backend_test_name_SOURCES = tests/backend/test-name.c \
	tests/backend/simhost.h tests/core/suite.h
tests_backend_test_name_LDADD = core/libcore.a $(CHECK_LIBS) $(JANSSON_LIBS)
tests_backend_test_own_SOURCES = tests/backend/test-own.c \
	tests/backend/simhost.h tests/core/suite.h
tests_backend_test_own_LDADD = core/libcore.a $(CHECK_LIBS) $(JANSSON_LIBS)
tests_backend_test_stream_far_SOURCES = tests/backend/test-stream-far.c \
	tests/backend/streams.h tests/backend/simhost.h tests/core/suite.h
tests_backend_test_stream_far_LDADD = core/libcore.a $(CHECK_LIBS) \
	$(JANSSON_LIBS)
tests_backend_test_guest_socket_SOURCES = \
	tests/backend/test-guest-socket.c tests/backend/simhost.h \
	tests/core/suite.h
tests_backend_test_guest_socket_LDADD = core/libcore.a $(CHECK_LIBS) \
	$(JANSSON_LIBS)
tests_backend_test_stream_SOURCES = tests/backend/test-stream.c \
	tests/backend/streams.h tests/backend/simhost.h tests/core/suite.h
tests_backend_test_stream_LDADD = core/libcore.a $(CHECK_LIBS) $(JANSSON_LIBS)
tests_backend_test_stream_checks_SOURCES = \
	tests/backend/test-stream-checks.c tests/core/suite.h
tests_backend_test_stream_checks_LDADD = $(backend_test_libs)
tests_backend_test_timer_checks_SOURCES = \
	tests/backend/test-timer-checks.c tests/core/suite.h
tests_backend_test_timer_checks_LDADD = $(backend_test_libs)
tests_backend_wild_lines_SOURCES = tests/backend/wild-lines.c
tests_backend_wild_lines_CPPFLAGS = -I$(srcdir)/devices
tests_backend_wild_lines_LDADD = devices/libfarside-device.la
tests_backend_front_SOURCES = tests/backend/front.c
tests_backend_front_LDADD = $(XEN_LIBS)
tests_backend_test_vbd_checks_SOURCES = tests/backend/test-vbd-checks.c \
	tests/core/suite.h
tests_backend_test_vbd_checks_LDADD = $(backend_test_libs)
tests_backend_test_kept_SOURCES = tests/backend/test-kept.c tests/core/suite.h
tests_backend_test_kept_LDADD = $(backend_test_libs)
tests_backend_test_vbd_nbd_SOURCES = tests/backend/test-vbd-nbd.c \
	tests/backend/disk.h tests/backend/simhost.h tests/core/suite.h
tests_backend_test_vbd_nbd_LDADD = core/libcore.a $(CHECK_LIBS) \
	$(JANSSON_LIBS)
tests_backend_test_vbd_export_SOURCES = tests/backend/test-vbd-export.c \
	tests/backend/disk.h tests/backend/simhost.h tests/core/suite.h
tests_backend_test_vbd_export_CFLAGS = $(AM_CFLAGS) $(LIBNBD_CFLAGS)
tests_backend_test_vbd_export_LDADD = core/libcore.a $(CHECK_LIBS) \
	$(JANSSON_LIBS) $(LIBNBD_LIBS)
tests_backend_test_vbd_rbd_SOURCES = tests/backend/test-vbd-rbd.c \
	tests/backend/disk.h tests/backend/simhost.h tests/core/suite.h
tests_backend_test_vbd_rbd_LDADD = core/libcore.a $(CHECK_LIBS) \
	$(JANSSON_LIBS)
tests_backend_test_vbd_far_SOURCES = tests/backend/test-vbd-far.c \
	tests/backend/disk.h tests/backend/farhost.h \
	tests/backend/simhost.h tests/core/suite.h
tests_backend_test_vbd_far_LDADD = core/libcore.a $(CHECK_LIBS) \
	$(JANSSON_LIBS)
tests_backend_test_vbd_SOURCES = tests/backend/test-vbd.c \
	tests/backend/disk.h tests/backend/simhost.h tests/core/suite.h
tests_backend_test_vbd_LDADD = core/libcore.a $(CHECK_LIBS) $(JANSSON_LIBS)
tests_backend_test_wish_SOURCES = tests/backend/test-wish.c tests/core/suite.h
tests_backend_test_wish_LDADD = $(backend_test_libs)
tests_backend_test_vsnd_SOURCES = tests/backend/test-vsnd.c \
	tests/backend/card.h tests/backend/simhost.h tests/backend/sound.h \
	tests/core/suite.h
tests_backend_test_vsnd_LDADD = core/libcore.a $(CHECK_LIBS) $(JANSSON_LIBS)
tests_backend_test_vsnd_far_SOURCES = tests/backend/test-vsnd-far.c \
	tests/backend/card.h tests/backend/simhost.h tests/backend/sound.h \
	tests/core/suite.h
tests_backend_test_vsnd_far_LDADD = core/libcore.a $(CHECK_LIBS) \
	$(JANSSON_LIBS)
tests_backend_sndguest_SOURCES = tests/backend/sndguest.c tests/backend/sound.h
tests_backend_sndguest_LDADD = frontend/libfront.la $(XEN_LIBS)
tests_backend_test_vdispl_SOURCES = tests/backend/test-vdispl.c \
	tests/backend/picture.h tests/backend/screen.h \
	tests/backend/simhost.h tests/core/suite.h
tests_backend_test_vdispl_far_SOURCES = tests/backend/test-vdispl-far.c \
	tests/backend/farhost.h tests/backend/picture.h \
	tests/backend/screen.h tests/backend/simhost.h tests/core/suite.h
tests_backend_test_vdispl_far_CFLAGS = $(AM_CFLAGS) $(PNG_CFLAGS)
tests_backend_test_vdispl_far_LDADD = core/libcore.a $(CHECK_LIBS) \
	$(JANSSON_LIBS) $(PNG_LIBS)
tests_backend_test_vdispl_CFLAGS = $(AM_CFLAGS) $(PNG_CFLAGS)
tests_backend_test_vdispl_LDADD = core/libcore.a $(CHECK_LIBS) \
	$(JANSSON_LIBS) $(PNG_LIBS)
tests_backend_test_vnc_SOURCES = tests/backend/test-vnc.c \
	tests/backend/keyboard.h tests/backend/picture.h \
	tests/backend/screen.h tests/backend/simhost.h tests/core/suite.h
tests_backend_test_vnc_CFLAGS = $(AM_CFLAGS) $(PNG_CFLAGS) \
	$(VNCCLIENT_CFLAGS) $(GNUTLS_CFLAGS)
tests_backend_test_vnc_LDADD = core/libcore.a $(CHECK_LIBS) \
	$(JANSSON_LIBS) $(PNG_LIBS) $(VNCCLIENT_LIBS) $(GNUTLS_LIBS)
tests_backend_displguest_SOURCES = tests/backend/displguest.c \
	tests/backend/picture.h
tests_backend_displguest_LDADD = frontend/libfront.la $(XEN_LIBS)
tests_backend_blkguest_SOURCES = tests/backend/blkguest.c
tests_backend_blkguest_LDADD = frontend/libfront.la $(XEN_LIBS)

dist_man_MANS += man/farside-backend.8
EXTRA_DIST += docs/GENERATION.md

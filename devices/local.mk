# SPDX-License-Identifier: GPL-2.0-or-later
# Whoever links libdevices.a links $(DEVICES_LIBS) behind it, and libcore.a.
DEVICES_LIBS = $(EVDEV_LIBS) $(URING_LIBS) $(SNDFILE_LIBS) $(LZ4_LIBS) \
	$(ZSTD_LIBS) -lm
noinst_LIBRARIES += devices/libdevices.a

devices_libdevices_a_SOURCES = \
	devices/device.c devices/device.h \
	devices/doorbell.c \
	devices/interrupts.c \
	devices/lines.c devices/lines.h \
	devices/evdev-translate.c devices/evdev-translate.h \
	devices/edid.c devices/edid.h \
	devices/fast-display.c devices/fast-display.h \
	devices/fast-input.c \
	devices/fast-sound.c devices/fast-sound.h \
	devices/fast-timer.c devices/fast-timer.h \
	devices/file.c \
	devices/feed-json.c devices/feed-json.h \
	devices/filter.c devices/filter.h \
	devices/filter-delay.c \
	devices/filter-error.c \
	devices/filter-log.c \
	devices/filter-cache.c \
	devices/filter-rate.c \
	devices/filter-verify.c \
	devices/filter-volatile.c \
	devices/input-queue.c devices/input-queue.h \
	devices/input-source.c devices/input-source.h \
	devices/key-names.c \
	devices/ledger.c devices/ledger.h \
	devices/layer.c \
	devices/local-client.c \
	devices/local-server.c devices/local-server.h \
	devices/outside.c devices/outside.h \
	devices/silence.c devices/silence.h \
	devices/ops-json.c \
	devices/memory.c \
	devices/pixels.c devices/pixels.h \
	devices/probe.c \
	devices/ranges.c devices/ranges.h \
	devices/replay.c \
	devices/stream.c \
	devices/sound-user.c devices/sound-user.h \
	devices/tiles.c devices/tiles.h \
	devices/timers.c devices/timers.h \
	devices/tone.c \
	devices/screen.c devices/screen.h devices/screen-json.c \
	devices/starter.c devices/starter.h \
	devices/types.c devices/types.h \
	devices/virtual.c \
	devices/words.c devices/words.h
# For programs that serve a device in a process of their own. The sources are
# built again for it, position-independent.
lib_LTLIBRARIES += devices/libfarside-device.la
devices_libfarside_device_la_SOURCES = \
	core/block.c core/block.h \
	core/clock.h \
	core/conf.h core/conf-values.c \
	core/display.c core/display.h \
	core/error.c core/error.h \
	core/input.c core/input.h \
	core/local.c core/local.h \
	core/log.c core/log.h \
	core/loop.c core/loop.h \
	core/op.c core/op.h \
	core/shring.c core/shring.h \
	core/sound.c core/sound.h \
	core/timer.c core/timer.h core/intc.c core/intc.h \
	core/stream.c core/stream.h \
	devices/device.h \
	devices/farside-device.c devices/farside-device.h \
	devices/lines.c devices/lines.h \
	devices/input-queue.c devices/input-queue.h \
	devices/input-source.c devices/input-source.h \
	devices/layer.c \
	devices/local-server.c devices/local-server.h
devices_libfarside_device_la_CFLAGS = $(AM_CFLAGS)
devices_libfarside_device_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 \
	-no-undefined -export-symbols-regex '^far_outside_'
include_HEADERS += devices/farside-device.h
pkgconfigdir = $(libdir)/pkgconfig
nodist_pkgconfig_DATA = devices/farside-device.pc
CLEANFILES += devices/farside-device.pc
EXTRA_DIST += devices/farside-device.pc.in
dist_man_MANS += man/libfarside-device.3
devices/farside-device.pc: devices/farside-device.pc.in Makefile
	$(AM_V_GEN)$(MKDIR_P) devices && $(SED) -e 's|@prefix[@]|$(prefix)|g' \
		-e 's|@libdir[@]|$(libdir)|g' \
		-e 's|@includedir[@]|$(includedir)|g' \
		-e 's|@VERSION[@]|$(VERSION)|g' \
		$(srcdir)/devices/farside-device.pc.in >$@.tmp && mv $@.tmp $@

# The example that docs/OUTSIDE.md shows, built as somebody else would.
check_PROGRAMS += docs/examples/outside-keyboard \
	docs/examples/outside-interrupts docs/examples/outside-timer
docs_examples_outside_timer_SOURCES = docs/examples/outside-timer.c
docs_examples_outside_timer_CPPFLAGS = -I$(srcdir)/devices
docs_examples_outside_timer_LDADD = devices/libfarside-device.la
docs_examples_outside_interrupts_SOURCES = docs/examples/outside-interrupts.c
docs_examples_outside_interrupts_CPPFLAGS = -I$(srcdir)/devices
docs_examples_outside_interrupts_LDADD = devices/libfarside-device.la
docs_examples_outside_keyboard_SOURCES = docs/examples/outside-keyboard.c
docs_examples_outside_keyboard_CPPFLAGS = -I$(srcdir)/devices
docs_examples_outside_keyboard_LDADD = devices/libfarside-device.la

if HAVE_LIBNBD
sbin_PROGRAMS += farside-nbd
farside_nbd_SOURCES = devices/nbd.c
farside_nbd_CFLAGS = $(AM_CFLAGS) $(LIBNBD_CFLAGS)
farside_nbd_LDADD = devices/libfarside-device.la core/libcore.a $(LIBNBD_LIBS)
endif
dist_man_MANS += man/farside-nbd.8

if HAVE_LIBRBD
sbin_PROGRAMS += farside-rbd
farside_rbd_SOURCES = devices/rbd.c
farside_rbd_LDADD = devices/libfarside-device.la core/libcore.a $(RBD_LIBS) \
	-lpthread
endif
dist_man_MANS += man/farside-rbd.8
if HAVE_LIBVNCSERVER
sbin_PROGRAMS += farside-vnc
farside_vnc_SOURCES = devices/vnc.c devices/vnc-keys.c devices/vnc-keys.h \
	devices/key-names.c devices/tiles.c devices/tiles.h \
	devices/words.c devices/words.h
farside_vnc_CFLAGS = $(AM_CFLAGS) $(VNCSERVER_CFLAGS)
farside_vnc_LDADD = devices/libfarside-device.la core/libcore.a \
	$(VNCSERVER_LIBS) $(LZ4_LIBS) $(ZSTD_LIBS)
endif
dist_man_MANS += man/farside-vnc.8

if HAVE_LIBEVDEV
devices_libdevices_a_SOURCES += devices/evdev.c
endif
if HAVE_LIBSNDFILE
devices_libdevices_a_SOURCES += devices/wav.c
endif

if HAVE_CHECK
DEVICES_TESTS = tests/devices/test-timers tests/devices/test-stream \
	tests/devices/test-devices tests/devices/test-file \
	tests/devices/test-fast-input tests/devices/test-filters \
	tests/devices/test-local tests/devices/test-outside \
	tests/devices/test-payload tests/devices/test-socket \
	tests/devices/test-outside-golden tests/devices/test-sound \
	tests/devices/test-words
check_PROGRAMS += $(DEVICES_TESTS)
TESTS += $(DEVICES_TESTS)
DEVICES_TEST_LIBS = devices/libdevices.a core/libcore.a $(CHECK_LIBS) \
	$(JANSSON_LIBS) $(DEVICES_LIBS)
tests_devices_test_stream_SOURCES = tests/devices/test-stream.c \
	tests/devices/harness.h tests/core/suite.h
tests_devices_test_stream_LDADD = $(DEVICES_TEST_LIBS)
tests_devices_test_timers_SOURCES = tests/devices/test-timers.c \
	tests/devices/harness.h
tests_devices_test_timers_LDADD = $(DEVICES_TEST_LIBS)
tests_devices_test_devices_SOURCES = tests/devices/test-devices.c \
	tests/devices/harness.h
tests_devices_test_devices_LDADD = $(DEVICES_TEST_LIBS)
tests_devices_test_fast_input_SOURCES = tests/devices/test-fast-input.c \
	tests/devices/harness.h
tests_devices_test_fast_input_LDADD = $(DEVICES_TEST_LIBS)
tests_devices_test_file_SOURCES = tests/devices/test-file.c \
	tests/devices/harness.h
tests_devices_test_file_LDADD = $(DEVICES_TEST_LIBS)
tests_devices_test_filters_SOURCES = tests/devices/test-filters.c \
	tests/devices/harness.h
tests_devices_test_filters_LDADD = $(DEVICES_TEST_LIBS)
tests_devices_test_local_SOURCES = tests/devices/test-local.c \
	tests/devices/harness.h
tests_devices_test_local_LDADD = $(DEVICES_TEST_LIBS)
tests_devices_test_payload_SOURCES = tests/devices/test-payload.c \
	tests/devices/harness.h
tests_devices_test_payload_LDADD = $(DEVICES_TEST_LIBS)
tests_devices_test_outside_SOURCES = tests/devices/test-outside.c \
	tests/devices/harness.h
tests_devices_test_outside_LDADD = $(DEVICES_TEST_LIBS)
tests_devices_test_outside_golden_SOURCES = \
	tests/devices/test-outside-golden.c tests/devices/harness.h
tests_devices_test_outside_golden_CPPFLAGS = $(AM_CPPFLAGS) \
	-DFARSIDE_SOURCE_DIR='"$(abs_top_srcdir)"'
tests_devices_test_outside_golden_LDADD = $(DEVICES_TEST_LIBS)
EXTRA_DIST += tests/devices/golden/outside-keyboard-1.talk \
	tests/devices/old/README.md \
	tests/devices/old/outside-keyboard-1-x86_64.xz
tests_devices_test_socket_SOURCES = tests/devices/test-socket.c \
	tests/devices/harness.h
tests_devices_test_socket_LDADD = $(DEVICES_TEST_LIBS)
tests_devices_test_sound_SOURCES = tests/devices/test-sound.c \
	tests/devices/harness.h
tests_devices_test_sound_LDADD = $(DEVICES_TEST_LIBS)
tests_devices_test_words_SOURCES = tests/devices/test-words.c \
	tests/devices/harness.h
tests_devices_test_words_LDADD = $(DEVICES_TEST_LIBS)
endif

# SPDX-License-Identifier: GPL-2.0-or-later
# Whoever links libdevices.a links $(DEVICES_LIBS) behind it, and libcore.a.
DEVICES_LIBS = $(EVDEV_LIBS) $(URING_LIBS)
noinst_LIBRARIES += devices/libdevices.a

devices_libdevices_a_SOURCES = \
	devices/device.c devices/device.h \
	devices/evdev-translate.c devices/evdev-translate.h \
	devices/fast-input.c \
	devices/fast-timer.c devices/fast-timer.h \
	devices/file.c \
	devices/feed-json.c devices/feed-json.h \
	devices/filter.c devices/filter.h \
	devices/filter-delay.c \
	devices/filter-error.c \
	devices/filter-log.c \
	devices/input-queue.c devices/input-queue.h \
	devices/input-source.c devices/input-source.h \
	devices/key-names.c \
	devices/local-client.c \
	devices/local-server.c devices/local-server.h \
	devices/probe.c \
	devices/replay.c \
	devices/timers.c devices/timers.h \
	devices/types.c devices/types.h \
	devices/virtual.c \
	devices/words.c devices/words.h
if HAVE_LIBEVDEV
devices_libdevices_a_SOURCES += devices/evdev.c
endif

if HAVE_CHECK
DEVICES_TESTS = tests/devices/test-timers \
	tests/devices/test-devices tests/devices/test-file \
	tests/devices/test-fast-input \
	tests/devices/test-local tests/devices/test-payload \
	tests/devices/test-words
check_PROGRAMS += $(DEVICES_TESTS)
TESTS += $(DEVICES_TESTS)
DEVICES_TEST_LIBS = devices/libdevices.a core/libcore.a $(CHECK_LIBS) \
	$(JANSSON_LIBS) $(DEVICES_LIBS)
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
tests_devices_test_local_SOURCES = tests/devices/test-local.c \
	tests/devices/harness.h
tests_devices_test_local_LDADD = $(DEVICES_TEST_LIBS)
tests_devices_test_payload_SOURCES = tests/devices/test-payload.c \
	tests/devices/harness.h
tests_devices_test_payload_LDADD = $(DEVICES_TEST_LIBS)
tests_devices_test_words_SOURCES = tests/devices/test-words.c \
	tests/devices/harness.h
tests_devices_test_words_LDADD = $(DEVICES_TEST_LIBS)
endif

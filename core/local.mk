# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LIBRARIES += core/libcore.a

core_libcore_a_SOURCES = \
	core/any.c core/any.h \
	core/clock.h \
	core/conf.c core/conf.h \
	core/conf-file.c \
	core/conf-keys.c core/conf-keys.h \
	core/conf-values.c \
	core/control.c core/control.h \
	core/counters.c core/counters.h \
	core/daemon.c core/daemon.h \
	core/display.c core/display.h \
	core/error.c core/error.h \
	core/input.c core/input.h \
	core/local.c core/local.h \
	core/log.c core/log.h \
	core/loop.c core/loop.h \
	core/block.c core/block.h core/op.c core/op.h \
	core/doorbell.h core/intc.c core/intc.h core/timer.c core/timer.h \
	core/stream.c core/stream.h \
	core/shring.c core/shring.h \
	core/sound.c core/sound.h \
	core/status.c core/status.h \
	core/times.c core/times.h \
	core/usdt.h \
	core/uuid.c core/uuid.h

if HAVE_CHECK
core_tests = tests/core/test-basics \
	tests/core/test-conf \
	tests/core/test-control \
	tests/core/test-daemon \
	tests/core/test-local \
	tests/core/test-loop \
	tests/core/test-shring \
	tests/core/test-sound
check_PROGRAMS += $(core_tests)
TESTS += $(core_tests)
endif

core_test_libs = core/libcore.a $(CHECK_LIBS) $(JANSSON_LIBS) -lpthread
tests_core_test_basics_SOURCES = tests/core/test-basics.c tests/core/suite.h
tests_core_test_basics_LDADD = $(core_test_libs)
tests_core_test_conf_SOURCES = tests/core/test-conf.c tests/core/suite.h
tests_core_test_conf_LDADD = $(core_test_libs)
tests_core_test_control_SOURCES = tests/core/test-control.c tests/core/suite.h
tests_core_test_control_LDADD = $(core_test_libs)
tests_core_test_daemon_SOURCES = tests/core/test-daemon.c tests/core/suite.h
tests_core_test_daemon_LDADD = $(core_test_libs)
tests_core_test_local_SOURCES = tests/core/test-local.c tests/core/suite.h
tests_core_test_local_LDADD = $(core_test_libs)
tests_core_test_loop_SOURCES = tests/core/test-loop.c tests/core/suite.h
tests_core_test_loop_LDADD = $(core_test_libs)
tests_core_test_shring_SOURCES = tests/core/test-shring.c tests/core/suite.h
tests_core_test_shring_LDADD = $(core_test_libs)
tests_core_test_sound_SOURCES = tests/core/test-sound.c tests/core/suite.h
tests_core_test_sound_LDADD = $(core_test_libs) -lm

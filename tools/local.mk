# SPDX-License-Identifier: GPL-2.0-or-later
bin_PROGRAMS += farside

noinst_LIBRARIES += tools/libtools.a
tools_libtools_a_SOURCES = \
	tools/ask.c \
	tools/attach.c \
	tools/check.c \
	tools/check.h \
	tools/check-conf.c \
	tools/check-disks.c \
	tools/check-xl.c \
	tools/commands.c \
	tools/console.c \
	tools/decode.c \
	tools/decode.h \
	tools/link.c \
	tools/devices.c \
	tools/metrics.c \
	tools/metrics.h \
	tools/reload.c \
	tools/send.c \
	tools/status.c \
	tools/status.h \
	tools/status-print.c \
	tools/tool.h \
	tools/trust.c \
	tools/trust-files.c \
	tools/trust-files.h \
	tools/vbd.c \
	tools/vbd.h \
	tools/vkb.c \
	tools/vkb.h

if HAVE_LIBMICROHTTPD
tools_libtools_a_SOURCES += tools/metrics-listen.c
endif
EXTRA_DIST += tools/metrics-listen.c
if HAVE_LIBPNG
tools_libtools_a_SOURCES += tools/screenshot.c
endif
EXTRA_DIST += tools/screenshot.c

# Of the netproxy's library: what frames are (wire.c, describe.c), and the folder
# of trust (trust.c, certs.c, keys.c).
TOOLS_LIBS = tools/libtools.a netproxy/libnetproxy.a devices/libdevices.a \
	core/libcore.a $(JANSSON_LIBS) $(GNUTLS_LIBS) $(DEVICES_LIBS) \
	$(MICROHTTPD_LIBS) $(PNG_LIBS)

farside_SOURCES = tools/main.c
farside_LDADD = $(TOOLS_LIBS)

dist_man_MANS += man/farside.1

EXTRA_DIST += tests/memcheck/run tests/memcheck/skip tests/memcheck/long \
	tests/tools/check-golden tests/tools/man-pages \
	tests/tools/on-simulator tests/tools/probes tests/tools/trust \
	tests/tools/units \
	tests/tools/golden

if HAVE_CHECK
TOOLS_TESTS = tests/tools/test-attach tests/tools/test-check \
	tests/tools/test-metrics \
	tests/tools/test-decode \
	tests/tools/test-man tests/tools/test-status
check_PROGRAMS += $(TOOLS_TESTS)
TESTS += $(TOOLS_TESTS) tests/tools/check-golden tests/tools/man-pages \
	tests/tools/on-simulator tests/tools/probes tests/tools/trust \
	tests/tools/units
TOOLS_TEST_LIBS = $(TOOLS_LIBS) $(CHECK_LIBS)
tests_tools_test_attach_SOURCES = tests/tools/test-attach.c
tests_tools_test_attach_LDADD = $(TOOLS_TEST_LIBS)
tests_tools_test_check_SOURCES = tests/tools/test-check.c
tests_tools_test_check_LDADD = $(TOOLS_TEST_LIBS)
tests_tools_test_decode_SOURCES = tests/tools/test-decode.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_tools_test_decode_CPPFLAGS = $(AM_CPPFLAGS) \
	-DFARSIDE_SOURCE_DIR='"$(abs_top_srcdir)"'
tests_tools_test_decode_LDADD = $(TOOLS_TEST_LIBS)
tests_tools_test_metrics_SOURCES = tests/tools/test-metrics.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_tools_test_metrics_LDADD = $(TOOLS_TEST_LIBS)
tests_tools_test_man_SOURCES = tests/tools/test-man.c
tests_tools_test_man_LDADD = $(TOOLS_TEST_LIBS)
tests_tools_test_status_SOURCES = tests/tools/test-status.c
tests_tools_test_status_LDADD = $(TOOLS_TEST_LIBS)
endif

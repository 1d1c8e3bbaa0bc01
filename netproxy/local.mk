# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LIBRARIES += netproxy/libnetproxy.a
netproxy_libnetproxy_a_SOURCES = \
	netproxy/address.c netproxy/address.h \
	netproxy/buf.h \
	netproxy/conn.c netproxy/conn.h \
	netproxy/context.h \
	netproxy/controller.c netproxy/controller.h \
	netproxy/keys.c netproxy/keys.h \
	netproxy/link.c netproxy/link.h \
	netproxy/local.c netproxy/local.h \
	netproxy/netproxy.c netproxy/netproxy.h \
	netproxy/remote.c netproxy/remote.h \
	netproxy/resolver.c netproxy/resolver.h \
	netproxy/sandbox.c netproxy/sandbox.h \
	netproxy/server.c netproxy/server.h \
	netproxy/session.c netproxy/session.h \
	netproxy/status.c \
	netproxy/tls.c netproxy/tls.h \
	netproxy/wire.c netproxy/wire.h

NETPROXY_LIBS = netproxy/libnetproxy.a devices/libdevices.a core/libcore.a \
	$(JANSSON_LIBS) $(GNUTLS_LIBS) $(SECCOMP_LIBS) $(CAPNG_LIBS) \
	$(EVDEV_LIBS)

sbin_PROGRAMS += farside-netproxy
farside_netproxy_SOURCES = netproxy/main.c
farside_netproxy_LDADD = $(NETPROXY_LIBS)

if HAVE_CHECK
NETPROXY_TESTS = tests/netproxy/test-link
check_PROGRAMS += $(NETPROXY_TESTS)
TESTS += $(NETPROXY_TESTS)

tests_netproxy_test_link_SOURCES = tests/netproxy/test-link.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_link_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)
endif

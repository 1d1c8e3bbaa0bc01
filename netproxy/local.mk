# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LIBRARIES += netproxy/libnetproxy.a
netproxy_libnetproxy_a_SOURCES = \
	netproxy/address.c netproxy/address.h \
	netproxy/announce.c netproxy/announce.h \
	netproxy/choice.c netproxy/choice.h \
	netproxy/buf.h \
	netproxy/capture.c netproxy/capture.h netproxy/capture-link.c \
	netproxy/certs.c netproxy/certs.h \
	netproxy/conn.c netproxy/conn.h \
	netproxy/context.h \
	netproxy/directory.c netproxy/directory.h netproxy/directory-file.c \
	netproxy/describe.c netproxy/describe.h \
	netproxy/controller.c netproxy/controller.h \
	netproxy/credential.c netproxy/credential.h \
	netproxy/etcd.c netproxy/etcd.h netproxy/lease.h \
	netproxy/fair.c netproxy/fair.h \
	netproxy/keys.c netproxy/keys.h \
	netproxy/flow.c netproxy/flow.h \
	netproxy/hotplug.c netproxy/hotplug.h \
	netproxy/link.c netproxy/link.h \
	netproxy/local.c netproxy/local.h \
	netproxy/netproxy.c netproxy/netproxy.h \
	netproxy/notify.c netproxy/notify.h \
	netproxy/permission.c netproxy/permission.h \
	netproxy/remote.c netproxy/remote.h \
	netproxy/pass.c netproxy/way.c netproxy/way.h \
	netproxy/route.c netproxy/route.h netproxy/route-inner.h \
	netproxy/resolver.c netproxy/resolver.h \
	netproxy/review.c \
	netproxy/sandbox.c netproxy/sandbox.h \
	netproxy/server.c netproxy/server.h \
	netproxy/session.c netproxy/session.h \
	netproxy/spin.c netproxy/spin.h \
	netproxy/standby.c netproxy/standby.h \
	netproxy/status.c \
	netproxy/times.c netproxy/times.h \
	netproxy/tls.c netproxy/tls.h \
	netproxy/trust.c netproxy/trust.h \
	netproxy/vouch.c netproxy/vouch.h \
	netproxy/wire.c netproxy/wire.h

if HAVE_CURL
netproxy_libnetproxy_a_SOURCES += netproxy/etcd-helper.c \
	netproxy/etcd-http.c netproxy/etcd-http.h
endif

NETPROXY_LIBS = netproxy/libnetproxy.a devices/libdevices.a core/libcore.a \
	$(JANSSON_LIBS) $(GNUTLS_LIBS) $(SECCOMP_LIBS) $(CAPNG_LIBS) \
	$(DEVICES_LIBS) $(CURL_LIBS)

sbin_PROGRAMS += farside-netproxy
farside_netproxy_SOURCES = netproxy/main.c
farside_netproxy_LDADD = $(NETPROXY_LIBS)
dist_man_MANS += man/farside-netproxy.8

# tests/netproxy/make-golden DIR writes the golden frames, when there is a new
# version of the wire.
check_PROGRAMS += tests/netproxy/make-golden
tests_netproxy_make_golden_SOURCES = tests/netproxy/make-golden.c \
	tests/netproxy/golden.h
tests_netproxy_make_golden_CPPFLAGS = $(AM_CPPFLAGS) -DMAKE_GOLDEN
tests_netproxy_make_golden_LDADD = netproxy/libnetproxy.a core/libcore.a
NETPROXY_GOLDEN = \
	tests/netproxy/golden/ack.bin tests/netproxy/golden/activate.bin \
	tests/netproxy/golden/activated.bin tests/netproxy/golden/cancel.bin \
	tests/netproxy/golden/detach.bin tests/netproxy/golden/error.bin \
	tests/netproxy/golden/feedback.bin tests/netproxy/golden/heartbeat.bin \
	tests/netproxy/golden/hello.bin tests/netproxy/golden/interrupt.bin \
	tests/netproxy/golden/op.bin tests/netproxy/golden/prepare.bin \
	tests/netproxy/golden/prepared.bin tests/netproxy/golden/refused.bin \
	tests/netproxy/golden/state.bin tests/netproxy/golden/data.bin \
	tests/netproxy/golden/subscribe.bin tests/netproxy/golden/announce.bin \
	tests/netproxy/golden/notify.bin tests/netproxy/golden/notified.bin \
	tests/netproxy/golden/prepare-relayed.bin \
	tests/netproxy/golden/prepared-challenge.bin \
	tests/netproxy/golden/prepare-signed.bin \
	tests/netproxy/golden/feedback-timed.bin \
	tests/netproxy/golden/notify-relayed.bin \
	tests/netproxy/golden/notified-relayed.bin
EXTRA_DIST += $(NETPROXY_GOLDEN) tests/netproxy/old/README.md \
	tests/netproxy/old/farside-netproxy-0-x86_64.xz \
	tests/netproxy/old/guest-0-x86_64.xz tests/netproxy/old/guest.c

if HAVE_CHECK
NETPROXY_TESTS = tests/netproxy/test-wire tests/netproxy/test-link \
	tests/netproxy/test-hostile tests/netproxy/test-sandbox \
	tests/netproxy/test-session tests/netproxy/test-lanes \
	tests/netproxy/test-ops tests/netproxy/test-cuts \
	tests/netproxy/test-loss \
	tests/netproxy/test-many \
	tests/netproxy/test-any \
	tests/netproxy/test-versions tests/netproxy/test-notify \
	tests/netproxy/test-relay tests/netproxy/test-standby \
	tests/netproxy/test-vouch tests/netproxy/test-notify-relay \
	tests/netproxy/test-slow tests/netproxy/test-slow-owner \
	tests/netproxy/test-times tests/netproxy/test-spin \
	tests/netproxy/test-credential tests/netproxy/test-permission \
	tests/netproxy/test-trust
if HAVE_CURL
NETPROXY_TESTS += tests/netproxy/test-etcd
endif
check_PROGRAMS += $(NETPROXY_TESTS)
TESTS += $(NETPROXY_TESTS)

tests_netproxy_test_wire_SOURCES = tests/netproxy/test-wire.c \
	tests/netproxy/make-golden.c tests/netproxy/golden.h
tests_netproxy_test_wire_CPPFLAGS = $(AM_CPPFLAGS) \
	-DFARSIDE_SOURCE_DIR='"$(abs_top_srcdir)"'
tests_netproxy_test_wire_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_link_SOURCES = tests/netproxy/test-link.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_link_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_lanes_SOURCES = tests/netproxy/test-lanes.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_lanes_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_any_SOURCES = tests/netproxy/test-any.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_any_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_hostile_SOURCES = tests/netproxy/test-hostile.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_hostile_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_notify_SOURCES = tests/netproxy/test-notify.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_notify_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_many_SOURCES = tests/netproxy/test-many.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_many_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_notify_relay_SOURCES = tests/netproxy/test-notify-relay.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_notify_relay_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_slow_SOURCES = tests/netproxy/test-slow.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_slow_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_slow_owner_SOURCES = tests/netproxy/test-slow-owner.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_slow_owner_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_vouch_SOURCES = tests/netproxy/test-vouch.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_vouch_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_relay_SOURCES = tests/netproxy/test-relay.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_relay_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_standby_SOURCES = tests/netproxy/test-standby.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_standby_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_loss_SOURCES = tests/netproxy/test-loss.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_loss_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_etcd_SOURCES = tests/netproxy/test-etcd.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_etcd_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_cuts_SOURCES = tests/netproxy/test-cuts.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_cuts_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_times_SOURCES = tests/netproxy/test-times.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_times_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_spin_SOURCES = tests/netproxy/test-spin.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_spin_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_versions_SOURCES = tests/netproxy/test-versions.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_versions_CPPFLAGS = $(AM_CPPFLAGS) \
	-DFARSIDE_SOURCE_DIR='"$(abs_top_srcdir)"'
tests_netproxy_test_versions_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_sandbox_SOURCES = tests/netproxy/test-sandbox.c
tests_netproxy_test_sandbox_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_ops_SOURCES = tests/netproxy/test-ops.c
tests_netproxy_test_ops_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_session_SOURCES = tests/netproxy/test-session.c
tests_netproxy_test_session_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_trust_SOURCES = tests/netproxy/test-trust.c \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_netproxy_test_trust_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_permission_SOURCES = tests/netproxy/test-permission.c
tests_netproxy_test_permission_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)

tests_netproxy_test_credential_SOURCES = tests/netproxy/test-credential.c
tests_netproxy_test_credential_LDADD = $(NETPROXY_LIBS) $(CHECK_LIBS)
endif

# SPDX-License-Identifier: GPL-2.0-or-later
# The tests of each room stand in its own local.mk. Here: real Xen's, and the
# fuzzers (./configure CC=clang --enable-fuzzers && make fuzzers); other rooms
# add theirs to $(fuzzers), with LDFLAGS and LDADD as below.
include $(srcdir)/tests/xen/local.mk

# Not among those of `make check`: it takes as long as one lets it.
if HAVE_CHECK
check_PROGRAMS += tests/chaos/test-chaos
tests_chaos_test_chaos_SOURCES = tests/chaos/test-chaos.c \
	tests/chaos/backend.c tests/chaos/wires.c tests/chaos/chaos.h \
	tests/netproxy/rig.c tests/netproxy/rig.h
tests_chaos_test_chaos_LDADD = backend/libbackend.a $(NETPROXY_LIBS) \
	$(CHECK_LIBS)
endif

fuzzers = tests/fuzz/fuzz-conf tests/fuzz/fuzz-credential \
	tests/fuzz/fuzz-local tests/fuzz/fuzz-talk tests/fuzz/fuzz-wire \
	tests/fuzz/fuzz-decode

tests_fuzz_fuzz_conf_SOURCES = tests/fuzz/fuzz-conf.c
tests_fuzz_fuzz_conf_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_conf_LDADD = core/libcore.a $(JANSSON_LIBS)

tests_fuzz_fuzz_credential_SOURCES = tests/fuzz/fuzz-credential.c
tests_fuzz_fuzz_credential_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_credential_LDADD = netproxy/libnetproxy.a core/libcore.a \
	$(JANSSON_LIBS) $(GNUTLS_LIBS)

tests_fuzz_fuzz_local_SOURCES = tests/fuzz/fuzz-local.c
tests_fuzz_fuzz_local_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_local_LDADD = core/libcore.a $(JANSSON_LIBS)

tests_fuzz_fuzz_decode_SOURCES = tests/fuzz/fuzz-decode.c
tests_fuzz_fuzz_decode_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_decode_LDADD = $(TOOLS_LIBS)

# TLS is in the fuzzer itself; sockets and the clock are what it says.
tests_fuzz_fuzz_talk_SOURCES = tests/fuzz/fuzz-talk.c
tests_fuzz_fuzz_talk_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS) \
	-Wl,--wrap=clock_gettime,--wrap=timerfd_settime,--wrap=connect \
	-Wl,--wrap=accept4,--wrap=socket,--wrap=bind,--wrap=listen
tests_fuzz_fuzz_talk_LDADD = $(NETPROXY_LIBS)

tests_fuzz_fuzz_wire_SOURCES = tests/fuzz/fuzz-wire.c
tests_fuzz_fuzz_wire_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_wire_LDADD = netproxy/libnetproxy.a core/libcore.a \
	$(JANSSON_LIBS)

if FUZZERS
noinst_PROGRAMS += $(fuzzers)
endif
fuzzers: $(fuzzers)
.PHONY: fuzzers

# Run by hand.
EXTRA_DIST += tests/ceph/cluster tests/ceph/run

# What each begins with.
EXTRA_DIST += tests/fuzz/corpus tests/fuzz/talk.dict

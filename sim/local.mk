# SPDX-License-Identifier: GPL-2.0-or-later
# The simulated hypervisor: the program, and the library that it preloads.
# The library is loaded into programs of all kinds, xenstored too, and
# therefore never built with sanitizers.
bin_PROGRAMS += sim/farside-sim
sim_farside_sim_SOURCES = sim/main.c sim/keeper.c sim/domain.c sim/xenbus.c \
	sim/xl.c sim/snd.c sim/snd.h sim/batch.c sim/batch.h sim/common.c sim/common.h sim/hv.h \
	sim/keeper.h sim/sim.h
sim_farside_sim_CPPFLAGS = $(AM_CPPFLAGS) \
	-DFARSIDE_PKGLIBDIR='"$(pkglibdir)"'
sim_farside_sim_LDADD = $(XEN_LIBS)

pkglib_LTLIBRARIES = sim/libfarside-sim.la
sim_libfarside_sim_la_SOURCES = sim/client.c sim/evtchn.c sim/gnttab.c \
	sim/files.c sim/common.c sim/client.h sim/common.h sim/hv.h
sim_libfarside_sim_la_CFLAGS = -std=gnu17 $(WARN_CFLAGS)
sim_libfarside_sim_la_LDFLAGS = -module -avoid-version -shared
sim_libfarside_sim_la_LIBADD = -lpthread

if HAVE_CHECK
check_PROGRAMS += tests/sim/actor tests/sim/test_sim
TESTS += tests/sim/test_sim
tests_sim_actor_SOURCES = tests/sim/actor.c
tests_sim_actor_LDADD = $(XEN_LIBS)
tests_sim_test_sim_SOURCES = tests/sim/test_sim.c
tests_sim_test_sim_LDADD = $(CHECK_LIBS)
if HAVE_VCHAN
check_PROGRAMS += tests/sim/vchan_echo
tests_sim_vchan_echo_SOURCES = tests/sim/vchan_echo.c
tests_sim_vchan_echo_CFLAGS = $(AM_CFLAGS) $(VCHAN_CFLAGS)
tests_sim_vchan_echo_LDADD = $(VCHAN_LIBS)
endif
endif

dist_man_MANS += man/farside-sim.1

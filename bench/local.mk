# SPDX-License-Identifier: GPL-2.0-or-later
# The programs of bench/run; built by `make bench` (and by make check), never
# installed.
bench_programs = bench/floor bench/front
if HAVE_VCHAN
bench_programs += bench/vchan
endif
check_PROGRAMS += $(bench_programs)
EXTRA_DIST += bench/run

bench_floor_SOURCES = bench/floor.c bench/samples.h
bench_vchan_SOURCES = bench/vchan.c bench/samples.h
bench_vchan_CFLAGS = $(AM_CFLAGS) $(VCHAN_CFLAGS)
bench_vchan_LDADD = $(VCHAN_LIBS)
bench_front_SOURCES = bench/front.c bench/samples.h
bench_front_LDADD = frontend/libfront.la $(XEN_LIBS)


bench: all $(bench_programs)
.PHONY: bench

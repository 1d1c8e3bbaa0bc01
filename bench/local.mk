# SPDX-License-Identifier: GPL-2.0-or-later
# The programs of bench/run; built by `make bench` (and by make check), never
# installed.
bench_programs = bench/floor bench/timers bench/front bench/link bench/tls \
	bench/disk
if HAVE_VCHAN
bench_programs += bench/vchan bench/stream bench/stream-xen
endif
if HAVE_LIBNBD
bench_programs += bench/nbd
endif
check_PROGRAMS += $(bench_programs)
EXTRA_DIST += bench/run bench/fast.py bench/disk.py bench/stream.py

bench_floor_SOURCES = bench/floor.c bench/samples.h
bench_timers_SOURCES = bench/timers.c bench/samples.h
bench_timers_LDADD = frontend/libfront.la $(XEN_LIBS)
bench_vchan_SOURCES = bench/vchan.c bench/samples.h
bench_vchan_CFLAGS = $(AM_CFLAGS) $(VCHAN_CFLAGS)
bench_vchan_LDADD = $(VCHAN_LIBS)
bench_stream_SOURCES = bench/stream.c bench/samples.h
bench_stream_LDADD = frontend/libvchan.la $(XEN_LIBS)
bench_stream_xen_SOURCES = bench/stream.c bench/samples.h
bench_stream_xen_LDADD = $(VCHAN_LIBS)
bench_nbd_SOURCES = bench/nbd.c bench/samples.h
bench_nbd_CFLAGS = $(AM_CFLAGS) $(LIBNBD_CFLAGS)
bench_nbd_LDADD = $(LIBNBD_LIBS)
bench_tls_SOURCES = bench/tls.c bench/samples.h
bench_tls_LDADD = $(GNUTLS_LIBS)
bench_link_SOURCES = bench/link.c bench/samples.h
bench_link_LDADD = $(NETPROXY_LIBS)
bench_disk_SOURCES = bench/disk.c bench/samples.h
bench_disk_LDADD = frontend/libfront.la $(XEN_LIBS)
bench_front_SOURCES = bench/front.c bench/samples.h
bench_front_LDADD = frontend/libfront.la $(XEN_LIBS)


bench: all $(bench_programs)
.PHONY: bench

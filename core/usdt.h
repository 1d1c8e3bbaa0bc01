/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Probes for tracers (bpftrace, perf, gdb): a no-op instruction and a note in
 * the program each, nothing that runs. Their names and arguments are in
 * farside-probes(7), and stay. Without <sys/sdt.h> at build time there are
 * none.
 */
#ifndef FARSIDE_CORE_USDT_H
#define FARSIDE_CORE_USDT_H

#include "config.h"

#if HAVE_SYS_SDT_H
#include <sys/sdt.h>
#define FAR_PROBE3(name, a, b, c)    DTRACE_PROBE3(farside, name, a, b, c)
#define FAR_PROBE4(name, a, b, c, d) DTRACE_PROBE4(farside, name, a, b, c, d)
#define FAR_PROBE5(name, a, b, c, d, e) \
    DTRACE_PROBE5(farside, name, a, b, c, d, e)
#else
#define FAR_PROBE3(name, a, b, c)    ((void)(a), (void)(b), (void)(c))
#define FAR_PROBE4(name, a, b, c, d) (FAR_PROBE3(name, a, b, c), (void)(d))
#define FAR_PROBE5(name, a, b, c, d, e) \
    (FAR_PROBE4(name, a, b, c, d), (void)(e))
#endif

#endif

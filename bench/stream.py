# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of `bench/run stream`: bytes between two programs that use
libxenvchan's calls (bench/stream.c), linked with Xen's library or with
Farside's: over pages that two domains share, over a stream between two guests
here, and over one between guests of two machines."""

import json
import os
import signal
import statistics
import subprocess
import time

PATH = "bench/wire"


def talk(lib, p, layout, server, client, mode, rounds, name):
    """server, client: (where, domid, path). What the client prints."""
    cpus = lib.PINS[layout]
    words = [mode, str(rounds)]
    ends = []
    lib.wait_idle()
    for side, (where, domid, path), cpu in (("server", server, cpus[1]),
                                            ("client", client, cpus[0])):
        ends.append(p.popen(where, cpu,
                            [lib.program(name), side, domid, path, *words,
                             str(cpu)], stdout=subprocess.PIPE))
    out, _ = ends[1].communicate(timeout=180)
    ends[0].wait(30)
    if ends[0].returncode or ends[1].returncode:
        raise RuntimeError(f"stream {mode}: an end failed")
    return json.loads(out)


def between_domains(lib, layout, mode, rounds, name):
    p = lib.Platforms()
    try:
        p.sim("up", "atlas")
        for guest in ("g1", "g2"):
            p.sim("create", "atlas", guest)
        ids = [p.sim("domid", "atlas", g) for g in ("g1", "g2")]
        path = f"/local/domain/{ids[1]}/data/bench"
        return talk(lib, p, layout, ("atlas/g2", ids[0], path),
                    ("atlas/g1", ids[1], path), mode, rounds, name)
    finally:
        p.down()


def over_stream(lib, layout, mode, rounds, far):
    client, server = lib.PINS[layout]
    p = lib.Platforms()
    try:
        p.up(layout, "")
        hosts = ("atlas", "borealis" if far else "atlas")
        p.conf("atlas", "[platform]\nname = atlas\n"
               f"[server borealis]\naddress = 127.0.0.1:{p.port}\n"
               f"psk-file = {p.dir}/psk.keys\n"
               "[device here]\ntype = stream\n"
               f"[guest g1]\nattach = stream "
               f"{'borealis/wire' if far else 'here'} path={PATH}\n"
               f"[guest g2]\nattach = stream here path={PATH}\n")
        p.conf("borealis", "[platform]\nname = borealis\n"
               f"[listen]\naddress = 127.0.0.1:{p.port}\n"
               f"psk-file = {p.dir}/psk.keys\n"
               "[device wire]\ntype = stream\n[export wire]\nallow = atlas\n"
               f"[guest g2]\nattach = stream wire path={PATH}\n")
        for daemon in p.daemons:
            daemon.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        if far:
            p.daemon("borealis", server, "farside-backend")
        for guest, host in zip(("g1", "g2"), hosts):
            p.sim("create", host, guest)
        time.sleep(0.5)
        return talk(lib, p, layout, (f"{hosts[1]}/g2", "0", PATH),
                    ("atlas/g1", "0", PATH), mode, rounds, "stream")
    finally:
        p.down()


def bench(rows, quick, lib):
    pairs = 3 if quick else lib.PAIRS
    rounds = 3000 if quick else 20000
    blocks = 1000 if quick else 5000
    for layout in ("T", "A", "F"):
        got = {k: [] for k in ("eventfd", "tcp", "xen", "here", "guests",
                               "far", "xen.bulk", "here.bulk", "guests.bulk",
                               "far.bulk")}
        for i in range(pairs):
            print(f"stream {layout}: round {i + 1} of {pairs}", end="\r",
                  file=lib.sys.stderr, flush=True)
            lib.wait_idle()
            got["eventfd"].append(lib.floor("eventfd", layout, rounds))
            got["tcp"].append(lib.floor("tcp", layout, rounds))
            for mode, n, tail in (("echo", rounds, ""),
                                  ("bulk", blocks, ".bulk")):
                got["xen" + tail].append(between_domains(
                    lib, layout, mode, n, "stream-xen"))
                got["here" + tail].append(between_domains(
                    lib, layout, mode, n, "stream"))
                got["guests" + tail].append(over_stream(
                    lib, layout, mode, n, False))
                got["far" + tail].append(over_stream(
                    lib, layout, mode, n, True))
        median = lib.median
        xen = median(got["xen"])
        ratio = statistics.median(
            a["p50_us"] / b["p50_us"]
            for a, b in zip(got["here"], got["xen"]))
        lib.row(rows, "stream.here", layout, ratio, "x", None,
                {"libxenvchan_us": xen, "farside_us": median(got["here"])},
                "two domains, 40 bytes and back: at most 1.05 times "
                "libxenvchan, pair by pair", ratio <= 1.05)
        ratio = statistics.median(
            a["mb_per_s"] / b["mb_per_s"]
            for a, b in zip(got["here.bulk"], got["xen.bulk"]))
        lib.row(rows, "stream.here.bulk", layout, ratio, "x", None,
                {"libxenvchan_mb_s": median(got["xen.bulk"], "mb_per_s"),
                 "farside_mb_s": median(got["here.bulk"], "mb_per_s")},
                "the same, 64 KiB blocks: at least 0.95 times", ratio >= 0.95)
        for kind, what, base in (("guests", "two guests here", "eventfd"),
                                 ("far", "two machines", "tcp")):
            lib.row(rows, "stream." + kind, layout, median(got[kind]), "us",
                    median(got[base]), {"libxenvchan_us": xen},
                    f"{what}, through the daemons: no bar", None)
            lib.row(rows, f"stream.{kind}.bulk", layout,
                    median(got[kind + ".bulk"], "mb_per_s"), "MB/s", None,
                    {"libxenvchan_mb_s": median(got["xen.bulk"], "mb_per_s")},
                    f"{what}, through the daemons: no bar", None)

# SPDX-License-Identifier: GPL-2.0-or-later
"""bench/run fast: the fast tier's rows. lib is bench/run itself."""
import json
import os
import statistics
import subprocess
import sys


def guest_run(lib, layout, *words):
    """The guest's end: a list of the lines of JSON that it printed, and the
    backend's own histogram of lateness at injection."""
    client, server = lib.PINS[layout]
    p = lib.Platforms()
    try:
        p.sim("up", "atlas")
        p.conf("atlas", "[platform]\nname = atlas\n[device timer0]\n"
               "type = timer\n[guest g1]\nattach = timer timer0\n")
        p.log = open(os.path.join(p.dir, "log"), "w")
        backend = p.daemon("atlas", server, "farside-backend")
        path = os.path.join(p.sim("dir", "atlas"), "run", "backend.sock")
        while not os.path.exists(path) and backend.poll() is None:
            lib.time.sleep(0.01)
        p.sim("create", "atlas", "g1")
        lib.wait_idle()
        guest = p.popen("atlas/g1", client, [lib.program("timers"), *words],
                        stdout=subprocess.PIPE)
        out, _ = guest.communicate(timeout=300)
        if guest.returncode:
            raise RuntimeError(f"timers {words}: {guest.returncode}")
        status = json.loads(p.sim("run", "atlas", "--", lib.program("farside"),
                                  "status", "--json", check=False) or "{}")
        return [json.loads(line) for line in out.splitlines()], status
    finally:
        p.down()


def late_at_injection(status):
    found = []

    def walk(x):
        if isinstance(x, dict):
            if isinstance(x.get("late"), dict):
                found.append(x["late"])
            for v in x.values():
                walk(v)
        elif isinstance(x, list):
            for v in x:
                walk(v)
    walk(status)
    counts = [f for f in found if f.get("count")]
    return counts[0]["p99_ns"] / 1000 if counts else None


def plain(lib, layout, mode, rounds):
    a, b = lib.PINS[layout]
    out = subprocess.run([lib.program("timers"), mode, str(rounds), str(a),
                          str(b)], check=True, capture_output=True, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def bench(rows, quick, lib):
    pairs = 3 if quick else lib.PAIRS
    rounds = 3000 if quick else 20000
    for layout in ("T", "A", "F"):
        kinds = ("eventfd", "memory", "op", "spin", "vchan", "clock", "arm",
                 "late", "timerfd", "pair")
        got = {k: [] for k in kinds}
        inject, errors, bounds, missed = [], [], [], 0
        for i in range(pairs):
            print(f"fast {layout}: round {i + 1} of {pairs}", end="\r",
                  file=sys.stderr, flush=True)
            lib.wait_idle()
            got["eventfd"].append(lib.floor("eventfd", layout, rounds))
            got["op"].append(guest_run(lib, layout, "op", str(rounds))[0][-1])
            got["spin"].append(
                guest_run(lib, layout, "spin", str(rounds))[0][-1])
            if layout == "A":
                lib.wait_idle()
                got["memory"].append(lib.floor("memory", layout, rounds))
            got["vchan"].append(lib.one_vchan(layout, rounds))
            clock = guest_run(lib, layout, "clock", "200")[0]
            got["clock"].append(clock[-1])
            errors.append(clock[0]["error_ns"])
            bounds.append(clock[0]["bound_ns"])
            got["arm"].append(guest_run(lib, layout, "arm", "100")[0][-1])
            n = rounds // 2
            lib.wait_idle()
            got["timerfd"].append(plain(lib, layout, "timerfd", n // 4))
            lib.wait_idle()
            got["pair"].append(plain(lib, layout, "pair", n // 4))
            out, status = guest_run(lib, layout, "late", str(n))
            got["late"].append(out[-1])
            missed += out[0]["armed"] - out[0]["expired"]
            at = late_at_injection(status)
            if at is not None:
                inject.append(at)
        median = lib.median
        e, op = median(got["eventfd"]), median(got["op"])
        lib.row(rows, "fast.op", layout, op, "us", e, {},
                "p50 at most 1.3 eventfd floors", op <= 1.3 * e)
        spin = median(got["spin"])
        if layout == "A":
            m = median(got["memory"])
            lib.row(rows, "fast.op.spin", layout, spin, "us", m, {},
                    "p50 at most 3 memory floors", spin <= 3 * m)
        ratio = statistics.median(
            a["p50_us"] / b["p50_us"]
            for a, b in zip(got["spin"], got["vchan"]))
        lib.row(rows, "fast.vchan", layout, ratio, "x", None,
                {"libxenvchan_us": median(got["vchan"]), "farside_us": spin},
                "at most 1.0 times libxenvchan, pair by pair", ratio <= 1.0)
        # these two print nanoseconds
        clock = median(got["clock"])
        worst = max(errors)
        lib.row(rows, "fast.clock", layout, clock, "ns", None,
                {"worst error ns": worst, "bound ns": max(bounds)},
                "a read under 50 ns, off by at most 1 us",
                clock < 50 and worst <= 1000)
        arm = median(got["arm"])
        lib.row(rows, "fast.arm", layout, arm, "ns", None,
                {"missed of all random ones": missed},
                "a store under 100 ns, none missed", arm < 100 and not missed)
        floor = median(got["timerfd"], "p99_us")
        if inject:
            at = statistics.median(inject)
            lib.row(rows, "fast.timer.inject", layout, at, "us", floor, {},
                    "p99 late at most 1.2 times timerfd's",
                    at <= 1.2 * floor)
        floor = median(got["pair"], "p99_us")
        late = median(got["late"], "p99_us")
        lib.row(rows, "fast.timer.guest", layout, late, "us", floor, {},
                "p99 late at most 1.2 times timerfd, eventfd, process",
                late <= 1.2 * floor)

# SPDX-License-Identifier: GPL-2.0-or-later
"""bench/run disk: the disks' rows. lib is bench/run itself."""
import json
import os
import re
import shutil
import statistics
import subprocess
import sys

MIB = 128
LINE = "disk=vdev=xvda,access=rw,script=block-farside,target="


class Disks:
    """Two platforms, and a guest for each disk: on memory (mem), a file (file),
    a file in memory (tmp), the other platform's memory (far), and an NBD
    server's through farside-nbd (chain)."""

    def __init__(self, lib, layout):
        self.lib = lib
        self.layout = layout
        self.client, self.server = lib.PINS[layout]
        self.p = p = lib.Platforms()
        self.nbd_port = p.port + 2
        self.shm = f"/dev/shm/farside-bench-{os.getpid()}.img"
        self.file = os.path.join(p.dir, "disk.img")
        try:
            self.up()
        except BaseException:
            self.down()
            raise

    def up(self):
        lib, p = self.lib, self.p
        p.sim("up", "atlas", "borealis")
        for path in (self.shm, self.file):
            with open(path, "wb") as f:
                for _ in range(MIB):
                    f.write(b"\1" * (1 << 20))
                f.flush()
                os.fsync(f.fileno())
        self.socket = os.path.join(p.sim("dir", "atlas"), "run", "chain.dev")
        p.conf("atlas", "[platform]\nname = atlas\n[server borealis]\n"
               f"address = 127.0.0.1:{p.port}\nclear-text = on\n"
               f"[device mem]\ntype = memory\nsize = {MIB}\n"
               f"[device file]\ntype = file\npath = {self.file}\n"
               f"[device tmp]\ntype = file\npath = {self.shm}\n"
               "[device chain]\ntype = outside\nclass = block\n"
               f"socket = {self.socket}\n")
        p.conf("borealis", "[platform]\nname = borealis\n[listen]\n"
               f"address = 127.0.0.1:{p.port + 1}\nclear-text = on\n"
               f"clear-address = 127.0.0.1:{p.port}\n"
               "clear-text-allow = atlas\n"
               f"[device mem]\ntype = memory\nsize = {MIB}\n"
               "[export mem]\nallow = atlas\n")
        p.log = open(os.path.join(p.dir, "log"), "w")
        self.far = p.daemon("borealis", self.server, "farside-netproxy")
        self.near = p.daemon("atlas", self.client, "farside-netproxy")
        self.backend = p.daemon("atlas", self.server, "farside-backend")
        self.nbdkit = subprocess.Popen(
            lib.pinned(self.server,
                       ["nbdkit", "-f", "-t", "1", "-i", "127.0.0.1", "-p",
                        str(self.nbd_port), "memory", f"{MIB}M"]),
            stderr=p.log)
        p.daemons.append(self.nbdkit)
        lib.until(lambda: lib.listening(self.nbd_port))
        lib.until(lambda: os.path.exists(os.path.dirname(self.socket)))
        self.chain = subprocess.Popen(
            lib.pinned(self.client,
                       [lib.program("farside-nbd"), f"--socket={self.socket}",
                        f"nbd://127.0.0.1:{self.nbd_port}"]), stderr=p.log)
        p.daemons.append(self.chain)
        lib.until(lambda: os.path.exists(self.socket))
        for name in ("netproxy", "backend"):
            path = os.path.join(p.sim("dir", "atlas"), "run", name + ".sock")
            lib.until(lambda: os.path.exists(path))
        for disk in ("mem", "file", "tmp", "chain", "far"):
            target = "borealis/mem" if disk == "far" else disk
            p.sim("create", "atlas", disk, "memory=256", "gntalloc=8192",
                  LINE + target)

    def down(self):
        self.p.down()
        if os.path.exists(self.shm):
            os.unlink(self.shm)

    def move(self, cpu):
        """The backend is of the server's side where the disk is its own, else
        of the client's."""
        if cpu >= 0:
            subprocess.run(["taskset", "-apc", str(cpu), str(self.backend.pid)],
                           stdout=subprocess.DEVNULL, check=True)

    def counters(self, disk):
        status = json.loads(self.p.sim(
            "run", "atlas", "--", self.lib.program("farside"), "status",
            "--json"))
        for guest in status["guests"]:
            if guest["name"] == disk:
                return guest["devices"][0]["counters"]
        return {}

    def run(self, disk, size, depth, seconds):
        """One run of a guest. What the backend's counters say of an op includes
        filling and warming up."""
        self.move(self.client if disk in ("far", "chain") else self.server)
        self.lib.wait_idle()
        guest = self.p.popen(f"atlas/{disk}", self.client,
                             [self.lib.program("disk"), str(size), str(depth),
                              str(seconds)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
        guest.stdout.readline()  # the measuring has begun
        before = self.lib.tasks(self.backend.pid)
        out = guest.stdout.readline()
        after, counters = self.lib.tasks(self.backend.pid), self.counters(disk)
        guest.communicate("\n", timeout=20)
        if guest.returncode:
            raise RuntimeError(f"the guest of {disk} failed")
        r = json.loads(out)
        n = max(1, counters["reads"] + counters["writes"])
        moved = counters["read_bytes"] + counters["written_bytes"]
        r["back_us_per_op"] = (after[0] - before[0]) / 1000 / r["ops"]
        r["back_sleeps_per_op"] = (after[1] - before[1]) / r["ops"]
        r["all"] = n
        r["copies_per_byte"] = counters["copied_bytes"] / max(1, moved)
        r["notifies_per_op"] = counters["notifies"] / n
        r["grant_calls_per_op"] = (counters["grant_copy_calls"] +
                                   counters.get("grant_maps", 0)) / n
        return r

    def bare(self, size, depth, seconds):
        self.lib.wait_idle()
        return json.loads(subprocess.run(
            self.lib.pinned(self.client,
                            [self.lib.program("nbd"), str(self.nbd_port),
                             str(size), str(depth), str(seconds)]),
            check=True, capture_output=True, text=True, timeout=60).stdout)

    def fio(self, path, depth, seconds, direct=True):
        self.lib.wait_idle()
        out = json.loads(subprocess.run(
            self.lib.pinned(self.server,
                            ["fio", "--name=f", f"--filename={path}",
                             f"--direct={int(direct)}", "--ioengine=io_uring",
                             "--rw=randread", "--bs=4k", f"--iodepth={depth}",
                             f"--size={MIB}m", "--time_based",
                             f"--runtime={seconds}", "--ramp_time=0.3",
                             "--output-format=json"]),
            check=True, capture_output=True, text=True, timeout=60).stdout)
        read = out["jobs"][0]["read"]
        return {"per_s": read["iops"],
                "p50_us": read["clat_ns"]["percentile"]["50.000000"] / 1000}

    def calls(self, disk, size, depth):
        """System calls an op of the backend; strace stops each, so that it is
        no time to measure anything else."""
        path = os.path.join(self.p.dir, "calls")
        trace = subprocess.Popen(["strace", "-c", "-f", "-o", path, "-p",
                                  str(self.backend.pid)],
                                 stderr=subprocess.DEVNULL)
        try:
            self.lib.time.sleep(0.5)
            ops = self.run(disk, size, depth, 1)["all"]
        finally:
            trace.send_signal(2)
            trace.wait(20)
        with open(path) as f:
            text = f.read()
        return {m.group(2): int(m.group(1)) / max(1, ops) for m in re.finditer(
            r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+).*?\s(\w+)$", text, re.M)
            if m.group(2) != "total"}


COSTS = ("p99_us", "front_us_per_op", "front_sleeps_per_op", "back_us_per_op",
         "back_sleeps_per_op", "notifies_per_op", "grant_calls_per_op",
         "copies_per_byte")


def ratio(got, ours, theirs, key):
    """Pair by pair."""
    return statistics.median(a[key] / b[key]
                             for a, b in zip(got[ours], got[theirs]))


def local_rows(rows, lib, layout, got):
    median = lib.median
    cost = lambda key: {k: round(median(got[key], k), 3) for k in COSTS}
    e = median(got["eventfd"])
    v = median(got["local1"])
    lib.row(rows, "disk.local.qd1", layout, v, "us", e, {},
            "p50 at most 1.3 eventfd floors + 2 us", v <= 1.3 * e + 2,
            cost=cost("local1"))
    v = median(got["local32"], "per_s")
    least = {"T": 1000000, "A": 350000}.get(layout)
    lib.row(rows, "disk.local.qd32", layout, v, "ops/s", None, {},
            f"one queue: at least {least}" if least else "reported",
            v >= least if least else None, cost=cost("local32"))
    v = ratio(got, "localbulk", "copy", "mib_per_s")
    lib.row(rows, "disk.local.bulk", layout, v, "x", None,
            {"farside MiB/s": median(got["localbulk"], "mib_per_s"),
             "one thread's copies MiB/s": median(got["copy"], "mib_per_s"),
             "copies per byte": median(got["localbulk"], "copies_per_byte")},
            "at least 0.6 of a thread that copies" if layout == "T" else
            "reported", v >= 0.6 if layout == "T" else None,
            cost=cost("localbulk"))
    v = ratio(got, "file32", "fio32", "per_s")
    lib.row(rows, "disk.file.qd32", layout, v, "x", None,
            {"farside ops/s": median(got["file32"], "per_s"),
             "fio ops/s": median(got["fio32"], "per_s")},
            "at least 0.9 of fio's io_uring", v >= 0.9, cost=cost("file32"))
    v, f = median(got["file1"]), median(got["fio1"])
    lib.row(rows, "disk.file.qd1", layout, v, "us", e, {"fio p50_us": f},
            "p50 at most fio's + 1.3 eventfd floors", v <= f + 1.3 * e,
            cost=cost("file1"))
    v = ratio(got, "tmp32", "fiotmp", "per_s")
    lib.row(rows, "disk.tmpfs.qd32", layout, v, "x", None,
            {"farside ops/s": median(got["tmp32"], "per_s"),
             "fio ops/s": median(got["fiotmp"], "per_s")},
            "at least 0.5 of fio" if layout == "T" else "reported",
            v >= 0.5 if layout == "T" else None, cost=cost("tmp32"))


def remote_rows(rows, lib, layout, got):
    median = lib.median
    cost = lambda key: {k: round(median(got[key], k), 3) for k in COSTS}
    v = ratio(got, "far1", "chain1", "p50_us")
    lib.row(rows, "disk.remote.qd1", layout, v, "x", None,
            {"farside p50_us": median(got["far1"]),
             "chain p50_us": median(got["chain1"]),
             "bare p50_us": median(got["bare1"])},
            "p50 at most 1.05 times the chain", v <= 1.05, cost=cost("far1"))
    for depth, chain, bare in ((16, 1.6, 3 if layout == "T" else 1.1),
                               (64, 4, 3)):
        c = ratio(got, f"far{depth}", f"chain{depth}", "per_s")
        b = ratio(got, f"far{depth}", f"bare{depth}", "per_s")
        lib.row(rows, f"disk.remote.qd{depth}", layout, c, "x", None,
                {"times bare": b,
                 "farside ops/s": median(got[f"far{depth}"], "per_s"),
                 "chain ops/s": median(got[f"chain{depth}"], "per_s"),
                 "bare ops/s": median(got[f"bare{depth}"], "per_s")},
                f"at least {chain} times the chain, {bare} times bare",
                c >= chain and b >= bare, cost=cost(f"far{depth}"))
    v = ratio(got, "farbulk", "barebulk", "mib_per_s")
    least = 0.8 if layout == "T" else 0.9
    lib.row(rows, "disk.remote.bulk", layout, v, "x", None,
            {"farside MiB/s": median(got["farbulk"], "mib_per_s"),
             "chain MiB/s": median(got["chainbulk"], "mib_per_s"),
             "bare MiB/s": median(got["barebulk"], "mib_per_s")},
            f"256 KiB, 4 outstanding: at least {least} of bare", v >= least,
            cost=cost("farbulk"))


def measure(lib, layout, d, got, seconds):
    add = lambda key, value: got.setdefault(key, []).append(value)
    add("eventfd", lib.floor("eventfd", layout, 5000))
    add("local1", d.run("mem", 4096, 1, seconds))
    add("local32", d.run("mem", 4096, 32, seconds))
    add("localbulk", d.run("mem", 131072, 8, seconds))
    add("copy", json.loads(subprocess.run(
        lib.pinned(d.server, [lib.program("disk"), "copy", str(seconds)]),
        check=True, capture_output=True, text=True).stdout))
    for depth in (1, 32):
        add(f"file{depth}", d.run("file", 4096, depth, seconds))
        add(f"fio{depth}", d.fio(d.file, depth, seconds))
    add("tmp32", d.run("tmp", 4096, 32, seconds))
    add("fiotmp", d.fio(d.shm, 32, seconds, direct=False))
    for depth in (1, 16, 64):
        add(f"far{depth}", d.run("far", 4096, depth, seconds))
        add(f"chain{depth}", d.run("chain", 4096, depth, seconds))
        add(f"bare{depth}", d.bare(4096, depth, seconds))
    # 256 KiB, 4 outstanding, in ops that are as long as an op may be
    add("farbulk", d.run("far", 131072, 8, seconds))
    add("chainbulk", d.run("chain", 131072, 8, seconds))
    add("barebulk", d.bare(262144, 4, seconds))


def bench(rows, quick, lib):
    for tool in ("nbdkit", "fio"):
        if not shutil.which(tool):
            sys.exit(f"bench/run disk: no {tool} here: packaging/install-deps "
                     "bench installs the peers")
    pairs, seconds = (2, 0.4) if quick else (lib.PAIRS, 1)
    for layout in ("T", "A", "F"):
        got = {}
        d = Disks(lib, layout)
        try:
            for i in range(pairs):
                print(f"disk {layout}: round {i + 1} of {pairs}", end="\r",
                      file=sys.stderr, flush=True)
                measure(lib, layout, d, got, seconds)
            if layout == "T" and shutil.which("strace"):
                for disk, depth in (("mem", 1), ("mem", 32), ("far", 16)):
                    calls = d.calls(disk, 4096, depth)
                    lib.row(rows, f"disk.calls.{disk}.qd{depth}", layout,
                            sum(calls.values()), "per op", None,
                            {k: v for k, v in calls.items() if v >= 0.005},
                            "of the backend, under strace; reported", None)
        finally:
            d.down()
        local_rows(rows, lib, layout, got)
        remote_rows(rows, lib, layout, got)

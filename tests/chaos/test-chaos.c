/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Chaos: guests on two platforms append to, and read from, the ledger of a
 * third, and listen to a recorded trace there, those of the second through a
 * relay, while every process is killed
 * and every wire cut at random. Then it is counted: each request was answered
 * once, each append that was answered is in the ledger once, nothing else is,
 * and in order; each event came once and in order. FARSIDE_SEED chooses another
 * run, FARSIDE_CHAOS_SECONDS a longer one. Those of a disk's requests that are
 * under way together have no order; one that was posted when another had been
 * answered comes after it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/clock.h"
#include "devices/ledger.h"
#include "tests/core/suite.h"
#include "tests/chaos/chaos.h"
#include "tests/netproxy/rig.h"

#define CLIENTS     2u
#define GUESTS_ALL  (CLIENTS * GUESTS)
#define KNOWN       64u /* appends that may be read back */
#define TRACE_STEPS 1600u
#define TRACE_US    5000u
#define DRAIN_US    60000000u

/* What a guest knows of its own requests. */
struct guest_side {
    struct guest_memory *memory;
    uint64_t posted, answered;
    bool waits[REQUESTS];
    /* by number: 0 not an append, 1 posted, 2 answered, 3 and in the ledger */
    uint8_t *appends;
    uint64_t *at;    /* where it is */
    uint64_t *floor; /* the highest at of those answered when it was posted */
    uint64_t room, reads, appended, highest;
    struct {
        uint64_t number, seed, at;
        uint32_t bytes;
    } known[KNOWN];
    /* input */
    uint64_t incarnation, sequence, events, incarnations;
    unsigned step;
    bool step_known;
};

struct process {
    const char *name;
    pid_t pid; /* 0: dead */
    uint64_t start_us;
    unsigned kills;
    void (*run)(const struct process *p); /* never returns */
};

static struct rig rig;
static uint64_t state;
static struct guest_side guests[GUESTS_ALL];
static char violation[256];

static uint64_t dice(uint64_t sides)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % sides;
}

static void __attribute__((format(printf, 1, 2)))
violated(const char *format, ...)
{
    va_list args;

    if (violation[0])
        return;
    va_start(args, format);
    vsnprintf(violation, sizeof(violation), format, args);
    va_end(args);
    fprintf(stderr, "chaos: %s\n", violation);
}

/* ---- processes ---- */

static void run_netproxy(const struct process *p)
{
    const char *program = getenv("FARSIDE_NETPROXY");
    char conf[128], run[128];

    snprintf(conf, sizeof(conf), "%s/%s.conf", rig.dir, p->name);
    snprintf(run, sizeof(run), "%s/%s", rig.dir, p->name);
    setenv("FARSIDE_SANDBOX_KILLS", "1", 1);
    program = program ? program : "./farside-netproxy";
    execl(program, "farside-netproxy", "-c", conf, "-r", run, NULL);
    perror(program);
    _exit(127);
}

static void run_backend_atlas(const struct process *p)
{
    (void)p;
    backend(rig.dir, "atlas", "borealis", 1);
}

static void run_backend_cygnus(const struct process *p)
{
    (void)p;
    backend(rig.dir, "cygnus", "dione", 1 + GUESTS);
}

static struct process processes[] = {
    { .name = "borealis", .run = run_netproxy },
    { .name = "atlas", .run = run_netproxy },
    { .name = "cygnus", .run = run_netproxy },
    { .name = "dione", .run = run_netproxy }, /* the relay */
    { .name = "atlas's backend", .run = run_backend_atlas },
    { .name = "cygnus's backend", .run = run_backend_cygnus },
};
#define PROCESSES (sizeof(processes) / sizeof(processes[0]))

/* What netproxies say while they are killed all the time is of no use, unless
 * something is wrong. */
static void begin_process(struct process *p)
{
    char log[128];

    fflush(NULL);
    p->pid = fork();
    ck_assert_int_ge(p->pid, 0);
    if (p->pid)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    snprintf(log, sizeof(log), "%s/%s.log", rig.dir, p->name);
    if (!freopen(log, "a", stderr))
        _exit(126);
    p->run(p);
}

static void kill_process(struct process *p)
{
    int status;

    kill(p->pid, SIGKILL);
    ck_assert_int_eq(waitpid(p->pid, &status, 0), p->pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        violated("%s had ended by itself: status %x", p->name,
                 (unsigned)status);
    p->pid = 0;
    p->kills++;
}

static void look_after_processes(void)
{
    int status;

    for (unsigned i = 0; i < PROCESSES; i++) {
        struct process *p = &processes[i];

        if (p->pid && waitpid(p->pid, &status, WNOHANG) == p->pid) {
            violated("%s has ended by itself: status %x", p->name,
                     (unsigned)status);
            p->pid = 0;
        }
        if (!p->pid && far_now_us() >= p->start_us)
            begin_process(p);
    }
}

static void do_harm(void)
{
    struct process *p = &processes[dice(PROCESSES)];

    if (!p->pid)
        return;
    kill_process(p);
    p->start_us =
        far_now_us() + (dice(10) ? dice(200000) : 500000 + dice(1500000));
}

/* ---- guests ---- */

static void grow(struct guest_side *g)
{
    if (g->posted + 2 < g->room)
        return;
    g->room = g->room ? g->room * 2 : 65536;
    g->appends = realloc(g->appends, g->room);
    g->at = realloc(g->at, g->room * sizeof(*g->at));
    g->floor = realloc(g->floor, g->room * sizeof(*g->floor));
    ck_assert(g->appends && g->at && g->floor);
    memset(g->appends + g->posted + 1, 0, g->room - g->posted - 1);
}

static void take_answer(struct guest_side *g, const struct request *r,
                        uint64_t number)
{
    g->answered++;
    if (r->status)
        violated("request %llu of a guest failed: %s",
                 (unsigned long long)number, strerror(-r->status));
    if (r->reads) {
        g->reads++;
        return;
    }
    g->appended++;
    g->appends[number] = 2;
    g->at[number] = r->at;
    if (r->at > g->highest)
        g->highest = r->at;
    g->known[number % KNOWN].number = number;
    g->known[number % KNOWN].seed = r->seed;
    g->known[number % KNOWN].at = r->at;
    g->known[number % KNOWN].bytes = r->bytes;
}

static void look_at_answers(struct guest_side *g)
{
    for (unsigned i = 0; i < REQUESTS; i++) {
        const struct request *r = &g->memory->requests[i];
        uint64_t s = atomic_load(&r->state);

        if (!g->waits[i] || (s & 0xff) != DONE)
            continue;
        g->waits[i] = false;
        take_answer(g, r, s >> 8);
    }
}

static void post(struct guest_side *g)
{
    uint64_t number = g->posted + 1, of = dice(KNOWN);
    struct request *r = &g->memory->requests[number % REQUESTS];

    if (g->waits[number % REQUESTS])
        return;
    grow(g);
    r->reads = !dice(3) && g->known[of].number;
    if (r->reads) {
        r->of = g->known[of].number;
        r->seed = g->known[of].seed;
        r->from = g->known[of].at;
        r->bytes = g->known[of].bytes;
    } else {
        r->seed = state;
        r->bytes = (uint32_t)(512 << (dice(10) ? dice(4) : dice(8)));
        g->appends[number] = 1;
        g->floor[number] = g->highest;
    }
    g->posted = number;
    g->waits[number % REQUESTS] = true;
    atomic_store(&r->state, STATE(number, OPEN));
    atomic_store(&g->memory->posted, number);
}

static void take_event(struct guest_side *g, const struct event *e)
{
    unsigned step;

    if (e->incarnation != g->incarnation) {
        g->incarnation = e->incarnation;
        g->incarnations++;
        g->sequence = 0;
        g->step_known = false;
    }
    if (e->sequence) { /* 0: of a device that was there before */
        if (g->sequence && e->sequence != g->sequence + 1)
            violated("interrupt %llu came after %llu",
                     (unsigned long long)e->sequence,
                     (unsigned long long)g->sequence);
        g->sequence = e->sequence;
    }
    if (e->event.type != FAR_INPUT_KEY || (e->event.flags & FAR_INPUT_HELD) ||
        !e->sequence)
        return;
    g->events++;
    step = (unsigned)(e->event.code - 2) * 2 + !e->event.value;
    if (g->step_known && step != (g->step + 1) % 160)
        violated("step %u of the trace came after step %u", step, g->step);
    g->step = step;
    g->step_known = true;
}

static void look_at_events(struct guest_side *g)
{
    uint32_t cons = atomic_load(&g->memory->cons);

    while (cons != atomic_load(&g->memory->prod)) {
        take_event(g, &g->memory->events[cons % EVENTS]);
        atomic_store(&g->memory->cons, ++cons);
    }
}

static bool all_answered(void)
{
    for (unsigned i = 0; i < GUESTS_ALL; i++)
        if (guests[i].answered != guests[i].posted)
            return false;
    return true;
}

/* ---- judgement ---- */

static void judge_record(const struct far_ledger_record *r,
                         const uint8_t *bytes, uint64_t at)
{
    static _Alignas(8) uint8_t want[CONTENTS_MAX];
    const uint64_t *words = (const uint64_t *)(const void *)bytes;
    uint64_t guest = words[0], number = words[1];
    struct guest_side *g;

    if (guest < 1 || guest > GUESTS_ALL || r->guest_uuid[0] != guest) {
        violated("a record at %llu is nobody's", (unsigned long long)at);
        return;
    }
    g = &guests[guest - 1];
    if (number > g->posted || !g->appends[number]) {
        violated("guest %llu never appended %llu", (unsigned long long)guest,
                 (unsigned long long)number);
        return;
    }
    contents(want, r->bytes, guest, number, words[2]);
    if (memcmp(want, bytes, r->bytes) || r->check != far_ledger_check(r, bytes))
        violated("append %llu of guest %llu holds something else",
                 (unsigned long long)number, (unsigned long long)guest);
    if (g->appends[number] == 3)
        violated("append %llu of guest %llu was done twice",
                 (unsigned long long)number, (unsigned long long)guest);
    else if (g->appends[number] == 2 && g->at[number] != at)
        violated("append %llu of guest %llu is not where it was said to be",
                 (unsigned long long)number, (unsigned long long)guest);
    /* Those that are under way together may overtake each other, as on any
     * disk. */
    if (at <= g->floor[number])
        violated("append %llu of guest %llu came before one that had been "
                 "answered when it was posted",
                 (unsigned long long)number, (unsigned long long)guest);
    g->appends[number] = 3;
}

static void judge(void)
{
    static _Alignas(8) uint8_t bytes[CONTENTS_MAX];
    struct far_ledger_record r;
    char path[128];
    uint64_t at = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/ledger", rig.dir);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while (fread(&r, sizeof(r), 1, f) == 1 && !violation[0]) {
        if (r.magic != FAR_LEDGER_MAGIC || r.bytes > CONTENTS_MAX ||
            fread(bytes, r.bytes, 1, f) != 1) {
            violated("the ledger is damaged at %llu", (unsigned long long)at);
            break;
        }
        judge_record(&r, bytes, at + sizeof(r));
        at += sizeof(r) + r.bytes;
    }
    fclose(f);
    for (unsigned i = 0; i < GUESTS_ALL; i++)
        for (uint64_t n = 1; n <= guests[i].posted; n++)
            if (guests[i].appends[n] == 2)
                violated("append %llu of guest %u was answered, and is lost",
                         (unsigned long long)n, i + 1);
}

/* ---- the run ---- */

static void write_files(uint16_t port, uint16_t wire_port)
{
    uint16_t relay_port = rig_port();
    char *trace = malloc(TRACE_STEPS * 32), *p = trace;
    char path[128];

    for (unsigned i = 0; i < TRACE_STEPS; i++)
        p += sprintf(p, "%u %s 0x%x\n", i * TRACE_US,
                     i % 2 ? "release" : "press", 2 + i / 2 % 80);
    rig_write(&rig, "trace", "%s", trace);
    free(trace);
    rig_write(&rig, "keys",
              "atlas:00112233445566778899aabbccddeeff\n"
              "cygnus:ffeeddccbbaa99887766554433221100\n"
              "dione:0123456789abcdef0123456789abcdef\n");
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device ledger0]\ntype = ledger\npath = %s/ledger\n"
              "size = 65536\n"
              "[device kbd0]\ntype = replay\nfile = %s/trace\nloop = on\n"
              "[export ledger0]\nallow = atlas cygnus\n"
              "[export kbd0]\nallow = atlas cygnus\n"
              "[relay dione]\nmay-carry = cygnus\n",
              port, rig.dir, rig.dir, rig.dir);
    rig_write(&rig, "dione.conf",
              "[platform]\nname = dione\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[server borealis]\naddress = 127.0.0.1:%u\n"
              "psk-file = %s/keys\n"
              "[export ledger0]\nforward = borealis/ledger0\n"
              "allow = cygnus\n"
              "[export kbd0]\nforward = borealis/kbd0\nallow = cygnus\n",
              relay_port, rig.dir, wire_port, rig.dir);
    for (unsigned i = 0; i < CLIENTS; i++) {
        char name[32], keys[32];

        snprintf(name, sizeof(name), "%s.conf", i ? "cygnus" : "atlas");
        snprintf(keys, sizeof(keys), "%s-keys", i ? "cygnus" : "atlas");
        rig_write(&rig, keys, "%s",
                  i ? "cygnus:ffeeddccbbaa99887766554433221100\n"
                    : "atlas:00112233445566778899aabbccddeeff\n");
        rig_write(&rig, name,
                  "[platform]\nname = %s\ntrust = %s/trust-keys\n"
                  "[server %s]\naddress = 127.0.0.1:%u\n"
                  "psk-file = %s/%s\n",
                  i ? "cygnus" : "atlas", rig.dir, i ? "dione" : "borealis",
                  i ? relay_port : wire_port, rig.dir, keys);
    }
    /* What the guests of cygnus ask for it signs for the owner. */
    for (unsigned i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/trust-keys%s", rig.dir,
                 i ? "/psk" : "");
        ck_assert_int_eq(mkdir(path, 0755), 0);
    }
    rig_write(&rig, "trust-keys/psk/server-borealis",
              "cygnus:ffeeddccbbaa99887766554433221100\n");
    for (unsigned i = 0; i < PROCESSES; i++) {
        snprintf(path, sizeof(path), "%s/%s", rig.dir, processes[i].name);
        if (processes[i].run == run_netproxy)
            ck_assert_int_eq(mkdir(path, 0755), 0);
    }
}

static void map_guests(const char *name, unsigned first)
{
    char path[128];
    struct memory *memory;
    int fd;

    snprintf(path, sizeof(path), "%s/%s.guests", rig.dir, name);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, sizeof(*memory)), 0);
    memory =
        mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    close(fd);
    for (unsigned i = 0; i < GUESTS; i++)
        guests[first + i].memory = &memory->guests[i];
}

static int listen_anywhere(uint16_t *port)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, bytes), 0);
    ck_assert_int_eq(listen(fd, 32), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &bytes), 0);
    *port = ntohs(in.sin_port);
    return fd;
}

static void turn(bool busy)
{
    const struct timespec pause = { .tv_nsec = 1000000 };

    look_after_processes();
    for (unsigned i = 0; i < GUESTS_ALL; i++) {
        look_at_answers(&guests[i]);
        look_at_events(&guests[i]);
        if (busy && !dice(4))
            post(&guests[i]);
    }
    nanosleep(&pause, NULL);
}

static void report(uint64_t seed)
{
    uint64_t requests = 0, appends = 0, reads = 0, events = 0, repeats = 0;
    unsigned kills = 0, incarnations = 0;

    for (unsigned i = 0; i < PROCESSES; i++)
        kills += processes[i].kills;
    for (unsigned i = 0; i < GUESTS_ALL; i++) {
        const struct guest_side *g = &guests[i];

        requests += g->posted;
        appends += g->appended;
        reads += g->reads;
        events += g->events;
        incarnations += (unsigned)g->incarnations;
        repeats += atomic_load(&g->memory->repeats);
        if (!g->appended || !g->events)
            violated("guest %u: nothing got through", i + 1);
        if (atomic_load(&g->memory->twice))
            violated("guest %u: %llu answers to what was not open", i + 1,
                     (unsigned long long)atomic_load(&g->memory->twice));
        if (g->answered != g->posted)
            violated("guest %u: %llu requests are not answered", i + 1,
                     (unsigned long long)(g->posted - g->answered));
    }
    printf("seed %llu: %u kills (borealis %u, atlas %u, cygnus %u, relay %u, "
           "backends %u); %llu appends, %llu reads, %llu repeated by backends; "
           "%llu "
           "events in %u incarnations\n",
           (unsigned long long)seed, kills, processes[0].kills,
           processes[1].kills, processes[2].kills, processes[3].kills,
           processes[4].kills + processes[5].kills, (unsigned long long)appends,
           (unsigned long long)reads, (unsigned long long)repeats,
           (unsigned long long)events, incarnations);
    fflush(stdout);
    if (violation[0])
        return;
    ck_assert_uint_eq(requests, appends + reads);
    ck_assert_uint_gt(appends, 100);
    ck_assert_uint_gt(reads, 10);
    ck_assert_uint_gt(events, 100);
    ck_assert_uint_gt(kills, 5);
}

/* The last lines of who may have done it. */
static void show_logs(void)
{
    char command[256];

    snprintf(command, sizeof(command), "tail -n 15 %s/*.log >&2", rig.dir);
    if (system(command))
        fprintf(stderr, "no logs\n");
}

START_TEST(whatever_dies_nothing_is_lost_nothing_is_doubled_and_order_is_kept)
{
    const char *chosen = getenv("FARSIDE_SEED"),
               *seconds = getenv("FARSIDE_CHAOS_SECONDS");
    uint64_t seed = chosen ? strtoull(chosen, NULL, 0) : 1, end_us, harm_us;
    uint16_t port = rig_port(), wire_port;
    int listener = listen_anywhere(&wire_port);
    pid_t wire;

    state = seed * 0x9e3779b97f4a7c15u + 1;
    rig_begin(&rig);
    write_files(port, wire_port);
    map_guests("atlas", 0);
    map_guests("cygnus", GUESTS);
    fflush(NULL);
    wire = fork();
    ck_assert_int_ge(wire, 0);
    if (!wire) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        wires(listener, port, state ^ 0x5555);
    }
    close(listener);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    end_us = far_now_us() +
             (seconds ? strtoull(seconds, NULL, 0) : 20) * (uint64_t)1000000;
    harm_us = far_now_us() + 1000000;
    while (far_now_us() < end_us && !violation[0]) {
        if (far_now_us() > harm_us) {
            do_harm();
            harm_us = far_now_us() + 30000 + dice(500000);
        }
        turn(true);
    }
    kill(wire, SIGUSR1);
    end_us = far_now_us() + DRAIN_US;
    while (!all_answered() && far_now_us() < end_us && !violation[0])
        turn(false);
    for (unsigned i = 0; i < 500 && !violation[0]; i++)
        turn(false); /* what comes late must not come twice */
    for (unsigned i = 0; i < PROCESSES; i++)
        if (processes[i].pid)
            kill_process(&processes[i]);
    kill(wire, SIGKILL);
    waitpid(wire, NULL, 0);
    if (!violation[0])
        judge();
    report(seed);
    if (violation[0])
        show_logs();
    ck_assert_msg(!violation[0], "seed %llu: %s", (unsigned long long)seed,
                  violation);
    rig_end(&rig);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chaos");
    TCase *c = tcase_create("chaos");

    tcase_set_timeout(c, 0);
    tcase_add_test(
        c, whatever_dies_nothing_is_lost_nothing_is_doubled_and_order_is_kept);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}

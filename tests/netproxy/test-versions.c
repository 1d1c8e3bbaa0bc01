/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Peers one version apart talk: the farside-netproxy that was just built and
 * an old one (tests/netproxy/old), each as client and as server, as a keyboard
 * needs it. Where the old one can't run the tests are skipped, with a reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/input.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define OLD      FARSIDE_SOURCE_DIR "/tests/netproxy/old/"
#define KEY_LINE "atlas:00112233445566778899aabbccddeeff\n"

static struct rig rig;
static struct proxy client, server;
static struct guest guest;
static char old[128], old_guest[128];

/* A guest of the old netproxy is a process that was built with it; what it
 * prints goes into `guest`, as if that had seen it. */
static struct {
    pid_t pid; /* 0: none */
    int to;
    struct far_io from;
    char line[512];
    size_t used;
} elder;

/* Puts one into dir. NULL: it runs. Else why not. */
static const char *unpack(const char *dir, const char *name, char path[128],
                          const char *argument)
{
    static char why[512];
    struct utsname machine;
    char command[1024];
    FILE *output;
    size_t n;

    uname(&machine);
    snprintf(path, 128, "%s/old-%s", dir, name);
    snprintf(command, sizeof(command), "%s%s-0-%s.xz", OLD, name,
             machine.machine);
    if (access(command, R_OK)) {
        snprintf(why, sizeof(why), "there is none for %s", machine.machine);
        return why;
    }
    snprintf(command, sizeof(command),
             "exec 2>&1; xz -dc %s%s-0-%s.xz >%s && chmod 755 %s && %s %s", OLD,
             name, machine.machine, path, path, path, argument);
    output = popen(command, "r");
    if (!output)
        return "popen failed";
    n = fread(why, 1, sizeof(why) - 1, output);
    why[n] = 0;
    /* 127: the dynamic linker has said what is missing. The guest wants
     * arguments, and says 2. */
    n = (size_t)WEXITSTATUS(pclose(output));
    return n == 0 || (n == 2 && !*argument) ? NULL : why;
}

static const char *unpack_all(const char *dir)
{
    const char *why = unpack(dir, "farside-netproxy", old, "--version");

    return why ? why : unpack(dir, "guest", old_guest, "");
}

/* Here, and not in a test: a skipped program is one that says 77. */
static bool can_run(void)
{
    char dir[] = "/tmp/farside-old-XXXXXX";
    const char *why = mkdtemp(dir) ? unpack_all(dir) : "no folder for it";

    unlink(old);
    unlink(old_guest);
    rmdir(dir);
    if (why)
        printf("SKIP: the old netproxy does not run here: %s\n", why);
    return !why;
}

static void elder_said(const char *line)
{
    struct far_input_event e = { .type = FAR_INPUT_KEY };
    unsigned long long sequence;
    unsigned code;
    int value;

    if (sscanf(line, "key %u %d", &code, &value) == 2) {
        ck_assert_uint_lt(guest.count, GUEST_EVENTS);
        e.code = (uint16_t)code;
        e.value = value;
        guest.events[guest.count++] = e;
    } else if (sscanf(line, "done %llu %d", &sequence, &value) == 2) {
        guest.completions++;
        guest.completed.sequence = sequence;
        guest.completed.status = value;
    } else if (!strncmp(line, "ready", 5)) {
        guest.state = FAR_DEVICE_READY;
    } else if (!strncmp(line, "gone", 4)) {
        guest.state = FAR_DEVICE_GONE;
        snprintf(guest.reason, sizeof(guest.reason), "%.200s", line + 4);
    } else {
        guest.gaps++; /* "gap", "repeat" */
    }
}

static void elder_speaks(struct far_io *io, uint32_t events)
{
    ssize_t n = read(io->fd, elder.line + elder.used,
                     sizeof(elder.line) - 1 - elder.used);
    char *end;

    (void)events;
    ck_assert_int_gt(n, 0);
    elder.used += (size_t)n;
    elder.line[elder.used] = 0;
    while ((end = strchr(elder.line, '\n'))) {
        *end = 0;
        elder_said(elder.line);
        elder.used -= (size_t)(end + 1 - elder.line);
        memmove(elder.line, end + 1, elder.used + 1);
    }
}

static void elder_open(void)
{
    int to[2], from[2];
    char path[128];

    snprintf(path, sizeof(path), "%s/atlas/devices.sock", rig.dir);
    ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
    elder.used = 0;
    elder.pid = fork();
    ck_assert_int_ge(elder.pid, 0);
    if (!elder.pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(to[0], 0);
        dup2(from[1], 1);
        execl(old_guest, "guest", path, "borealis", "kbd0", NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    elder.to = to[1];
    guest.rig = &rig;
    ck_assert_int_eq(
        far_io_add(rig.loop, &elder.from, from[0], EPOLLIN, elder_speaks), 0);
}

static void elder_close(void)
{
    int fd = elder.from.fd;

    far_io_del(&elder.from);
    close(fd);
    close(elder.to);
    ck_assert_int_eq(waitpid(elder.pid, NULL, 0), elder.pid);
    elder.pid = 0;
}

static void begin(bool old_client, bool old_server)
{
    uint16_t port;

    rig_begin(&rig);
    ck_assert_ptr_null(unpack_all(rig.dir));
    memset(&guest, 0, sizeof(guest));
    memset(&client, 0, sizeof(client));
    memset(&server, 0, sizeof(server));
    client.program = old_client ? old : NULL;
    server.program = old_server ? old : NULL;
    port = rig_port();
    rig_write(&rig, "keys", KEY_LINE);
    rig_write(&rig, "atlas-keys", KEY_LINE);
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n[export kbd0]\nallow = atlas\n",
              port, rig.dir);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = 127.0.0.1:%u\n"
              "psk-file = %s/atlas-keys\n",
              port, rig.dir);
    proxy_start(&server, &rig, "borealis");
    proxy_start(&client, &rig, "atlas");
    proxy_wait_text(&client, "links.0.state", "up");
    if (old_client)
        elder_open();
    else
        guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
}

static void end(void)
{
    if (elder.pid)
        elder_close();
    else
        guest_detach(&guest);
    proxy_kill(&client, SIGTERM);
    proxy_kill(&server, SIGTERM);
    rig_end(&rig);
}

static void type(unsigned first, unsigned last)
{
    unsigned i;

    for (i = first; i < last; i++)
        proxy_tap(&server, "kbd0", 2 + i % 80);
    guest_wait_count(&guest, 2 * last);
    for (i = first; i < last; i++) {
        ck_assert_uint_eq(guest.events[2 * i].code, 2 + i % 80);
        ck_assert_int_eq(guest.events[2 * i].value, 1);
        ck_assert_uint_eq(guest.events[2 * i + 1].code, 2 + i % 80);
        ck_assert_int_eq(guest.events[2 * i + 1].value, 0);
    }
    ck_assert_uint_eq(guest.count, 2 * last);
    ck_assert_uint_eq(guest.repeats + guest.gaps, 0);
}

static bool answered(void *arg)
{
    return ((struct guest *)arg)->completions != 0;
}

static void empty_op(uint64_t sequence)
{
    struct far_op op = { .attachment = 1,
                         .sequence = sequence,
                         .slot = 3,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };

    guest.completions = 0;
    if (elder.pid)
        dprintf(elder.to, "nop %llu\n", (unsigned long long)sequence);
    else
        ck_assert_int_eq(far_layer_submit(guest.layer.below, &op, NULL),
                         FAR_LATER);
    ck_assert(rig_until(&rig, answered, &guest, 10000));
    ck_assert_uint_eq(guest.completions, 1);
    /* Whether a keyboard has an empty op is its own business. */
    ck_assert(!guest.completed.status || guest.completed.status == -EOPNOTSUPP);
    ck_assert_uint_eq(guest.completed.sequence, sequence);
}

/* Attach, events, an op, a lost server, a cut link, a client that restarts;
 * nobody has said anything that the other did not know, but for SUBSCRIBE,
 * which an old server skips. */
static void talk(void)
{
    guest_wait_ready(&guest);
    type(0, 100);
    empty_op(1);
    ck_assert_int_le(proxy_number(&server, "links.0.counters.unknown_frames"),
                     1);
    ck_assert_int_eq(proxy_number(&client, "links.0.counters.unknown_frames"),
                     0);
    ck_assert_int_eq(proxy_number(&client, "links.0.counters.failures"), 0);

    proxy_kill(&server, SIGKILL);
    guest_wait_reason(&guest, "borealis");
    proxy_start(&server, &rig, "borealis");
    guest_wait_ready(&guest);
    type(100, 150);
    empty_op(2);

    json_decref(proxy_ask(
        &client, "{\"request\":\"link stop\",\"platform\":\"borealis\"}"));
    guest_wait_reason(&guest, "borealis");
    for (unsigned i = 150; i < 160; i++)
        proxy_tap(&server, "kbd0", 2 + i % 80);
    json_decref(proxy_ask(
        &client, "{\"request\":\"link start\",\"platform\":\"borealis\"}"));
    guest_wait_ready(&guest);
    guest_wait_count(&guest, 320); /* they were kept, and are not doubled */
    type(160, 200);

    proxy_kill(&client, SIGKILL);
    guest_wait_reason(&guest, "");
    proxy_start(&client, &rig, "atlas");
    guest_wait_ready(&guest);
    type(200, 250);
    empty_op(3);
}

START_TEST(a_new_client_talks_to_an_old_server)
{
    begin(false, true);
    talk();
    end();
}
END_TEST

START_TEST(an_old_client_talks_to_a_new_server)
{
    begin(true, false);
    talk();
    end();
}
END_TEST

/* The yardstick: what fails here, too, is not a matter of versions. */
START_TEST(two_new_ones_talk_in_the_same_way)
{
    begin(false, false);
    talk();
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: versions");
    TCase *tcase = tcase_create("versions");

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 120);
    if (!can_run())
        return 77;
    tcase_add_test(tcase, two_new_ones_talk_in_the_same_way);
    tcase_add_test(tcase, a_new_client_talks_to_an_old_server);
    tcase_add_test(tcase, an_old_client_talks_to_a_new_server);
    return suite_end(suite);
}

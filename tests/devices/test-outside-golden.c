/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A conversation of the local protocol as it once was:
 * golden/outside-keyboard-1.talk is what an outside keyboard and its client
 * said, and what stood in their rings. Either side of it, played from the file,
 * must get on with today's other side. And a keyboard's program as it once was,
 * old/outside-keyboard-1-MACHINE.xz, serves a guest of today.
 *
 * A line is what happens next: `>` a message of the client, `<` one of the
 * server, `v` an entry that the client puts into the ring down, `^` one that
 * the server puts into the ring up, `!` a line that is typed into the keyboard.
 *
 * test-outside-golden --record PROGRAM FILE writes such a file, from a keyboard
 * that it runs (docs/examples/outside-keyboard).
 */
#include "tests/devices/harness.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include "devices/local-server.h"

#define ENTRIES     64u
#define LINES_MAX   64u
#define MS          15000
#define GOLDEN_FILE "outside-keyboard-1.talk"

static char dir[64], path[96], fifo[96];
static pid_t program;

/* ---- lines ---- */

struct line {
    char what; /* 0: the end */
    size_t bytes;
    uint8_t data[FAR_LOCAL_BYTES_MAX];
    char text[16]; /* of '!' */
};

static struct line lines[LINES_MAX];

static size_t from_hex(const char *hex, uint8_t *out, size_t room)
{
    size_t n = 0;
    unsigned byte;

    for (; n < room && sscanf(hex, "%2x", &byte) == 1; hex += 2)
        out[n++] = (uint8_t)byte;
    return n;
}

static void read_lines(void)
{
    const char *source = getenv("srcdir");
    static char text[2 * FAR_LOCAL_BYTES_MAX + 16];
    char file[512];
    unsigned n = 0;
    FILE *f;

    memset(lines, 0, sizeof(lines));
    snprintf(file, sizeof(file), "%s/tests/devices/golden/" GOLDEN_FILE,
             source ? source : FARSIDE_SOURCE_DIR);
    f = fopen(file, "r");
    ck_assert_msg(f != NULL, "%s is missing", file);
    while (fgets(text, sizeof(text), f)) {
        struct line *l = &lines[n];

        if (text[0] == '#')
            continue;
        ck_assert_uint_lt(n++, LINES_MAX - 1);
        l->what = text[0];
        if (l->what == '!')
            snprintf(l->text, sizeof(l->text), "%.14s", text + 2);
        else
            l->bytes = from_hex(text + 2, l->data, sizeof(l->data));
    }
    fclose(f);
    ck_assert_uint_gt(n, 8);
}

/* Another process' numbers, and its clock, are its own; the rest is not. */
static void blank(struct line *l)
{
    static const struct {
        uint32_t type;
        size_t from, to;
    } own[] = {
        { FAR_LOCAL_HELLO, 80, 88 },     /* pid, flags */
        { FAR_LOCAL_PREPARED, 24, 40 },  /* incarnations */
        { FAR_LOCAL_ACTIVATE, 16, 24 },  /* incarnation */
        { FAR_LOCAL_ACTIVATED, 24, 40 }, /* incarnation, epoch */
    };
    uint32_t type;

    if (l->what == '^')
        memset(l->data + 32, 0, 8); /* time_us; of an answer: nothing */
    memcpy(&type, l->data, sizeof(type));
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if ((l->what == '<' || l->what == '>') && own[i].type == type)
            memset(l->data + own[i].from, 0, own[i].to - own[i].from);
}

/* What was got must be what stands there; a message may be longer today. */
static void compare(const struct line *wanted, const struct line *got)
{
    struct line a = *wanted, b = *got;
    size_t skip = a.what == '<' || a.what == '>' ? 8 : 0;

    ck_assert_uint_ge(b.bytes, a.bytes);
    ck_assert_mem_eq(a.data, b.data, skip / 2); /* the type */
    blank(&a);
    blank(&b);
    for (size_t i = skip; i < a.bytes; i++)
        ck_assert_msg(a.data[i] == b.data[i],
                      "'%c' of type %u: byte %zu is %02x, not %02x", a.what,
                      a.data[0], i, b.data[i], a.data[i]);
}

/* ---- either side by hand ---- */

static int fd;
static struct far_local_shm shm;

/* The next message: false if there is none for so long. */
static bool hear(struct line *got, char what, int ms, int fds[3],
                 unsigned *nfds)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int n;

    if (poll(&p, 1, ms) != 1)
        return false;
    n = far_local_receive(fd, got->data, sizeof(got->data), fds, nfds);
    ck_assert_int_gt(n, 0);
    got->what = what;
    got->bytes = (size_t)n;
    return true;
}

static bool take(struct far_shring *ring, struct line *got, char what)
{
    struct far_op op;
    int r = far_shring_get(ring, &op);

    ck_assert_int_ge(r, 0);
    if (!r)
        return false;
    got->what = what;
    got->bytes = sizeof(op);
    memcpy(got->data, &op, sizeof(op));
    return true;
}

static void put(struct far_shring *ring, const struct line *l)
{
    struct far_op op;

    ck_assert_uint_eq(l->bytes, sizeof(op));
    memcpy(&op, l->data, sizeof(op));
    ck_assert_int_eq(far_shring_put(ring, &op), 0);
}

static void type_text(const char *text)
{
    int to = -1;

    for (int i = 0; i < MS && to < 0; i++) {
        to = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        if (to < 0)
            usleep(1000);
    }
    ck_assert_int_ge(to, 0);
    ck_assert_int_eq(write(to, text, strlen(text)), (ssize_t)strlen(text));
    close(to);
}

static void begin(void)
{
    snprintf(dir, sizeof(dir), "/tmp/farside-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/typist", dir);
    snprintf(fifo, sizeof(fifo), "%s/keys", dir);
}

static void end(void)
{
    char command[96];

    far_local_shm_close(&shm);
    if (fd >= 0)
        close(fd);
    if (program > 0) {
        kill(program, SIGKILL);
        waitpid(program, NULL, 0);
    }
    program = 0;
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static void start_keyboard(const char *what)
{
    program = fork();
    if (!program) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("FARSIDE_SOCKET", path, 1);
        execl(what, what, fifo, (char *)NULL);
        _exit(127);
    }
}

static void run_keyboard(const char *what)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    start_keyboard(what);
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    for (int i = 0;
         connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0; i++) {
        ck_assert_int_lt(i, MS);
        usleep(1000);
    }
}

/* The client's message goes out, a PREPARE with memory as it wants it. */
static void client_says(const struct line *l)
{
    struct far_local_prepare m;
    uint32_t type;
    int fds[3];

    memcpy(&type, l->data, sizeof(type));
    if (type != FAR_LOCAL_PREPARE) {
        ck_assert_int_eq(far_local_send(fd, l->data, NULL, 0), 0);
        return;
    }
    memcpy(&m, l->data, sizeof(m));
    ck_assert_int_eq(
        far_local_shm_create(&shm, m.down_entries, m.up_entries, m.arena_bytes),
        0);
    fds[0] = shm.memfd;
    fds[1] = shm.to_server_read;
    fds[2] = shm.to_client;
    ck_assert_int_eq(far_local_send(fd, &m, fds, 3), 0);
}

/* ---- a client of then, a server of now ---- */

START_TEST(a_client_of_then_gets_what_it_got_from_a_device_of_now)
{
    struct line got;

    begin();
    read_lines();
    run_keyboard("docs/examples/outside-keyboard");
    for (const struct line *l = lines; l->what; l++) {
        switch (l->what) {
        case '>':
            client_says(l);
            break;
        case '<':
            ck_assert(hear(&got, '<', MS, NULL, NULL));
            compare(l, &got);
            break;
        case 'v':
            put(&shm.down, l);
            far_local_wake_server(&shm);
            break;
        case '^':
            for (int i = 0; !take(&shm.up, &got, '^'); i++) {
                ck_assert_int_lt(i, MS);
                usleep(1000);
            }
            compare(l, &got);
            break;
        default:
            type_text(l->text);
        }
    }
    /* Nothing else was said. */
    ck_assert(!hear(&got, '<', 100, NULL, NULL));
    end();
}
END_TEST

/* ---- a server of then, a client of now ---- */

static struct far_loop *loop;

/* What the client must say next, while it turns. */
static void client_said(const struct line *wanted)
{
    uint64_t until_us = far_now_us() + MS * 1000ull;
    int fds[3] = { -1, -1, -1 };
    struct far_local_prepare m;
    struct line got = { 0 };
    unsigned nfds = 3;

    while (!hear(&got, '>', 0, fds, &nfds)) {
        ck_assert_uint_lt(far_now_us(), until_us);
        far_loop_turn(loop, 1000);
        nfds = 3;
    }
    compare(wanted, &got);
    if (!nfds)
        return;
    ck_assert_uint_eq(nfds, 3);
    memcpy(&m, got.data, sizeof(m));
    ck_assert_int_eq(far_local_shm_open(&shm, fds[0], fds[1], fds[2],
                                        m.down_entries, m.up_entries,
                                        m.arena_bytes),
                     0);
}

START_TEST(a_device_of_then_serves_a_client_of_now)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct far_local_who who = who_of("typist", 1);
    struct far_op op = { .sequence = 1, .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };
    const uint64_t one = 1;
    struct far_local_client *client;
    struct far_layer *below;
    struct far_error error;
    int listens;
    struct port *p;
    struct line got;

    begin();
    read_lines();
    loop = far_loop_new();
    memcpy(address.sun_path, path, strlen(path) + 1);
    listens = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert(!bind(listens, (struct sockaddr *)&address, sizeof(address)) &&
              !listen(listens, 1));
    client = far_local_client_new(loop, NULL, path, "");
    far_local_client_sample(client, 0);
    /* An old one answers no ALIVE: that is no silence. */
    far_local_client_watch(client, 50000, NULL, NULL);
    ck_assert_int_eq(far_local_client_open(client, &who, &below, &error), 0);
    p = port_new(below);
    far_layer_activate(below, 0, 0);
    turn_until(loop, (fd = accept4(listens, NULL, NULL,
                                   SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0 ||
                         errno != EAGAIN);
    ck_assert_int_ge(fd, 0);
    for (const struct line *l = lines; l->what; l++) {
        switch (l->what) {
        case '>':
            if (l[1].what == 0) /* it goes when it has had all */ {
                turn_until(loop, p->completed == 1);
                turn_for(loop, 300000);
                ck_assert_int_eq(p->state, FAR_DEVICE_READY);
                ck_assert_str_eq(port_text(p, 0), "begin end +30 -30");
                port_free(p);
            }
            client_said(l);
            break;
        case '<':
            ck_assert_int_eq(far_local_send(fd, l->data, NULL, 0), 0);
            break;
        case 'v':
            ck_assert_int_eq(far_layer_submit(below, &op, NULL), FAR_LATER);
            turn_until(loop, take(&shm.down, &got, 'v'));
            compare(l, &got);
            break;
        case '^':
            put(&shm.up, l);
            ck_assert_int_eq(write(shm.to_client, &one, sizeof(one)),
                             sizeof(one));
            break;
        default: /* the keyboard's own affair */
            break;
        }
    }
    far_local_client_free(client);
    far_loop_free(loop);
    close(listens);
    end();
}
END_TEST

/* ---- a program of then ---- */

/* Puts it there: false if it does not run on this machine. */
static bool unpack(const char *to)
{
    struct utsname machine;
    char command[1024];

    uname(&machine);
    /* Without its argument it says how it is used, and ends with 2. */
    snprintf(command, sizeof(command),
             "xz -dc " FARSIDE_SOURCE_DIR
             "/tests/devices/old/outside-keyboard-1-%s.xz >%s 2>/dev/null && "
             "chmod 755 %s && { %s 2>/dev/null; [ $? = 2 ]; }",
             machine.machine, to, to, to);
    return system(command) == 0;
}

static bool can_run(void)
{
    char there[] = "/tmp/farside-old-XXXXXX", to[64];
    bool can;

    if (!mkdtemp(there))
        return false;
    snprintf(to, sizeof(to), "%s/old", there);
    can = unpack(to);
    unlink(to);
    rmdir(there);
    if (!can)
        printf("the old program does not run here\n");
    return can;
}

START_TEST(a_program_of_then_serves_a_guest_of_now_and_again_after_a_kill)
{
    struct far_local_who who = who_of("typist", 1);
    struct far_op op = { .sequence = 1, .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };
    struct far_local_client *client;
    struct far_layer *below;
    struct far_error error;
    char old[128];
    struct port *p;

    begin();
    fd = -1;
    snprintf(old, sizeof(old), "%s/old", dir);
    ck_assert(unpack(old));
    loop = far_loop_new();
    start_keyboard(old);
    client = far_local_client_new(loop, NULL, path, "");
    far_local_client_watch(client, 100000, NULL, NULL);
    ck_assert_int_eq(far_local_client_open(client, &who, &below, &error), 0);
    p = port_new(below);
    far_layer_activate(below, 0, 0);
    turn_until(loop, p->state == FAR_DEVICE_READY);
    type_text("30\n");
    turn_until(loop, strstr(port_text(p, 0), "+30 -30"));
    turn_for(loop, 300000); /* idle, and not asked what it does not know */
    ck_assert_int_eq(p->state, FAR_DEVICE_READY);
    kill(program, SIGKILL);
    ck_assert_int_eq(waitpid(program, NULL, 0), program);
    turn_until(loop, p->state == FAR_DEVICE_GONE);
    ck_assert_int_eq(far_layer_submit(below, &op, NULL), FAR_LATER);
    start_keyboard(old);
    turn_until(loop, p->state == FAR_DEVICE_READY && p->completed == 1);
    type_text("31\n");
    turn_until(loop, strstr(port_text(p, 0), "+31 -31"));
    port_free(p);
    far_local_client_free(client);
    far_loop_free(loop);
    end();
}
END_TEST

/* ---- recording ---- */

static const char *record_program, *record_file;
static FILE *talk;

static void print_line(const struct line *l)
{
    fprintf(talk, "%c ", l->what);
    for (size_t i = 0; i < l->bytes; i++)
        fprintf(talk, "%02x", l->data[i]);
    fputc('\n', talk);
}

static void record_said(const void *message, uint32_t bytes)
{
    struct line l = { .what = '>', .bytes = bytes };

    memcpy(l.data, message, bytes);
    print_line(&l);
    client_says(&l);
}

static void record_heard(unsigned messages, unsigned entries)
{
    struct line l = { 0 };

    while (messages-- && hear(&l, '<', MS, NULL, NULL))
        print_line(&l);
    for (int i = 0; entries && i < MS; i++, usleep(1000)) {
        while (entries && take(&shm.up, &l, '^')) {
            print_line(&l);
            entries--;
        }
    }
}

START_TEST(it_is_written_down)
{
    const struct far_local_who who = who_of("typist", 1);
    struct far_local_hello hello = { .type = FAR_LOCAL_HELLO,
                                     .bytes = sizeof(hello),
                                     .magic = FAR_LOCAL_MAGIC,
                                     .version = FAR_LOCAL_VERSION,
                                     .pid = (uint32_t)getpid() };
    struct far_local_prepare prepare = { .type = FAR_LOCAL_PREPARE,
                                         .bytes = sizeof(prepare),
                                         .who = who,
                                         .down_entries = ENTRIES,
                                         .up_entries = ENTRIES };
    struct far_local_activate activate = { .type = FAR_LOCAL_ACTIVATE,
                                           .bytes = sizeof(activate),
                                           .attachment = who.attachment };
    struct far_local_detach detach = { .type = FAR_LOCAL_DETACH,
                                       .bytes = sizeof(detach),
                                       .attachment = who.attachment };
    struct far_op op = { .attachment = who.attachment,
                         .sequence = 1,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };
    struct line entry = { .what = 'v', .bytes = sizeof(op) };

    talk = fopen(record_file, "w");
    ck_assert_ptr_nonnull(talk);
    begin();
    run_keyboard(record_program);
    record_said(&hello, hello.bytes);
    record_heard(1, 0);
    record_said(&prepare, prepare.bytes);
    record_heard(1, 0);
    record_said(&activate, activate.bytes);
    record_heard(3, 2);
    fputs("! 30\n", talk);
    type_text("30\n");
    record_heard(0, 2);
    memcpy(entry.data, &op, sizeof(op));
    print_line(&entry);
    put(&shm.down, &entry);
    far_local_wake_server(&shm);
    record_heard(0, 1);
    record_said(&detach, detach.bytes);
    end();
    ck_assert_int_eq(fclose(talk), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("outside: golden");
    TCase *c = tcase_create("golden");

    tcase_set_timeout(c, 120);
    if (argc == 4 && !strcmp(argv[1], "--record")) {
        record_program = argv[2];
        record_file = argv[3];
        tcase_add_test(c, it_is_written_down);
    } else {
        tcase_add_test(c,
                       a_client_of_then_gets_what_it_got_from_a_device_of_now);
        tcase_add_test(c, a_device_of_then_serves_a_client_of_now);
        if (can_run())
            tcase_add_test(
                c,
                a_program_of_then_serves_a_guest_of_now_and_again_after_a_kill);
    }
    suite_add_tcase(suite, c);
    return suite_end(suite);
}

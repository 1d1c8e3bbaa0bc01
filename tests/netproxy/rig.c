/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The rig of the netproxy's tests (rig.h).
 */
#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/control.h"
#include "tests/netproxy/rig.h"

void rig_begin(struct rig *rig)
{
    snprintf(rig->dir, sizeof(rig->dir), "/tmp/farside-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(rig->dir));
    /* As root the daemon becomes another user, who reads them at a reload. */
    ck_assert_int_eq(chmod(rig->dir, 0755), 0);
    rig->loop = far_loop_new();
    ck_assert_ptr_nonnull(rig->loop);
}

static void remove_all(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *e;
    char name[512];

    while (dir && (e = readdir(dir))) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
        if (unlink(name) && (errno == EISDIR || errno == EPERM))
            remove_all(name);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

void rig_end(struct rig *rig)
{
    far_loop_free(rig->loop);
    remove_all(rig->dir);
}

uint16_t rig_port(void)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, bytes), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &bytes), 0);
    close(fd);
    return ntohs(in.sin_port);
}

void rig_write(const struct rig *rig, const char *name, const char *format, ...)
{
    char path[256];
    va_list args;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    va_start(args, format);
    vfprintf(f, format, args);
    va_end(args);
    ck_assert_int_eq(fclose(f), 0);
    if (strstr(name, "keys")) {
        /* For the daemon's user, too, and for nobody else. */
        const struct passwd *pw = geteuid() ? NULL : getpwnam("farside");

        ck_assert_int_eq(chmod(path, 0640), 0);
        if (pw)
            ck_assert_int_eq(chown(path, 0, pw->pw_gid), 0);
    }
}

bool rig_until(struct rig *rig, bool (*done)(void *arg), void *arg, unsigned ms)
{
    uint64_t end_us = far_now_us() + (uint64_t)ms * 1000;

    while (!done(arg)) {
        if (far_now_us() > end_us)
            return false;
        far_loop_turn(rig->loop, 10000);
    }
    return true;
}

void rig_turn(struct rig *rig, unsigned ms)
{
    uint64_t end_us = far_now_us() + (uint64_t)ms * 1000, now_us;

    while ((now_us = far_now_us()) < end_us)
        far_loop_turn(rig->loop, end_us - now_us);
}

/* Processes. */

void proxy_start(struct proxy *proxy, struct rig *rig, const char *name)
{
    char conf[128], run[128];
    const char *program = proxy->program;

    if (!program)
        program = getenv("FARSIDE_NETPROXY");
    if (!program)
        program = "./farside-netproxy";
    proxy->rig = rig;
    snprintf(proxy->name, sizeof(proxy->name), "%s", name);
    snprintf(conf, sizeof(conf), "%s/%s.conf", rig->dir, name);
    snprintf(run, sizeof(run), "%s/%s", rig->dir, name);
    mkdir(run, 0755);
    proxy->pid = fork();
    ck_assert_int_ge(proxy->pid, 0);
    if (!proxy->pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0);
        setenv("FARSIDE_SANDBOX_KILLS", "1", 1);
        execl(program, "farside-netproxy", "-c", conf, "-r", run, NULL);
        perror(program);
        _exit(127);
    }
    /* Until it answers. */
    for (int i = 0; i < 1000; i++) {
        json_t *answer = proxy_ask(proxy, "{\"request\":\"status\"}");

        if (answer) {
            json_decref(answer);
            return;
        }
        ck_assert_int_eq(waitpid(proxy->pid, NULL, WNOHANG), 0);
        rig_turn(rig, 10);
    }
    ck_abort_msg("%s does not answer", name);
}

void proxy_kill(struct proxy *proxy, int sig)
{
    int status = 0;

    ck_assert_int_eq(kill(proxy->pid, sig), 0);
    ck_assert_int_eq(waitpid(proxy->pid, &status, 0), proxy->pid);
    if (sig == SIGTERM) {
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                      "%s ended with status %x", proxy->name, status);
    } else {
        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == sig,
                      "%s ended with status %x", proxy->name, status);
    }
}

json_t *proxy_ask(struct proxy *proxy, const char *request)
{
    char path[128];
    json_t *question = json_loads(request, 0, NULL), *answer = NULL;
    struct far_error error;

    ck_assert_ptr_nonnull(question);
    snprintf(path, sizeof(path), "%s/%s/netproxy.sock", proxy->rig->dir,
             proxy->name);
    far_control_call(path, question, &answer, 5000000, &error);
    json_decref(question);
    return answer;
}

static json_t *walk(json_t *at, const char *path)
{
    char words[256], *word, *rest = words;

    snprintf(words, sizeof(words), "%s", path);
    while (at && (word = strsep(&rest, ".")))
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(word))
                               : json_object_get(at, word);
    return at;
}

const char *proxy_text(struct proxy *proxy, const char *path)
{
    static char text[512];
    json_t *status = proxy_ask(proxy, "{\"request\":\"status\"}");
    const char *found;

    ck_assert_ptr_nonnull(status);
    found = json_string_value(walk(status, path));
    snprintf(text, sizeof(text), "%s", found ? found : "");
    json_decref(status);
    return text;
}

long long proxy_number(struct proxy *proxy, const char *path)
{
    json_t *status = proxy_ask(proxy, "{\"request\":\"status\"}");
    long long n;

    ck_assert_ptr_nonnull(status);
    n = json_integer_value(walk(status, path));
    json_decref(status);
    return n;
}

void proxy_wait_text(struct proxy *proxy, const char *path, const char *want)
{
    for (int i = 0; i < 500; i++) {
        if (strstr(proxy_text(proxy, path), want))
            return;
        rig_turn(proxy->rig, 10);
    }
    ck_abort_msg("%s: %s is \"%s\", not \"%s\"", proxy->name, path,
                 proxy_text(proxy, path), want);
}

void proxy_tap(struct proxy *proxy, const char *device, unsigned code)
{
    char request[256];
    json_t *answer;

    snprintf(request, sizeof(request),
             "{\"request\":\"send\",\"device\":\"%s\",\"events\":["
             "{\"type\":\"key\",\"code\":%u,\"value\":1},"
             "{\"type\":\"key\",\"code\":%u,\"value\":0}]}",
             device, code, code);
    answer = proxy_ask(proxy, request);
    ck_assert_ptr_nonnull(answer);
    json_decref(answer);
}

void proxy_reload(struct proxy *proxy)
{
    json_t *answer = proxy_ask(proxy, "{\"request\":\"reload\"}");

    ck_assert_ptr_nonnull(answer);
    json_decref(answer);
}

/* The guest. */

static bool guest_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct guest *g = (struct guest *)layer;
    struct far_input_event e;

    if (g->full)
        return false;
    ck_assert_uint_eq(op->opcode, FAR_INPUT_EVENT);
    if (op->sequence <= g->received)
        g->repeats++;
    else if (op->sequence != g->received + 1)
        g->gaps++;
    g->received = op->sequence;
    memcpy(&e, op->args, sizeof(e));
    if (e.type < FAR_INPUT_STATE_BEGIN && !(e.flags & FAR_INPUT_HELD)) {
        ck_assert_uint_lt(g->count, GUEST_EVENTS);
        g->events[g->count++] = e;
    }
    if (!g->refuse_acks)
        far_layer_ack(g->layer.below, op->sequence);
    return true;
}

static void guest_state(struct far_layer *layer, enum far_device_state state,
                        const struct far_layer_news *news)
{
    struct guest *g = (struct guest *)layer;

    g->states++;
    g->state = state;
    if (news && state == FAR_DEVICE_READY &&
        news->incarnation != g->incarnation) {
        g->incarnation = news->incarnation;
        g->received = 0;
        g->incarnations++;
    }
    snprintf(g->reason, sizeof(g->reason), "%s",
             news && news->reason ? news->reason : "");
}

static void guest_complete(struct far_layer *layer, const struct far_op *op)
{
    struct guest *g = (struct guest *)layer;

    g->completions++;
    g->completed = *op;
}

static const struct far_layer_ops guest_ops = {
    .name = "guest",
    .interrupt = guest_interrupt,
    .state = guest_state,
    .complete = guest_complete,
};

void guest_open(struct guest *g, struct rig *rig, const char *proxy, unsigned n,
                const char *platform, const char *device)
{
    struct far_local_who who = { .attachment = n + 1,
                                 .class =
                                     g->class ? g->class : FAR_CLASS_INPUT };
    const char *plus = strchr(platform, '+');
    struct far_error error;
    struct far_layer *below;
    char path[128];

    snprintf(path, sizeof(path), "%s/%s/devices.sock", rig->dir, proxy);
    g->rig = rig;
    g->layer.ops = &guest_ops;
    g->state = FAR_DEVICE_GONE;
    if (!g->shared)
        g->client = far_local_client_new(rig->loop, NULL, path, proxy);
    ck_assert_ptr_nonnull(g->client);
    memset(who.guest_uuid, (int)n + 1, sizeof(who.guest_uuid));
    memset(who.generation, 7, sizeof(who.generation));
    snprintf(who.guest_name, sizeof(who.guest_name), "guest%u", n);
    snprintf(who.platform, sizeof(who.platform), "%.*s",
             (int)strcspn(platform, "+"), platform);
    if (plus)
        snprintf(who.standby, sizeof(who.standby), "%s", plus + 1);
    snprintf(who.device, sizeof(who.device), "%s", device);
    ck_assert_int_eq(far_local_client_open(g->client, &who, &below, &error), 0);
    far_layer_stack(&g->layer, below);
    g->open = true;
    far_layer_activate(below, g->incarnation, g->received);
}

void guest_crash(struct guest *g)
{
    /* Freed before its users, the client has nobody to say goodbye for. */
    far_local_client_free(g->client);
    far_layer_close(g->layer.below);
    g->layer.below = NULL;
    g->open = false;
    g->state = FAR_DEVICE_GONE;
}

void guest_detach(struct guest *g)
{
    far_layer_close(g->layer.below);
    g->layer.below = NULL;
    if (!g->shared) {
        rig_turn(g->rig, 50); /* DETACH goes out */
        far_local_client_free(g->client);
    }
    g->open = false;
    g->state = FAR_DEVICE_GONE;
}

bool guest_ready(void *arg)
{
    return ((struct guest *)arg)->state == FAR_DEVICE_READY;
}

void guest_wait_ready(struct guest *g)
{
    ck_assert_msg(rig_until(g->rig, guest_ready, g, 10000), "not ready: %s",
                  g->reason);
}

struct wanted {
    struct guest *guest;
    unsigned count;
    const char *part;
};

static bool has_count(void *arg)
{
    const struct wanted *w = arg;

    return w->guest->count >= w->count;
}

void guest_wait_count(struct guest *g, unsigned count)
{
    struct wanted w = { .guest = g, .count = count };

    ck_assert_msg(rig_until(g->rig, has_count, &w, 10000),
                  "only %u of %u events came (%s)", g->count, count, g->reason);
}

static bool has_reason(void *arg)
{
    const struct wanted *w = arg;

    return w->guest->state == FAR_DEVICE_GONE &&
           strstr(w->guest->reason, w->part);
}

void guest_wait_reason(struct guest *g, const char *part)
{
    struct wanted w = { .guest = g, .part = part };

    ck_assert_msg(rig_until(g->rig, has_reason, &w, 10000),
                  "the reason is \"%s\" (state %d), not \"%s\"", g->reason,
                  (int)g->state, part);
}

/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The client's side of the bench of links: a whole netproxy in this process,
 * and in the place of guests loads that keep so many ops under way each. The
 * server's side is a farside-netproxy of its own. What is measured is printed
 * as one line of JSON.
 *
 * usage: link CONF RUNDIR SERVER SECONDS LOAD...
 *   LOAD: DEVICE,CLASS,BYTES,DEPTH[,MIB-A-SECOND]; CLASS is block (reads),
 *   append (writes of 512 bytes with a payload, to a ledger) or input (empty
 *   ops). It says `ready`, and begins when it gets a line.
 * usage: link scale FOLDER PLATFORMS SERVER DEVICE ATTACHMENTS
 *   platforms p0… with FOLDER/p0.conf…; says `ready`, ends at the end of input
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "bench/samples.h"
#include "core/block.h"
#include "core/clock.h"
#include "core/uuid.h"
#include "netproxy/netproxy.h"
#include "netproxy/remote.h"

#define SLOTS    FAR_OP_SLOTS_MAX
#define WARM_US  300000u
#define GAP_US   150000u
#define GAPS_MAX 16

struct load {
    struct far_layer layer; /* what a port would be */
    char device[FAR_NAME_BYTES], name[FAR_NAME_BYTES];
    enum far_class class;
    bool append;
    uint32_t bytes;
    unsigned depth;
    double rate; /* bytes a second; 0: as fast as it can be */
    bool ready, over;
    unsigned filling; /* writes under way, before anything is measured */
    uint64_t size_bytes, next_offset, sequence;
    uint64_t begun_ns[SLOTS];
    uint64_t idle; /* slots that wait for the rate */
    double allowance;
    uint64_t allowed_ns;
    uint8_t *payloads;
    struct samples samples;
    uint64_t all, counted, failed; /* ops; counted: after warming up */
    uint64_t last_us;
    struct {
        uint64_t from_us, to_us;
    } gaps[GAPS_MAX];
    unsigned gap_count;
};

static struct load loads[8];
static unsigned load_count;
static bool warm;

/* Memory that was never written reads faster than it should. */
static void fill(struct load *l, unsigned slot)
{
    struct far_op op = { .attachment = (uint64_t)(l - loads) + 1,
                         .sequence = ++l->sequence,
                         .slot = slot,
                         .opcode = FAR_BLOCK_WRITE,
                         .flags = FAR_OP_SENDS,
                         .payload_bytes = l->bytes };
    struct far_block_args a = { .offset_bytes = l->next_offset,
                                .length_bytes = l->bytes };

    memcpy(op.args, &a, sizeof(a));
    l->next_offset += l->bytes;
    l->filling++;
    if (far_layer_submit(l->layer.below, &op,
                         l->payloads + (size_t)slot * l->bytes) == FAR_DONE) {
        fprintf(stderr, "link: %s: can't be filled\n", l->name);
        exit(1);
    }
}

static void submit(struct load *l, unsigned slot)
{
    struct far_op op = { .attachment = (uint64_t)(l - loads) + 1,
                         .sequence = ++l->sequence,
                         .slot = slot,
                         .opcode = FAR_OP_NOP(l->class) };
    struct far_block_args a = { .offset_bytes = l->next_offset,
                                .length_bytes = l->bytes };
    void *payload = NULL;

    if (l->bytes) {
        op.opcode = l->append ? FAR_BLOCK_APPEND : FAR_BLOCK_READ;
        op.flags = l->append ? FAR_OP_SENDS : FAR_OP_RECEIVES;
        op.payload_bytes = l->bytes;
        if (l->append)
            a.offset_bytes = 0;
        memcpy(op.args, &a, sizeof(a));
        payload = l->payloads + (size_t)slot * l->bytes;
        l->next_offset += l->bytes;
        if (l->next_offset + l->bytes > l->size_bytes)
            l->next_offset = 0;
    }
    l->begun_ns[slot] = far_now_ns();
    if (far_layer_submit(l->layer.below, &op, payload) == FAR_DONE) {
        fprintf(stderr, "link: %s: an op failed at once: %s\n", l->name,
                strerror(-op.status));
        l->failed++;
    }
}

/* With a rate: as many as it has allowed since the last time. */
static void refill(struct load *l)
{
    uint64_t now = far_now_ns();

    if (l->rate <= 0)
        return;
    l->allowance += (double)(now - l->allowed_ns) * 1e-9 * l->rate;
    if (l->allowance > l->bytes * (double)l->depth)
        l->allowance = l->bytes * (double)l->depth;
    l->allowed_ns = now;
    while (l->idle && l->allowance >= l->bytes && !l->over) {
        unsigned slot = (unsigned)__builtin_ctzll(l->idle);

        l->allowance -= l->bytes;
        l->idle &= l->idle - 1;
        submit(l, slot);
    }
}

static void complete(struct far_layer *layer, const struct far_op *op)
{
    struct load *l = (struct load *)layer;
    uint64_t now = far_now_ns();

    if (l->filling) {
        l->filling--;
        if (l->next_offset + l->bytes <= l->size_bytes)
            fill(l, op->slot);
        return;
    }
    l->all++;
    l->failed += op->status != 0;
    if (warm) {
        l->counted++;
        samples_add(&l->samples, now - l->begun_ns[op->slot]);
    }
    if (now / 1000 - l->last_us > GAP_US && l->last_us &&
        l->gap_count < GAPS_MAX) {
        l->gaps[l->gap_count].from_us = l->last_us;
        l->gaps[l->gap_count++].to_us = now / 1000;
    }
    l->last_us = now / 1000;
    if (l->over)
        return;
    if (l->rate > 0) {
        l->idle |= (uint64_t)1 << op->slot;
        refill(l);
    } else {
        submit(l, op->slot);
    }
}

static void state(struct far_layer *layer, enum far_device_state s,
                  const struct far_layer_news *news)
{
    struct load *l = (struct load *)layer;

    if (s == FAR_DEVICE_READY && l->class == FAR_CLASS_BLOCK) {
        struct far_block_props props;

        memcpy(&props, news->props, sizeof(props));
        l->size_bytes = props.bytes;
    }
    l->ready |= s == FAR_DEVICE_READY;
}

static bool interrupt(struct far_layer *layer, const struct far_op *op)
{
    far_layer_ack(layer->below, op->sequence);
    return true;
}

static const struct far_layer_ops load_ops = {
    .name = "load",
    .complete = complete,
    .state = state,
    .interrupt = interrupt,
};

static _Noreturn void die(const char *what, const struct far_error *error)
{
    fprintf(stderr, "link: %s: %s\n", what, error ? error->text : "");
    exit(1);
}

static void attach(struct far_netproxy *n, struct far_layer *top,
                   const char *server, const char *device, enum far_class class,
                   unsigned number)
{
    struct far_local_who who = { .attachment = number, .class = class };
    struct far_link *link = far_netproxy_link(n, server);
    struct far_error error = { 0 };
    struct far_layer *below = NULL;

    memcpy(who.guest_uuid, &number, sizeof(number));
    who.guest_uuid[15] = 1;
    far_random_bytes(who.generation, sizeof(who.generation)); /* a new guest */
    snprintf(who.guest_name, sizeof(who.guest_name), "bench%u", number);
    snprintf(who.device, sizeof(who.device), "%s", device);
    snprintf(who.platform, sizeof(who.platform), "%s", server);
    top->ops = &load_ops;
    if (!link || far_remote_open(link, &who, &below, &error))
        die(server, &error);
    far_layer_stack(top, below);
    far_layer_activate(below, 0, 0);
}

static struct far_netproxy *start(struct far_loop *loop, struct far_log *log,
                                  const char *conf, const char *run)
{
    struct far_netproxy_options o = { .conf_file = conf,
                                      .run_dir = run,
                                      .no_resolver = true };
    struct far_error error = { 0 };
    struct far_netproxy *n;

    mkdir(run, 0755);
    n = far_netproxy_new(loop, log, &o, &error);
    if (!n)
        die(conf, &error);
    return n;
}

static void parse(struct load *l, char *text)
{
    const char *word = strsep(&text, ",");

    snprintf(l->device, sizeof(l->device), "%s", word);
    snprintf(l->name, sizeof(l->name), "%s", word);
    word = strsep(&text, ",");
    l->append = word && !strcmp(word, "append");
    l->class =
        word && !strcmp(word, "input") ? FAR_CLASS_INPUT : FAR_CLASS_BLOCK;
    word = strsep(&text, ",");
    l->bytes = word ? (uint32_t)atoi(word) : 0;
    word = strsep(&text, ",");
    l->depth = word ? (unsigned)atoi(word) : 1;
    if (text)
        l->rate = atof(text) * 1024 * 1024;
    if (l->depth < 1 || l->depth > SLOTS || samples_init(&l->samples, 4u << 20))
        die("a load that can't be", NULL);
    l->payloads = calloc(l->depth, l->bytes ? l->bytes : 1);
}

static void print_load(struct load *l, double seconds)
{
    qsort(l->samples.ns, l->samples.count, sizeof *l->samples.ns,
          samples_compare);
    printf("{\"device\": \"%s\", \"ops\": %llu, \"all\": %llu, "
           "\"failed\": %llu, \"per_s\": %.1f, \"mib_per_s\": %.2f, "
           "\"p50_us\": %.3f, \"p99_us\": %.3f, \"gaps\": [",
           l->name, (unsigned long long)l->counted, (unsigned long long)l->all,
           (unsigned long long)l->failed, (double)l->counted / seconds,
           (double)l->counted * l->bytes / seconds / 1048576,
           samples_us(&l->samples, 0.5), samples_us(&l->samples, 0.99));
    for (unsigned i = 0; i < l->gap_count; i++)
        printf("%s[%llu, %llu]", i ? ", " : "",
               (unsigned long long)l->gaps[i].from_us,
               (unsigned long long)l->gaps[i].to_us);
    printf("]}");
}

static void await_line(struct far_loop *loop)
{
    struct pollfd in = { .fd = 0, .events = POLLIN };
    char c;

    while (poll(&in, 1, 0) == 0)
        far_loop_turn(loop, 2000);
    while (read(0, &c, 1) == 1 && c != '\n')
        ;
}

static void measure(struct far_loop *loop, struct far_netproxy *n,
                    const char *server, double seconds)
{
    const struct far_link *link = far_netproxy_link(n, server);
    struct far_traffic before, after;
    const struct far_loop_stats *stats = far_loop_stats(loop);
    struct far_loop_stats stats_before;
    struct rusage use_before, use;
    uint64_t end_us, begun_ns, now_ns;
    unsigned i, slot;

    for (i = 0; i < load_count; i++) {
        loads[i].allowed_ns = far_now_ns();
        for (slot = 0; slot < loads[i].depth; slot++) {
            if (loads[i].rate > 0)
                loads[i].idle |= (uint64_t)1 << slot;
            else
                submit(&loads[i], slot);
        }
    }
    end_us = far_now_us() + WARM_US;
    while (far_now_us() < end_us) {
        far_loop_turn(loop, 1000);
        for (i = 0; i < load_count; i++)
            refill(&loads[i]);
    }
    warm = true;
    begun_ns = far_now_ns();
    far_link_traffic(link, &before);
    stats_before = *stats;
    getrusage(RUSAGE_SELF, &use_before);
    end_us = begun_ns / 1000 + (uint64_t)(seconds * 1e6);
    while (far_now_us() < end_us) {
        far_loop_turn(loop, 1000);
        for (i = 0; i < load_count; i++)
            refill(&loads[i]);
    }
    now_ns = far_now_ns();
    warm = false;
    far_link_traffic(link, &after);
    getrusage(RUSAGE_SELF, &use);
    printf("{\"seconds\": %.3f, \"sends\": %llu, \"receives\": %llu, "
           "\"sleeps\": %ld, \"turns\": %llu, \"longest_turn_us\": %llu, "
           "\"cpu_us\": %.0f, \"loads\": [",
           (double)(now_ns - begun_ns) * 1e-9,
           (unsigned long long)(after.sends - before.sends),
           (unsigned long long)(after.receives - before.receives),
           use.ru_nvcsw - use_before.ru_nvcsw,
           (unsigned long long)(stats->turns - stats_before.turns),
           (unsigned long long)stats->longest_turn_us,
           (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec -
                    use_before.ru_utime.tv_sec - use_before.ru_stime.tv_sec) *
                   1e6 +
               (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec -
                        use_before.ru_utime.tv_usec -
                        use_before.ru_stime.tv_usec));
    for (i = 0; i < load_count; i++) {
        printf("%s", i ? ", " : "");
        print_load(&loads[i], (double)(now_ns - begun_ns) * 1e-9);
    }
    printf("]}\n");
    fflush(stdout);
    for (i = 0; i < load_count; i++)
        loads[i].over = true;
}

static int run(struct far_loop *loop, struct far_log *log, char **argv)
{
    struct far_netproxy *n = start(loop, log, argv[1], argv[2]);
    const char *server = argv[3];
    double seconds = atof(argv[4]);
    uint64_t end_us = far_now_us() + 10000000;
    unsigned i;

    for (argv += 5; *argv && load_count < 8; argv++)
        parse(&loads[load_count++], *argv);
    for (i = 0; i < load_count; i++)
        attach(n, &loads[i].layer, server, loads[i].device, loads[i].class,
               i + 1);
    for (i = 0; i < load_count; i++) {
        while (!loads[i].ready) {
            far_loop_turn(loop, 10000);
            if (far_now_us() > end_us)
                die("the devices do not get ready", NULL);
        }
    }
    for (i = 0; i < 50; i++) /* the other lanes, too */
        far_loop_turn(loop, 2000);
    for (i = 0; i < load_count; i++) {
        if (!loads[i].bytes || loads[i].append)
            continue;
        memset(loads[i].payloads, 1, (size_t)loads[i].depth * loads[i].bytes);
        for (unsigned slot = 0; slot < loads[i].depth; slot++)
            fill(&loads[i], slot);
        while (loads[i].filling)
            far_loop_turn(loop, 10000);
        loads[i].next_offset = 0;
    }
    puts("ready");
    fflush(stdout);
    await_line(loop);
    measure(loop, n, server, seconds);
    end_us = far_now_us() + 200000;
    while (far_now_us() < end_us)
        far_loop_turn(loop, 10000);
    for (i = 0; i < load_count; i++) {
        far_layer_close(loads[i].layer.below);
        free(loads[i].payloads);
        free(loads[i].samples.ns);
    }
    far_netproxy_free(n);
    return 0;
}

static int scale(struct far_loop *loop, struct far_log *log, char **argv)
{
    unsigned platforms = (unsigned)atoi(argv[3]), i, k, ready = 0;
    unsigned each = (unsigned)atoi(argv[6]) / platforms;
    struct load *all = calloc((size_t)platforms * each, sizeof(*all));
    struct far_netproxy **proxies = calloc(platforms, sizeof(*proxies));
    struct pollfd in = { .fd = 0, .events = POLLIN };
    uint64_t end_us = far_now_us() + 60000000;

    if (!all || !proxies)
        die("out of memory", NULL);
    for (i = 0; i < platforms; i++) {
        char conf[512], runs[512];

        snprintf(conf, sizeof(conf), "%s/p%u.conf", argv[2], i);
        snprintf(runs, sizeof(runs), "%s/p%u", argv[2], i);
        proxies[i] = start(loop, log, conf, runs);
    }
    puts("begun");
    fflush(stdout);
    for (i = 0; i < platforms; i++) { /* links first: their cost is told */
        const struct far_link *link = far_netproxy_link(proxies[i], argv[4]);

        while (!far_lane_is_up(&link->lanes[0]) ||
               !far_lane_is_up(&link->lanes[1]) ||
               !far_lane_is_up(&link->lanes[2])) {
            far_loop_turn(loop, 10000);
            if (far_now_us() > end_us)
                die("the links do not get up", NULL);
        }
    }
    puts("linked");
    fflush(stdout);
    await_line(loop);
    for (i = 0; i < platforms; i++)
        for (k = 0; k < each; k++)
            attach(proxies[i], &all[i * each + k].layer, argv[4], argv[5],
                   FAR_CLASS_INPUT, i * each + k + 1);
    while (ready < platforms * each && far_now_us() < end_us) {
        far_loop_turn(loop, 10000);
        for (ready = 0; ready < platforms * each && all[ready].ready; ready++)
            ;
    }
    if (ready < platforms * each)
        die("the attachments do not get ready", NULL);
    puts("ready");
    fflush(stdout);
    while (poll(&in, 1, 0) == 0)
        far_loop_turn(loop, 20000);
    for (i = 0; i < platforms * each; i++)
        far_layer_close(all[i].layer.below);
    for (i = 0; i < platforms; i++)
        far_netproxy_free(proxies[i]);
    free(proxies);
    free(all);
    return 0;
}

int main(int argc, char **argv)
{
    struct far_loop *loop = far_loop_new();
    struct far_log *log = far_log_new("link", FAR_LOG_ERROR);
    int rc;

    if (argc < 6 || !loop || gnutls_global_init() < 0) {
        fprintf(stderr, "usage: see bench/link.c\n");
        return 2;
    }
    rc = !strcmp(argv[1], "scale") && argc == 7 ? scale(loop, log, argv)
                                                : run(loop, log, argv);
    far_log_free(log);
    far_loop_free(loop);
    return rc;
}

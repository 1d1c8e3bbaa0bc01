/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside metrics: every line is held against the grammar of OpenMetrics 1.0 by
 * a parser of the test's own, also when names are hostile; and what a scraper
 * gets over HTTP is the same.
 */
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "config.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"
#include "tools/metrics.h"
#include "tools/status.h"

/* The parser. It knows no name of ours. A fault fails the test, or goes back to
 * who expects one. */

static jmp_buf *expecting;

#define MUST(condition, ...)        \
    do {                            \
        if (condition)              \
            break;                  \
        if (expecting)              \
            longjmp(*expecting, 1); \
        ck_abort_msg(__VA_ARGS__);  \
    } while (0)

#define SAMPLES_MAX 4096

struct parsed {
    char family[128], type[32];
    bool has_unit, has_help;
    unsigned families, samples;
    char *names[1024];
    char *seen[SAMPLES_MAX]; /* name{labels} */
    /* The histogram that is going on: its labels without le. */
    char group[4096];
    double le, last, count;
    bool open, inf, has_count, has_sum;
};

static bool name_char(int c, bool first)
{
    return c == '_' || c == ':' || isalpha(c) || (!first && isdigit(c));
}

static size_t name_at(const char *s)
{
    size_t n = 0;

    while (name_char((unsigned char)s[n], n == 0))
        n++;
    return n;
}

static bool utf8(const char *s)
{
    json_t *text = json_string(s);

    json_decref(text);
    return text != NULL;
}

/* Closes a histogram's group: all its parts were there. */
static void close_group(struct parsed *p)
{
    if (!p->open)
        return;
    MUST(p->inf && p->has_count && p->has_sum,
         "%s{%s}: bucket +Inf, _count or _sum is missing", p->family, p->group);
    p->open = false;
}

/* Labels from behind '{' to '}'; le's value into *le; all others into rest. */
static const char *labels_at(const char *s, double *le, bool *has_le,
                             char *rest)
{
    char names[16][64];
    unsigned count = 0;

    *has_le = false;
    *rest = 0;
    for (;;) {
        size_t n = name_at(s);
        const char *begin = s;
        char value[4096];
        size_t used = 0;

        MUST(n && n < 64 && !memchr(s, ':', n), "label: %.40s", s);
        MUST(count < 16, "too much");
        snprintf(names[count], 64, "%.*s", (int)n, s);
        for (unsigned i = 0; i < count; i++)
            MUST(strcmp(names[i], names[count]) != 0, "twice: %s", names[i]);
        s += n;
        MUST(s[0] == '=' && s[1] == '"', "label: %.40s", begin);
        for (s += 2; *s != '"'; s++) {
            MUST(*s && *s != '\n', "a label never ends: %.40s", begin);
            if (*s == '\\') {
                s++;
                MUST(*s == '\\' || *s == '"' || *s == 'n',
                     "an escape that is none: %.40s", begin);
            }
            MUST(used < sizeof(value) - 1, "too much");
            value[used++] = *s;
        }
        value[used] = 0;
        s++;
        MUST(utf8(value), "no UTF-8: %.60s", begin);
        if (!strcmp(names[count], "le")) {
            char *end;

            *has_le = true;
            *le = !strcmp(value, "+Inf") ? 1e300 : strtod(value, &end);
            MUST(!strcmp(value, "+Inf") || !*end, "le=%s", value);
        } else {
            strncat(rest, begin, (size_t)(s - begin));
        }
        count++;
        if (*s == '}')
            return s + 1;
        MUST(*s == ',', "label: %.40s", begin);
        s++;
    }
}

static void take_histogram(struct parsed *p, const char *suffix, bool has_le,
                           double le, const char *rest, double value)
{
    if (p->open && strcmp(p->group, rest) != 0)
        close_group(p);
    if (!p->open) {
        MUST(!strcmp(suffix, "_bucket"), "%s, not %s", suffix, "_bucket");
        snprintf(p->group, sizeof(p->group), "%s", rest);
        p->open = true;
        p->inf = p->has_count = p->has_sum = false;
        p->le = p->last = -1;
    }
    if (!strcmp(suffix, "_bucket")) {
        MUST(has_le && !p->inf && le > p->le && value >= p->last, "in %s",
             p->family);
        p->le = le;
        p->last = value;
        p->inf = le > 1e299;
    } else if (!strcmp(suffix, "_count")) {
        MUST(!has_le && p->inf && !p->has_count && value == p->last, "in %s",
             p->family);
        p->has_count = true;
    } else {
        MUST(!strcmp(suffix, "_sum"), "%s, not %s", suffix, "_sum");
        MUST(!has_le && p->inf && !p->has_sum && value >= 0, "in %s",
             p->family);
        p->has_sum = true;
    }
}

static void take_sample(struct parsed *p, const char *line)
{
    size_t n = name_at(line), family = strlen(p->family);
    char suffix[64], rest[4096] = "", *end;
    const char *s = line + n;
    bool has_le = false;
    double le = 0, value;
    char key[4096];

    MUST(family && n >= family && !strncmp(line, p->family, family),
         "a sample of no family, or of another: %.80s", line);
    snprintf(suffix, sizeof(suffix), "%.*s", (int)(n - family), line + family);
    if (*s == '{')
        s = labels_at(s + 1, &le, &has_le, rest);
    snprintf(key, sizeof(key), "%.*s", (int)(s - line), line);
    for (unsigned i = 0; i < p->samples; i++)
        MUST(strcmp(p->seen[i], key) != 0, "twice: %s", key);
    MUST(p->samples < SAMPLES_MAX, "too much");
    p->seen[p->samples++] = strdup(key);
    MUST(*s == ' ' && !isspace((unsigned char)s[1]), "%.80s", line);
    value = strtod(s + 1, &end);
    MUST(end != s + 1 && *end == 0, "value: %.80s", line);
    if (!strcmp(p->type, "counter")) {
        MUST(!strcmp(suffix, "_total"), "%s, not %s", suffix, "_total");
        MUST(value >= 0, "in %s", p->family);
    } else if (!strcmp(p->type, "gauge")) {
        MUST(!strcmp(suffix, ""), "%s, not %s", suffix, "");
    } else if (!strcmp(p->type, "info")) {
        MUST(!strcmp(suffix, "_info"), "%s, not %s", suffix, "_info");
        MUST(value == 1, "in %s", p->family);
    } else {
        MUST(!strcmp(p->type, "histogram"), "%s, not %s", p->type, "histogram");
        take_histogram(p, suffix, has_le, le, rest, value);
        return;
    }
    MUST(!has_le, "le in %s", p->family);
}

/* "TYPE name type", "UNIT name unit", "HELP name text" */
static void take_descriptor(struct parsed *p, const char *line)
{
    char word[8], name[128];
    const char *rest;
    int n = 0;

    MUST(sscanf(line, "# %7[A-Z] %127[a-zA-Z0-9_:] %n", word, name, &n) == 2 &&
             n > 0 && line[n],
         "%s", line);
    rest = line + n;
    if (!strcmp(word, "TYPE")) {
        static const char *const types[] = { "counter", "gauge", "histogram",
                                             "info" };
        bool known = false;

        close_group(p);
        for (unsigned i = 0; i < 4; i++)
            known |= !strcmp(types[i], rest);
        MUST(known && name_at(name) == strlen(name), "%s", line);
        /* A family comes once; nor may two be told apart only by a suffix. */
        for (unsigned i = 0; i < p->families; i++)
            MUST(strcmp(p->names[i], name) != 0, "again: %s", line);
        MUST(p->families < 1024, "too much");
        p->names[p->families++] = strdup(name);
        snprintf(p->family, sizeof(p->family), "%s", name);
        snprintf(p->type, sizeof(p->type), "%s", rest);
        p->has_unit = p->has_help = false;
        return;
    }
    MUST(!strcmp(name, p->family), "%s, not %s", name, p->family);
    if (!strcmp(word, "UNIT")) {
        size_t l = strlen(name), u = strlen(rest);

        MUST(!p->has_unit && l > u && name[l - u - 1] == '_' &&
                 !strcmp(name + l - u, rest),
             "in %s", p->family);
        p->has_unit = true;
        return;
    }
    MUST(!strcmp(word, "HELP"), "%s, not %s", word, "HELP");
    MUST(!p->has_help && utf8(rest), "in %s", p->family);
    p->has_help = true;
}

static struct parsed *parsed;
static char *parsed_text;

static void forget_parsed(void)
{
    for (unsigned i = 0; parsed && i < parsed->samples; i++)
        free(parsed->seen[i]);
    for (unsigned i = 0; parsed && i < parsed->families; i++)
        free(parsed->names[i]);
    free(parsed_text);
    free(parsed);
    parsed = NULL;
    parsed_text = NULL;
}

/* The whole of it; asserts. Number of samples. */
static unsigned parse(const char *text, size_t bytes)
{
    struct parsed *p = parsed = calloc(1, sizeof(*p));
    char *line = parsed_text = strndup(text, bytes), *end;
    bool eof = false;
    unsigned samples;

    MUST(strlen(line) == bytes, "a zero byte");
    while ((end = strchr(line, '\n'))) {
        *end = 0;
        MUST(!eof, "behind # EOF: %s", line);
        if (!strcmp(line, "# EOF"))
            eof = true;
        else if (*line == '#')
            take_descriptor(p, line);
        else
            take_sample(p, line);
        line = end + 1;
    }
    MUST(eof && !*line, "it does not end with # EOF");
    close_group(p);
    samples = p->samples;
    forget_parsed();
    return samples;
}

/* Statuses. */

#define HIST                                                                \
    "{\"count\":9,\"sum_ns\":90000,\"p50_ns\":1,\"p99_ns\":2,\"max_ns\":3," \
    "\"below\":[0,1,1,5,5,5,8,9,9,9,9]}"

static json_t *hostile_status(const char *name)
{
    json_t *backend = json_pack(
        "{s:s, s:s, s:{s:i, s:i}, s:[{s:s, s:i, s:[{s:i, s:s, s:s, s:s, "
        "s:{s:i, s:i, s:i}, s:{s:o, s:o}}, {s:i, s:s, s:s, s:s}]}, {s:s, s:i, "
        "s:[]}]}",
        "program", "farside-backend", "platform", name, "loop", "turns", 7,
        "longest_turn_us", 90, "guests", "name", name, "domid", 3, "devices",
        "devid", 0, "class", name, "address", name, "state", "connected",
        "counters", "events", 12, "up", 3, "odd key-\"}\n", 4, "latency",
        "inject", json_loads(HIST, 0, NULL), name, json_loads(HIST, 0, NULL),
        "devid", 0, "class", name, "address", name, "state", "gone", "name",
        name, "domid", 3, "devices");
    json_t *netproxy = json_pack(
        "{s:s, s:[{s:s, s:s, s:s, s:o, s:{s:i, s:i}}], s:[{s:s, s:s, s:s, s:i, "
        "s:s, s:i, s:i, s:{s:o}}], s:[{s:s, s:s, s:s, s:i}], s:{s:i, s:i, "
        "s:i}}",
        "program", "farside-netproxy", "links", "platform", name, "role",
        "client", "state", "up", "rtt", json_loads(HIST, 0, NULL), "counters",
        "frames_in", 5, "bytes_out", 6, "sessions", "device", name, "platform",
        name, "guest", name, "devid", 0, "state", "active", "sent", 5, "kept",
        2, "latency", "queue", json_loads(HIST, 0, NULL), "devices", "name",
        name, "type", "virtual", "state", "ready", "users", 1, "arrivals",
        "turned_away", 1, "rejected", 2, "waiting", 3);
    json_t *status;

    ck_assert_ptr_nonnull(backend);
    ck_assert_ptr_nonnull(netproxy);
    status = far_status_merge(backend, NULL, netproxy, NULL);
    json_decref(backend);
    json_decref(netproxy);
    return status;
}

START_TEST(what_it_prints_is_openmetrics_whatever_things_are_called)
{
    static const char *const names[] = {
        "web1",
        "",
        "\"quoted\" and \\back\\",
        "two\nlines\n# EOF",
        "a} 1\n# TYPE x counter",
        "caf\303\251 \342\202\254 \360\237\222\273",
        "le",
    };
    char *long_name = malloc(5000);

    for (unsigned i = 0; i <= sizeof(names) / sizeof(names[0]); i++) {
        bool is_long = i == sizeof(names) / sizeof(names[0]);
        json_t *status;
        size_t bytes;
        char *text;

        if (is_long) { /* cut, but not in the middle of a character */
            for (unsigned j = 0; j < 2499; j++)
                memcpy(long_name + 2 * j, "\303\251", 3);
        }
        status = hostile_status(is_long ? long_name : names[i]);
        text = far_metrics_text(status, &bytes);
        ck_assert_ptr_nonnull(text);
        ck_assert_uint_ge(parse(text, bytes), 60);
        free(text);
        json_decref(status);
    }
    free(long_name);
}
END_TEST

START_TEST(the_figures_are_those_of_the_status)
{
    json_t *status = hostile_status("web1");
    size_t bytes;
    char *text = far_metrics_text(status, &bytes);

    ck_assert_ptr_nonnull(strstr(
        text, "\nfarside_link_frames_in_total{platform=\"web1\",role=\"client\""
              "} 5\n"));
    ck_assert_ptr_nonnull(
        strstr(text, "\n# TYPE farside_link_round_trip_seconds histogram\n"));
    ck_assert_ptr_nonnull(
        strstr(text, "\n# UNIT farside_link_round_trip_seconds seconds\n"));
    ck_assert_ptr_nonnull(strstr(
        text, "\nfarside_link_round_trip_seconds_bucket{platform=\"web1\","
              "role=\"client\",le=\"4.095e-06\"} 1\n"));
    ck_assert_ptr_nonnull(
        strstr(text, "\nfarside_link_round_trip_seconds_bucket{platform="
                     "\"web1\",role=\"client\",le=\"+Inf\"} 9\n"));
    ck_assert_ptr_nonnull(
        strstr(text, "\nfarside_link_round_trip_seconds_sum{platform=\"web1\","
                     "role=\"client\"} 0.000090000\n"));
    ck_assert_ptr_nonnull(strstr(text, ",stage=\"queue\",le=\"1.023e-06\"} 0"));
    ck_assert_ptr_nonnull(strstr(text, "\nfarside_daemon_up{daemon=\"backend\""
                                       "} 1\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nfarside_arrivals_rejected_total 2"));
    free(text);
    json_decref(status);
}
END_TEST

/* Or it would be one that can't fail. */
START_TEST(the_parser_itself_finds_faults)
{
    static const char *const wrong[] = {
        "# TYPE a counter\na_total 1\n",           /* no EOF */
        "# TYPE a counter\na 1\n# EOF\n",          /* no _total */
        "a_total 1\n# EOF\n",                      /* no family */
        "# TYPE a gauge\na{b=\"c} 1\n# EOF\n",     /* no end */
        "# TYPE a gauge\na{b=\"\\x\"} 1\n# EOF\n", /* escape */
        "# TYPE a gauge\na 1\na 1\n# EOF\n",       /* twice */
        "# TYPE a gauge\na 1\n# TYPE a gauge\n# EOF\n",
        "# TYPE a_seconds gauge\n# UNIT a_seconds bytes\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"1\"} 2\na_count 2\na_sum 1\n# EOF\n",
        ("# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\n"
         "a_count 1\na_sum 1\n# EOF\n"),
        "# TYPE a gauge\na one\n# EOF\n",
        "# TYPE a gauge\na  1\n# EOF\n",
        "# EOF\n\n",
    };
    static const char right[] = "# TYPE a gauge\na{b=\"\\n\"} 1.5e-3\n# EOF\n";
    static volatile unsigned i;
    jmp_buf here;

    expecting = &here;
    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (setjmp(here)) {
            forget_parsed();
            continue;
        }
        parse(wrong[i], strlen(wrong[i]));
        expecting = NULL;
        ck_abort_msg("nothing was found in %s", wrong[i]);
    }
    expecting = NULL;
    parse(right, strlen(right));
}
END_TEST

static struct rig rig;
static struct proxy borealis;

static void start(void)
{
    rig_begin(&rig);
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n[device kbd0]\ntype = virtual\n"
              "[export kbd0]\nallow = atlas\n");
    proxy_start(&borealis, &rig, "borealis");
}

START_TEST(the_program_prints_what_a_running_daemon_says)
{
    char command[256], text[65536];
    FILE *in;
    size_t n;

    start();
    snprintf(command, sizeof(command), "./farside -r %s/borealis metrics",
             rig.dir);
    in = popen(command, "r");
    n = fread(text, 1, sizeof(text) - 1, in);
    text[n] = 0;
    ck_assert_int_eq(pclose(in), 0);
    parse(text, n);
    ck_assert_ptr_nonnull(strstr(text, "farside_device_ready{device=\"kbd0\""));
    ck_assert_ptr_nonnull(strstr(text, "farside_daemon_up{daemon=\"backend\"} "
                                       "0\n"));
    proxy_kill(&borealis, SIGTERM);
    rig_end(&rig);
}
END_TEST

#if HAVE_LIBMICROHTTPD
static char *http(uint16_t port, const char *request)
{
    static char text[65536];
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t used = 0;
    ssize_t n;

    ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    ck_assert_int_eq(write(fd, request, strlen(request)),
                     (ssize_t)strlen(request));
    while ((n = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
        used += (size_t)n;
    close(fd);
    text[used] = 0;
    return text;
}

START_TEST(a_scraper_gets_the_same_over_http_and_nothing_else)
{
    char command[256], line[128], *text, *body;
    unsigned port = 0;
    FILE *in;
    pid_t pid;

    start();
    /* The shell's process becomes the program: it says its number first. */
    snprintf(command, sizeof(command),
             "echo $$; exec ./farside -r %s/borealis metrics --listen 0",
             rig.dir);
    in = popen(command, "r");
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), in));
    pid = atoi(line);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), in));
    ck_assert_int_eq(sscanf(line, "listening at port %u", &port), 1);

    text = http((uint16_t)port, "GET /metrics HTTP/1.1\r\nHost: x\r\n"
                                "Connection: close\r\n\r\n");
    ck_assert_msg(!strncmp(text, "HTTP/1.1 200 ", 13), "%.80s", text);
    ck_assert_ptr_nonnull(
        strstr(text, "\r\nContent-Type: " FAR_METRICS_TYPE "\r\n"));
    body = strstr(text, "\r\n\r\n") + 4;
    ck_assert_uint_gt(parse(body, strlen(body)), 5);
    text = http((uint16_t)port, "GET / HTTP/1.0\r\n\r\n");
    ck_assert_ptr_nonnull(strstr(text, " 404 "));
    text = http((uint16_t)port, "POST /metrics HTTP/1.0\r\n"
                                "Content-Length: 3\r\n\r\nabc");
    ck_assert_ptr_nonnull(strstr(text, " 405 "));
    text = http((uint16_t)port, "nonsense\r\n\r\n");
    ck_assert(!*text || strstr(text, " 400 "));
    ck_assert_int_eq(kill(pid, SIGTERM), 0);
    ck_assert_int_eq(pclose(in), 0);
    proxy_kill(&borealis, SIGTERM);
    rig_end(&rig);
}
END_TEST

START_TEST(an_address_that_is_none_is_refused)
{
    static const char *const wrong[] = { "",        ":1",    "localhost:1",
                                         "1.2.3:x", "::1:9", "[::1:9",
                                         "70000x",  "a" };
    struct far_tool tool = { .out = stdout, .run_dir = "/nonexistent" };

    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_int_eq(far_metrics_listen(&tool, wrong[i]), FAR_EXIT_USAGE);
}
END_TEST
#endif

int main(void)
{
    Suite *suite = suite_create("tools: metrics");
    TCase *tcase = tcase_create("metrics");

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase,
                   what_it_prints_is_openmetrics_whatever_things_are_called);
    tcase_add_test(tcase, the_parser_itself_finds_faults);
    tcase_add_test(tcase, the_figures_are_those_of_the_status);
    tcase_add_test(tcase, the_program_prints_what_a_running_daemon_says);
#if HAVE_LIBMICROHTTPD
    tcase_add_test(tcase, a_scraper_gets_the_same_over_http_and_nothing_else);
    tcase_add_test(tcase, an_address_that_is_none_is_refused);
#endif
    return suite_end(suite);
}

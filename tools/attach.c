// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside attach and detach: hotplug by hand. Input devices and disks are
// libxl's kinds, so xl makes and removes them, and the backend finds them in
// xenstore as it finds all others; those of Farside's own kinds are the
// backend's to make and remove. Then this waits until the backend says what
// became of it.

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/display.h"
#include "core/op.h"
#include "tools/tool.h"
#include "tools/vbd.h"
#include "tools/vkb.h"

#define ARGUMENTS_MAX 24

static bool runnable(const char *path)
{
    return !access(path, X_OK);
}

/* $FARSIDE_XL, then PATH, then where Debian and others put xl (Debian's is in
 * no PATH). path has PATH_MAX bytes. */
static int find_xl(char *path, struct far_error *error)
{
    const char *own = getenv("FARSIDE_XL");
    const char *search = getenv("PATH");
    static const char *const patterns[] = { "/usr/lib/xen-*/bin/xl",
                                            "/usr/lib/xen/bin/xl",
                                            "/usr/sbin/xl",
                                            "/usr/local/sbin/xl" };

    if (own && *own) {
        if (!runnable(own))
            return far_error(error, -ENOENT,
                             "FARSIDE_XL names %.120s, which can't be run: "
                             "%s",
                             own, strerror(errno));
        snprintf(path, PATH_MAX, "%s", own);
        return 0;
    }
    while (search && *search) {
        size_t n = strcspn(search, ":");

        if (n && n < PATH_MAX - 4) {
            snprintf(path, PATH_MAX, "%.*s/xl", (int)n, search);
            if (runnable(path))
                return 0;
        }
        search += n + (search[n] == ':');
    }
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        glob_t found;

        if (glob(patterns[i], 0, NULL, &found))
            continue;
        /* The last is the newest version. */
        for (size_t k = found.gl_pathc; k-- > 0;) {
            if (runnable(found.gl_pathv[k])) {
                snprintf(path, PATH_MAX, "%s", found.gl_pathv[k]);
                globfree(&found);
                return 0;
            }
        }
        globfree(&found);
    }
    return far_error(error, -ENOENT,
                     "xl is not there (neither in PATH nor in "
                     "/usr/lib/xen-*/bin); install xen-utils, or name it in "
                     "FARSIDE_XL");
}

/* Runs xl, reads what it prints (both streams; cut to room). Exit status, or
 * a negative errno. */
static int run_xl(char *const argv[], char *text, size_t room)
{
    char rest[256];
    size_t used = 0;
    ssize_t n;
    int ends[2], status, r;
    pid_t child;

    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    child = fork();
    if (child < 0) {
        r = -errno;
        close(ends[0]);
        close(ends[1]);
        return r;
    }
    if (!child) {
        int nothing = open("/dev/null", O_RDONLY);

        dup2(nothing, 0);
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        execv(argv[0], argv);
        dprintf(2, "%s: %s", argv[0], strerror(errno));
        _exit(127);
    }
    close(ends[1]);
    for (;;) {
        bool full = used + 1 >= room;

        n = read(ends[0], full ? rest : text + used,
                 full ? sizeof(rest) : room - 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (!full)
            used += (size_t)n;
    }
    while (used && (text[used - 1] == '\n' || text[used - 1] == ' '))
        used--;
    text[used] = '\0';
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool is_domain(const json_t *guest, const char *domain)
{
    char *end;
    long id = strtol(domain, &end, 10);

    if (end != domain && !*end)
        return far_json_number(guest, "domid") == id;
    return !strcmp(far_json_text(guest, "name"), domain);
}

static json_t *find_guest(const json_t *status, const char *domain)
{
    size_t i;
    json_t *guest;

    json_array_foreach (json_object_get(status, "guests"), i, guest)
        if (is_domain(guest, domain))
            return guest;
    return NULL;
}

/* The device of that guest with that class and (address or devid). NULL
 * address: any; devid -1: any. */
static json_t *find_device(const json_t *status, const char *domain,
                           const char *class, const char *address,
                           int64_t devid)
{
    json_t *devices = json_object_get(find_guest(status, domain), "devices");
    size_t i;
    json_t *d;

    json_array_foreach (devices, i, d) {
        if (strcmp(far_json_text(d, "class"), class))
            continue;
        if (address && strcmp(far_json_text(d, "address"), address))
            continue;
        if (devid >= 0 && far_json_number(d, "devid") != devid)
            continue;
        return d;
    }
    return NULL;
}

/* As find_device, but one that was not there before. */
static json_t *find_new(const json_t *before, const json_t *now,
                        const char *domain, const char *class,
                        const char *address)
{
    json_t *devices = json_object_get(find_guest(now, domain), "devices");
    size_t i;
    json_t *d;

    json_array_foreach (devices, i, d) {
        if (strcmp(far_json_text(d, "class"), class) ||
            strcmp(far_json_text(d, "address"), address))
            continue;
        if (!find_device(before, domain, class, NULL,
                         far_json_number(d, "devid")))
            return d;
    }
    return NULL;
}

static void pause_ms(unsigned ms)
{
    struct timespec t = { .tv_sec = ms / 1000,
                          .tv_nsec = (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL);
}

/* Those that libxl has no command for, and Farside has a kind of. */
static bool is_own(const char *class)
{
    enum far_class c = far_class_from_name(class);

    return c == FAR_CLASS_TIMER || c == FAR_CLASS_DOORBELL ||
           c == FAR_CLASS_INTC || c == FAR_CLASS_STREAM;
}

static int wait_attached(const struct far_tool *tool, const json_t *before,
                         const char *domain, const char *class,
                         const char *address, uint64_t timeout_us)
{
    uint64_t begin = far_now_us(), connected = 0;
    struct far_error error;

    for (;;) {
        json_t *now, *d;
        const char *state, *reason;
        uint64_t t;
        bool over, waiting;

        if (far_ask_simple(tool, "backend", "status", &now, &error))
            return far_fail("attach", FAR_EXIT_NO_DAEMON, "%s", error.text);
        t = far_now_us();
        over = t - begin >= timeout_us;
        d = find_new(before, now, domain, class, address);
        if (!d) {
            json_decref(now);
            if (over)
                return far_fail("attach", FAR_EXIT_FAILED,
                                "%s: xl has made the device, but "
                                "farside-backend does not see it after %u s; "
                                "is domain %s's backend this one? see its "
                                "log",
                                address, (unsigned)(timeout_us / 1000000),
                                domain);
            pause_ms(20);
            continue;
        }
        state = far_json_text(d, "state");
        reason = far_json_text(d, "reason");
        if (!strcmp(state, "connected") && !*reason) {
            fprintf(tool->out, "%s: %s %lld is %s, connected in %u ms\n",
                    domain, class, (long long)far_json_number(d, "devid"),
                    address, (unsigned)((t - begin) / 1000));
            json_decref(now);
            return FAR_EXIT_OK;
        }
        /* "waiting" is connected with nothing behind, which may come yet. */
        waiting = !strcmp(state, "connected") || !strcmp(state, "waiting");
        if (waiting && !connected)
            connected = t;
        /* A guest may load its driver later. */
        if (!strcmp(state, "waiting for the guest")) {
            waiting = true;
            reason = strcmp(class, "input")
                         ? "its driver has not answered yet"
                         : "its driver for vkbd has not answered yet";
        }
        if (over || !strcmp(state, "refused") ||
            (connected && t - connected > 2000000)) {

            far_fail("attach", 0, "%s: %s %lld (%s) is %s: %s", domain, class,
                     (long long)far_json_number(d, "devid"), address, state,
                     *reason ? reason : "the guest's driver does not answer");
            if (waiting)
                fprintf(stderr, "It stays attached; it works by itself once "
                                "that is gone.\n");
            else
                fprintf(stderr,
                        "Take it away again with: farside detach %s "
                        "%s %lld\n",
                        domain, class, (long long)far_json_number(d, "devid"));
            json_decref(now);
            return waiting ? FAR_EXIT_WAITING : FAR_EXIT_FAILED;
        }
        json_decref(now);
        pause_ms(20);
    }
}

/* Asks the backend to make or remove it; 0 or an exit status. */
static int ask_own(const struct far_tool *tool, const char *command,
                   json_t *request)
{
    struct far_error error;
    json_t *answer;
    int r = far_ask(tool, "backend", request, &answer, &error);

    json_decref(request);
    if (r)
        return far_fail(command,
                        r == -EREMOTEIO ? FAR_EXIT_FAILED : FAR_EXIT_NO_DAEMON,
                        "%s", error.text);
    json_decref(answer);
    return 0;
}

/* Only what libxl has a command for, and this version serves. */
static int check_class(const char *command, const char *class)
{
    enum far_class c = far_class_from_name(class);

    if (c == FAR_CLASS_INPUT || c == FAR_CLASS_DISPLAY ||
        c == FAR_CLASS_BLOCK || is_own(class))
        return 0;
    if (c == FAR_CLASS_NONE)
        return far_usage(command,
                         "'%s' is no class of devices; this version serves: "
                         "input, display, block, timer, doorbell, intc, stream",
                         class);
    return far_fail(command, FAR_EXIT_FAILED,
                    "devices of class %s are not served by this version of "
                    "Farside, only: input, display, block, timer, doorbell, "
                    "intc, stream",
                    class);
}

static int refuse_comma(const char *pair)
{
    return strchr(pair, ',')
               ? far_usage("attach",
                           "a comma in '%s': give each KEY=VALUE as an "
                           "argument of its own",
                           pair)
               : 0;
}

/* One word of a disk line. 0 or an exit status. */
static int check_word(const char *word, bool *vdev)
{
    const char *equals = strchr(word, '=');
    char name[64], text[256];
    int r = refuse_comma(word);

    if (r)
        return r;
    if (!equals || equals == word || (size_t)(equals - word) >= sizeof(name))
        return far_usage("attach", "'%s' is not of the form KEY=VALUE", word);
    snprintf(name, sizeof(name), "%.*s", (int)(equals - word), word);
    if (!strcmp(name, "target") || !strcmp(name, "script"))
        return far_usage("attach", "%s is given by ADDRESS; leave it out",
                         name);
    if (!far_vbd_word_ok(name, equals + 1, text, sizeof(text)))
        return far_usage("attach", "%s", text);
    *vdev |= !strcmp(name, "vdev");
    return 0;
}

/* A screen's only word. 0 or an exit status. */
static int check_size(const char *word)
{
    unsigned width, height;
    char rest;

    if (sscanf(word, "size=%ux%u%c", &width, &height, &rest) == 2 &&
        far_display_size_valid(width, height))
        return 0;
    return far_usage("attach", "'%s' is no size of a screen, as size=1280x800",
                     word);
}

/* "KEY=VALUE" of a person to an argument of xl. 0 or an exit status. */
static int check_pair(const char *pair)
{
    const char *equals = strchr(pair, '=');
    const struct far_vkb_key *key;
    char name[64], text[256];

    if (!equals || equals == pair || (size_t)(equals - pair) >= sizeof(name))
        return far_usage("attach", "'%s' is not of the form KEY=VALUE", pair);
    snprintf(name, sizeof(name), "%.*s", (int)(equals - pair), pair);
    key = far_vkb_key(name);
    if (!key) {
        const char *nearest = far_vkb_nearest(name);

        return far_usage("attach", "xl's vkb devices have no key '%s'%s%s%s",
                         name, nearest ? "; did you mean \"" : "",
                         nearest ? nearest : "", nearest ? "\"?" : "");
    }
    if (key->kind == FAR_VKB_ADDRESS || key->kind == FAR_VKB_BACKEND_TYPE)
        return far_usage("attach", "%s is given by ADDRESS; leave it out",
                         name);
    if (refuse_comma(pair))
        return FAR_EXIT_USAGE;
    if (!far_vkb_value_ok(key, equals + 1, text, sizeof(text)))
        return far_usage("attach", "%s", text);
    if (far_vkb_is_dangerous(name, equals + 1))
        return far_fail("attach", FAR_EXIT_FAILED, "%s=1 %s", name,
                        FAR_VKB_DANGER);
    return 0;
}

int far_attach_command(struct far_tool *tool, int argc, char **argv)
{
    char xl[PATH_MAX], unique_id[512], target[512], connector[512], said[1024];
    char type[] = "backend-type=linux", script[] = "script=" FAR_VBD_SCRIPT;
    char keyboard[] = "vkb-attach", disk[] = "block-attach";
    char screen[] = "vdispl-attach";
    char *args[ARGUMENTS_MAX + 1];
    const char *domain, *class, *address;
    struct far_address parsed;
    struct far_error error;
    double seconds = 10;
    bool is_disk, is_screen, vdev = false;
    json_t *before;
    int option, r, n = 0;

    while ((option = getopt(argc, argv, "+t:")) != -1) {
        char *end;

        if (option != 't')
            return far_usage("attach", "no such option");
        seconds = strtod(optarg, &end);
        if (end == optarg || *end || !(seconds >= 0 && seconds <= 3600))
            return far_usage("attach", "-t wants seconds, not '%s'", optarg);
    }
    argc -= optind;
    argv += optind;
    if (argc < 3)
        return far_usage("attach", "DOMAIN, CLASS and ADDRESS are needed");
    domain = argv[0];
    class = argv[1];
    address = argv[2];
    r = check_class("attach", class);
    if (r)
        return r;
    if (far_address_parse(&parsed, address, &error))
        return far_usage("attach", "%s", error.text);
    if (argc - 3 > ARGUMENTS_MAX - 5)
        return far_usage("attach", "too many arguments");
    if (is_own(class) && argc > 3)
        return far_usage("attach", "devices of class %s have no keys", class);
    is_disk = !strcmp(class, "block");
    is_screen = !strcmp(class, "display");
    if (is_screen && argc != 4)
        return far_usage("attach", "a screen needs its size, and nothing "
                                   "else, as size=1280x800");
    for (int i = 3; i < argc; i++) {
        r = is_disk     ? check_word(argv[i], &vdev)
            : is_screen ? check_size(argv[i])
                        : check_pair(argv[i]);
        if (r)
            return r;
    }
    if (is_disk && !vdev)
        return far_usage("attach", "a disk needs the guest's name for it, as "
                                   "vdev=xvdb");
    if (!is_own(class) && find_xl(xl, &error))
        return far_fail("attach", FAR_EXIT_FAILED, "%s", error.text);
    /* Without a backend the device would hang in the guest, and its removal
     * take 20 s: so ask first. */
    if (far_ask_simple(tool, "backend", "status", &before, &error))
        return far_fail("attach", FAR_EXIT_NO_DAEMON, "%s: %s", address,
                        error.text);

    if (is_own(class)) {
        r = ask_own(tool, "attach",
                    json_pack("{s:s s:s s:s s:s}", "request", "attach",
                              "domain", domain, "class", class, "address",
                              address));
        if (!r)
            r = wait_attached(tool, before, domain, class, address,
                              (uint64_t)(seconds * 1e6));
        json_decref(before);
        return r;
    }
    snprintf(unique_id, sizeof(unique_id), "unique-id=%s", address);
    snprintf(target, sizeof(target), "target=%s", address);
    args[n++] = xl;
    args[n++] = is_disk ? disk : is_screen ? screen : keyboard;
    args[n++] = argv[0];
    if (is_screen) {
        snprintf(connector, sizeof(connector), "connectors=%s:%s", address,
                 strchr(argv[3], '=') + 1);
        args[n++] = connector;
    } else {
        args[n++] = is_disk ? script : type;
        if (!is_disk)
            args[n++] = unique_id;
        for (int i = 3; i < argc; i++)
            args[n++] = argv[i];
    }
    if (is_disk) /* takes the rest of the line */
        args[n++] = target;
    args[n] = NULL;
    r = run_xl(args, said, sizeof(said));
    if (r) {
        if (r < 0)
            snprintf(said, sizeof(said), "%s", strerror(-r));
        r = far_fail("attach", FAR_EXIT_FAILED,
                     "%s: xl could not attach it to %s:\n%s", address, domain,
                     *said ? said : "it did not say why");
    } else {
        r = wait_attached(tool, before, domain, class, address,
                          (uint64_t)(seconds * 1e6));
    }
    json_decref(before);
    return r;
}

int far_detach_command(struct far_tool *tool, int argc, char **argv)
{
    char xl[PATH_MAX], number[32], said[1024];
    char keyboard[] = "vkb-detach", disk[] = "block-detach";
    char screen[] = "vdispl-detach", *verb;
    const char *domain, *class, *which;
    struct far_error error;
    uint64_t begin = far_now_us();
    json_t *status;
    int64_t devid;
    char *end;
    int r;

    if (getopt(argc, argv, "+") != -1)
        return far_usage("detach", "no such option");
    argc -= optind;
    argv += optind;
    if (argc != 3)
        return far_usage("detach", "DOMAIN, CLASS and ID are needed");
    domain = argv[0];
    class = argv[1];
    which = argv[2];
    r = check_class("detach", class);
    if (r)
        return r;
    if (!is_own(class) && find_xl(xl, &error))
        return far_fail("detach", FAR_EXIT_FAILED, "%s", error.text);

    devid = strtol(which, &end, 10);
    if (end == which || *end || devid < 0) {
        json_t *d;

        /* By its address, for people. */
        if (far_ask_simple(tool, "backend", "status", &status, &error))
            return far_fail("detach", FAR_EXIT_NO_DAEMON, "%s", error.text);
        d = find_device(status, domain, class, which, -1);
        if (!d) {
            json_decref(status);
            return far_fail("detach", FAR_EXIT_FAILED,
                            "%s has no %s device %s; 'farside status' lists "
                            "what it has",
                            domain, class, which);
        }
        devid = far_json_number(d, "devid");
        json_decref(status);
    }
    snprintf(number, sizeof(number), "%lld", (long long)devid);
    verb = !strcmp(class, "block")     ? disk
           : !strcmp(class, "display") ? screen
                                       : keyboard;
    if (is_own(class)) {
        r = ask_own(tool, "detach",
                    json_pack("{s:s s:s s:s s:I}", "request", "detach",
                              "domain", domain, "class", class, "devid",
                              (json_int_t)devid));
        if (r)
            return r;
    } else {
        r = run_xl((char *[]){ xl, verb, argv[0], number, NULL }, said,
                   sizeof(said));
    }
    if (r) {
        if (r < 0)
            snprintf(said, sizeof(said), "%s", strerror(-r));
        return far_fail("detach", FAR_EXIT_FAILED,
                        "%s %s: xl could not detach it from %s:\n%s", class,
                        number, domain, *said ? said : "it did not say why");
    }
    /* xl has waited for the backend already; this is for its books. */
    while (!far_ask_simple(tool, "backend", "status", &status, &error)) {
        bool there = find_device(status, domain, class, NULL, devid);

        json_decref(status);
        if (!there)
            break;
        if (far_now_us() - begin > 20000000)
            return far_fail("detach", FAR_EXIT_FAILED,
                            "%s %s: farside-backend still holds it; see its "
                            "log",
                            class, number);
        pause_ms(20);
    }
    fprintf(tool->out, "%s: %s %s is detached\n", domain, class, number);
    return FAR_EXIT_OK;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * farside-sim: brings simulated hosts up and down and runs programs in their
 * domains. The keeper that holds the hosts is this program too, started anew
 * without the preload. What of xl there is lives in xl.c.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <xenstore.h>
#include "sim/common.h"
#include "sim/keeper.h"
#include "sim/sim.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0.1.0"
#endif

static void nap_ms(int ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
    nanosleep(&t, NULL);
}

/* ---- places ---- */

static int find_dir(char *dir, size_t size)
{
    const char *env = getenv("FARSIDE_SIM_DIR");
    const char *run = getenv("XDG_RUNTIME_DIR");
    int n;

    if (env && env[0])
        n = snprintf(dir, size, "%s", env);
    else if (run && run[0])
        n = snprintf(dir, size, "%s/farside-sim", run);
    else
        n = snprintf(dir, size, "/tmp/farside-sim-%u", (unsigned)getuid());
    if (n < 0 || (size_t)n >= size || n > 70 || dir[0] != '/') {
        fprintf(stderr,
                "farside-sim: the folder '%s' is not an absolute path of at "
                "most 70 characters (socket names are short); set "
                "FARSIDE_SIM_DIR\n",
                dir);
        return -ENAMETOOLONG;
    }
    return 0;
}

/* The preload stands beside the program, in .libs of a build, or installed. */
static int find_library(char *path, size_t size)
{
    static const char *const places[] = { "%s/libfarside-sim.so",
                                          "%s/.libs/libfarside-sim.so",
                                          "%s/sim/.libs/libfarside-sim.so",
                                          "%s/../libfarside-sim.so" };
    const char *env = getenv("FARSIDE_SIM_LIB");
    char exe[512];

    if (env) {
        snprintf(path, size, "%s", env);
        return access(path, R_OK) ? -errno : 0;
    }
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n > 0) {
        exe[n] = 0;
        *strrchr(exe, '/') = 0;
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            /* The formats are the four above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            int len = snprintf(path, size, places[i], exe);
#pragma GCC diagnostic pop
            if (len > 0 && (size_t)len < size && !access(path, R_OK))
                return 0;
        }
    }
#ifdef FARSIDE_PKGLIBDIR
    snprintf(path, size, "%s/libfarside-sim.so", FARSIDE_PKGLIBDIR);
    if (!access(path, R_OK))
        return 0;
#endif
    fprintf(stderr, "farside-sim: can't find libfarside-sim.so beside the "
                    "program; set FARSIDE_SIM_LIB\n");
    return -ENOENT;
}

static bool first_match(const char *pattern, char *path, size_t size)
{
    glob_t g;
    bool found = false;

    if (!glob(pattern, 0, NULL, &g))
        for (size_t i = 0; i < g.gl_pathc && !found; i++) {
            snprintf(path, size, "%s", g.gl_pathv[i]);
            found = !access(path, X_OK);
        }
    globfree(&g);
    return found;
}

static int find_xenstored(char *path, size_t size)
{
    const char *env = getenv("FARSIDE_XENSTORED");
    const char *cache = getenv("FARSIDE_CACHE");
    const char *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    char pattern[512];

    if (env) {
        snprintf(path, size, "%s", env);
        if (!access(path, X_OK))
            return 0;
        fprintf(stderr, "farside-sim: FARSIDE_XENSTORED is '%s': %s\n", env,
                strerror(errno));
        return -ENOENT;
    }
    if (first_match("/usr/lib/xen-*/bin/xenstored", path, size) ||
        first_match("/usr/lib*/xen/bin/xenstored", path, size) ||
        first_match("/usr/sbin/xenstored", path, size))
        return 0;
    if (cache)
        snprintf(pattern, sizeof(pattern), "%s", cache);
    else if (xdg)
        snprintf(pattern, sizeof(pattern), "%s/farside", xdg);
    else
        snprintf(pattern, sizeof(pattern), "%s/.cache/farside",
                 home ? home : "/root");
    strncat(pattern, "/parts/usr/lib/xen-*/bin/xenstored",
            sizeof(pattern) - strlen(pattern) - 1);
    if (first_match(pattern, path, size))
        return 0;
    fprintf(stderr, "farside-sim: can't find xenstored; run "
                    "'packaging/xen-parts tools' in Farside's source, install "
                    "xen-utils, or set FARSIDE_XENSTORED\n");
    return -ENOENT;
}

static bool good_name(const char *name)
{
    size_t n = strlen(name);
    return n && n < 32 && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "0123456789._-") == n;
}

/* ---- the keeper, from outside ---- */

static int talk(int sock, struct hv_req *req, const void *words,
                uint32_t word_count, struct hv_rsp *rsp, void *answer,
                uint32_t max_words)
{
    struct iovec out[2] = {
        { req, sizeof(*req) },
        { (void *)(uintptr_t)words, word_count * sizeof(uint32_t) },
    };
    struct iovec in[2] = {
        { rsp, sizeof(*rsp) },
        { answer, max_words * sizeof(uint32_t) },
    };
    char ctl[CMSG_SPACE(4 * sizeof(int))];
    struct msghdr msg = { .msg_iov = out, .msg_iovlen = 2 };

    req->count = word_count;
    if (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0)
        return -errno;
    msg.msg_iov = in;
    msg.msg_iovlen = max_words ? 2 : 1;
    msg.msg_control = ctl;
    msg.msg_controllen = sizeof(ctl);
    ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    if (n < (ssize_t)sizeof(*rsp))
        return n < 0 ? -errno : -ENODEV;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            close(fd);
        }
    }
    return rsp->err;
}

int far_sim_call(struct far_sim *s, struct hv_req *req, const void *words,
                 uint32_t word_count, struct hv_rsp *rsp, void *answer,
                 uint32_t max_words)
{
    if (s->sock < 0)
        return -ENODEV;
    return talk(s->sock, req, words, word_count, rsp, answer, max_words);
}

int far_sim_connect(struct far_sim *s)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct hv_req req = { .op = HV_HELLO };
    struct hv_rsp rsp;

    if (s->sock >= 0)
        return 0;
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", s->dir,
             FAR_SIM_SOCKET);
    s->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (s->sock < 0)
        return -errno;
    if (!connect(s->sock, (struct sockaddr *)&addr, sizeof(addr)) &&
        !talk(s->sock, &req, NULL, 0, &rsp, NULL, 0))
        return 0;
    close(s->sock);
    s->sock = -1;
    return -ENODEV;
}

static int start_keeper(struct far_sim *s)
{
    int ready[2], result = -EIO;
    char fd[16], exe[512];

    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n < 0 || pipe2(ready, O_CLOEXEC))
        return -errno;
    exe[n] = 0;
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (!pid) {
        int null = open("/dev/null", O_RDWR);
        setsid();
        for (int i = 0; i < 3; i++)
            dup2(null, i);
        if (chdir("/"))
            _exit(1);
        fcntl(ready[1], F_SETFD, 0);
        snprintf(fd, sizeof(fd), "%d", ready[1]);
        unsetenv("LD_PRELOAD");
        unsetenv("FARSIDE_SIM_HOST");
        unsetenv("FARSIDE_SIM_GUEST");
        if (fork())
            _exit(0);
        execl(exe, "farside-sim-keeper", "--keeper", fd, s->dir, (char *)NULL);
        _exit(1);
    }
    close(ready[1]);
    if (read(ready[0], &result, sizeof(result)) != sizeof(result))
        result = -EIO;
    close(ready[0]);
    waitpid(pid, NULL, 0);
    return result ? result : far_sim_connect(s);
}

/* Entries of HV_HOST_LIST or HV_DOM_LIST; the caller frees. */
static struct hv_info *list(struct far_sim *s, uint32_t op, const char *host,
                            uint32_t *count)
{
    size_t batch = 64;
    struct hv_info *all = NULL;
    *count = 0;
    for (;;) {
        struct hv_req req = { .op = op, .a = *count };
        struct hv_rsp rsp;
        struct hv_info *p = realloc(
            all, (*count + HV_BATCH * 2 * 4 / sizeof(*all) + 1) * sizeof(*all));
        (void)batch;
        if (!p)
            break;
        all = p;
        if (host)
            snprintf(req.host, sizeof(req.host), "%s", host);
        int r =
            far_sim_call(s, &req, NULL, 0, &rsp, all + *count, HV_BATCH * 2);
        if (r || !rsp.a)
            break;
        *count += rsp.a;
        if (op == HV_HOST_LIST)
            break;
    }
    return all;
}

int far_sim_find(struct far_sim *s, const char *host, const char *guest,
                 struct hv_info *info)
{
    uint32_t n, domid = 0;
    uint8_t uuid[16];
    char *end;
    struct hv_info *all = list(s, HV_DOM_LIST, host, &n);
    bool is_uuid = !far_sim_uuid_parse(guest, uuid);
    int r = -ENOENT;

    domid = (uint32_t)strtoul(guest, &end, 10);
    bool is_domid = end != guest && !*end && domid;
    for (uint32_t i = 0; i < n && r; i++)
        if (all[i].state != HV_DYING &&
            (!strcmp(all[i].name, guest) ||
             (is_uuid && !memcmp(all[i].uuid, uuid, 16)) ||
             (is_domid && all[i].domid == domid))) {
            *info = all[i];
            r = 0;
        }
    free(all);
    return r;
}

static bool host_info(struct far_sim *s, const char *name, struct hv_info *info)
{
    uint32_t n;
    struct hv_info *all = list(s, HV_HOST_LIST, NULL, &n);
    bool found = false;

    for (uint32_t i = 0; i < n && !found; i++)
        if (!strcmp(all[i].name, name)) {
            *info = all[i];
            found = true;
        }
    free(all);
    return found;
}

struct xs_handle *far_sim_xenstore(struct far_sim *s, const char *host)
{
    char path[256];
    struct hv_info info;

    snprintf(path, sizeof(path), "%s/%s/xenstored/socket", s->dir, host);
    setenv("XENSTORED_PATH", path, 1);
    for (int tries = 0; tries < 2500; tries++) {
        if (!access(path, F_OK)) {
            struct xs_handle *xs = xs_open(0);
            if (xs)
                return xs;
        }
        if (!host_info(s, host, &info)) {
            fprintf(stderr,
                    "farside-sim: there is no host '%s'; 'farside-sim up %s' "
                    "makes one\n",
                    host, host);
            return NULL;
        }
        if (!info.pid)
            break;
        nap_ms(2);
    }
    fprintf(stderr,
            "farside-sim: host %s: xenstored does not run; see %s/%s/"
            "xenstored.log\n",
            host, s->dir, host);
    return NULL;
}

/* ---- environment ---- */

static int preload(const char *lib)
{
    const char *old = getenv("LD_PRELOAD");
    char all[2048];

    if (old && strstr(old, lib))
        return 0;
    int n = snprintf(all, sizeof(all), "%s%s%s", lib, old && *old ? ":" : "",
                     old ? old : "");
    if (n < 0 || (size_t)n >= sizeof(all))
        return -ENAMETOOLONG;
    return setenv("LD_PRELOAD", all, 1) ? -errno : 0;
}

static void setenv_path(const char *key, const char *dir, const char *host,
                        const char *rest)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s%s", dir, host, rest);
    setenv(key, path, 1);
}

int far_sim_setenv(const char *dir, const char *host, const char *guest,
                   uint32_t domid)
{
    char lib[512], text[16];
    int r = find_library(lib, sizeof(lib));
    if (!r)
        r = preload(lib);
    if (r)
        return r;
    setenv("FARSIDE_SIM_DIR", dir, 1);
    setenv_path("FARSIDE_SIM_HOST", dir, host, "");
    snprintf(text, sizeof(text), "%u", domid);
    setenv("FARSIDE_SIM_DOMID", text, 1);
    if (guest) {
        char rest[256];
        setenv("FARSIDE_SIM_GUEST", guest, 1);
        /* No socket of dom0's in here: the guest has its own way. */
        setenv_path("XENSTORED_RUNDIR", dir, host, "/nothing");
        unsetenv("XENSTORED_PATH");
        unsetenv("XENSTORED_ROOTDIR");
        snprintf(rest, sizeof(rest), "/guests/%s/run", guest);
        setenv_path("FARSIDE_RUN_DIR", dir, host, rest);
        snprintf(rest, sizeof(rest), "/guests/%s/farside.conf", guest);
        setenv_path("FARSIDE_CONFIG", dir, host, rest);
        return 0;
    }
    unsetenv("FARSIDE_SIM_GUEST");
    setenv_path("XENSTORED_RUNDIR", dir, host, "/xenstored");
    setenv_path("XENSTORED_ROOTDIR", dir, host, "/xenstored");
    setenv_path("XENSTORED_PATH", dir, host, "/xenstored/socket");
    setenv_path("FARSIDE_RUN_DIR", dir, host, "/run");
    setenv_path("FARSIDE_LIBXL_DIR", dir, host, "/domains");
    setenv_path("FARSIDE_CONFIG", dir, host, "/farside.conf");
    return 0;
}

/* ---- commands ---- */

static int make_dirs(const char *dir, const char *host)
{
    static const char *const subs[] = { "", "/run", "/xenstored", "/guests",
                                        "/domains" };
    char path[512];

    for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s%s", dir, host, subs[i]);
        if (mkdir(path, 0700) && errno != EEXIST) {
            fprintf(stderr, "farside-sim: can't make %s: %s\n", path,
                    strerror(errno));
            return -errno;
        }
    }
    return 0;
}

static int up_one(struct far_sim *s, const char *host)
{
    struct hv_req req = { .op = HV_HOST_UP };
    struct hv_rsp rsp;
    char path[512] = "";

    if (!good_name(host)) {
        fprintf(stderr,
                "farside-sim: '%s' is no name for a host: letters, "
                "digits, '.', '_' and '-', at most 31\n",
                host);
        return 2;
    }
    if (find_xenstored(path, sizeof(path)) || make_dirs(s->dir, host))
        return 1;
    snprintf(req.host, sizeof(req.host), "%s", host);
    int r = far_sim_call(s, &req, path, sizeof(path) / 4, &rsp, NULL, 0);
    if (r && r != -EEXIST) {
        fprintf(stderr, "farside-sim: can't start host %s: %s\n", host,
                r == -EBUSY ? "it is still going down" : strerror(-r));
        return 1;
    }
    struct xs_handle *xs = far_sim_xenstore(s, host);
    if (!xs)
        return 1;
    r = far_sim_init_dom0(xs);
    xs_close(xs);
    if (r)
        fprintf(stderr, "farside-sim: host %s: xenstored does not answer\n",
                host);
    return r ? 1 : 0;
}

static int cmd_up(struct far_sim *s, int argc, char **argv)
{
    static char *defaults[] = { (char *)"atlas", (char *)"borealis" };

    if (!argc) {
        argc = 2;
        argv = defaults;
    }
    char lib[512];
    if (find_library(lib, sizeof(lib)))
        return 1;
    if (mkdir(s->dir, 0700) && errno != EEXIST) {
        fprintf(stderr, "farside-sim: can't make %s: %s\n", s->dir,
                strerror(errno));
        return 1;
    }
    int lock = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX)) {
        fprintf(stderr, "farside-sim: can't lock %s: %s\n", s->dir,
                strerror(errno));
        return 1;
    }
    if (far_sim_connect(s)) {
        int r = start_keeper(s);
        if (r) {
            fprintf(stderr, "farside-sim: can't start the keeper in %s: %s\n",
                    s->dir, strerror(-r));
            return 1;
        }
    }
    int rc = 0;
    for (int i = 0; i < argc && !rc; i++)
        rc = up_one(s, argv[i]);
    close(lock);
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int flag,
                      struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path) && errno != ENOENT ? -1 : 0;
}

/* Ourselves and those who wait for us: a script may end its own host. */
static uint32_t ancestors(uint32_t *pids, uint32_t max)
{
    uint32_t n = 0;
    pid_t pid = getpid();

    while (pid > 1 && n < max) {
        char path[64], line[256];
        pids[n++] = (uint32_t)pid;
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        FILE *f = fopen(path, "re");
        if (!f)
            break;
        pid = 0;
        if (fgets(line, sizeof(line), f)) {
            const char *p = strrchr(line, ')');
            int ppid;
            char state;
            if (p && sscanf(p + 1, " %c %d", &state, &ppid) == 2)
                pid = ppid;
        }
        fclose(f);
    }
    return n;
}

static int down_one(struct far_sim *s, const char *host)
{
    struct hv_req req = { .op = HV_HOST_DOWN };
    struct hv_rsp rsp;
    struct hv_info info;
    char path[512];
    uint32_t pids[64];
    int rc = 0;

    if (!good_name(host)) {
        fprintf(stderr, "farside-sim: '%s' is no host's name\n", host);
        return 2;
    }
    snprintf(req.host, sizeof(req.host), "%s", host);
    if (s->sock >= 0)
        far_sim_call(s, &req, pids, ancestors(pids, 64), &rsp, NULL, 0);
    int tries = 0;
    while (host_info(s, host, &info) && tries++ < 2500)
        nap_ms(2);
    if (tries >= 2500) {
        fprintf(stderr, "farside-sim: host %s: %u processes do not end\n", host,
                info.processes);
        rc = 1;
    }
    snprintf(path, sizeof(path), "%s/%s", s->dir, host);
    if (!access(path, F_OK) &&
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS)) {
        fprintf(stderr, "farside-sim: can't remove %s: %s\n", path,
                strerror(errno));
        rc = 1;
    }
    return rc;
}

/* To see when it has ended, be it a zombie. */
static int keeper_pidfd(struct far_sim *s)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (getsockopt(s->sock, SOL_SOCKET, SO_PEERCRED, &cred, &len))
        return -1;
    return (int)syscall(SYS_pidfd_open, cred.pid, 0);
}

static int cmd_down(struct far_sim *s, int argc, char **argv)
{
    int rc = 0;
    struct hv_info *all = NULL;
    uint32_t n = 0;

    int keeper = far_sim_connect(s) ? -1 : keeper_pidfd(s);
    if (argc) {
        for (int i = 0; i < argc; i++)
            rc |= down_one(s, argv[i]);
    } else {
        all = list(s, HV_HOST_LIST, NULL, &n);
        for (uint32_t i = 0; i < n; i++)
            rc |= down_one(s, all[i].name);
        free(all);
    }
    /* The keeper leaves with the last host. */
    all = list(s, HV_HOST_LIST, NULL, &n);
    free(all);
    if (!n) {
        struct hv_req quit = { .op = HV_QUIT };
        struct hv_rsp rsp;
        far_sim_call(s, &quit, NULL, 0, &rsp, NULL, 0);
        if (s->sock >= 0)
            close(s->sock);
        s->sock = -1;
        struct pollfd end = { keeper, POLLIN, 0 };
        if (keeper >= 0 && poll(&end, 1, 5000) != 1)
            rc = 1;
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", s->dir, FAR_SIM_SOCKET);
        unlink(path);
        rmdir(s->dir);
    }
    if (keeper >= 0)
        close(keeper);
    return rc;
}

static int need_keeper(struct far_sim *s)
{
    if (!far_sim_connect(s))
        return 0;
    fprintf(stderr,
            "farside-sim: no simulated host runs in %s; start with "
            "'farside-sim up'\n",
            s->dir);
    return 1;
}

static int cmd_run(struct far_sim *s, int argc, char **argv)
{
    char host[HV_NAME], uuid[FAR_SIM_UUID_LEN], path[512];
    struct hv_info info;

    if (argc < 1) {
        fprintf(stderr, "usage: farside-sim run HOST[/GUEST] [--] CMD...\n");
        return 2;
    }
    const char *where = argv[0];
    argc--;
    argv++;
    if (argc && !strcmp(argv[0], "--")) {
        argc--;
        argv++;
    }
    if (need_keeper(s))
        return 1;
    snprintf(host, sizeof(host), "%.*s", (int)strcspn(where, "/"), where);
    const char *guest = strchr(where, '/');
    if (!host_info(s, host, &info)) {
        fprintf(stderr,
                "farside-sim: there is no host '%s'; 'farside-sim up %s' "
                "makes one\n",
                host, host);
        return 1;
    }
    uint32_t domid = 0;
    if (guest) {
        if (far_sim_find(s, host, guest + 1, &info)) {
            fprintf(stderr, "farside-sim: host %s has no guest '%s'\n", host,
                    guest + 1);
            return 1;
        }
        domid = info.domid;
        far_sim_uuid_print(info.uuid, uuid);
        snprintf(path, sizeof(path), "%s/%s/guests/%s", s->dir, host, uuid);
        mkdir(path, 0700);
        strncat(path, "/run", sizeof(path) - strlen(path) - 1);
        mkdir(path, 0700);
    }
    if (far_sim_setenv(s->dir, host, guest ? uuid : NULL, domid))
        return 1;
    const char *shell = getenv("SHELL");
    char *interactive[] = { (char *)(uintptr_t)(shell ? shell : "/bin/sh"),
                            NULL };
    if (!argc)
        argv = interactive;
    execvp(argv[0], argv);
    fprintf(stderr, "farside-sim: can't run '%s': %s\n", argv[0],
            strerror(errno));
    return errno == ENOENT ? 127 : 126;
}

static int cmd_dir(struct far_sim *s, int argc, char **argv)
{
    if (argc > 1) {
        fprintf(stderr, "usage: farside-sim dir [HOST]\n");
        return 2;
    }
    if (!argc)
        printf("%s\n", s->dir);
    else
        printf("%s/%s\n", s->dir, argv[0]);
    return 0;
}

static int cmd_list(struct far_sim *s)
{
    static const char *const states[] = { "running", "paused", "dying",
                                          "saved" };
    uint32_t hosts, guests;

    if (need_keeper(s))
        return 1;
    struct hv_info *all = list(s, HV_HOST_LIST, NULL, &hosts);
    for (uint32_t i = 0; i < hosts; i++) {
        printf("%s: xenstored %u, %u processes\n", all[i].name, all[i].pid,
               all[i].processes);
        struct hv_info *g = list(s, HV_DOM_LIST, all[i].name, &guests);
        for (uint32_t j = 0; j < guests; j++) {
            char uuid[FAR_SIM_UUID_LEN];
            far_sim_uuid_print(g[j].uuid, uuid);
            printf("  %-20s %5u %-8s %s %u processes\n", g[j].name, g[j].domid,
                   g[j].state < 4 ? states[g[j].state] : "?", uuid,
                   g[j].processes);
        }
        free(g);
    }
    free(all);
    return 0;
}

static const char help[] =
    "usage: farside-sim COMMAND [ARGUMENT...]\n"
    "  up [HOST...]                    start hosts (atlas and borealis)\n"
    "  down [HOST...]                  end them, all without a name\n"
    "  list                            hosts and guests\n"
    "  dir [HOST]                      the folder of a host\n"
    "  run HOST[/GUEST] [--] CMD...    run a program in dom0 or in a guest\n"
    "What of xl there is:\n"
    "  create HOST NAME [KEY=VALUE...] keys: vkb disk vdispl vsnd type\n"
    "                                  memory uuid gntalloc paused\n"
    "  destroy HOST GUEST\n"
    "  pause | unpause HOST GUEST\n"
    "  reboot HOST GUEST\n"
    "  save HOST GUEST [FILE]          then: restore HOST GUEST|FILE\n"
    "  migrate HOST GUEST HOST2\n"
    "  vkb-attach HOST GUEST KEY=VALUE,...\n"
    "  vkb-detach HOST GUEST DEVID\n"
    "  vkb-list HOST GUEST\n"
    "  block-attach HOST GUEST SPEC\n"
    "  block-detach HOST GUEST VDEV\n"
    "  vdispl-attach HOST GUEST SPEC\n"
    "  vdispl-detach HOST GUEST DEVID\n"
    "  domid HOST NAME, domname HOST DOMID\n"
    "Environment: FARSIDE_SIM_DIR, FARSIDE_XENSTORED, FARSIDE_SIM_LIB\n";

int main(int argc, char **argv)
{
    struct far_sim s = { .sock = -1 };
    int opt;

    if (argc == 4 && !strcmp(argv[1], "--keeper"))
        return keeper_main(argv[3], atoi(argv[2]));
    while ((opt = getopt(argc, argv, "+hVc:r:")) != -1) {
        switch (opt) {
        case 'h':
            fputs(help, stdout);
            return 0;
        case 'V':
            printf("farside-sim %s\n", PACKAGE_VERSION);
            return 0;
        case 'c':
            break; /* every program takes it; there is nothing to configure */
        case 'r':
            setenv("FARSIDE_SIM_DIR", optarg, 1);
            break;
        default:
            fputs(help, stderr);
            return 2;
        }
    }
    argc -= optind;
    argv += optind;
    if (!argc) {
        fputs(help, stderr);
        return 2;
    }
    if (find_dir(s.dir, sizeof(s.dir)))
        return 2;
    const char *cmd = argv[0];
    argc--;
    argv++;
    if (!strcmp(cmd, "up"))
        return cmd_up(&s, argc, argv);
    if (!strcmp(cmd, "down"))
        return cmd_down(&s, argc, argv);
    if (!strcmp(cmd, "run"))
        return cmd_run(&s, argc, argv);
    if (!strcmp(cmd, "dir"))
        return cmd_dir(&s, argc, argv);
    if (!strcmp(cmd, "list"))
        return cmd_list(&s);
    if (need_keeper(&s))
        return 1;
    return far_sim_xl(&s, cmd, argc, argv);
}

/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The starter's two halves (devices/starter.h): the helper process with the
 * programs that it runs, and the daemon's side.
 */
#include "devices/starter.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX    64u
#define PROGRAMS_MAX 256u
#define LINE_BYTES   200u
#define KILL_US      3000000u

enum what { START, STOP, STARTED, ENDED, LINE };

struct message {
    uint32_t what, id;
    int32_t pid;
    uint32_t stopped; /* of ENDED: it was asked to */
    char text[LINE_BYTES];
};

#define container(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

int far_starter_words(char *text, char **argv, unsigned room)
{
    char *in = text, *out = text;
    unsigned n = 0;

    for (;;) {
        char quote = 0;

        in += strspn(in, " \t");
        if (!*in)
            break;
        if (n + 1 >= room)
            return -E2BIG;
        argv[n++] = out;
        for (; *in && (quote || !strchr(" \t", *in)); in++) {
            if (*in == quote)
                quote = 0;
            else if (!quote && (*in == '"' || *in == '\''))
                quote = *in;
            else
                *out++ = *in;
        }
        if (quote)
            return -EINVAL;
        if (*in)
            in++;
        *out++ = '\0';
    }
    if (n == 0)
        return -ENOENT;
    argv[n] = NULL;
    return (int)n;
}

/* ---- the helper -------------------------------------------------------- */

struct program {
    struct helper *helper;
    uint32_t id;
    pid_t pid;
    int pidfd, out;
    struct far_io ended, says;
    struct far_timer patience;
    bool stopping;
    char line[LINE_BYTES];
    size_t line_bytes;
    struct program *next;
};

struct helper {
    struct far_loop *loop;
    int fd;
    struct far_io io;
    const char *conf_file, *user;
    struct program *programs;
    unsigned count;
    bool leaving;
};

static void tell(struct helper *h, enum what what, uint32_t id, pid_t pid,
                 bool stopped, const char *text)
{
    struct message m = {
        .what = what, .id = id, .pid = pid, .stopped = stopped
    };

    snprintf(m.text, sizeof(m.text), "%.199s", text ? text : "");
    /* A line may be lost when the daemon has no time for it. */
    send(h->fd, &m, sizeof(m),
         MSG_NOSIGNAL | (what == LINE ? MSG_DONTWAIT : 0));
}

static void hear(struct program *p, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool full = p->line_bytes == sizeof(p->line) - 1;

        if (bytes[i] != '\n' && !full) {
            p->line[p->line_bytes++] = bytes[i];
            continue;
        }
        if (p->line_bytes) {
            p->line[p->line_bytes] = '\0';
            tell(p->helper, LINE, p->id, p->pid, false, p->line);
        }
        p->line_bytes = 0;
        if (bytes[i] != '\n')
            p->line[p->line_bytes++] = bytes[i];
    }
}

static void program_says(struct far_io *io, uint32_t events)
{
    struct program *p = container(io, struct program, says);
    char bytes[4096];
    ssize_t n = read(p->out, bytes, sizeof(bytes));

    (void)events;
    if (n > 0)
        hear(p, bytes, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        far_io_del(&p->says);
}

static void program_ended(struct far_io *io, uint32_t events)
{
    struct program *p = container(io, struct program, ended), **at;
    struct helper *h = p->helper;
    char why[LINE_BYTES] = "ended";
    siginfo_t info = { 0 };
    int status = 0;

    (void)events;
    if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) ||
        !info.si_pid)
        return;
    /* What it left behind: while its number can't be anybody else's yet. */
    kill(-p->pid, SIGKILL);
    if (waitpid(p->pid, &status, WNOHANG) != p->pid)
        return;
    program_says(&p->says, 0); /* its last words */
    hear(p, "\n", 1);
    if (WIFSIGNALED(status))
        snprintf(why, sizeof(why), "was ended by signal %d (%s)",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 127)
        snprintf(why, sizeof(why), "ended with exit status %d",
                 WEXITSTATUS(status));
    else
        snprintf(why, sizeof(why), "could not be run; the log says why");
    tell(h, ENDED, p->id, 0, p->stopping, why);
    far_io_del(&p->ended);
    far_io_del(&p->says);
    far_timer_cancel(&p->patience);
    close(p->pidfd);
    close(p->out);
    for (at = &h->programs; *at != p; at = &(*at)->next)
        ;
    *at = p->next;
    h->count--;
    free(p);
    if (h->leaving && !h->programs)
        far_loop_stop(h->loop);
}

static void no_patience(struct far_timer *timer)
{
    struct program *p = container(timer, struct program, patience);

    kill(-p->pid, SIGKILL);
}

static void stop_program(struct program *p)
{
    if (p->stopping)
        return;
    p->stopping = true;
    kill(-p->pid, SIGTERM);
    kill(-p->pid, SIGCONT); /* one that was stopped hears nothing else */
    far_timer_set(&p->patience, far_loop_now_us(p->helper->loop) + KILL_US);
}

/* What runs as root must come from a file that only root can write. */
static int trusted(const char *file, struct far_error *error)
{
    struct stat st;

    if (stat(file, &st) < 0)
        return far_error(error, -errno, "%s: %s", file, strerror(errno));
    if (geteuid() == 0 &&
        (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH))))
        return far_error(error, -EPERM,
                         "%s can be written by others than root: no program "
                         "that it names is started",
                         file);
    return 0;
}

static int become(const struct passwd *pw)
{
    if (geteuid() == 0 && (initgroups(pw->pw_name, pw->pw_gid) ||
                           setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) ||
                           setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid)))
        return -errno;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

/* What protects a daemon from the kernel when memory is out is not for its
 * programs. */
static void be_killable(void)
{
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    char text[16] = "";

    if (fd < 0)
        return;
    if (read(fd, text, sizeof(text) - 1) > 0 && text[0] == '-' &&
        pwrite(fd, "0", 1, 0) != 1)
        dprintf(2, "oom_score_adj: %s\n", strerror(errno));
    close(fd);
}

/* In the new process, a child of helper. */
static void run(char **argv, const struct passwd *pw, char **env, int out,
                pid_t helper)
{
    static const char *const failed = "can't be run: ";
    sigset_t none;
    int null = open("/dev/null", O_RDONLY), r;

    setsid();
    dup2(null, 0);
    dup2(out, 1);
    dup2(out, 2);
    close_range(3, ~0u, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    /* the helper ignores them; who inherits that could not be stopped */
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    be_killable();
    r = pw ? become(pw) : 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user forgets it */
    if (getppid() != helper)          /* it had died before: no signal comes */
        _exit(127);
    if (r == 0) {
        execve(argv[0], argv, env);
        r = -errno;
    }
    dprintf(2, "%s%s: %s\n", failed, argv[0], strerror(-r));
    _exit(127);
}

static const struct passwd *user_of(struct helper *h,
                                    const struct far_conf_section *s,
                                    struct far_error *error)
{
    const char *named = far_conf_string(s, "user", NULL), *name = named;
    const struct passwd *pw;

    if (!name)
        name = h->user ? h->user : "farside";
    pw = getpwnam(name);
    if (!pw && !named && !h->user)
        pw = getpwnam("nobody");
    if (geteuid() != 0) {
        if (named && (!pw || pw->pw_uid != geteuid()))
            far_error(error, -EPERM,
                      "user = %s: only a daemon that was started as root can "
                      "run it as somebody else",
                      named);
        return NULL;
    }
    if (!pw)
        far_error(error, -ENOENT, "there is no user \"%s\" to run it as", name);
    else if (pw->pw_uid == 0 && !named) {
        far_error(error, -EPERM,
                  "it is not run as root unless `user = root` "
                  "says so");
        return NULL;
    }
    return pw;
}

static int spawn(struct helper *h, uint32_t id, const char *device,
                 const struct far_conf_section *s, struct far_error *error)
{
    const char *start = far_conf_string(s, "start", NULL);
    char text[1024], socket_text[256], device_text[FAR_NAME_BYTES + 16];
    char *argv[WORDS_MAX];
    char *env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
                    "/sbin:/bin",
                    socket_text, device_text, NULL };
    const struct passwd *pw;
    const pid_t self = getpid();
    struct program *p;
    int r, ends[2];

    if (!start || strlen(start) >= sizeof(text))
        return far_error(error, -ENOENT, "its section has no usable `start =`");
    strcpy(text, start);
    r = far_starter_words(text, argv, WORDS_MAX);
    if (r < 0 || argv[0][0] != '/')
        return far_error(error, r < 0 ? r : -EINVAL,
                         "start = %.80s: wants the absolute path of a program "
                         "and its arguments",
                         start);
    error->code = 0;
    pw = user_of(h, s, error);
    if (error->code)
        return error->code;
    snprintf(socket_text, sizeof(socket_text), "FARSIDE_SOCKET=%s",
             far_conf_string(s, "socket", ""));
    snprintf(device_text, sizeof(device_text), "FARSIDE_DEVICE=%.63s", device);
    p = h->count < PROGRAMS_MAX ? calloc(1, sizeof(*p)) : NULL;
    if (!p)
        return far_error(error, -ENOMEM, "there are too many programs");
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        free(p);
        return far_error(error, -errno, "pipe: %s", strerror(errno));
    }
    /* Only our end may not block. */
    fcntl(ends[1], F_SETFL, O_WRONLY);
    p->helper = h;
    p->id = id;
    p->out = ends[0];
    p->says.fd = p->ended.fd = p->pidfd = -1;
    far_timer_init(&p->patience, h->loop, no_patience);
    p->pid = fork();
    if (p->pid == 0)
        run(argv, pw, env, ends[1], self);
    close(ends[1]);
    if (p->pid > 0)
        p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    if (p->pidfd < 0 ||
        far_io_add(h->loop, &p->ended, p->pidfd, EPOLLIN, program_ended) ||
        far_io_add(h->loop, &p->says, p->out, EPOLLIN, program_says)) {
        r = errno ? -errno : -ENOMEM;
        if (p->pid > 0) {
            kill(p->pid, SIGKILL);
            waitpid(p->pid, NULL, 0);
        }
        far_io_del(&p->ended);
        if (p->pidfd >= 0)
            close(p->pidfd);
        close(p->out);
        free(p);
        return far_error(error, r, "a process could not be made: %s",
                         strerror(-r));
    }
    p->next = h->programs;
    h->programs = p;
    h->count++;
    tell(h, STARTED, id, p->pid, false, NULL);
    return 0;
}

/* The daemon has said what is wrong with it. */
static void not_here(void *arg, const char *file, unsigned line,
                     unsigned column, const char *text)
{
    (void)arg;
    (void)file;
    (void)line;
    (void)column;
    (void)text;
}

static void start_one(struct helper *h, uint32_t id, const char *device)
{
    struct far_error error = { 0 };
    const struct far_conf_section *s;
    struct far_conf *conf = NULL;
    unsigned problems = 0;

    if (trusted(h->conf_file, &error) == 0)
        conf = far_conf_read(h->conf_file, not_here, NULL, &problems, &error);
    s = conf ? far_conf_section(conf, "device", device) : NULL;
    if (conf && !s)
        far_error(&error, -ENOENT, "there is no [device %.63s] in %.100s",
                  device, h->conf_file);
    if (!s || spawn(h, id, device, s, &error))
        tell(h, ENDED, id, 0, false, error.text);
    far_conf_free(conf);
}

static void leave(struct helper *h)
{
    h->leaving = true;
    far_io_del(&h->io);
    for (struct program *p = h->programs; p; p = p->next)
        stop_program(p);
    if (!h->programs)
        far_loop_stop(h->loop);
}

static void asked(struct far_io *io, uint32_t events)
{
    struct helper *h = container(io, struct helper, io);
    struct message m;
    ssize_t n = recv(h->fd, &m, sizeof(m), MSG_DONTWAIT);

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != sizeof(m)) { /* the daemon has ended */
        leave(h);
        return;
    }
    m.text[FAR_NAME_BYTES - 1] = '\0';
    if (m.what == START && far_name_valid(m.text))
        start_one(h, m.id, m.text);
    for (struct program *p = h->programs; m.what == STOP && p; p = p->next)
        if (p->id == m.id)
            stop_program(p);
}

static void __attribute__((noreturn))
help(int fd, const char *conf_file, const char *user)
{
    struct helper h = { .conf_file = conf_file, .user = user, .fd = 3 };
    sigset_t none;

    prctl(PR_SET_NAME, "farside-starter");
    if (fd != 3)
        dup2(fd, 3);
    close_range(4, ~0u, 0);
    fcntl(3, F_SETFD, FD_CLOEXEC);
    /* It is the daemon that decides; when that has ended, so do we. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    h.loop = far_loop_new();
    if (h.loop && far_io_add(h.loop, &h.io, h.fd, EPOLLIN, asked) == 0)
        far_loop_run(h.loop);
    _exit(0);
}

/* ---- the daemon's side ------------------------------------------------- */

struct far_starter {
    struct far_loop *loop;
    struct far_log *log;
    struct far_io io;
    int fd;
    pid_t pid;
    uint32_t last_id;
    struct far_starter_job *jobs; /* that run, or are about to */
};

static struct far_starter_job **find(struct far_starter *s, uint32_t id)
{
    struct far_starter_job **at = &s->jobs;

    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static void finish(struct far_starter *s, uint32_t id, const char *why)
{
    struct far_starter_job **at = find(s, id), *job = *at;

    if (!job)
        return; /* forgotten */
    *at = job->next;
    job->state = FAR_STARTER_IDLE;
    job->pid = 0;
    job->ended(job, why);
}

static void take(struct far_starter *s, struct message *m)
{
    struct far_starter_job *job = *find(s, m->id);
    char text[LINE_BYTES * 2];

    m->text[sizeof(m->text) - 1] = '\0';
    far_escape(text, sizeof(text), m->text, strlen(m->text));
    if (!job)
        return;
    switch (m->what) {
    case STARTED:
        if (job->state == FAR_STARTER_STARTING)
            job->state = FAR_STARTER_RUNNING;
        job->pid = m->pid;
        if (job->state == FAR_STARTER_RUNNING)
            job->started(job);
        break;
    case LINE:
        far_log_limited(s->log, &job->bucket, FAR_LOG_INFO, "%s (pid %d): %s",
                        job->device, (int)m->pid, text);
        break;
    case ENDED:
        finish(s, m->id, m->stopped ? NULL : text);
        break;
    default:
        break;
    }
}

static void ready(struct far_io *io, uint32_t events)
{
    struct far_starter *s = container(io, struct far_starter, io);
    struct message m;
    ssize_t n = recv(s->fd, &m, sizeof(m), MSG_DONTWAIT);

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n == sizeof(m)) {
        take(s, &m);
        return;
    }
    far_io_del(&s->io);
    far_log(s->log, FAR_LOG_ERROR,
            "the helper that starts devices' programs has died; restart this "
            "daemon");
    while (s->jobs)
        finish(s, s->jobs->id, "the helper that started it has died");
}

struct far_starter *far_starter_new(struct far_loop *loop, struct far_log *log,
                                    const char *conf_file, const char *user,
                                    struct far_error *error)
{
    struct far_starter *s = calloc(1, sizeof(*s));
    int fds[2], r;

    if (!s) {
        far_error(error, -ENOMEM, "out of memory");
        return NULL;
    }
    s->loop = loop;
    s->log = log;
    s->io.fd = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
        far_error(error, -errno, "socketpair: %s", strerror(errno));
        free(s);
        return NULL;
    }
    s->fd = fds[0];
    s->pid = fork();
    if (s->pid == 0)
        help(fds[1], conf_file, user);
    close(fds[1]);
    r = s->pid < 0 ? -errno : far_io_add(loop, &s->io, s->fd, EPOLLIN, ready);
    if (r) {
        far_error(error, r, "the helper that starts devices' programs: %s",
                  strerror(-r));
        far_starter_free(s);
        return NULL;
    }
    return s;
}

void far_starter_free(struct far_starter *s)
{
    if (!s)
        return;
    while (s->jobs) {
        struct far_starter_job *job = s->jobs;

        s->jobs = job->next;
        job->state = FAR_STARTER_IDLE;
        job->pid = 0;
    }
    far_io_del(&s->io);
    close(s->fd); /* the helper reads its end, stops all, and ends */
    if (s->pid > 0)
        waitpid(s->pid, NULL, WNOHANG);
    free(s);
}

static int ask(struct far_starter *s, enum what what,
               const struct far_starter_job *job)
{
    struct message m;

    memset(&m, 0, sizeof(m)); /* its padding goes over the socket too */
    m.what = what;
    m.id = job->id;
    snprintf(m.text, sizeof(m.text), "%s", job->device);
    return send(s->fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno
                                                                       : 0;
}

int far_starter_start(struct far_starter *s, struct far_starter_job *job)
{
    int r;

    if (job->state != FAR_STARTER_IDLE)
        return 0;
    job->id = ++s->last_id;
    job->starter = s;
    r = ask(s, START, job);
    if (r)
        return r;
    job->state = FAR_STARTER_STARTING;
    job->next = s->jobs;
    s->jobs = job;
    return 0;
}

void far_starter_stop(struct far_starter_job *job)
{
    if (job->state == FAR_STARTER_IDLE || job->state == FAR_STARTER_STOPPING)
        return;
    if (ask(job->starter, STOP, job) == 0)
        job->state = FAR_STARTER_STOPPING;
}

void far_starter_forget(struct far_starter_job *job)
{
    struct far_starter_job **at;

    if (job->state == FAR_STARTER_IDLE)
        return;
    far_starter_stop(job);
    at = find(job->starter, job->id);
    if (*at)
        *at = job->next;
    job->state = FAR_STARTER_IDLE;
    job->pid = 0;
}

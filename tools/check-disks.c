// SPDX-License-Identifier: GPL-2.0-or-later
//
// Disks that may forget what a guest was told to be safe, or that fail because
// nobody could know whether they have: what farside check says of them. From
// the configuration, what it names, and who serves a socket at present.

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "tools/check.h"

#define TEXT_BYTES 65536u

/* A word with an option that makes up for it: nothing is written, or the server
 * ends a connection's requests. */
static bool is_safe_option(const char *word)
{
    return !strncmp(word, "--f", 3) || !strncmp(word, "--r", 3) ||
           (word[0] == '-' && word[1] != '-' &&
            (strchr(word, 'f') || strchr(word, 'r')));
}

/* Does a line run farside-nbd without one? It is cut into words. */
static bool runs_unfenced(char *line)
{
    static const char name[] = "farside-nbd";
    bool runs = false, safe = false;
    char *save = NULL;

    for (char *word = strtok_r(line, " \t\"'", &save); word;
         word = strtok_r(NULL, " \t\"'", &save)) {
        const char *base = strrchr(word, '/');

        if (word[0] == '#')
            break;
        if (!strcmp(base ? base + 1 : word, name))
            runs = true;
        else if (runs)
            safe |= is_safe_option(word);
    }
    return runs && !safe;
}

static size_t read_text(const char *path, char text[TEXT_BYTES])
{
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(text, 1, TEXT_BYTES - 1, file) : 0;

    if (file)
        fclose(file);
    text[n] = '\0';
    return n;
}

static bool script_is_unfenced(const char *path)
{
    char text[TEXT_BYTES], *save = NULL, *at;

    if (read_text(path, text) < 2 || text[0] != '#' || text[1] != '!')
        return false;
    while ((at = strstr(text, "\\\n")) != NULL) /* the line goes on */
        at[0] = at[1] = ' ';
    for (char *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        if (runs_unfenced(line))
            return true;
    return false;
}

/* `start`: farside-nbd itself, or a script that runs it. */
static bool start_is_unfenced(const char *start)
{
    char line[1024], path[1024];

    snprintf(line, sizeof(line), "%s", start);
    snprintf(path, sizeof(path), "%.*s", (int)strcspn(start, " \t"), start);
    return runs_unfenced(line) || script_is_unfenced(path);
}

/* Of the processes that run, is there one that serves this socket so? */
static bool server_is_unfenced(const char *socket)
{
    DIR *dir = opendir("/proc");
    bool found = false;
    struct dirent *e;

    while (dir && !found && (e = readdir(dir)) != NULL) {
        char path[300], text[TEXT_BYTES];
        size_t n;

        if (!isdigit((unsigned char)e->d_name[0]))
            continue;
        snprintf(path, sizeof(path), "/proc/%s/cmdline", e->d_name);
        n = read_text(path, text);
        for (size_t i = 0; i + 1 < n; i++)
            if (!text[i])
                text[i] = ' ';
        found = strstr(text, socket) && runs_unfenced(text);
    }
    if (dir)
        closedir(dir);
    return found;
}

static bool says(char *text, size_t bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool says(char *text, size_t bytes, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(text, bytes, format, args);
    va_end(args);
    return true;
}

static bool file_forgets(const char *path, char *text, size_t bytes)
{
    static const uint32_t networks[] = { 0x6969 /* NFS */,
                                         0xff534d42 /* CIFS */,
                                         0xfe534d42 /* SMB2 */,
                                         0x65735546 /* FUSE */ };
    struct statfs fs;
    struct stat st;

    if (stat(path, &st) || !S_ISREG(st.st_mode) || statfs(path, &fs))
        return false;
    if ((uint32_t)fs.f_type == 0x01021994 /* tmpfs */)
        return says(text, bytes,
                    "%s lies in memory: all of it is gone with this machine's "
                    "power, also what guests have flushed",
                    path);
    for (unsigned i = 0; i < sizeof(networks) / sizeof(networks[0]); i++)
        if ((uint32_t)fs.f_type == networks[i])
            return says(text, bytes,
                        "%s lies on a file system of another machine: Farside "
                        "can't see when that has lost what was not flushed, "
                        "and would not write it again",
                        path);
    return false;
}

bool far_check_forgets(const struct far_conf *conf,
                       const struct far_conf_section *s,
                       const struct far_conf_entry **at, char *text,
                       size_t bytes)
{
    const char *type = far_conf_string(s, "type", "");

    *at = NULL;
    if (!strcmp(type, "memory") && far_conf_section(conf, "export", s->name))
        return says(text, bytes,
                    "[device %s] is memory: what guests write there is gone "
                    "when its process ends, and all their requests fail from "
                    "then on",
                    s->name);
    if (!strcmp(type, "volatile"))
        return says(text, bytes,
                    "[device %s] is for tests: it loses what guests have "
                    "written and not flushed when its process ends",
                    s->name);
    if (!strcmp(type, "file")) {
        *at = far_conf_entry(s, "path", NULL);
        return *at && file_forgets((*at)->value, text, bytes);
    }
    if (strcmp(type, "outside") ||
        strcmp(far_conf_string(s, "class", ""), "block"))
        return false;
    *at = far_conf_entry(s, "start", NULL);
    if (!*at || !start_is_unfenced((*at)->value)) {
        *at = far_conf_entry(s, "socket", NULL);
        if (!*at || !server_is_unfenced((*at)->value))
            return false;
    }
    return says(text, bytes,
                "[device %s] is served by farside-nbd without --fenced: if the "
                "connection to its server is lost with writes under way, "
                "nobody can know when the server does them, and all requests "
                "of its guest fail (farside-nbd(8))",
                s->name);
}

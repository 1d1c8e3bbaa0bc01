/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of xl that tests need: it writes the nodes that libxl 4.17 writes,
 * in its order, in its transactions, with its permissions and its timeouts,
 * and takes the same care as little. What libxl keeps in its json record is
 * kept here in HOSTDIR/domains/UUID. The guest has no kernel, so nothing asks
 * it to suspend.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <xenstore.h>
#include <xen/io/kbdif.h>
#include "sim/batch.h"
#include "sim/common.h"
#include "sim/sim.h"
#include "sim/snd.h"

#define DESTROY_TIMEOUT_MS 10000
#define QEMU_TIMEOUT_MS    2000
#define INIT_TIMEOUT_MS    10000
#define MAX_VKBS           64
#define MAX_DISKS          16
#define MAX_VDISPLS        4
#define MAX_CONNECTORS     16
#define MAX_SNDS           4
#define MAX_SND_NODES      128

struct vkb {
    int devid; /* -1: the next free one */
    bool linux_backend;
    char *unique_id;
    unsigned long disable_keyboard, disable_pointer, abs_pointer, raw_pointer;
    unsigned long multi_touch, mt_width, mt_height, mt_contacts;
    unsigned long width, height;
    char *text; /* as it was given */
};

struct disk {
    int devid;
    bool read_only, cdrom, no_discard;
    char vdev[8], script[64], target[256];
    char *text; /* as it was given */
};

struct vdispl {
    int devid; /* -1: the next free one */
    bool be_alloc;
    int count;
    struct {
        char id[200];
        unsigned width, height;
    } connectors[MAX_CONNECTORS];
    char *text; /* as it was given */
};

struct config {
    char name[HV_NAME];
    uint8_t uuid[16];
    char type[8];
    uint32_t memory_mb, gntalloc;
    bool paused;
    struct vkb vkbs[MAX_VKBS];
    int vkb_count;
    struct disk disks[MAX_DISKS];
    int disk_count;
    struct vdispl vdispls[MAX_VDISPLS];
    int vdispl_count;
    char *snds[MAX_SNDS]; /* lines, as they were given */
    int snd_count;
};

struct xl {
    struct far_sim *s;
    struct xs_handle *xs;
    struct batch batch;
    const char *host;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

__attribute__((format(printf, 1, 2))) static int complain(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("farside-sim: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return 1;
}

/* ---- nodes ---- */

static struct xs_permissions none0[] = { { 0, XS_PERM_NONE } };

__attribute__((format(printf, 4, 5))) static bool
put(struct xl *x, xs_transaction_t t, const char *path, const char *fmt, ...)
{
    char value[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(value, sizeof(value), fmt, ap);
    va_end(ap);
    return n >= 0 && (size_t)n < sizeof(value) &&
           xs_write(x->xs, t, path, value, (unsigned)n);
}

__attribute__((format(printf, 1, 2))) static char *path_of(const char *fmt, ...)
{
    /* A few at a time are in use. */
    static char ring[8][512];
    static unsigned next;
    char *p = ring[next++ % 8];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p, sizeof(ring[0]), fmt, ap);
    va_end(ap);
    return p;
}

/* The same for transactions that only write. */
__attribute__((format(printf, 3, 4))) static void
bput(struct xl *x, const char *path, const char *fmt, ...)
{
    char value[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof(value), fmt, ap);
    va_end(ap);
    batch_write(&x->batch, path, value);
}

/* A node with permissions of its own; others have their parent's, which is
 * what libxl sets them to. */
static void make(struct xl *x, const char *path,
                 const struct xs_permissions *perms, unsigned count)
{
    batch_write(&x->batch, path, "");
    batch_perms(&x->batch, path, perms, count);
}

static char *get(struct xl *x, xs_transaction_t t, const char *path)
{
    unsigned len;
    return xs_read(x->xs, t, path, &len);
}

/* Removes a node and then its parents as long as they are empty. */
static void cleanup(struct xl *x, xs_transaction_t t, const char *path)
{
    char p[512];
    snprintf(p, sizeof(p), "%s", path);
    xs_rm(x->xs, t, p);
    for (char *last = strrchr(p, '/'); last; last = strrchr(p, '/')) {
        unsigned n = 1;
        *last = 0;
        if (!p[0])
            break;
        char **dir = xs_directory(x->xs, t, p, &n);
        bool empty = dir && !n;
        free(dir);
        if (!empty || !xs_rm(x->xs, t, p))
            break;
    }
}

int far_sim_init_dom0(struct xs_handle *xs)
{
    unsigned len;
    char *have = xs_read(xs, XBT_NULL, "/local/domain/0/name", &len);
    if (have) {
        free(have);
        return 0;
    }
    return xs_write(xs, XBT_NULL, "/local/domain/0/domid", "0", 1) &&
                   xs_write(xs, XBT_NULL, "/local/domain/0/name", "Domain-0", 8)
               ? 0
               : -EIO;
}

/* ---- vkb lines ---- */

static int parse_vkb(struct vkb *v, const char *text)
{
    char *copy = strdup(text), *save = NULL;
    static const char *const names[] = {
        XENKBD_FIELD_FEAT_DSBL_KEYBRD,
        XENKBD_FIELD_FEAT_DSBL_POINTER,
        XENKBD_FIELD_FEAT_ABS_POINTER,
        XENKBD_FIELD_FEAT_RAW_POINTER,
        XENKBD_FIELD_FEAT_MTOUCH,
        XENKBD_FIELD_MT_WIDTH,
        XENKBD_FIELD_MT_HEIGHT,
        XENKBD_FIELD_MT_NUM_CONTACTS,
        XENKBD_FIELD_WIDTH,
        XENKBD_FIELD_HEIGHT,
    };
    unsigned long *values[] = {
        &v->disable_keyboard, &v->disable_pointer, &v->abs_pointer,
        &v->raw_pointer,      &v->multi_touch,     &v->mt_width,
        &v->mt_height,        &v->mt_contacts,     &v->width,
        &v->height,
    };
    bool typed = false;
    int rc = 0;

    memset(v, 0, sizeof(*v));
    v->devid = -1;
    v->text = strdup(text);
    for (char *tok = strtok_r(copy, ",", &save); tok && !rc;
         tok = strtok_r(NULL, ",", &save)) {
        while (*tok == ' ')
            tok++;
        char *value = strchr(tok, '=');
        if (!value) {
            rc = complain("Unknown string \"%s\" in vkb spec", tok);
            break;
        }
        *value++ = 0;
        size_t i = 0;
        while (i < sizeof(names) / sizeof(names[0]) && strcmp(tok, names[i]))
            i++;
        if (i < sizeof(names) / sizeof(names[0])) {
            *values[i] = strtoul(value, NULL, 0);
        } else if (!strcmp(tok, "backend-type")) {
            v->linux_backend = !strcmp(value, "linux");
            typed = true;
            if (!v->linux_backend && strcmp(value, "qemu"))
                rc = complain("Unknown backend_type \"%s\" in vkb spec", value);
        } else if (!strcmp(tok, "unique-id")) {
            free(v->unique_id);
            v->unique_id = strdup(value);
        } else if (!strcmp(tok, "backend")) {
            if (strcmp(value, "0") && strcmp(value, "Domain-0"))
                rc = complain("vkb: driver domains are not simulated");
        } else {
            rc = complain("Unknown string \"%s=%s\" in vkb spec", tok, value);
        }
    }
    free(copy);
    if (!rc && !typed)
        rc = complain("backend-type should be set in vkb spec");
    if (v->mt_height || v->mt_width || v->mt_contacts)
        v->multi_touch = 1;
    if (!rc && v->multi_touch &&
        !(v->mt_height || v->mt_width || v->mt_contacts))
        rc = complain("multi-touch-width, multi-touch-height, "
                      "multi-touch-num-contacts should be set for multi touch "
                      "in vkb spec");
    return rc;
}

static void free_vkb(struct vkb *v)
{
    free(v->unique_id);
    free(v->text);
}

/* ---- disk lines ---- */

static int parse_disk(struct disk *d, const char *text)
{
    char *copy = strdup(text), *at = copy;
    int rc = 0;

    memset(d, 0, sizeof(*d));
    d->text = strdup(text);
    while (at && *at && !rc) {
        /* the target is the rest of the line */
        char *next = strncmp(at, "target=", 7) ? strchr(at, ',') : NULL;
        if (next)
            *next++ = 0;
        char *value = strchr(at, '=');
        if (value)
            *value++ = 0;
        if (value && !strcmp(at, "vdev"))
            snprintf(d->vdev, sizeof(d->vdev), "%s", value);
        else if (value && !strcmp(at, "access"))
            d->read_only = value[0] == 'r' && strcmp(value, "rw");
        else if (value && !strcmp(at, "script"))
            snprintf(d->script, sizeof(d->script), "%s", value);
        else if (value && !strcmp(at, "target"))
            snprintf(d->target, sizeof(d->target), "%s", value);
        else if (value && !strcmp(at, "devtype"))
            d->cdrom = !strcmp(value, "cdrom");
        else if (!strcmp(at, "discard") || !strcmp(at, "no-discard"))
            d->no_discard = at[0] == 'n';
        else if (strcmp(at, "format"))
            rc = complain("unknown value \"%s\" in disk spec", at);
        at = next;
    }
    free(copy);
    if (!rc && (strlen(d->vdev) != 4 || strncmp(d->vdev, "xvd", 3) ||
                d->vdev[3] < 'a' || d->vdev[3] > 'p'))
        rc = complain("vdev is one of xvda to xvdp here, not '%s'", d->vdev);
    if (!rc && (!d->script[0] || !d->target[0]))
        rc = complain("only disks with script= and target= are simulated");
    d->devid = (202 << 8) + (d->vdev[3] - 'a') * 16;
    d->read_only |= d->cdrom;
    return rc;
}

/* ---- vdispl lines ---- */

/* backend=…,be-alloc=…,connectors=ID:WxH;ID:WxH */
static int parse_vdispl(struct vdispl *d, const char *text)
{
    char *copy = strdup(text), *save = NULL, *list = NULL;
    int rc = 0;

    memset(d, 0, sizeof(*d));
    d->devid = -1;
    d->text = strdup(text);
    for (char *tok = strtok_r(copy, ",", &save); tok && !rc;
         tok = strtok_r(NULL, ",", &save)) {
        while (*tok == ' ')
            tok++;
        if (!strncmp(tok, "be-alloc=", 9))
            d->be_alloc = strtoul(tok + 9, NULL, 0) != 0;
        else if (!strncmp(tok, "connectors=", 11))
            list = tok + 11;
        else if (strncmp(tok, "backend=", 8))
            rc = complain("Unknown string \"%s\" in vdispl spec", tok);
    }
    save = NULL;
    for (char *tok = list ? strtok_r(list, ";", &save) : NULL; tok && !rc;
         tok = strtok_r(NULL, ";", &save)) {
        if (d->count == MAX_CONNECTORS ||
            sscanf(tok, "%199[^:]:%ux%u", d->connectors[d->count].id,
                   &d->connectors[d->count].width,
                   &d->connectors[d->count].height) != 3)
            rc = complain("Can't parse connectors: %s", tok);
        else
            d->count++;
    }
    free(copy);
    return rc;
}

static void free_config(struct config *c)
{
    for (int i = 0; i < c->vkb_count; i++)
        free_vkb(&c->vkbs[i]);
    for (int i = 0; i < c->disk_count; i++)
        free(c->disks[i].text);
    for (int i = 0; i < c->vdispl_count; i++)
        free(c->vdispls[i].text);
    for (int i = 0; i < c->snd_count; i++)
        free(c->snds[i]);
    free(c);
}

/* ---- the record of a domain ---- */

static char *record_path(struct xl *x, const uint8_t uuid[16])
{
    char text[FAR_SIM_UUID_LEN];
    far_sim_uuid_print(uuid, text);
    return path_of("%s/%s/domains/%s", x->s->dir, x->host, text);
}

static int write_config(const struct config *c, const char *path)
{
    char uuid[FAR_SIM_UUID_LEN], tmp[600];
    snprintf(tmp, sizeof(tmp), "%s.%d", path, (int)getpid());
    FILE *f = fopen(tmp, "we");
    if (!f)
        return complain("can't write %s: %s", tmp, strerror(errno));
    far_sim_uuid_print(c->uuid, uuid);
    fprintf(f, "name %s\nuuid %s\ntype %s\nmemory %u\ngntalloc %u\n", c->name,
            uuid, c->type, c->memory_mb, c->gntalloc);
    for (int i = 0; i < c->vkb_count; i++)
        fprintf(f, "vkb %d %s\n", c->vkbs[i].devid, c->vkbs[i].text);
    for (int i = 0; i < c->disk_count; i++)
        fprintf(f, "disk %s\n", c->disks[i].text);
    for (int i = 0; i < c->vdispl_count; i++)
        fprintf(f, "vdispl %d %s\n", c->vdispls[i].devid, c->vdispls[i].text);
    for (int i = 0; i < c->snd_count; i++)
        fprintf(f, "vsnd %s\n", c->snds[i]);
    if (fclose(f) || rename(tmp, path))
        return complain("can't write %s: %s", path, strerror(errno));
    return 0;
}

static struct config *read_config(const char *path)
{
    char line[1024];
    FILE *f = fopen(path, "re");
    if (!f) {
        complain("can't read %s: %s", path, strerror(errno));
        return NULL;
    }
    struct config *c = calloc(1, sizeof(*c));
    while (c && fgets(line, sizeof(line), f)) {
        char *value = strchr(line, ' ');
        line[strcspn(line, "\n")] = 0;
        if (!value)
            continue;
        *value++ = 0;
        if (!strcmp(line, "name"))
            snprintf(c->name, sizeof(c->name), "%s", value);
        else if (!strcmp(line, "uuid"))
            far_sim_uuid_parse(value, c->uuid);
        else if (!strcmp(line, "type"))
            snprintf(c->type, sizeof(c->type), "%.7s", value);
        else if (!strcmp(line, "memory"))
            c->memory_mb = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(line, "gntalloc"))
            c->gntalloc = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(line, "vkb") && c->vkb_count < MAX_VKBS) {
            char *rest;
            long devid = strtol(value, &rest, 10);
            struct vkb *v = &c->vkbs[c->vkb_count];
            if (*rest == ' ' && !parse_vkb(v, rest + 1)) {
                v->devid = (int)devid;
                c->vkb_count++;
            }
        } else if (!strcmp(line, "disk") && c->disk_count < MAX_DISKS) {
            if (!parse_disk(&c->disks[c->disk_count], value))
                c->disk_count++;
        } else if (!strcmp(line, "vdispl") && c->vdispl_count < MAX_VDISPLS) {
            char *rest;
            long devid = strtol(value, &rest, 10);
            struct vdispl *d = &c->vdispls[c->vdispl_count];
            if (*rest == ' ' && !parse_vdispl(d, rest + 1)) {
                d->devid = (int)devid;
                c->vdispl_count++;
            }
        } else if (!strcmp(line, "vsnd") && c->snd_count < MAX_SNDS) {
            c->snds[c->snd_count++] = strdup(value);
        }
    }
    fclose(f);
    return c;
}

/* What libxl keeps for itself and dom0's daemons may read; of it only what
 * Farside's do. Programs of dom0 look there, and not in /var/lib/xen. */
static char *json_path(struct xl *x, uint32_t domid, const uint8_t uuid[16])
{
    char text[FAR_SIM_UUID_LEN];
    far_sim_uuid_print(uuid, text);
    return path_of("%s/%s/domains/userdata-d.%u.%s.libxl-json", x->s->dir,
                   x->host, domid, text);
}

static int write_json(struct xl *x, uint32_t domid, const struct config *c)
{
    char *path = json_path(x, domid, c->uuid);
    FILE *f = fopen(path, "we");
    if (!f)
        return complain("can't write %s: %s", path, strerror(errno));
    fprintf(f, "{ \"c_info\": { \"name\": \"%s\" },\n  \"vdispls\": [",
            c->name);
    for (int i = 0; i < c->vdispl_count; i++) {
        const struct vdispl *d = &c->vdispls[i];
        fprintf(f, "%s\n    { \"devid\": %d, \"connectors\": [", i ? "," : "",
                d->devid);
        for (int k = 0; k < d->count; k++)
            fprintf(f,
                    "%s\n      { \"unique_id\": \"%s\", \"width\": %u, "
                    "\"height\": %u }",
                    k ? "," : "", d->connectors[k].id, d->connectors[k].width,
                    d->connectors[k].height);
        fprintf(f, " ] }");
    }
    fprintf(f, " ],\n  \"vsnds\": [");
    for (int i = 0; i < c->snd_count; i++) {
        fprintf(f, "%s\n    ", i ? "," : "");
        far_sim_snd_record(c->snds[i], f);
    }
    fprintf(f, " ] }\n");
    return fclose(f) ? complain("can't write %s: %s", path, strerror(errno))
                     : 0;
}

/* ---- devices ---- */

static int next_devid(struct xl *x, uint32_t domid, const char *kind)
{
    unsigned n = 0;
    int next = 0;
    char **dir = xs_directory(x->xs, XBT_NULL,
                              path_of("/libxl/%u/device/%s", domid, kind), &n);
    for (unsigned i = 0; dir && i < n; i++)
        if (atoi(dir[i]) >= next)
            next = atoi(dir[i]) + 1;
    free(dir);
    return next;
}

struct pairs {
    const char *key;
    char value[256];
};

static int back_entries(const struct vkb *v, uint32_t domid, struct pairs *e)
{
    int n = 0;
#define ADD(k, ...)                                              \
    do {                                                         \
        e[n].key = (k);                                          \
        snprintf(e[n++].value, sizeof(e[0].value), __VA_ARGS__); \
    } while (0)
#define ADD_IF(k, v_)            \
    do {                         \
        if (v_)                  \
            ADD(k, "%lu", (v_)); \
    } while (0)
    ADD("frontend-id", "%u", domid);
    ADD("online", "1");
    ADD("state", "1");
    if (v->unique_id)
        ADD(XENKBD_FIELD_UNIQUE_ID, "%s", v->unique_id);
    ADD_IF(XENKBD_FIELD_FEAT_DSBL_KEYBRD, v->disable_keyboard);
    ADD_IF(XENKBD_FIELD_FEAT_DSBL_POINTER, v->disable_pointer);
    ADD_IF(XENKBD_FIELD_FEAT_ABS_POINTER, v->abs_pointer);
    ADD_IF(XENKBD_FIELD_FEAT_RAW_POINTER, v->raw_pointer);
    if (v->multi_touch) {
        ADD(XENKBD_FIELD_FEAT_MTOUCH, "%lu", v->multi_touch);
        ADD(XENKBD_FIELD_MT_WIDTH, "%lu", v->mt_width);
        ADD(XENKBD_FIELD_MT_HEIGHT, "%lu", v->mt_height);
        ADD(XENKBD_FIELD_MT_NUM_CONTACTS, "%lu", v->mt_contacts);
    }
    ADD_IF(XENKBD_FIELD_WIDTH, v->width);
    ADD_IF(XENKBD_FIELD_HEIGHT, v->height);
#undef ADD
#undef ADD_IF
    return n;
}

struct dir {
    const char *path;
    struct pairs *entries;
    int count;
};

/* libxl__device_generic_add()'s transaction. */
static void generic_add(struct xl *x, uint32_t domid, const struct dir *fe,
                        const struct dir *ro, const struct dir *be,
                        const char *lx, bool console)
{
    struct xs_permissions fp[] = { { domid, XS_PERM_NONE },
                                   { 0, XS_PERM_READ } };
    struct xs_permissions bp[] = { { 0, XS_PERM_NONE },
                                   { domid, XS_PERM_READ } };
    char p[512];

    batch_rm(&x->batch, lx);
    snprintf(p, sizeof(p), "%s/frontend", lx);
    batch_write(&x->batch, p, fe->path);
    snprintf(p, sizeof(p), "%s/backend", lx);
    batch_write(&x->batch, p, be->path);

    batch_rm(&x->batch, fe->path);
    make(x, fe->path, console ? bp : fp, 2);
    snprintf(p, sizeof(p), "%s/backend", fe->path);
    batch_write(&x->batch, p, be->path);
    for (int i = 0; i < fe->count; i++) {
        snprintf(p, sizeof(p), "%s/%s", fe->path, fe->entries[i].key);
        batch_write(&x->batch, p, fe->entries[i].value);
        if (console) /* else inherited */
            batch_perms(&x->batch, p, fp, 2);
    }
    for (int i = 0; ro && i < ro->count; i++) {
        snprintf(p, sizeof(p), "%s/%s", fe->path, ro->entries[i].key);
        batch_write(&x->batch, p, ro->entries[i].value);
        if (!console)
            batch_perms(&x->batch, p, bp, 2);
    }

    batch_rm(&x->batch, be->path);
    make(x, be->path, bp, 2);
    snprintf(p, sizeof(p), "%s/frontend", be->path);
    batch_write(&x->batch, p, fe->path);
    for (int i = 0; i < be->count; i++) {
        snprintf(p, sizeof(p), "%s/%s", be->path, be->entries[i].key);
        batch_write(&x->batch, p, be->entries[i].value);
        snprintf(p, sizeof(p), "%s/%s", lx, be->entries[i].key);
        batch_write(&x->batch, p, be->entries[i].value);
    }
}

static int add_device(struct xl *x, uint32_t domid, const struct dir *fe,
                      const struct dir *ro, const struct dir *be,
                      const char *lx, bool console)
{
    int r;
    do {
        r = batch_begin(&x->batch);
        if (r)
            break;
        generic_add(x, domid, fe, ro, be, lx, console);
        r = batch_commit(&x->batch);
    } while (r == -EAGAIN);
    return r ? complain("can't write the nodes of %s: %s", be->path,
                        strerror(-r))
             : 0;
}

static int add_vkb(struct xl *x, uint32_t domid, struct vkb *v)
{
    struct pairs back[20];
    struct pairs front[] = { { "backend-id", "0" }, { "state", "1" } };

    if (v->devid < 0)
        v->devid = next_devid(x, domid, "vkbd");
    int n = back_entries(v, domid, back);
    const struct dir fe = {
        path_of("/local/domain/%u/device/vkbd/%d", domid, v->devid), front, 2
    };
    const struct dir be = { path_of("/local/domain/0/backend/%s/%u/%d",
                                    v->linux_backend ? "vinput" : "vkbd", domid,
                                    v->devid),
                            back, n };
    return add_device(x, domid, &fe, NULL, &be,
                      path_of("/libxl/%u/device/vkbd/%d", domid, v->devid),
                      false);
}

/* libxl waits for exactly 2. */
static int await_init(struct xl *x, const char *be)
{
    int64_t end = now_ms() + INIT_TIMEOUT_MS;

    for (;;) {
        char *state = get(x, XBT_NULL, path_of("%s/state", be));
        bool there = state && !strcmp(state, "2");
        free(state);
        if (there)
            return 0;
        if (now_ms() > end)
            return complain("unable to add device with path %s", be);
        poll(NULL, 0, 2);
    }
}

static int add_vdispl(struct xl *x, uint32_t domid, struct vdispl *d)
{
    struct pairs back[] = { { "frontend-id", "" },
                            { "online", "1" },
                            { "state", "1" } };
    struct pairs front[] = { { "backend-id", "0" }, { "state", "1" } };
    struct pairs ro[1 + 2 * MAX_CONNECTORS] = { { "be-alloc", "" } };
    char names[2 * MAX_CONNECTORS][24], be_path[128];
    int n = 1;

    if (d->devid < 0)
        d->devid = next_devid(x, domid, "vdispl");
    snprintf(back[0].value, sizeof(back[0].value), "%u", domid);
    snprintf(ro[0].value, sizeof(ro[0].value), "%d", d->be_alloc);
    for (int i = 0; i < d->count; i++, n += 2) {
        snprintf(names[n - 1], sizeof(names[0]), "%d/resolution", i);
        snprintf(names[n], sizeof(names[0]), "%d/unique-id", i);
        ro[n].key = names[n - 1];
        ro[n + 1].key = names[n];
        snprintf(ro[n].value, sizeof(ro[n].value), "%ux%u",
                 d->connectors[i].width, d->connectors[i].height);
        snprintf(ro[n + 1].value, sizeof(ro[n].value), "%s",
                 d->connectors[i].id);
    }
    snprintf(be_path, sizeof(be_path), "/local/domain/0/backend/vdispl/%u/%d",
             domid, d->devid);
    const struct dir fe = {
        path_of("/local/domain/%u/device/vdispl/%d", domid, d->devid), front, 2
    };
    const struct dir ro_fe = { fe.path, ro, n };
    const struct dir be = { be_path, back, 3 };
    int r = add_device(x, domid, &fe, &ro_fe, &be,
                       path_of("/libxl/%u/device/vdispl/%d", domid, d->devid),
                       false);
    return r ? r : await_init(x, be_path);
}

/* All that a card is like stands in the front's nodes, as the guest's own. */
struct snd_nodes {
    struct pairs pairs[MAX_SND_NODES];
    char names[MAX_SND_NODES][64];
    int count;
};

static void snd_node(void *arg, const char *name, const char *value)
{
    struct snd_nodes *n = arg;

    if (n->count == MAX_SND_NODES)
        return;
    snprintf(n->names[n->count], sizeof(n->names[0]), "%s", name);
    n->pairs[n->count].key = n->names[n->count];
    snprintf(n->pairs[n->count].value, sizeof(n->pairs[0].value), "%s", value);
    n->count++;
}

static int add_snd(struct xl *x, uint32_t domid, const char *line, int devid)
{
    static struct snd_nodes nodes;
    struct pairs back[] = { { "frontend-id", "" },
                            { "online", "1" },
                            { "state", "1" } };
    char be_path[128];

    nodes.count = 0;
    snd_node(&nodes, "backend-id", "0");
    snd_node(&nodes, "state", "1");
    (void)far_sim_snd_nodes(line, snd_node, &nodes);
    snprintf(back[0].value, sizeof(back[0].value), "%u", domid);
    snprintf(be_path, sizeof(be_path), "/local/domain/0/backend/vsnd/%u/%d",
             domid, devid);
    const struct dir fe = { path_of("/local/domain/%u/device/vsnd/%d", domid,
                                    devid),
                            nodes.pairs, nodes.count };
    const struct dir be = { be_path, back, 3 };
    int r =
        add_device(x, domid, &fe, NULL, &be,
                   path_of("/libxl/%u/device/vsnd/%d", domid, devid), false);
    return r ? r : await_init(x, be_path);
}

/* And runs the script; what the script does to the kernel's driver has no place
 * here, what it says in xenstore has. */
static int run_script(struct xl *x, const struct disk *d, const char *be)
{
    if (await_init(x, be))
        return 1;
    if (strstr(d->script, "block-farside")) {
        char *error = get(x, XBT_NULL, path_of("%s/error", be));
        if (error) {
            put(x, XBT_NULL, path_of("%s/hotplug-error", be), "%s", error);
            put(x, XBT_NULL, path_of("%s/hotplug-status", be), "error");
            free(error);
            return complain("%s add failed", d->script);
        }
    }
    put(x, XBT_NULL, path_of("%s/hotplug-status", be), "connected");
    return 0;
}

static int add_disk(struct xl *x, uint32_t domid, const struct disk *d)
{
    struct pairs back[] = { { "frontend-id", "" },
                            { "online", "1" },
                            { "state", "1" },
                            { "removable", "" },
                            { "bootable", "1" },
                            { "dev", "" },
                            { "type", "phy" },
                            { "mode", "" },
                            { "device-type", "" },
                            { "discard-enable", "" },
                            { "specification", "xen" },
                            { "params", "" },
                            { "script", "" } };
    struct pairs front[] = { { "backend-id", "0" },
                             { "state", "1" },
                             { "virtual-device", "" },
                             { "device-type", "" },
                             { "trusted", "1" } };
    char be_path[128];

    snprintf(back[0].value, sizeof(back[0].value), "%u", domid);
    snprintf(back[3].value, sizeof(back[3].value), "%d", d->cdrom);
    snprintf(back[5].value, sizeof(back[5].value), "%s", d->vdev);
    snprintf(back[7].value, sizeof(back[7].value), "%s",
             d->read_only ? "r" : "w");
    snprintf(back[8].value, sizeof(back[8].value), "%s",
             d->cdrom ? "cdrom" : "disk");
    snprintf(back[9].value, sizeof(back[9].value), "%d", !d->no_discard);
    snprintf(back[11].value, sizeof(back[11].value), "%s", d->target);
    snprintf(back[12].value, sizeof(back[12].value), "/etc/xen/scripts/%s",
             d->script);
    snprintf(front[2].value, sizeof(front[2].value), "%d", d->devid);
    snprintf(front[3].value, sizeof(front[3].value), "%s",
             d->cdrom ? "cdrom" : "disk");
    snprintf(be_path, sizeof(be_path), "/local/domain/0/backend/vbd/%u/%d",
             domid, d->devid);
    const struct dir fe = {
        path_of("/local/domain/%u/device/vbd/%d", domid, d->devid), front, 5
    };
    const struct dir be = { be_path, back, 13 };
    int r =
        add_device(x, domid, &fe, NULL, &be,
                   path_of("/libxl/%u/device/vbd/%d", domid, d->devid), false);
    return r ? r : run_script(x, d, be_path);
}

static int add_console(struct xl *x, uint32_t domid, uint32_t frame)
{
    struct pairs back[] = { { "frontend-id", "" },
                            { "online", "1" },
                            { "state", "1" },
                            { "protocol", "vt100" } };
    struct pairs front[] = { { "backend-id", "0" } };
    struct pairs ro[] = { { "limit", "1048576" }, { "type", "xenconsoled" },
                          { "output", "pty" },    { "tty", "" },
                          { "port", "2" },        { "ring-ref", "" } };
    snprintf(back[0].value, sizeof(back[0].value), "%u", domid);
    snprintf(ro[5].value, sizeof(ro[5].value), "%u", frame);
    const struct dir fe = { path_of("/local/domain/%u/console", domid), front,
                            1 };
    const struct dir ro_fe = { fe.path, ro, 6 };
    const struct dir be = {
        path_of("/local/domain/0/backend/console/%u/0", domid), back, 4
    };
    return add_device(x, domid, &fe, &ro_fe, &be,
                      path_of("/libxl/%u/device/console/0", domid), true);
}

/* One device on its way out. */
struct removal {
    char fe[128], be[128], lx[128];
    bool qemu;
    bool waiting;
    int rc;
};

static void begin_removal(struct xl *x, struct removal *d, bool force)
{
    char state_path[160], online_path[160];

    d->waiting = false;
    snprintf(state_path, sizeof(state_path), "%s/state", d->be);
    snprintf(online_path, sizeof(online_path), "%s/online", d->be);
    for (;;) {
        xs_transaction_t t = xs_transaction_start(x->xs);
        if (force)
            cleanup(x, t, d->fe);
        char *state = get(x, t, state_path);
        if (!state) {
            xs_transaction_end(x->xs, t, true);
            return; /* backend is gone: only tidy up */
        }
        put(x, t, online_path, "0");
        if (atoi(state) != 6)
            put(x, t, state_path, "5");
        free(state);
        if (xs_transaction_end(x->xs, t, false)) {
            d->waiting = true;
            return;
        }
        if (errno != EAGAIN) {
            d->rc = 1;
            return;
        }
    }
}

static void await_closed(struct xl *x, struct removal *all, int count,
                         int timeout_ms)
{
    int64_t end = now_ms() + timeout_ms;
    char path[160];
    int left = 0;

    for (int i = 0; i < count; i++)
        if (all[i].waiting) {
            snprintf(path, sizeof(path), "%s/state", all[i].be);
            xs_watch(x->xs, path, "removal");
            left++;
        }
    while (left) {
        for (int i = 0; i < count; i++) {
            if (!all[i].waiting)
                continue;
            snprintf(path, sizeof(path), "%s/state", all[i].be);
            char *state = get(x, XBT_NULL, path);
            if (!state || atoi(state) == 6) {
                all[i].waiting = false;
                xs_unwatch(x->xs, path, "removal");
                left--;
            }
            free(state);
        }
        int64_t now = now_ms();
        if (!left || now >= end)
            break;
        struct pollfd p = { xs_fileno(x->xs), POLLIN, 0 };
        if (poll(&p, 1, (int)(end - now)) > 0) {
            char **event = xs_check_watch(x->xs);
            while (event) {
                free(event);
                event = xs_check_watch(x->xs);
            }
        }
    }
    for (int i = 0; i < count; i++)
        if (all[i].waiting) {
            snprintf(path, sizeof(path), "%s/state", all[i].be);
            xs_unwatch(x->xs, path, "removal");
        }
}

static void finish_removal(struct xl *x, struct removal *d)
{
    xs_transaction_t t;
    do {
        t = xs_transaction_start(x->xs);
        cleanup(x, t, d->fe);
        cleanup(x, t, d->lx);
        cleanup(x, t, d->be);
    } while (!xs_transaction_end(x->xs, t, false) && errno == EAGAIN);
}

static bool describe(struct xl *x, uint32_t domid, const char *kind,
                     const char *devid, struct removal *d)
{
    memset(d, 0, sizeof(*d));
    snprintf(d->lx, sizeof(d->lx), "/libxl/%u/device/%s/%s", domid, kind,
             devid);
    char *be = get(x, XBT_NULL, path_of("%s/backend", d->lx));
    char *fe = get(x, XBT_NULL, path_of("%s/frontend", d->lx));
    bool ok = be && fe;
    if (ok) {
        snprintf(d->be, sizeof(d->be), "%.127s", be);
        snprintf(d->fe, sizeof(d->fe), "%.127s", fe);
        d->qemu = strstr(be, "/backend/vkbd/") != NULL;
    }
    free(be);
    free(fe);
    return ok;
}

/* libxl__devices_destroy(): all at once, by force. */
static void remove_all(struct xl *x, uint32_t domid)
{
    unsigned kinds = 0, devs = 0;
    int count = 0, room = 0;
    bool qemu = false;
    struct removal *all = NULL;
    char **kind = xs_directory(x->xs, XBT_NULL,
                               path_of("/libxl/%u/device", domid), &kinds);

    for (unsigned i = 0; kind && i < kinds; i++) {
        char **dev =
            xs_directory(x->xs, XBT_NULL,
                         path_of("/libxl/%u/device/%s", domid, kind[i]), &devs);
        for (unsigned j = 0; dev && j < devs; j++) {
            if (count == room) {
                room = room ? room * 2 : 16;
                struct removal *p = realloc(all, (size_t)room * sizeof(*all));
                if (!p)
                    break;
                all = p;
            }
            struct removal *d = &all[count];
            if (!describe(x, domid, kind[i], dev[j], d))
                continue;
            if (!strcmp(kind[i], "console")) {
                finish_removal(x, d);
                continue;
            }
            if (d->qemu)
                qemu = true; /* libxl leaves these to QEMU for 2 s */
            else
                begin_removal(x, d, true);
            count++;
        }
        free(dev);
    }
    free(kind);
    int64_t began = now_ms();
    await_closed(x, all, count, DESTROY_TIMEOUT_MS);
    if (qemu && now_ms() - began < QEMU_TIMEOUT_MS)
        poll(NULL, 0, (int)(QEMU_TIMEOUT_MS - (now_ms() - began)));
    for (int i = 0; i < count; i++) {
        if (all[i].qemu)
            put(x, XBT_NULL, path_of("%s/state", all[i].be), "6");
        if (all[i].waiting)
            complain("%s did not close within 10 s; removed by force",
                     all[i].be);
        finish_removal(x, &all[i]);
    }
    free(all);
}

/* ---- domains ---- */

static int keeper_op(struct xl *x, uint32_t op, uint32_t domid, uint32_t a,
                     struct hv_rsp *rsp)
{
    struct hv_req req = { .op = op, .c = domid, .a = a };
    struct hv_rsp mine;
    snprintf(req.host, sizeof(req.host), "%s", x->host);
    return far_sim_call(x->s, &req, NULL, 0, rsp ? rsp : &mine, NULL, 0);
}

/* libxl__domain_make()'s transaction. */
static int make_domain(struct xl *x, uint32_t domid, const struct config *c,
                       const char *name)
{
    struct xs_permissions ro[] = { { 0, XS_PERM_NONE },
                                   { domid, XS_PERM_READ } };
    struct xs_permissions rw[] = { { domid, XS_PERM_NONE } };
    static const char *const ro_dirs[] = { "cpu", "memory", "device" };
    static const char *const ro_late[] = { "control" };
    static const char *const rw_dirs[] = { "control/shutdown",
                                           "control/feature-poweroff",
                                           "control/feature-reboot",
                                           "control/feature-suspend",
                                           "control/sysrq",
                                           "data",
                                           "drivers",
                                           "feature",
                                           "attr",
                                           "error" };
    char uuid[FAR_SIM_UUID_LEN], dom[64], vm[64], lx[64];

    far_sim_uuid_print(c->uuid, uuid);
    snprintf(dom, sizeof(dom), "/local/domain/%u", domid);
    snprintf(vm, sizeof(vm), "/vm/%s", uuid);
    snprintf(lx, sizeof(lx), "/libxl/%u", domid);
    int r;
    do {
        r = batch_begin(&x->batch);
        if (r)
            break;
        batch_rm(&x->batch, dom);
        make(x, dom, ro, 2);
        batch_rm(&x->batch, vm);
        make(x, vm, ro, 2);
        batch_rm(&x->batch, lx);
        make(x, lx, none0, 1);
        batch_write(&x->batch, path_of("%s/device", lx), "");
        bput(x, path_of("%s/vm", dom), "%s", vm);
        bput(x, path_of("%s/name", dom), "%s", name);
        bput(x, path_of("%s/name", vm), "%s", name);
        for (size_t i = 0; i < sizeof(ro_dirs) / sizeof(ro_dirs[0]); i++)
            batch_write(&x->batch, path_of("%s/%s", dom, ro_dirs[i]), "");
        make(x, path_of("%s/device/suspend/event-channel", dom), rw, 1);
        for (size_t i = 0; i < sizeof(ro_late) / sizeof(ro_late[0]); i++)
            batch_write(&x->batch, path_of("%s/%s", dom, ro_late[i]), "");
        for (size_t i = 0; i < sizeof(rw_dirs) / sizeof(rw_dirs[0]); i++)
            make(x, path_of("%s/%s", dom, rw_dirs[i]), rw, 1);
        bput(x, path_of("%s/uuid", vm), "%s", uuid);
        bput(x, path_of("%s/name", vm), "%s", name);
        bput(x,
             path_of("%s/control/platform-feature-multiprocessor-suspend", dom),
             "1");
        bput(x, path_of("%s/control/platform-feature-xs_reset_watches", dom),
             "1");
        bput(x, path_of("%s/type", lx), "%s", c->type);
        r = batch_commit(&x->batch);
    } while (r == -EAGAIN);
    return r ? complain("%s: can't write its nodes: %s", name, strerror(-r))
             : 0;
}

/* libxl__build_post()'s transaction, and the introduction. */
static int build_post(struct xl *x, uint32_t domid, const struct config *c,
                      uint32_t port, uint32_t frame)
{
    char uuid[FAR_SIM_UUID_LEN], dom[64], vm[64];
    struct timeval now;
    int r;

    gettimeofday(&now, NULL);
    far_sim_uuid_print(c->uuid, uuid);
    snprintf(dom, sizeof(dom), "/local/domain/%u", domid);
    snprintf(vm, sizeof(vm), "/vm/%s", uuid);
    do {
        r = batch_begin(&x->batch);
        if (r)
            break;
        bput(x, path_of("%s/memory/static-max", dom), "%u",
             c->memory_mb * 1024);
        bput(x, path_of("%s/memory/target", dom), "%u", c->memory_mb * 1024);
        bput(x, path_of("%s/memory/videoram", dom), "-1");
        bput(x, path_of("%s/domid", dom), "%u", domid);
        bput(x, path_of("%s/store/port", dom), "%u", port);
        bput(x, path_of("%s/store/ring-ref", dom), "%u", frame);
        bput(x, path_of("%s/cpu/0/availability", dom), "online");
        if (!strcmp(c->type, "pv")) {
            bput(x, path_of("%s/image/ostype", vm), "linux");
            bput(x, path_of("%s/image/kernel", vm), "vmlinuz");
        }
        bput(x, path_of("%s/start_time", vm), "%ld.%02d", (long)now.tv_sec,
             (int)now.tv_usec / 10000);
        r = batch_commit(&x->batch);
    } while (r == -EAGAIN);
    if (r)
        return complain("%s: can't write its nodes: %s", c->name, strerror(-r));
    if (!xs_introduce_domain(x->xs, domid, frame, port))
        return complain("%s: xenstored refuses the domain: %s", c->name,
                        strerror(errno));
    return 0;
}

static void wipe(struct xl *x, uint32_t domid)
{
    char *vm = get(x, XBT_NULL, path_of("/local/domain/%u/vm", domid));
    if (vm)
        xs_rm(x->xs, XBT_NULL, vm);
    free(vm);
    xs_rm(x->xs, XBT_NULL, path_of("/local/domain/%u", domid));
    xs_rm(x->xs, XBT_NULL, path_of("/libxl/%u", domid));
}

/* Builds a domain, paused. Its domid, or 0. */
static uint32_t build(struct xl *x, struct config *c, const char *name)
{
    struct hv_req req = { .op = HV_DOM_CREATE,
                          .a = c->gntalloc,
                          .b = c->memory_mb * 1024 };
    struct hv_rsp rsp;

    snprintf(req.host, sizeof(req.host), "%s", x->host);
    snprintf(req.name, sizeof(req.name), "%s", c->name);
    memcpy(req.uuid, c->uuid, 16);
    int r = far_sim_call(x->s, &req, NULL, 0, &rsp, NULL, 0);
    if (r) {
        complain("%s: can't make a domain on host %s: %s", c->name, x->host,
                 strerror(-r));
        return 0;
    }
    uint32_t domid = rsp.a;
    r = make_domain(x, domid, c, name);
    if (!r)
        r = build_post(x, domid, c, rsp.b, rsp.c);
    for (int i = 0; i < c->vkb_count && !r; i++)
        r = add_vkb(x, domid, &c->vkbs[i]);
    if (!r)
        r = add_console(x, domid, rsp.d);
    for (int i = 0; i < c->disk_count && !r; i++)
        r = add_disk(x, domid, &c->disks[i]);
    for (int i = 0; i < c->vdispl_count && !r; i++)
        r = add_vdispl(x, domid, &c->vdispls[i]);
    for (int i = 0; i < c->snd_count && !r; i++)
        r = add_snd(x, domid, c->snds[i], i);
    if (!r)
        r = write_config(c, record_path(x, c->uuid));
    if (!r)
        r = write_json(x, domid, c);
    if (r) {
        remove_all(x, domid);
        wipe(x, domid);
        keeper_op(x, HV_DOM_DESTROY, domid, 0, NULL);
        return 0;
    }
    return domid;
}

/* Waits until the processes of a guest that was ended are gone. */
static void await_end(struct xl *x, const uint8_t uuid[16])
{
    for (int tries = 0; tries < 1000; tries++) {
        struct hv_req req = { .op = HV_DOM_LIST };
        struct hv_rsp rsp;
        static uint32_t words[HV_BATCH * 2];
        struct hv_info *info = (struct hv_info *)words;
        bool found = false;

        snprintf(req.host, sizeof(req.host), "%s", x->host);
        if (far_sim_call(x->s, &req, NULL, 0, &rsp, words, HV_BATCH * 2))
            return;
        for (uint32_t i = 0; i < rsp.a; i++)
            found |=
                info[i].state == HV_DYING && !memcmp(info[i].uuid, uuid, 16);
        if (!found)
            return;
        poll(NULL, 0, 2);
    }
    complain("processes of the guest do not end");
}

/* Takes a domain apart; the guest stays for its next domain if `keep`. */
static int take_down(struct xl *x, uint32_t domid, const uint8_t uuid[16],
                     bool keep)
{
    keeper_op(x, HV_DOM_PAUSE, domid, 0, NULL);
    remove_all(x, domid);
    wipe(x, domid);
    int r = keeper_op(x, HV_DOM_DESTROY, domid, keep, NULL);
    if (r)
        return complain("can't end domain %u: %s", domid, strerror(-r));
    unlink(record_path(x, uuid));
    unlink(json_path(x, domid, uuid));
    if (!keep)
        await_end(x, uuid);
    return 0;
}

static int find(struct xl *x, const char *guest, struct hv_info *info)
{
    if (!far_sim_find(x->s, x->host, guest, info) && info->state != HV_SAVED)
        return 0;
    return complain("%s is an invalid domain identifier on host %s", guest,
                    x->host);
}

static void no_node(void *arg, const char *name, const char *value)
{
    (void)arg, (void)name, (void)value;
}

static int cmd_create(struct xl *x, int argc, char **argv)
{
    struct config *c = calloc(1, sizeof(*c));
    struct hv_info info;
    int rc = 0;

    if (!c)
        return complain("out of memory");
    if (argc < 1 || strlen(argv[0]) >= sizeof(c->name) ||
        strspn(argv[0], "0123456789") == strlen(argv[0]) ||
        strchr(argv[0], '/')) {
        free(c);
        return complain("create: a guest needs a name, not all digits");
    }
    snprintf(c->name, sizeof(c->name), "%s", argv[0]);
    snprintf(c->type, sizeof(c->type), "pvh");
    c->memory_mb = 128;
    if (getrandom(c->uuid, 16, 0) != 16)
        rc = complain("no random numbers: %s", strerror(errno));
    c->uuid[6] = (uint8_t)((c->uuid[6] & 0x0f) | 0x40);
    c->uuid[8] = (uint8_t)((c->uuid[8] & 0x3f) | 0x80);
    for (int i = 1; i < argc && !rc; i++) {
        const char *v = strchr(argv[i], '=');
        size_t key = v ? (size_t)(v - argv[i]) : strlen(argv[i]);
        v = v ? v + 1 : "";
#define KEY(k) (key == strlen(k) && !strncmp(argv[i], k, key))
        if (KEY("vkb")) {
            if (c->vkb_count == MAX_VKBS)
                rc = complain("at most %d vkb lines", MAX_VKBS);
            else
                rc = parse_vkb(&c->vkbs[c->vkb_count++], v);
        } else if (KEY("disk")) {
            if (c->disk_count == MAX_DISKS)
                rc = complain("at most %d disk lines", MAX_DISKS);
            else
                rc = parse_disk(&c->disks[c->disk_count++], v);
        } else if (KEY("vdispl")) {
            if (c->vdispl_count == MAX_VDISPLS)
                rc = complain("at most %d vdispl lines", MAX_VDISPLS);
            else
                rc = parse_vdispl(&c->vdispls[c->vdispl_count++], v);
        } else if (KEY("vsnd")) {
            const char *wrong = far_sim_snd_nodes(v, no_node, NULL);
            if (c->snd_count == MAX_SNDS)
                rc = complain("at most %d vsnd lines", MAX_SNDS);
            else if (wrong)
                rc = complain("%s", wrong);
            else
                c->snds[c->snd_count++] = strdup(v);
        } else if (KEY("type")) {
            if (strcmp(v, "pv") && strcmp(v, "pvh"))
                rc = complain("type is pv or pvh, not '%s'", v);
            snprintf(c->type, sizeof(c->type), "%.7s", v);
        } else if (KEY("memory")) {
            c->memory_mb = (uint32_t)strtoul(v, NULL, 10);
        } else if (KEY("gntalloc")) {
            c->gntalloc = (uint32_t)strtoul(v, NULL, 10);
        } else if (KEY("uuid")) {
            if (far_sim_uuid_parse(v, c->uuid))
                rc = complain("'%s' is no uuid", v);
        } else if (KEY("paused")) {
            c->paused = true;
        } else {
            rc = complain("create: unknown key '%s'", argv[i]);
        }
#undef KEY
    }
    if (!rc && !far_sim_find(x->s, x->host, c->name, &info))
        rc = complain("Domain with name \"%s\" already exists.", c->name);
    if (!rc) {
        uint32_t domid = build(x, c, c->name);
        rc = !domid;
        if (domid && !c->paused && keeper_op(x, HV_DOM_UNPAUSE, domid, 0, NULL))
            rc = complain("can't unpause domain %u", domid);
        if (!rc)
            printf("%u\n", domid);
    }
    free_config(c);
    return rc;
}

static int cmd_destroy(struct xl *x, const char *guest)
{
    struct hv_info info;
    if (!far_sim_find(x->s, x->host, guest, &info) && info.state == HV_SAVED)
        return complain("%s is saved; 'farside-sim restore' it first", guest);
    int rc = find(x, guest, &info);
    return rc ? rc : take_down(x, info.domid, info.uuid, false);
}

static int cmd_reboot(struct xl *x, const char *guest)
{
    struct hv_info info;
    int rc = find(x, guest, &info);
    struct config *c = rc ? NULL : read_config(record_path(x, info.uuid));
    if (!c)
        return 1;
    rc = take_down(x, info.domid, info.uuid, false);
    if (!rc) {
        uint32_t domid = build(x, c, c->name);
        rc = !domid || keeper_op(x, HV_DOM_UNPAUSE, domid, 0, NULL);
        if (!rc)
            printf("%u\n", domid);
    }
    free_config(c);
    return rc;
}

/* Stops the guest's processes when no request of theirs is on its way. */
static void suspend(struct xl *x, uint32_t domid)
{
    struct hv_rsp rsp = { 0 };
    for (int tries = 0; tries < 500; tries++) {
        if (keeper_op(x, HV_DOM_SUSPEND, domid, 0, &rsp) || !rsp.a)
            return;
        poll(NULL, 0, 2);
    }
}

static int cmd_save(struct xl *x, int argc, char **argv)
{
    struct hv_info info;
    int rc = find(x, argv[0], &info);
    struct config *c = rc ? NULL : read_config(record_path(x, info.uuid));
    if (!c)
        return 1;
    const char *file =
        argc > 1 ? argv[1]
                 : path_of("%s/%s/%s.save", x->s->dir, x->host, c->name);
    char copy[512];
    snprintf(copy, sizeof(copy), "%s", file);
    suspend(x, info.domid);
    rc = write_config(c, copy);
    if (rc)
        keeper_op(x, HV_DOM_UNPAUSE, info.domid, 0, NULL);
    else
        rc = take_down(x, info.domid, info.uuid, true);
    free_config(c);
    return rc;
}

static int cmd_restore(struct xl *x, const char *what)
{
    char path[512];
    snprintf(path, sizeof(path), "%s", what);
    if (!strchr(what, '/') && access(what, R_OK))
        snprintf(path, sizeof(path), "%s/%s/%s.save", x->s->dir, x->host, what);
    struct config *c = read_config(path);
    if (!c)
        return 1;
    uint32_t domid = build(x, c, c->name);
    int rc = !domid || keeper_op(x, HV_DOM_UNPAUSE, domid, 0, NULL);
    if (!rc)
        printf("%u\n", domid);
    free_config(c);
    return rc;
}

static int cmd_migrate(struct xl *x, const char *guest, const char *where)
{
    struct hv_info info;
    char name[HV_NAME + 16];
    struct xl dst = { .s = x->s, .host = where };
    int rc = find(x, guest, &info);
    struct config *c = rc ? NULL : read_config(record_path(x, info.uuid));
    if (!c)
        return 1;
    dst.xs = far_sim_xenstore(x->s, where);
    if (!dst.xs || batch_open(&dst.batch)) {
        free_config(c);
        return 1;
    }
    snprintf(name, sizeof(name), "%s--incoming", c->name);
    uint32_t domid = build(&dst, c, name);
    rc = !domid;
    if (!rc) {
        suspend(x, info.domid);
        /* The target runs before the source is destroyed. */
        xs_transaction_t t;
        char uuid[FAR_SIM_UUID_LEN];
        far_sim_uuid_print(c->uuid, uuid);
        do {
            t = xs_transaction_start(dst.xs);
            put(&dst, t, path_of("/local/domain/%u/name", domid), "%s",
                c->name);
            put(&dst, t, path_of("/vm/%s/name", uuid), "%s", c->name);
        } while (!xs_transaction_end(dst.xs, t, false) && errno == EAGAIN);
        rc = keeper_op(&dst, HV_DOM_UNPAUSE, domid, 0, NULL);
        if (rc)
            rc = complain("can't unpause %s on host %s", c->name, where);
        else
            rc = take_down(x, info.domid, info.uuid, true);
        if (!rc)
            printf("%u\n", domid);
    }
    batch_close(&dst.batch);
    xs_close(dst.xs);
    free_config(c);
    return rc;
}

static int cmd_vkb_attach(struct xl *x, const char *guest, int argc,
                          char **argv)
{
    struct hv_info info;
    struct vkb v = { 0 };
    char text[1024] = "";
    int rc = find(x, guest, &info);

    for (int i = 0; i < argc; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof(text) - n, "%s%s", n ? "," : "", argv[i]);
    }
    if (!rc)
        rc = parse_vkb(&v, text);
    struct config *c = rc ? NULL : read_config(record_path(x, info.uuid));
    rc = rc || !c || c->vkb_count == MAX_VKBS;
    if (!rc)
        rc = add_vkb(x, info.domid, &v);
    if (!rc) {
        c->vkbs[c->vkb_count++] = v;
        rc = write_config(c, record_path(x, info.uuid));
    } else {
        free_vkb(&v);
    }
    if (c)
        free_config(c);
    return rc;
}

/* libxl's: it waits, then forces; true: it is gone in the end. */
static bool take_away(struct xl *x, uint32_t domid, const char *kind,
                      const char *devid, int *rc)
{
    struct removal d;

    if (!describe(x, domid, kind, devid, &d)) {
        *rc = complain("Error: Device %s not connected.", devid);
        return false;
    }
    begin_removal(x, &d, false);
    await_closed(x, &d, 1, DESTROY_TIMEOUT_MS);
    if (d.waiting) {
        begin_removal(x, &d, true);
        await_closed(x, &d, 1, DESTROY_TIMEOUT_MS);
    }
    if (d.waiting)
        *rc = complain("%s %s of domain %u: the backend did not close", kind,
                       devid, domid);
    finish_removal(x, &d);
    return true;
}

static int cmd_vkb_detach(struct xl *x, const char *guest, const char *devid)
{
    struct hv_info info;
    int rc = find(x, guest, &info);

    if (rc || !take_away(x, info.domid, "vkbd", devid, &rc))
        return rc;
    struct config *c = read_config(record_path(x, info.uuid));
    if (c) {
        for (int i = 0; i < c->vkb_count; i++)
            if (c->vkbs[i].devid == atoi(devid)) {
                free_vkb(&c->vkbs[i]);
                c->vkbs[i] = c->vkbs[--c->vkb_count];
                break;
            }
        write_config(c, record_path(x, info.uuid));
        free_config(c);
    }
    return rc;
}

/* The record is written before the nodes, as libxl does. */
static int cmd_vdispl_attach(struct xl *x, const char *guest, const char *text)
{
    struct hv_info info;
    int rc = find(x, guest, &info);
    struct config *c = rc ? NULL : read_config(record_path(x, info.uuid));

    if (!c)
        return 1;
    struct vdispl *d = &c->vdispls[c->vdispl_count];
    rc = c->vdispl_count == MAX_VDISPLS || parse_vdispl(d, text);
    if (!rc) {
        d->devid = next_devid(x, info.domid, "vdispl");
        c->vdispl_count++;
        rc = write_config(c, record_path(x, info.uuid)) ||
             write_json(x, info.domid, c) || add_vdispl(x, info.domid, d);
    }
    free_config(c);
    return rc;
}

static int cmd_vdispl_detach(struct xl *x, const char *guest, const char *devid)
{
    struct hv_info info;
    int rc = find(x, guest, &info);

    if (rc || !take_away(x, info.domid, "vdispl", devid, &rc))
        return rc;
    struct config *c = read_config(record_path(x, info.uuid));
    if (c) {
        for (int i = 0; i < c->vdispl_count; i++)
            if (c->vdispls[i].devid == atoi(devid)) {
                free(c->vdispls[i].text);
                c->vdispls[i] = c->vdispls[--c->vdispl_count];
                break;
            }
        write_config(c, record_path(x, info.uuid));
        write_json(x, info.domid, c);
        free_config(c);
    }
    return rc;
}

static int cmd_block_attach(struct xl *x, const char *guest, const char *text)
{
    struct hv_info info;
    struct disk d = { 0 };
    int rc = find(x, guest, &info);

    if (!rc)
        rc = parse_disk(&d, text);
    struct config *c = rc ? NULL : read_config(record_path(x, info.uuid));
    rc = rc || !c || c->disk_count == MAX_DISKS;
    if (!rc) {
        rc = add_disk(x, info.domid, &d);
        if (rc) { /* libxl takes away what it could not add */
            char devid[16];
            struct removal r;
            snprintf(devid, sizeof(devid), "%d", d.devid);
            if (describe(x, info.domid, "vbd", devid, &r)) {
                begin_removal(x, &r, true);
                await_closed(x, &r, 1, DESTROY_TIMEOUT_MS);
                finish_removal(x, &r);
            }
        }
    }
    if (!rc) {
        c->disks[c->disk_count++] = d;
        rc = write_config(c, record_path(x, info.uuid));
    } else {
        free(d.text);
    }
    if (c)
        free_config(c);
    return rc;
}

/* As xl does it without --force: a front that does not close keeps it. */
static int cmd_block_detach(struct xl *x, const char *guest, const char *vdev)
{
    struct hv_info info;
    struct removal d;
    char devid[16];
    int rc = find(x, guest, &info);

    if (rc)
        return rc;
    snprintf(devid, sizeof(devid), "%d",
             strncmp(vdev, "xvd", 3) ? atoi(vdev)
                                     : (202 << 8) + (vdev[3] - 'a') * 16);
    if (!describe(x, info.domid, "vbd", devid, &d))
        return complain("Error: Device %s not connected.", vdev);
    begin_removal(x, &d, false);
    await_closed(x, &d, 1, DESTROY_TIMEOUT_MS);
    if (d.waiting)
        return complain("%s of %s: did not close", vdev, guest);
    finish_removal(x, &d);
    struct config *c = read_config(record_path(x, info.uuid));
    if (c) {
        for (int i = 0; i < c->disk_count; i++)
            if (c->disks[i].devid == atoi(devid)) {
                free(c->disks[i].text);
                c->disks[i] = c->disks[--c->disk_count];
                break;
            }
        write_config(c, record_path(x, info.uuid));
        free_config(c);
    }
    return 0;
}

static int number(struct xl *x, const char *path)
{
    char *v = get(x, XBT_NULL, path);
    int n = v ? atoi(v) : -1;
    free(v);
    return n;
}

static int cmd_vkb_list(struct xl *x, const char *guest)
{
    struct hv_info info;
    unsigned n = 0;
    int rc = find(x, guest, &info);

    if (rc)
        return rc;
    printf("%-3s %-2s %-6s %-5s %-6s %6s %-10s %-10s %-30s\n", "Idx", "BE",
           "handle", "state", "evt-ch", "ref", "ID", "BE-type", "BE-path");
    char **dir = xs_directory(x->xs, XBT_NULL,
                              path_of("/libxl/%u/device/vkbd", info.domid), &n);
    for (unsigned i = 0; dir && i < n; i++) {
        struct removal d;
        if (!describe(x, info.domid, "vkbd", dir[i], &d))
            continue;
        char *id = get(x, XBT_NULL, path_of("%s/unique-id", d.be));
        int devid = atoi(dir[i]);
        printf("%-3d %-2d %6d %5d %6d %6d %-10s %-10s %-30s\n", devid, 0, devid,
               number(x, path_of("%s/state", d.fe)),
               number(x, path_of("%s/event-channel", d.fe)),
               number(x, path_of("%s/page-gref", d.fe)), id ? id : "",
               d.qemu ? "qemu" : "linux", d.be);
        free(id);
    }
    free(dir);
    return 0;
}

static int cmd_pause(struct xl *x, const char *guest, uint32_t op)
{
    struct hv_info info;
    int rc = find(x, guest, &info);
    return rc ? rc : keeper_op(x, op, info.domid, 0, NULL) != 0;
}

static int dispatch(struct xl *x, const char *cmd, int argc, char **argv)
{
    struct hv_info info;

    if (!strcmp(cmd, "create"))
        return cmd_create(x, argc, argv);
    if (!strcmp(cmd, "destroy"))
        return cmd_destroy(x, argv[0]);
    if (!strcmp(cmd, "reboot"))
        return cmd_reboot(x, argv[0]);
    if (!strcmp(cmd, "pause"))
        return cmd_pause(x, argv[0], HV_DOM_PAUSE);
    if (!strcmp(cmd, "unpause"))
        return cmd_pause(x, argv[0], HV_DOM_UNPAUSE);
    if (!strcmp(cmd, "save"))
        return cmd_save(x, argc, argv);
    if (!strcmp(cmd, "restore"))
        return cmd_restore(x, argv[0]);
    if (!strcmp(cmd, "migrate"))
        return cmd_migrate(x, argv[0], argv[1]);
    if (!strcmp(cmd, "vkb-attach"))
        return cmd_vkb_attach(x, argv[0], argc - 1, argv + 1);
    if (!strcmp(cmd, "vkb-detach"))
        return cmd_vkb_detach(x, argv[0], argv[1]);
    if (!strcmp(cmd, "vkb-list"))
        return cmd_vkb_list(x, argv[0]);
    if (!strcmp(cmd, "vdispl-attach"))
        return cmd_vdispl_attach(x, argv[0], argv[1]);
    if (!strcmp(cmd, "vdispl-detach"))
        return cmd_vdispl_detach(x, argv[0], argv[1]);
    if (!strcmp(cmd, "block-attach"))
        return cmd_block_attach(x, argv[0], argv[1]);
    if (!strcmp(cmd, "block-detach"))
        return cmd_block_detach(x, argv[0], argv[1]);
    /* domid, domname */
    int rc = find(x, argv[0], &info);
    if (!rc && !strcmp(cmd, "domid"))
        printf("%u\n", info.domid);
    else if (!rc)
        printf("%s\n", info.name);
    return rc;
}

int far_sim_xl(struct far_sim *s, const char *command, int argc, char **argv)
{
    static const struct {
        const char *name;
        int args; /* after HOST */
    } commands[] = {
        { "create", 1 },        { "destroy", 1 },       { "reboot", 1 },
        { "pause", 1 },         { "unpause", 1 },       { "save", 1 },
        { "restore", 1 },       { "migrate", 2 },       { "vkb-attach", 2 },
        { "block-attach", 2 },  { "block-detach", 2 },  { "vkb-detach", 2 },
        { "vkb-list", 1 },      { "domid", 1 },         { "domname", 1 },
        { "vdispl-attach", 2 }, { "vdispl-detach", 2 },
    };
    struct xl x = { .s = s };

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, command))
            continue;
        if (argc < 1 + commands[i].args) {
            complain("%s: too few arguments; see 'farside-sim -h'", command);
            return 2;
        }
        x.host = argv[0];
        x.xs = far_sim_xenstore(s, x.host);
        if (!x.xs)
            return 1;
        int r = batch_open(&x.batch);
        int rc = r ? complain("host %s: xenstored: %s", x.host, strerror(-r))
                   : dispatch(&x, command, argc - 1, argv + 1);
        batch_close(&x.batch);
        xs_close(x.xs);
        return rc;
    }
    complain("unknown command '%s'; see 'farside-sim -h'", command);
    return 2;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Every section and key of farside.conf, once: core/conf-keys.c holds the
 * table, far_conf_check() judges by it, the manual page is checked against it.
 */
#ifndef FARSIDE_CORE_CONF_KEYS_H
#define FARSIDE_CORE_CONF_KEYS_H

#include <stdbool.h>
#include <stdint.h>

enum far_conf_kind {
    FAR_CONF_TEXT,    /* anything but nothing */
    FAR_CONF_BOOL,    /* on, off, yes, no, true, false */
    FAR_CONF_TIME,    /* 100us, 20ms, 2s, off */
    FAR_CONF_NUMBER,  /* from min to max */
    FAR_CONF_PERCENT, /* 0% to 100%, or a number from 0 to 100 */
    FAR_CONF_NAME,    /* of a platform or device */
    FAR_CONF_NAMES,   /* several, with blanks between them */
    FAR_CONF_GUESTS,  /* PLATFORM/GUEST, several; GUEST is a name or uuid */
    FAR_CONF_MEANT,   /* GUEST or PLATFORM/GUEST, several */
    FAR_CONF_FAR,     /* PLATFORM/DEVICE */
    FAR_CONF_DEVICE,  /* DEVICE, or PLATFORM+STANDBY/DEVICE */
    FAR_CONF_DEVICES, /* several of them */
    FAR_CONF_REACH,   /* PLATFORM/DEVICE or PLATFORM with a star, several */
    FAR_CONF_ADDRESS, /* HOST:PORT, [V6]:PORT */
    FAR_CONF_PATH,    /* absolute */
    FAR_CONF_CHOICE,  /* one of choices */
    FAR_CONF_ATTACH,  /* CLASS ADDRESS [KEY=VALUE…] */
    FAR_CONF_SOURCE,  /* VECTOR CLASS ADDRESS [KEY=VALUE…] */
};

struct far_conf_key {
    const char *section; /* NULL ends the table */
    const char *types;   /* [device]: with which `type`, blanks between them;
                            NULL: all */
    const char *key;
    enum far_conf_kind kind;
    bool required;       /* with one of these types */
    bool repeat;         /* may stand more than once */
    uint64_t min, max;   /* NUMBER; max 0: no bound */
    const char *choices; /* CHOICE: blanks between them */
};
extern const struct far_conf_key far_conf_keys[];

struct far_conf_kind_of_section {
    const char *kind; /* NULL ends the table */
    bool named;       /* [kind NAME] */
    bool many;        /* of different names; without name: more than one */
};
extern const struct far_conf_kind_of_section far_conf_section_kinds[];

/* The single values; false: text is none, *value is untouched. */
bool far_bool_parse(bool *value, const char *text);
bool far_uint_parse(uint64_t *value, const char *text);
/* In parts of 10000: "12.5%" is 1250. */
bool far_percent_parse(uint32_t *value, const char *text);
/* HOST:PORT or [V6]:PORT in its parts; host: at least 256 bytes. */
bool far_host_port_parse(char *host, uint16_t *port, const char *text);

/* Times are at most a year: sums of two never overflow. */
#define FAR_TIME_MAX_US (UINT64_C(366) * 86400 * 1000000)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulated hypervisor, as its parts see each other: the tables that the
 * keeper (keeper.c) writes and every process in a domain maps, the bits that
 * all of them change without asking it, and the requests that go to it over a
 * socket. What an event channel or a grant means is in domain.c (keeper's
 * side), evtchn.c and gnttab.c (the libraries' side).
 */
#ifndef FAR_SIM_HV_H
#define FAR_SIM_HV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HV_MAGIC      0x46415253u
#define HV_HOSTS      16
#define HV_DOMS       512
#define HV_PORTS      4096
#define HV_GREFS      32768
#define HV_HANDLES    16384
#define HV_CLIENTS    4096
#define HV_SENDERS    16 /* threads of one process that may send at once */
#define HV_FRAMES     (1u << 20)
#define HV_PAGE       4096u
#define HV_NAME       64
#define HV_BATCH      4096 /* references in one request */
#define HV_MAX_MAP    65536
#define HV_NO_DOM     0xffffffffu
#define HV_GREF_FIRST 8 /* the lower ones are reserved for the toolstack */

#define HV_DOMID_SELF     0x7ff0u
#define HV_DOMID_RESERVED 0x7ff0u

/*
 * A port's link, one word so that a sender reads it whole:
 * state(3) remote slot(10) remote port(13) remote generation(24).
 */
enum hv_port_state { HV_FREE, HV_UNBOUND, HV_INTERDOMAIN, HV_VIRQ };

static inline uint64_t hv_link(enum hv_port_state state, uint32_t slot,
                               uint32_t port, uint32_t gen)
{
    return (uint64_t)state | (uint64_t)slot << 3 | (uint64_t)port << 13 |
           (uint64_t)gen << 26;
}
static inline uint32_t hv_link_state(uint64_t link)
{
    return (uint32_t)(link & 7);
}
static inline uint32_t hv_link_slot(uint64_t link)
{
    return (uint32_t)(link >> 3 & 0x3ff);
}
static inline uint32_t hv_link_port(uint64_t link)
{
    return (uint32_t)(link >> 13 & 0x1fff);
}
static inline uint32_t hv_link_gen(uint64_t link)
{
    return (uint32_t)(link >> 26 & 0xffffff);
}

/*
 * A port's flags, in the part that everybody may write: generation(24) and
 * these bits. MASKED means: its number is in the owner's pipe, or the owner
 * has read it and not unmasked it yet. PENDING: it fired since.
 */
#define HV_MASKED       1u
#define HV_PENDING      2u
#define HV_FLAG_GEN(v)  ((v) >> 8)
#define HV_MAKE_FLAG(g) ((g) << 8)

struct hv_port {
    _Atomic uint64_t link;
    _Atomic uint32_t handle; /* whose pipe gets the number; 0: nobody's */
    _Atomic uint32_t cookie; /* what is written into the pipe */
};

#define HV_GRANT_VALID    1u
#define HV_GRANT_READONLY 2u
struct hv_grant {
    _Atomic uint32_t who; /* flags << 16 | domid */
    _Atomic uint32_t frame;
};

struct hv_dom {
    _Atomic uint32_t gen; /* 0: the slot is empty */
    uint16_t domid;
    uint16_t host;
    uint8_t paused, dying, shutdown, shutdown_reason;
    uint32_t memory_kb;
    uint8_t uuid[16];
};

/* Written by the keeper alone. */
struct hv_ro {
    uint32_t magic;
    _Atomic uint32_t client_dom[HV_CLIENTS]; /* slot, or HV_NO_DOM */
    _Atomic uint32_t handle_id[HV_HANDLES];  /* 0: closed */
    struct hv_dom doms[HV_DOMS];
    struct hv_port ports[HV_DOMS][HV_PORTS];
    struct hv_grant grants[HV_DOMS][HV_GREFS];
};

/* Written by everybody. */
struct hv_rw {
    _Atomic uint32_t flags[HV_DOMS][HV_PORTS];
    /* Port being told, slot << 16 | port + 1, in case its teller is killed
     * between setting the flag and writing the pipe. */
    _Atomic uint32_t sending[HV_CLIENTS][HV_SENDERS];
};

/* A handle's identity: slot in the low 14 bits, a count above them. */
#define HV_HANDLE_SLOT(id) ((id) & (HV_HANDLES - 1))

enum hv_op {
    HV_HELLO = 1,
    HV_EVTCHN_OPEN,
    HV_EVTCHN_CLOSE,
    HV_BIND_UNBOUND,
    HV_BIND_INTERDOMAIN,
    HV_BIND_VIRQ,
    HV_UNBIND,
    HV_HANDLE_FD,
    HV_SHARE,
    HV_MAP,
    HV_RELEASE,
    HV_OPEN_XENBUS,
    HV_OPEN_KVA,
    HV_OPEN_PORTFILE,
    /* the toolstack's */
    HV_HOST_UP,
    HV_HOST_DOWN,
    HV_HOST_LIST,
    HV_DOM_CREATE,
    HV_DOM_PAUSE,
    HV_DOM_UNPAUSE,
    HV_DOM_SUSPEND,
    HV_DOM_DESTROY,
    HV_DOM_LIST,
    HV_QUIT,
};

/* Flags of HV_MAP and HV_SHARE */
#define HV_F_READONLY 1u
#define HV_F_CLEAR    2u /* clear byte `x` of the first page when it goes */
#define HV_F_EVENT    4u /* and send an event through port `d` */

struct hv_req {
    uint32_t op;
    uint32_t a, b, c, d;
    uint32_t x;
    uint32_t count; /* of 32-bit words that follow */
    char host[HV_NAME];
    char name[HV_NAME];
    uint8_t uuid[16];
};

struct hv_rsp {
    int32_t err; /* 0, or a negative errno */
    uint32_t a, b, c, d;
    uint32_t count;
};

/* One entry of HV_DOM_LIST's and HV_HOST_LIST's answers. */
struct hv_info {
    char name[HV_NAME];
    uint8_t uuid[16];
    uint32_t domid;
    uint32_t state; /* enum hv_dom_state */
    uint32_t processes;
    uint32_t pid; /* of a host: its xenstored */
};

enum hv_dom_state { HV_RUNNING, HV_PAUSED, HV_DYING, HV_SAVED };

#define HV_MSG_MAX (sizeof(struct hv_req) + HV_BATCH * 2 * sizeof(uint32_t))

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whether a connection is worth looking at (netproxy/spin.h).
 */
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include "netproxy/spin.h"

static struct far_look *of_poller(const struct far_poller *poller)
{
    return (struct far_look *)((uintptr_t)poller -
                               offsetof(struct far_look, poller));
}

bool far_look_worth(const struct far_look *look)
{
    return look->spin->allowed && look->peer_cpu >= 0 &&
           look->peer_cpu != sched_getcpu();
}

bool far_look_here(const struct far_look *look)
{
    return look->peer_cpu >= 0 && look->peer_cpu == sched_getcpu();
}

static bool elsewhere(struct far_poller *poller)
{
    return far_look_worth(of_poller(poller));
}

/* The loop goes to sleep: looking was in vain. */
static bool arm(struct far_poller *poller)
{
    struct far_look *look = of_poller(poller);

    if (++look->vain >= FAR_SPIN_VAIN)
        far_look_stop(look);
    return true;
}

void far_look_init(struct far_look *look, struct far_spin *spin,
                   bool (*poll)(struct far_poller *poller))
{
    memset(look, 0, sizeof(*look));
    look->spin = spin;
    look->peer_cpu = -1;
    look->poller = (struct far_poller){
        .poll = poll, .peer_elsewhere = elsewhere, .arm = arm, .slow = true
    };
}

/* The processor that took in the peer's last packet. Within one machine that
 * is where the peer runs; else it is the network card's, which must not be ours
 * either. */
static void ask_where(struct far_look *look, int fd, uint64_t now_ns)
{
    socklen_t bytes = sizeof(look->peer_cpu);

    look->where_ns = now_ns;
    if (getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &look->peer_cpu, &bytes))
        look->peer_cpu = -1;
}

void far_look_heard(struct far_look *look, struct far_loop *loop, int fd,
                    uint64_t now_ns)
{
    bool soon = now_ns - look->heard_ns < FAR_SPIN_SOON_US * 1000u;

    look->heard_ns = now_ns;
    if (!look->spin)
        return;
    if (!soon || !look->spin->allowed) {
        look->soon = 0;
        far_look_stop(look);
        return;
    }
    if (++look->soon < FAR_SPIN_SOON)
        return;
    look->vain = 0;
    if (now_ns - look->where_ns >= FAR_SPIN_WHERE_US * 1000u)
        ask_where(look, fd, now_ns);
    if (!far_look_worth(look)) {
        far_look_stop(look);
        return;
    }
    if (look->poller.loop || look->spin->conns >= FAR_SPIN_CONNS_MAX)
        return;
    look->spin->conns++;
    look->spin->begun++;
    far_poller_add(loop, &look->poller);
}

void far_look_stop(struct far_look *look)
{
    if (!look->poller.loop)
        return;
    far_poller_del(&look->poller);
    look->spin->conns--;
    look->soon = 0;
}

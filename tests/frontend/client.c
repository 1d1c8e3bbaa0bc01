/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A program in a guest that uses farside-frontend's socket as lines tell it.
 *
 *   open PATH | arm TIMER NS PERIOD | cancel TIMER | now VALUE
 *   listen BELL | ring BELL VALUE | next MS | junk BYTES | say TYPE NUMBER
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "frontend/farside-client.h"

static struct far_frontend_client *client;

static void ok(int r)
{
    if (r < 0)
        printf("no %s\n", strerror(-r));
    else
        printf("ok\n");
}

static void next(int ms)
{
    struct far_frontend_message m;
    int r = far_frontend_client_next(client, &m, ms);

    if (r <= 0) {
        printf("%s\n", r ? strerror(-r) : "nothing");
        return;
    }
    switch (m.type) {
    case FAR_FRONTEND_EXPIRED:
        printf("expired %u %llu\n", m.number, (unsigned long long)m.count);
        break;
    case FAR_FRONTEND_TIME:
        printf("time %u %llu %llu\n", m.value, (unsigned long long)m.time_ns,
               (unsigned long long)m.period_ns);
        break;
    case FAR_FRONTEND_RUNG:
        printf("rung %u %u\n", m.number, m.value);
        break;
    case FAR_FRONTEND_ANSWER:
        printf("answer %u %u %d\n", m.number, m.value, m.status);
        break;
    default:
        printf("what? %u\n", m.type);
    }
}

int main(void)
{
    char line[512], path[256], bytes[64] = "";
    unsigned a, b;
    unsigned long long ns, period;

    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ok\n");
    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "open %255s", path) == 1) {
            client = far_frontend_client_open(path);
            ok(client ? 0 : -errno);
        } else if (!client) {
            printf("no client\n");
        } else if (sscanf(line, "arm %u %llu %llu", &a, &ns, &period) == 3) {
            ok(far_frontend_client_arm(client, a, ns, period, 1));
        } else if (sscanf(line, "cancel %u", &a) == 1) {
            ok(far_frontend_client_cancel(client, a));
        } else if (sscanf(line, "now %u", &a) == 1) {
            ok(far_frontend_client_now(client, a));
        } else if (sscanf(line, "listen %u", &a) == 1) {
            ok(far_frontend_client_listen(client, a));
        } else if (sscanf(line, "ring %u %u", &a, &b) == 2) {
            ok(far_frontend_client_ring(client, a, b));
        } else if (sscanf(line, "next %u", &a) == 1) {
            next((int)a);
        } else if (sscanf(line, "junk %u", &a) == 1 && a <= sizeof(bytes)) {
            ok(send(far_frontend_client_fd(client), bytes, a, MSG_NOSIGNAL) < 0
                   ? -errno
                   : 0);
        } else if (sscanf(line, "say %u %u", &a, &b) == 2) {
            struct far_frontend_message m = { .type = a, .number = b };

            ok(send(far_frontend_client_fd(client), &m, sizeof(m),
                    MSG_NOSIGNAL) < 0
                   ? -errno
                   : 0);
        } else {
            printf("what?\n");
        }
    }
    return 0;
}

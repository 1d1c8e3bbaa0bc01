/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small things that the simulator's program and its preloaded library both
 * need. Nothing here knows the hypervisor.
 */
#ifndef FAR_SIM_COMMON_H
#define FAR_SIM_COMMON_H

#include <stdint.h>

#define FAR_SIM_SOCKET   "keeper.sock"
#define FAR_SIM_UUID_LEN 37

/* 0, or -EINVAL. */
int far_sim_uuid_parse(const char *text, uint8_t uuid[16]);
void far_sim_uuid_print(const uint8_t uuid[16], char text[FAR_SIM_UUID_LEN]);

#endif

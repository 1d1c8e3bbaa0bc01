/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vsnd lines: what xl makes of them in xenstore and in its record of a domain.
 */
#ifndef FARSIDE_SIM_SND_H
#define FARSIDE_SIM_SND_H

#include <stdio.h>

/* CARD|PCM|STREAM|STREAM|PCM|…, each `card,KEY=VALUE,…` and so on: xl's nested
 * list in one word. Calls node() for every node below the front's directory,
 * as libxl_vsnd.c writes them (";" in a value is "," there). NULL, or what is
 * wrong with it. */
const char *far_sim_snd_nodes(const char *line,
                              void (*node)(void *arg, const char *name,
                                           const char *value),
                              void *arg);
/* As libxl's JSON has it: an object of the list "vsnds". */
void far_sim_snd_record(const char *line, FILE *to);

#endif

// SPDX-License-Identifier: GPL-2.0-or-later
//
// The commands of farside, and how each is used. What they do is in their
// files.

#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "tools/tool.h"

const struct far_command far_commands[] = {
    { "status", "[--json]", "platforms, guests, devices, links, latencies",
      far_status_command },
    { "top", "[-d SECONDS] [-n TIMES]", "status, again every second",
      far_top_command },
    { "attach", "[-t SECONDS] DOMAIN CLASS ADDRESS [KEY=VALUE...]",
      "gives a running guest a device", far_attach_command },
    { "detach", "DOMAIN CLASS ID", "takes it away again", far_detach_command },
    { "send", "DEVICE [--to PLATFORM/GUEST] WORD...",
      "types and points on a virtual device", far_send_command },
    { "check", "[FILE...]", "judges farside.conf and xl guest configs",
      far_check_command },
    { "metrics", "[--listen [ADDRESS:]PORT]",
      "counters and latencies as OpenMetrics", far_metrics_command },
    { "devices", "[--json]", "what this platform and its servers offer",
      far_devices_command },
    { "link", "[-s BYTES] stop|start|rekey|capture PLATFORM [FILE|off]",
      "a link by hand, and what goes over it", far_link_command },
    { "decode", "[--json] [-x] [FILE...]", "captured frames of a link in words",
      far_decode_command },
    { "trust", "[list|init|export|install|renew|psk|revoke] [...]",
      "keys and certificates of platforms", far_trust_command },
    { "console", "GUEST", "how to look at a guest's screens",
      far_console_command },
#ifdef HAVE_LIBPNG
    { "screenshot", "GUEST[/CONNECTOR] FILE", "what a guest's screen shows",
      far_screenshot_command },
#endif
    { "reload", "", "makes the daemons read farside.conf again",
      far_reload_command },
    { NULL, NULL, NULL, NULL },
};

const struct far_command *far_command_find(const char *name)
{
    for (const struct far_command *c = far_commands; c->name; c++)
        if (!strcmp(c->name, name))
            return c;
    return NULL;
}

int far_usage(const char *command, const char *format, ...)
{
    const struct far_command *c = far_command_find(command);
    va_list ap;

    fprintf(stderr, "farside: %s: ", command);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "\nusage: farside %s %s\n", command, c ? c->usage : "");
    return FAR_EXIT_USAGE;
}

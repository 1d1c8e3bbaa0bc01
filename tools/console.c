// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside console: how a person looks at a guest. What a viewer is told stands
// with the screen's device in farside.conf (`console =`); of a screen on
// another platform, that platform knows it.

#include <errno.h>
#include <string.h>
#include "tools/tool.h"

static void print_screen(struct far_tool *tool, const struct far_conf *conf,
                         const char *guest, const json_t *connector)
{
    const char *address = far_json_text(connector, "address");
    const char *reason = far_json_text(connector, "reason");
    const char *slash = strchr(address, '/');
    const char *console = NULL;

    fprintf(tool->out, "%s/%lld: %s, %lldx%lld%s\n", guest,
            (long long)far_json_number(connector, "number"), address,
            (long long)far_json_number(connector, "width"),
            (long long)far_json_number(connector, "height"),
            json_is_true(json_object_get(connector, "on")) ? ""
                                                           : ", switched off");
    if (*reason)
        fprintf(tool->out, "    nobody sees it: %s\n", reason);
    if (!slash)
        console = far_conf_string(far_conf_section(conf, "device", address),
                                  "console", NULL);
    if (console)
        fprintf(tool->out, "    look with a viewer: %s\n", console);
    else if (slash)
        fprintf(tool->out,
                "    the screen is on %.*s: farside console %s there says "
                "how to look\n",
                (int)(slash - address), address, slash + 1);
    fprintf(tool->out, "    one picture: farside screenshot %s/%lld FILE\n",
            guest, (long long)far_json_number(connector, "number"));
}

static unsigned print_guest(struct far_tool *tool, const struct far_conf *conf,
                            const json_t *status, const char *name)
{
    const json_t *guest, *device, *connector;
    unsigned screens = 0;
    size_t i, k, n;

    json_array_foreach (json_object_get(status, "guests"), i, guest) {
        if (strcmp(far_json_text(guest, "name"), name))
            continue;
        json_array_foreach (json_object_get(guest, "devices"), k, device)
            json_array_foreach (json_object_get(device, "connectors"), n,
                                connector) {
                print_screen(tool, conf, name, connector);
                screens++;
            }
    }
    return screens;
}

int far_console_command(struct far_tool *tool, int argc, char **argv)
{
    struct far_error error = { 0 };
    const char *console;
    unsigned problems, screens;
    struct far_conf *conf;
    json_t *status;

    if (argc != 2)
        return far_usage("console", "wants a guest, or a screen");
    conf = far_conf_read(tool->conf_file, NULL, NULL, &problems, &error);
    if (!conf)
        return far_fail("console", FAR_EXIT_FAILED, "%s", error.text);
    console = far_conf_string(far_conf_section(conf, "device", argv[1]),
                              "console", NULL);
    if (console) {
        fprintf(tool->out, "%s: look with a viewer: %s\n", argv[1], console);
        far_conf_free(conf);
        return FAR_EXIT_OK;
    }
    if (far_ask_simple(tool, "backend", "status", &status, &error)) {
        far_conf_free(conf);
        return far_fail("console", FAR_EXIT_NO_DAEMON, "%s", error.text);
    }
    screens = print_guest(tool, conf, status, argv[1]);
    json_decref(status);
    far_conf_free(conf);
    return screens ? FAR_EXIT_OK
                   : far_fail("console", FAR_EXIT_FAILED,
                              "%s: no guest of that name has a screen here; "
                              "its xl configuration needs a line vdispl = [ "
                              "'connectors=DEVICE:WIDTHxHEIGHT' ]",
                              argv[1]);
}

// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside devices: what guests here can have attached: this platform's devices,
// and those that its servers have announced to it.

#include <getopt.h>
#include <string.h>
#include "tools/tool.h"

static void add(json_t *all, const char *platform, const json_t *device,
                bool own)
{
    json_t *one = json_deep_copy(device);
    char address[FAR_NAME_BYTES * 2 + 2];

    snprintf(address, sizeof(address), "%s%s%s", platform, own ? "" : "/",
             far_json_text(device, "name"));
    if (own) {
        bool exported = json_is_true(json_object_get(device, "exported"));

        json_object_del(one, "program");
        if (!json_object_get(one, "exported"))
            json_object_set_new(one, "exported", json_boolean(exported));
    }
    json_object_set_new(one, "address", json_string(address));
    json_object_set_new(one, "platform",
                        own ? json_null() : json_string(platform));
    json_array_append_new(all, one);
}

static void gather(json_t *all, const json_t *status)
{
    const json_t *list, *announced, *one;
    size_t i, k;

    list = json_object_get(status, "devices");
    json_array_foreach (list, i, one)
        add(all, "", one, true);
    list = json_object_get(status, "links");
    json_array_foreach (list, i, one) {
        const json_t *device;

        announced = json_object_get(one, "announced");
        json_array_foreach (announced, k, device)
            add(all, far_json_text(one, "platform"), device, false);
    }
}

static void print(const struct far_tool *tool, const json_t *all)
{
    const json_t *device, *word;
    size_t i, k;

    if (!json_array_size(all)) {
        fprintf(tool->out, "No device is configured, and none is announced.\n");
        return;
    }
    fprintf(tool->out, "%-30s %-9s %-9s %s\n", "ADDRESS", "CLASS", "STATE",
            "CAN");
    json_array_foreach (all, i, device) {
        const char *state = far_json_text(device, "state"), *gap = "";

        if (!strcmp(state, "ready") &&
            json_is_false(json_object_get(device, "free")))
            state = "in use";
        fprintf(tool->out, "%-30s %-9s %-9s ", far_json_text(device, "address"),
                far_json_text(device, "class"), state);
        json_array_foreach (json_object_get(device, "can"), k, word) {
            fprintf(tool->out, "%s%s", gap, json_string_value(word));
            gap = " ";
        }
        fprintf(tool->out, "\n");
        if (*far_json_text(device, "reason"))
            fprintf(tool->out, "    %s\n", far_json_text(device, "reason"));
    }
}

int far_devices_command(struct far_tool *tool, int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' },
                                             { NULL, 0, NULL, 0 } };
    static const char *const daemons[] = { "backend", "netproxy" };
    json_t *all = json_array(), *answer;
    bool json = false;
    int status = FAR_EXIT_NO_DAEMON, c;

    while ((c = getopt_long(argc, argv, "+j", options, NULL)) != -1) {
        if (c != 'j') {
            json_decref(all);
            return far_usage("devices", "unknown option");
        }
        json = true;
    }
    if (optind != argc) {
        json_decref(all);
        return far_usage("devices", "no arguments are taken");
    }
    for (unsigned i = 0; i < 2; i++) {
        struct far_error error;

        /* One of the two may well not be used here. */
        if (far_ask_simple(tool, daemons[i], "status", &answer, &error)) {
            far_fail("devices", 0, "%s", error.text);
            continue;
        }
        gather(all, answer);
        json_decref(answer);
        status = FAR_EXIT_OK;
    }
    if (status == FAR_EXIT_OK && json) {
        json_dumpf(all, tool->out, JSON_INDENT(2));
        fputc('\n', tool->out);
    } else if (status == FAR_EXIT_OK) {
        print(tool, all);
    }
    json_decref(all);
    return status;
}

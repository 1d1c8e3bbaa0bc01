/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The configuration: what is read, and what is said of what is wrong, with the
 * exact line and column.
 */
#include "core/conf-keys.h"
#include "core/conf.h"
#include "tests/core/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PLATFORM "[platform]\nname = atlas\n" /* two lines */

static char said[4096];

static void report(void *arg, const char *file, unsigned line, unsigned column,
                   const char *text)
{
    size_t used = strlen(said);

    (void)arg;
    snprintf(said + used, sizeof(said) - used, "%s:%u:%u: %s\n", file, line,
             column, text);
}

static struct far_conf *parse(const char *text)
{
    unsigned problems = 0, lines = 0;
    struct far_conf *conf;

    said[0] = '\0';
    conf = far_conf_parse("f", text, strlen(text), report, NULL, &problems);
    ck_assert_ptr_nonnull(conf);
    for (const char *c = said; *c; c++)
        lines += *c == '\n';
    ck_assert_uint_eq(problems, lines);
    return conf;
}

/* What is said of a text behind PLATFORM: reader and judge. */
static void judged(const char *text, const char *expected)
{
    char all[2048];
    struct far_conf *conf;

    snprintf(all, sizeof(all), PLATFORM "%s", text);
    conf = parse(all);
    far_conf_check(conf, report, NULL);
    ck_assert_str_eq(said, expected);
    far_conf_free(conf);
}

START_TEST(sections_keys_and_values_are_read_with_their_places)
{
    struct far_conf *conf = parse("# all\n"
                                  "[platform]\r\n"
                                  "  name =   atlas \t# us\n"
                                  "\n"
                                  "[ device  kbd0 ]\n"
                                  "match-name = \"My # Keyboard \"\n"
                                  "path=/dev/input/a=b#c\n"
                                  "empty =");
    struct far_conf_section *s = far_conf_section(conf, "device", "kbd0");
    struct far_conf_entry *e;

    ck_assert_str_eq(said, "");
    ck_assert_str_eq(
        far_conf_string(far_conf_section(conf, "platform", NULL), "name", ""),
        "atlas");
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(s->line, 5);
    e = far_conf_entry(s, "match-name", NULL);
    ck_assert_str_eq(e->value, "My # Keyboard ");
    ck_assert_uint_eq(e->line, 6);
    ck_assert_uint_eq(e->column, 15);
    e = far_conf_entry(s, "path", NULL);
    ck_assert_str_eq(e->value, "/dev/input/a=b#c");
    ck_assert_uint_eq(e->column, 6);
    ck_assert_str_eq(far_conf_string(s, "empty", "x"), "");
    ck_assert_ptr_null(far_conf_section(conf, "device", "kbd1"));
    ck_assert_str_eq(far_conf_string(NULL, "name", "none"), "none");
    far_conf_free(conf);
}
END_TEST

START_TEST(a_key_that_repeats_is_found_again)
{
    struct far_conf *conf = parse("[listen]\naddress = a:1\npsk-file = /k\n"
                                  "address = b:2\n");
    struct far_conf_section *s = far_conf_section(conf, "listen", NULL);
    struct far_conf_entry *e = far_conf_entry(s, "address", NULL);

    ck_assert_str_eq(e->value, "a:1");
    e = far_conf_entry(s, "address", e);
    ck_assert_str_eq(e->value, "b:2");
    ck_assert_ptr_null(far_conf_entry(s, "address", e));
    far_conf_free(conf);
}
END_TEST

START_TEST(a_long_value_is_not_cut)
{
    char *text = malloc(100100), *p = text;
    struct far_conf *conf;

    ck_assert_ptr_nonnull(text);
    p += sprintf(p, "[platform]\nname = ");
    memset(p, 'x', 100000);
    p[100000] = '\0';
    conf = parse(text);
    ck_assert_uint_eq(strlen(far_conf_string(conf->sections, "name", "")),
                      100000);
    far_conf_free(conf);
    free(text);
}
END_TEST

START_TEST(each_syntax_error_has_its_line_and_column_and_the_rest_is_read)
{
    struct far_conf *conf = parse("early = 1\n"
                                  "[broken\n"
                                  "ignored = 1\n"
                                  "[x] y\n"
                                  "[ ]\n"
                                  "[device a]\n"
                                  "  nothing here\n"
                                  "  = 3\n"
                                  "path = \"half\n"
                                  "path = \"a\"b\"\n"
                                  "type = vir\001tual\n"
                                  "type = virtual\n");

    ck_assert_str_eq(said,
                     "f:1:1: key before the first [SECTION]\n"
                     "f:2:8: ] is missing: a section is [KIND] or [KIND NAME]\n"
                     "f:4:5: nothing may stand behind ]\n"
                     "f:5:3: the section has no kind: [KIND] or [KIND NAME]\n"
                     "f:7:3: neither [SECTION] nor KEY = VALUE nor # comment\n"
                     "f:8:3: there is no key before =\n"
                     "f:9:8: a value that begins with \" must end with it\n"
                     "f:10:8: a value that begins with \" must end with it\n"
                     "f:11:11: character 0x01 can't stand here\n");
    ck_assert_str_eq(
        far_conf_string(far_conf_section(conf, "device", "a"), "type", ""),
        "virtual");
    far_conf_free(conf);
}
END_TEST

START_TEST(a_zero_byte_is_an_error_and_not_an_end)
{
    static const char text[] = "[platform]\nname = a\0b\nstale = off\n";
    unsigned problems = 0;
    struct far_conf *conf;

    said[0] = '\0';
    conf = far_conf_parse("f", text, sizeof(text) - 1, report, NULL, &problems);
    ck_assert_uint_eq(problems, 1);
    ck_assert_str_eq(said, "f:2:9: character 0x00 can't stand here\n");
    ck_assert_uint_eq(far_conf_time_us(conf->sections, "stale", 1), UINT64_MAX);
    far_conf_free(conf);
}
END_TEST

START_TEST(a_sound_configuration_has_no_problem)
{
    judged("release-after = 500ms   # a comment\n"
           "stale = off\n"
           "[listen]\n"
           "address = 10.0.0.2:7420\n"
           "address = [fd00::2]:7420\n"
           "psk-file = /etc/farside/psk.keys\n"
           "[server borealis]\n"
           "address = borealis.example.org:7420\n"
           "psk-file = /etc/farside/psk.keys\n"
           "[device kbd0]\n"
           "type = evdev\n"
           "match-name = \"My Keyboard\"\n"
           "grab = on\n"
           "[device tape]\ntype = replay\nfile = /t\nloop = off\n"
           "[device slow]\ntype = delay\nbehind = kbd0\ndelay = 20ms\n"
           "[export kbd0]\nallow = atlas cygnus\n"
           "[guest 5a3c]\nattach = input borealis/kbd0 width=3\n",
           "");
}
END_TEST

START_TEST(an_unknown_key_is_shown_with_what_was_meant)
{
    judged("relase-after = 1s\n",
           "f:3:1: unknown key \"relase-after\" in [platform]; did you mean "
           "\"release-after\"?\n");
    judged("colour = red\n",
           "f:3:1: unknown key \"colour\" in [platform]; known are: name, "
           "release-after, spin, stale, standby-after, times, trust\n");
}
END_TEST

START_TEST(an_unknown_section_is_shown_with_what_was_meant)
{
    judged("[devise kbd0]\ntype = virtual\n",
           "f:3:1: unknown section [devise]; did you mean \"device\"?\n");
}
END_TEST

START_TEST(an_unknown_type_is_shown_with_what_was_meant)
{
    judged("[device kbd0]\ntype = evdef\n",
           "f:4:8: type = evdef: no such choice; did you mean \"evdev\"?\n");
}
END_TEST

START_TEST(a_key_of_another_type_of_device_is_an_error)
{
    judged("[device typist]\ntype = virtual\npath = /dev/input/event0\n",
           "f:5:1: key \"path\" is for devices of type evdev, not for type "
           "virtual\n");
}
END_TEST

START_TEST(a_missing_key_is_named_at_the_section)
{
    judged("[server b]\n[device k]\n[device e]\ntype = evdev\n",
           "f:3:1: [server b] lacks the key \"address\"\n"
           "f:4:1: [device k] lacks the key \"type\"\n"
           "f:5:1: [device e] lacks one of the keys \"path\" and "
           "\"match-name\"\n");
}
END_TEST

START_TEST(a_directory_and_what_is_registered_there_are_judged_together)
{
    const char *disk = "[device d]\ntype = file\npath = /d\n[device e]\n"
                       "type = file\npath = /e\n";
    char text[512];

    judged("[directory]\nfile = /d\netcd = a:1\nca = /c\n",
           "f:3:1: [directory] wants one of the keys \"file\" and \"etcd\"\n");
    judged("[directory]\netcd = a:1\n",
           "f:4:1: etcd: without a ca it is not known who answers; if that is "
           "meant, say clear-text = on\n");
    judged("[directory]\netcd = a:1\nca = /c\nclear-text = on\n",
           "f:3:1: [directory]: with clear-text = on nobody looks at the ca\n");
    judged("[directory]\netcd = a:1\nca = /c\ncert = /d\n",
           "f:3:1: [directory]: cert and key go together\n");
    judged("[directory]\netcd = a:1\nca = /c\nprefix = x/\nttl = 1s\n",
           "f:6:10: prefix = x/: begins and ends with a /, as /farside/ does\n"
           "f:7:7: ttl = 1s: wants whole seconds, from 2s to 3600s\n");
    snprintf(text, sizeof(text), "%s[export d]\nlease = on\n", disk);
    judged(text, "f:10:1: lease: there is no [directory] in etcd to register "
                 "it in\n");
    snprintf(text, sizeof(text),
             "[directory]\netcd = a:1\nca = /c\n%s[export d]\nlease = on\n"
             "[export e]\ndirectory = d\n",
             disk);
    judged(text, "f:15:1: d is [export d] in the directory already\n");
    judged("[directory]\netcd = a:1\nca = /c\n"
           "[device d]\ntype = file\npath = /d\ndirect = off\n"
           "[device f]\ntype = cache\nbehind = d\n"
           "[export f]\nlease = on\n",
           "f:14:1: [export f]: what has an owner elsewhere at times must not "
           "be kept in memory here: [device d] has direct = off\n");
    snprintf(text, sizeof(text),
             "[directory]\netcd = a:1\nca = /c\n%s[export d]\nlease = on\n"
             "directory = x\n[export e]\ndirectory = d\n",
             disk);
    judged(text, "");
}
END_TEST

START_TEST(wrong_values_say_what_is_wanted_in_their_column)
{
    judged("stale = 2 minutes\n",
           "f:3:9: stale = 2 minutes: wants a time such as 100us, 20ms, 2s, or "
           "off\n");
    judged("stale =\n", "f:3:8: stale: there is no value\n");
    judged("[listen]\naddress = 10.0.0.2\npsk-file = keys\n",
           "f:4:11: address = 10.0.0.2: wants HOST:PORT, 10.0.0.2:7420 or "
           "[fd00::2]:7420\n"
           "f:5:12: psk-file = keys: wants an absolute path, one that begins "
           "with /\n");
    judged("[device t]\ntype = replay\nfile = /t\nloop = maybe\n",
           "f:6:8: loop = maybe: wants on or off\n");
    judged("[device t]\ntype = virtual\n[export t]\nallow = a b/c\n",
           "f:6:9: allow = a b/c: wants names with blanks between them\n");
    judged("[device t]\ntype = virtual\n[export t]\nmay-interrupt = a/b c\n",
           "f:6:17: may-interrupt = a/b c: wants guests as PLATFORM/NAME or "
           "PLATFORM/UUID, with blanks between them\n");
    judged("[server s]\naddress = a:1\nmay-reach = o/k o/* o/.any.keys\n", "");
    judged("[server s]\naddress = a:1\nmay-reach = o *\n",
           "f:5:13: may-reach = o *: wants devices as PLATFORM/DEVICE, or "
           "PLATFORM/* for all of one, with blanks between them\n");
    judged("[guest g]\nattach = inptu kbd0\nattach = input a:b\nattach = x\n",
           "f:4:10: attach = inptu kbd0: there is no class \"inptu\"; known "
           "are: input, sound, display, block, timer, doorbell, intc, stream\n"
           "f:5:10: attach: address \"a:b\": names are of letters, digits, "
           "'.', '_' and '-' (DEVICE, PLATFORM/DEVICE or "
           "PLATFORM+STANDBY/DEVICE)\n"
           "f:6:10: attach = x: wants CLASS ADDRESS [KEY=VALUE…]\n");
}
END_TEST

START_TEST(what_stands_twice_is_named_with_the_first_line)
{
    judged("name = b\n", "f:3:1: name stands in line 2 already\n");
    judged("[platform]\nname = b\n",
           "f:3:1: [platform] stands in line 1 already\n");
    judged("[device a]\ntype = virtual\n[device a]\ntype = virtual\n",
           "f:5:1: [device a] stands in line 3 already\n");
}
END_TEST

START_TEST(names_of_sections_are_judged)
{
    judged("[device]\ntype = virtual\n",
           "f:3:1: [device] needs a name: [device NAME]\n");
    judged("[listen here]\naddress = a:1\npsk-file = /k\n",
           "f:3:1: [listen] takes no name\n");
    judged("[device a b]\ntype = virtual\n",
           "f:3:1: [device a b]: names are of letters, digits, '.', '_' and "
           "'-', of at most 63 bytes\n");
}
END_TEST

START_TEST(devices_that_do_not_exist_are_named_with_what_was_meant)
{
    judged("[device kbd0]\ntype = virtual\n[export kdb0]\n",
           "f:5:1: export: there is no [device kdb0]; did you mean "
           "\"kbd0\"?\n");
    judged("[device s]\ntype = log\nbehind = keyboard\n",
           "f:5:10: behind: there is no [device keyboard]; known are: s\n");
    judged("[export a]\n",
           "f:3:1: export: there is no [device a]; no device is described\n");
}
END_TEST

START_TEST(devices_in_a_circle_are_found)
{
    judged("[device a]\ntype = log\nbehind = b\n"
           "[device b]\ntype = log\nbehind = a\n"
           "[device c]\ntype = log\nbehind = a\n",
           "f:5:10: behind = b: the devices stand in a circle\n"
           "f:8:10: behind = a: the devices stand in a circle\n");
}
END_TEST

START_TEST(a_configuration_without_a_platform_is_no_configuration)
{
    struct far_conf *conf = parse("# nothing\n");

    ck_assert_uint_eq(far_conf_check(conf, report, NULL), 1);
    ck_assert_str_eq(said, "f:1:1: there is no [platform] section with this "
                           "platform's name\n");
    far_conf_free(conf);
}
END_TEST

START_TEST(times_and_switches_and_numbers_are_read_or_left)
{
    struct far_conf *conf = parse("[x]\na = 100us\nb = 20ms\nc = 2s\nd = off\n"
                                  "e = 5\nf = 0\ng = 99999999999999999999s\n"
                                  "h = -1s\ni = yes\nj = 1s2\nk = 7 ms\n");
    const struct far_conf_section *s = conf->sections;

    ck_assert_uint_eq(far_conf_time_us(s, "a", 1), 100);
    ck_assert_uint_eq(far_conf_time_us(s, "b", 1), 20000);
    ck_assert_uint_eq(far_conf_time_us(s, "c", 1), 2000000);
    ck_assert_uint_eq(far_conf_time_us(s, "d", 1), UINT64_MAX);
    ck_assert_uint_eq(far_conf_time_us(s, "e", 1), 1);
    ck_assert_uint_eq(far_conf_time_us(s, "f", 1), 0);
    ck_assert_uint_eq(far_conf_time_us(s, "g", 1), 1);
    ck_assert_uint_eq(far_conf_time_us(s, "h", 1), 1);
    ck_assert_uint_eq(far_conf_time_us(s, "j", 1), 1);
    ck_assert_uint_eq(far_conf_time_us(s, "k", 1), 7000);
    ck_assert_uint_eq(far_conf_time_us(s, "none", 1), 1);
    ck_assert_uint_eq(far_conf_number(s, "e", 1), 5);
    ck_assert_uint_eq(far_conf_number(s, "g", 1), 1);
    ck_assert_uint_eq(far_conf_number(s, "h", 1), 1);
    ck_assert(far_conf_bool(s, "i", false));
    ck_assert(!far_conf_bool(s, "d", true));
    ck_assert(far_conf_bool(s, "e", true));
    far_conf_free(conf);
}
END_TEST

START_TEST(shares_are_read_in_parts_of_ten_thousand)
{
    uint32_t v = 7;

    ck_assert(far_percent_parse(&v, "12.5%") && v == 1250);
    ck_assert(far_percent_parse(&v, "0") && v == 0);
    ck_assert(far_percent_parse(&v, "100%") && v == 10000);
    ck_assert(far_percent_parse(&v, "0.01%") && v == 1);
    ck_assert(!far_percent_parse(&v, "100.01%"));
    ck_assert(!far_percent_parse(&v, "4294967396"));
    ck_assert(!far_percent_parse(&v, "%"));
    ck_assert(!far_percent_parse(&v, ".5"));
    ck_assert_uint_eq(v, 1);
}
END_TEST

START_TEST(hosts_and_ports_are_taken_apart)
{
    char host[256];
    uint16_t port;

    ck_assert(far_host_port_parse(host, &port, "10.0.0.2:7420"));
    ck_assert_str_eq(host, "10.0.0.2");
    ck_assert_uint_eq(port, 7420);
    ck_assert(far_host_port_parse(host, &port, "[fe80::1%eth0]:1"));
    ck_assert_str_eq(host, "fe80::1%eth0");
    ck_assert(!far_host_port_parse(host, &port, "fd00::2:7420"));
    ck_assert(!far_host_port_parse(host, &port, "[fd00::2:7420"));
    ck_assert(!far_host_port_parse(host, &port, "[nonsense]:7420"));
    ck_assert(!far_host_port_parse(host, &port, ":7420"));
    ck_assert(!far_host_port_parse(host, &port, "[]:7420"));
    ck_assert(!far_host_port_parse(host, &port, "a:0"));
    ck_assert(!far_host_port_parse(host, &port, "a:65536"));
    ck_assert(!far_host_port_parse(host, &port, "a b:1"));
}
END_TEST

START_TEST(addresses_are_taken_apart)
{
    struct far_address a;

    ck_assert_int_eq(far_address_parse(&a, "kbd0", NULL), 0);
    ck_assert_str_eq(a.platform, "");
    ck_assert_str_eq(a.standby, "");
    ck_assert_str_eq(a.device, "kbd0");
    ck_assert_int_eq(far_address_parse(&a, "borealis/kbd.0_1-x", NULL), 0);
    ck_assert_str_eq(a.platform, "borealis");
    ck_assert_str_eq(a.device, "kbd.0_1-x");
    ck_assert_int_eq(far_address_parse(&a, "borealis+cygnus/d", NULL), 0);
    ck_assert_str_eq(a.platform, "borealis");
    ck_assert_str_eq(a.standby, "cygnus");
    ck_assert_str_eq(a.device, "d");
}
END_TEST

START_TEST(what_is_no_address_is_refused_with_words)
{
    static const char *const wrong[] = { "",      "/",     "a/",     "/a",
                                         "a/b/c", "+b/c",  "a+/c",   "a+b",
                                         "a b",   "a,b",   "a:b/c",  "a=b",
                                         "ä",     "a+a/b", "a+b+c/d" };
    char longest[200];
    struct far_error error;
    struct far_address a;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        error.text[0] = '\0';
        ck_assert_msg(far_address_parse(&a, wrong[i], &error) == -EINVAL,
                      "\"%s\"", wrong[i]);
        ck_assert_msg(strstr(error.text, "address \"") == error.text, "%s",
                      error.text);
    }
    memset(longest, 'x', sizeof(longest));
    longest[63] = '\0';
    ck_assert_int_eq(far_address_parse(&a, longest, &error), 0);
    ck_assert(far_name_valid(longest));
    longest[63] = 'x', longest[64] = '\0';
    ck_assert_int_eq(far_address_parse(&a, longest, &error), -EINVAL);
    ck_assert(!far_name_valid(longest));
    ck_assert(!far_name_valid(""));
}
END_TEST

START_TEST(a_file_that_is_not_there_is_said_so)
{
    struct far_error error;
    unsigned problems = 0;

    ck_assert_ptr_null(
        far_conf_read("/nonexistent/f", report, NULL, &problems, &error));
    ck_assert_int_eq(error.code, -ENOENT);
    ck_assert_str_eq(error.text, "/nonexistent/f: can't be opened: No such "
                                 "file or directory");
    ck_assert_ptr_null(far_conf_read("/", report, NULL, &problems, &error));
    ck_assert_int_eq(error.code, -EIO);
}
END_TEST

START_TEST(a_file_is_read_whole)
{
    char path[] = "/tmp/farside-conf-XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    struct far_error error;
    unsigned problems = 0;
    struct far_conf *conf;

    for (int i = 0; i < 4096; i++) /* several buffers, ends at one's edge */
        fprintf(f, "#2345678901234\n%s", i == 4000 ? "[x]\na = 1\n" : "\n");
    fclose(f);
    conf = far_conf_read(path, report, NULL, &problems, &error);
    unlink(path);
    ck_assert_ptr_nonnull(conf);
    ck_assert_uint_eq(problems, 0);
    ck_assert_uint_eq(far_conf_number(conf->sections, "a", 0), 1);
    ck_assert_uint_eq(conf->sections->line, 8002);
    ck_assert_str_eq(conf->sections->file, path);
    far_conf_free(conf);
}
END_TEST

SUITE_MAIN("conf", sections_keys_and_values_are_read_with_their_places,
           a_key_that_repeats_is_found_again, a_long_value_is_not_cut,
           each_syntax_error_has_its_line_and_column_and_the_rest_is_read,
           a_zero_byte_is_an_error_and_not_an_end,
           a_sound_configuration_has_no_problem,
           an_unknown_key_is_shown_with_what_was_meant,
           an_unknown_section_is_shown_with_what_was_meant,
           an_unknown_type_is_shown_with_what_was_meant,
           a_key_of_another_type_of_device_is_an_error,
           a_missing_key_is_named_at_the_section,
           wrong_values_say_what_is_wanted_in_their_column,
           a_directory_and_what_is_registered_there_are_judged_together,
           what_stands_twice_is_named_with_the_first_line,
           names_of_sections_are_judged,
           devices_that_do_not_exist_are_named_with_what_was_meant,
           devices_in_a_circle_are_found,
           a_configuration_without_a_platform_is_no_configuration,
           times_and_switches_and_numbers_are_read_or_left,
           shares_are_read_in_parts_of_ten_thousand,
           hosts_and_ports_are_taken_apart, addresses_are_taken_apart,
           what_is_no_address_is_refused_with_words,
           a_file_that_is_not_there_is_said_so, a_file_is_read_whole)

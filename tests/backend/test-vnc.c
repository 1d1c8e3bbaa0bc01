/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest's screen, keyboard and pointer through farside-vnc, on the simulator:
 * viewers (libvncclient's) see every pixel, what they press is pressed in the
 * guest, and who must not look is turned away.
 */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <linux/input-event-codes.h>
#include <netinet/in.h>
#include <rfb/rfbclient.h>
#include <stdint.h>
#include "tests/backend/keyboard.h"
#include "tests/backend/screen.h"

static pid_t vnc;
static unsigned port;
static char screen_socket[300], keys_socket[300], password_file[300];
static char cert_file[300], key_file[300];

static void put_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
    ck_assert_int_eq(chmod(path, 0600), 0);
}

static pid_t start_vnc(void)
{
    char program[600], args[5][400], log[300];
    pid_t pid;
    int fd;

    snprintf(program, sizeof(program), "%s/farside-vnc", build);
    snprintf(args[0], sizeof(args[0]), "--socket=%s", screen_socket);
    snprintf(args[1], sizeof(args[1]), "--input=%s", keys_socket);
    snprintf(args[2], sizeof(args[2]), "--port=%u", port);
    snprintf(args[3], sizeof(args[3]), "--password=%s", password_file);
    snprintf(args[4], sizeof(args[4]), "--web=127.0.0.1:%u", port + 1);
    snprintf(log, sizeof(log), "%s/vnc.log", host);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid = fork();
    if (!pid) {
        char cert[330], key[330];

        snprintf(cert, sizeof(cert), "--cert=%s", cert_file);
        snprintf(key, sizeof(key), "--key=%s", key_file);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, 2);
        /* libvncserver forgets the TLS of who is turned away */
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
        execl(program, program, args[0], args[1], args[2], args[3], args[4],
              cert, key, (char *)NULL);
        _exit(127);
    }
    close(fd);
    return pid;
}

static void set_up(void)
{
    char path[300], command[900];
    FILE *f;

    fresh_host();
    port = 20000 + (unsigned)getpid() % 12000;
    snprintf(screen_socket, sizeof(screen_socket), "%s/screen.sock", host);
    snprintf(keys_socket, sizeof(keys_socket), "%s/keys.sock", host);
    snprintf(password_file, sizeof(password_file), "%s/password", host);
    snprintf(cert_file, sizeof(cert_file), "%s/cert.pem", host);
    snprintf(key_file, sizeof(key_file), "%s/key.pem", host);
    put_file(password_file, "open sesame\n");
    snprintf(command, sizeof(command),
             "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost "
             "-keyout %s -out %s -days 2 2>/dev/null",
             key_file, cert_file);
    ck_assert_int_eq(system(command), 0);
    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    fprintf(f,
            "[platform]\nname = atlas\n"
            "[device screen]\ntype = outside\nclass = display\nsocket = %s\n"
            "console = vnc://localhost:%u\n"
            "[device keys]\ntype = outside\nclass = input\nsocket = %s\n",
            screen_socket, port, keys_socket);
    fclose(f);
    vnc = start_vnc();
    start_backend();
}

static void tear_down(void)
{
    int status;

    if (backend)
        kill_backend(SIGTERM);
    ck_assert_int_gt(vnc, 0);
    kill(vnc, SIGTERM);
    ck_assert_int_eq(waitpid(vnc, &status, 0), vnc);
    vnc = 0;
    ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status),
                  "farside-vnc ended with %x", (unsigned)status);
}

/* Two programs in one guest: one draws, one has the keyboard. */
struct desktop {
    struct guest screen, keys;
};

static struct desktop desktop(void)
{
    struct desktop d;

    d.screen = guest_with(GUEST, "g",
                          "memory=256 gntalloc=20000 "
                          "'vdispl=connectors=screen:320x200' "
                          "vkb=backend-type=linux,unique-id=keys,"
                          "feature-abs-pointer=1,width=320,height=200");
    OK(&d.screen, "open 0");
    OK(&d.screen, "connected");
    d.keys = d.screen;
    run_program(&d.keys, FRONT);
    return d;
}

static void end_desktop(struct desktop *d)
{
    stop_program(&d->keys);
    destroy(&d->screen);
}

/* --- viewers -----------------------------------------------------------------
 */

static const char *password;

static char *give_password(rfbClient *client)
{
    (void)client;
    return strdup(password);
}

static rfbBool make_room(rfbClient *client)
{
    free(client->frameBuffer);
    client->frameBuffer =
        calloc((size_t)client->width * (size_t)client->height, 4);
    return client->frameBuffer != NULL;
}

static rfbClient *viewer_at(unsigned at, const char *with)
{
    rfbClient *client = rfbGetClient(8, 3, 4);
    char server[32];
    int argc = 2;
    char *argv[] = { (char *)(uintptr_t) "test", server, NULL };

    snprintf(server, sizeof(server), "127.0.0.1:%u", at);
    password = with;
    rfbEnableClientLogging = FALSE;
    client->GetPassword = give_password;
    client->MallocFrameBuffer = make_room;
    client->canHandleNewFBSize = TRUE;
    client->appData.encodingsString = "zrle raw"; /* nothing that loses */
    client->connectTimeout = 60;
    client->readTimeout = 60;
    return rfbInitClient(client, &argc, argv) ? client : NULL;
}

static rfbClient *viewer(void)
{
    uint64_t until = far_now_us() + 60000000;
    rfbClient *client;

    while (!(client = viewer_at(port, "open sesame"))) {
        ck_assert_uint_lt(far_now_us(), until);
        nap_ms(50);
    }
    return client;
}

static void leave(rfbClient *client)
{
    free(client->frameBuffer);
    client->frameBuffer = NULL;
    rfbClientCleanup(client);
}

static bool sees(const rfbClient *client, unsigned seed, int width, int height)
{
    const uint32_t *at = (const uint32_t *)(const void *)client->frameBuffer;

    if (client->width != width || client->height != height)
        return false;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint32_t p = at[y * width + x];
            const uint8_t seen[3] = { p & 255, p >> 8 & 255, p >> 16 & 255 };

            if (!picture_is("XR24",
                            picture_pixel(seed, (uint32_t)x, (uint32_t)y),
                            seen))
                return false;
        }
    return true;
}

static void looks_until(rfbClient *client, unsigned seed, int width, int height)
{
    uint64_t until = far_now_us() + 60000000;

    while (!sees(client, seed, width, height)) {
        int n = WaitForMessage(client, 20000);

        ck_assert_msg(far_now_us() < until, "picture %u is not seen", seed);
        ck_assert_int_ge(n, 0);
        if (n)
            ck_assert(HandleRFBServerMessage(client));
    }
}

START_TEST(viewers_see_every_pixel_and_follow_the_guests_size)
{
    struct desktop d = desktop();
    rfbClient *one = viewer(), *two;

    ck_assert_int_eq(one->width, 640); /* nothing is shown yet */
    OK(&d.screen, "scene 0 XR24 1");
    looks_until(one, 1, 320, 200);
    two = viewer();
    OK(&d.screen, "draw 2 XR24 2");
    OK(&d.screen, "flip 0 102");
    OK(&d.screen, "event 0 102");
    looks_until(one, 2, 320, 200);
    looks_until(two, 2, 320, 200);
    leave(one);
    OK(&d.screen, "draw 1 XR24 3");
    OK(&d.screen, "flip 0 101");
    OK(&d.screen, "event 0 101");
    looks_until(two, 3, 320, 200);
    leave(two);
    end_desktop(&d);
}
END_TEST

START_TEST(what_viewers_press_is_pressed_in_the_guest_and_released_with_them)
{
    struct desktop d = desktop();
    rfbClient *client;
    char want[64];

    OK(&d.screen, "scene 0 XR24 1");
    connect_front(&d.keys, 0);
    client = viewer();
    looks_until(client, 1, 320, 200);
    SendKeyEvent(client, 'a', TRUE);
    SendKeyEvent(client, 'a', FALSE);
    snprintf(want, sizeof(want), "ok k%d+ k%d-", KEY_A, KEY_A);
    ck_assert_str_eq(say(&d.keys, "drain 0 20000 2"), want);
    SendKeyEvent(client, 0xffe1, TRUE); /* Shift_L */
    SendKeyEvent(client, '?', TRUE);
    snprintf(want, sizeof(want), "ok k%d+ k%d+", KEY_LEFTSHIFT, KEY_SLASH);
    ck_assert_str_eq(say(&d.keys, "drain 0 20000 2"), want);
    leave(client); /* both are held */
    snprintf(want, sizeof(want), "ok k%d- k%d-", KEY_LEFTSHIFT, KEY_SLASH);
    ck_assert_str_eq(say(&d.keys, "drain 0 20000 2"), want);

    client = viewer();
    SendPointerEvent(client, 319, 0, 0);
    ck_assert_str_eq(say(&d.keys, "drain 0 20000 1"), "ok p319,0,0");
    SendPointerEvent(client, 319, 0, 1);
    snprintf(want, sizeof(want), "ok p319,0,0 k%d+", BTN_LEFT);
    ck_assert_str_eq(say(&d.keys, "drain 0 20000 2"), want);
    SendPointerEvent(client, 0, 199, 8 | 1); /* wheel up */
    ck_assert_str_eq(say(&d.keys, "drain 0 20000 1"), "ok p0,199,-1");
    leave(client);
    snprintf(want, sizeof(want), "ok k%d-", BTN_LEFT);
    ck_assert_str_eq(say(&d.keys, "drain 0 20000 1"), want);
    end_desktop(&d);
}
END_TEST

static int connected_socket(unsigned at)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)at),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval limit = { .tv_sec = 10 };
    uint64_t until = far_now_us() + 60000000;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    while (connect(fd, (struct sockaddr *)&to, sizeof(to))) {
        ck_assert_uint_lt(far_now_us(), until);
        nap_ms(20);
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

#define UPGRADE                                       \
    "GET /websockify HTTP/1.1\r\nHost: localhost\r\n" \
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
    "Sec-WebSocket-Protocol: binary\r\n"              \
    "Sec-WebSocket-Version: 13\r\nOrigin: null\r\n\r\n"

/* A websocket in TLS, as far as the server's greeting. */
static bool web_greets(void)
{
    gnutls_certificate_credentials_t any;
    gnutls_session_t tls;
    int fd = connected_socket(port + 1), r;
    char text[2048];
    size_t got = 0;

    ck_assert_int_eq(gnutls_certificate_allocate_credentials(&any), 0);
    ck_assert_int_eq(gnutls_init(&tls, GNUTLS_CLIENT), 0);
    gnutls_set_default_priority(tls);
    gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, any);
    gnutls_transport_set_int(tls, fd);
    do
        r = gnutls_handshake(tls);
    while (r < 0 && !gnutls_error_is_fatal(r));
    if (r == 0)
        gnutls_record_send(tls, UPGRADE, sizeof(UPGRADE) - 1);
    while (r == 0 && got < sizeof(text) - 1) {
        ssize_t n = gnutls_record_recv(tls, text + got, sizeof(text) - 1 - got);

        if (n <= 0)
            break;
        got += (size_t)n;
        text[got] = '\0';
        if (strstr(text, " 101 ") && memmem(text, got, "RFB 003.", 8))
            break;
    }
    gnutls_deinit(tls);
    gnutls_certificate_free_credentials(any);
    close(fd);
    return got && memmem(text, got, "RFB 003.", 8);
}

/* Does the server end it after these bytes? Else it waits for the viewer. */
static bool is_turned_away(unsigned at, const void *first, size_t bytes)
{
    struct timeval limit = { .tv_sec = 3 };
    int fd = connected_socket(at);
    char text[512];
    ssize_t n;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (bytes)
        ck_assert_int_eq(write(fd, first, bytes), (ssize_t)bytes);
    while ((n = read(fd, text, sizeof(text))) > 0)
        ;
    n = n < 0 ? -errno : 0;
    close(fd);
    return n == 0 || n == -ECONNRESET;
}

START_TEST(who_must_not_look_is_turned_away)
{
    struct desktop d = desktop();
    rfbClient *client = viewer();

    OK(&d.screen, "scene 0 XR24 1");
    ck_assert_ptr_null(viewer_at(port, "wrong"));
    ck_assert(!is_turned_away(port, NULL, 0));
    /* at the web's port only websockets in TLS */
    ck_assert(is_turned_away(port + 1, NULL, 0));
    ck_assert(is_turned_away(port + 1, UPGRADE, sizeof(UPGRADE) - 1));
    ck_assert_ptr_null(viewer_at(port + 1, "open sesame"));
    ck_assert(web_greets());
    looks_until(client, 1, 320, 200);
    leave(client);
    end_desktop(&d);
}
END_TEST

START_TEST(viewers_that_send_nonsense_or_take_nothing_harm_nobody)
{
    struct desktop d = desktop();
    rfbClient *client = viewer();
    uint8_t noise[4096];
    unsigned seed = 1;

    OK(&d.screen, "scene 0 XR24 1");
    looks_until(client, 1, 320, 200);
    for (unsigned i = 0; i < 20; i++) {
        unsigned n = 1 + ++seed % 2;
        int fd = connected_socket(port + (i & 1));

        for (size_t k = 0; k < sizeof(noise); k++)
            noise[k] = (uint8_t)(picture_pixel(i, (uint32_t)k, 0) >> 3);
        if (i % 3)
            memcpy(noise, "RFB 003.008\n", 12);
        (void)!write(fd, noise, sizeof(noise));
        OK(&d.screen, "draw %u XR24 %u", n, seed);
        OK(&d.screen, "flip 0 %u", 100 + n);
        OK(&d.screen, "event 0 %u", 100 + n); /* whatever viewers do */
        close(fd);
        looks_until(client, seed, 320, 200);
    }
    leave(client);
    end_desktop(&d);
}
END_TEST

START_TEST(a_killed_farside_vnc_costs_the_guest_nothing)
{
    struct desktop d = desktop();
    rfbClient *client = viewer();

    OK(&d.screen, "scene 0 XR24 1");
    looks_until(client, 1, 320, 200);
    end_with(&vnc, SIGKILL);
    OK(&d.screen, "draw 2 XR24 2");
    OK(&d.screen, "flip 0 102");
    OK(&d.screen, "event 0 102");
    leave(client);
    vnc = start_vnc();
    client = viewer();
    looks_until(client, 2, 320, 200);
    leave(client);
    end_desktop(&d);
}
END_TEST

START_TEST(farside_console_prints_how_to_look)
{
    struct desktop d = desktop();
    char out[2048];

    OK(&d.screen, "scene 0 XR24 1");
    ck_assert_int_eq(
        host_do(out, sizeof(out), "run atlas -- %s/farside console g", build),
        0);
    ck_assert_msg(strstr(out, "vnc://localhost:") != NULL, "%s", out);
    ck_assert_int_eq(host_do(out, sizeof(out),
                             "run atlas -- %s/farside console nobody 2>&1",
                             build),
                     1);
    end_desktop(&d);
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { viewers_see_every_pixel_and_follow_the_guests_size, 1 },
        { what_viewers_press_is_pressed_in_the_guest_and_released_with_them,
          1 },
        { who_must_not_look_is_turned_away, 1 },
        { viewers_that_send_nonsense_or_take_nothing_harm_nobody, 1 },
        { a_killed_farside_vnc_costs_the_guest_nothing, 1 },
        { farside_console_prints_how_to_look, 1 },
    };

    return host_main("vnc", tests, sizeof(tests) / sizeof(tests[0]), set_up,
                     tear_down, full(600, 240), argc, argv);
}

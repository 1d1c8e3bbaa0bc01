/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside-vnc: a screen that viewers look at over VNC, as an outside device of
 * class display in a process of its own; and, with --input, their keys and
 * pointer as an outside device of class input. libvncserver speaks RFB,
 * libfarside-device to Farside; here is what lies between, and who may come in:
 * plain RFB on loopback only, everybody else by websockets in TLS (noVNC).
 *
 * Whose picture is shown is who set a mode last. What libvncserver does for one
 * viewer it does in this process's one thread: a viewer that does not read can
 * hold it for CLIENT_MS, and is thrown out then.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/input-event-codes.h>
#include <rfb/rfb.h>
#include "core/input.h"
#include "devices/farside-device.h"
#include "devices/tiles.h"
#include "devices/vnc-keys.h"

#define CLIENT_MS      2000 /* a viewer may keep us waiting so long */
#define VIEWERS_MAX    32u
#define IDLE_MS        1000
#define BUSY_MS        10
#define PASSWORD_BYTES 9 /* VNC has no longer ones: 8 */

/* A port that listens: loopback's, or the web's. */
struct door {
    rfbScreenInfoPtr screen; /* NULL: closed */
    bool tls;                /* only websockets in TLS */
};

struct program {
    struct far_outside *display, *input;
    struct far_packer *packer;
    struct far_outside_user *shown; /* whose picture it is */
    uint32_t width, height;
    uint32_t *pixels; /* as libvncserver likes them: red, green, blue */
    struct door doors[2];
    char *passwords[2];
    unsigned viewers;
};

/* What a viewer has pressed. */
struct viewer {
    struct program *program;
    uint8_t keys[(FAR_INPUT_KEY_MAX + 8) / 8];
    int buttons;
};

static volatile sig_atomic_t ends;

static void on_signal(int number)
{
    (void)number;
    ends = 1;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "farside-vnc: ");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

/* ---- the picture ---- */

/* "There is nothing to be seen" has a size too. */
#define DARK_WIDTH  640u
#define DARK_HEIGHT 480u

static int set_size(struct program *p, uint32_t width, uint32_t height)
{
    uint32_t *old = p->pixels, *pixels;

    if (width == p->width && height == p->height)
        return 0;
    pixels = calloc((size_t)width * height, 4);
    if (!pixels)
        return -ENOMEM;
    p->pixels = pixels;
    p->width = width;
    p->height = height;
    for (unsigned i = 0; i < 2; i++)
        if (p->doors[i].screen)
            rfbNewFramebuffer(p->doors[i].screen, (char *)pixels, (int)width,
                              (int)height, 8, 3, 4);
    free(old);
    return 0;
}

static void go_dark(struct program *p)
{
    p->shown = NULL;
    if (set_size(p, DARK_WIDTH, DARK_HEIGHT))
        return;
    memset(p->pixels, 0, (size_t)p->width * p->height * 4);
    for (unsigned i = 0; i < 2; i++)
        if (p->doors[i].screen)
            rfbMarkRectAsModified(p->doors[i].screen, 0, 0, (int)p->width,
                                  (int)p->height);
}

static int set_mode(struct program *p, struct far_outside_user *user,
                    const struct far_display_mode *mode)
{
    if (!mode->width) {
        if (p->shown == user)
            go_dark(p);
        return 0;
    }
    if (p->shown != user) /* nothing of who was shown before */
        go_dark(p);
    p->shown = user;
    return set_size(p, mode->width, mode->height);
}

static void draw(void *arg, const struct far_display_rect *r,
                 const uint8_t *pixels)
{
    struct program *p = arg;

    for (uint32_t y = 0; y < r->height; y++) {
        uint32_t *to = p->pixels + (size_t)(r->y + y) * p->width + r->x;

        for (uint32_t x = 0; x < r->width; x++, pixels += 4)
            to[x] = (uint32_t)pixels[2] | (uint32_t)pixels[1] << 8 |
                    (uint32_t)pixels[0] << 16;
    }
    for (unsigned i = 0; i < 2; i++)
        if (p->doors[i].screen)
            rfbMarkRectAsModified(p->doors[i].screen, (int)r->x, (int)r->y,
                                  (int)(r->x + r->width),
                                  (int)(r->y + r->height));
}

static bool on_op(void *arg, struct far_outside_user *user,
                  struct far_outside_op *outside, void *payload)
{
    struct program *p = arg;
    struct far_display_mode mode;
    struct far_op op = { .opcode = outside->opcode,
                         .flags = outside->flags,
                         .payload_bytes = outside->payload_bytes };

    memcpy(op.args, outside->args, sizeof(op.args));
    memcpy(&mode, op.args, sizeof(mode));
    outside->status = far_display_check(&op);
    outside->payload_bytes = 0;
    if (outside->status)
        return true;
    if (op.opcode == FAR_DISPLAY_MODE)
        outside->status = set_mode(p, user, &mode);
    else if (op.opcode == FAR_DISPLAY_TILES && user == p->shown)
        outside->status = far_draw_tiles(p->packer, &op, payload, p->width,
                                         p->height, draw, p);
    return true;
}

static void on_detached(void *arg, struct far_outside_user *user)
{
    struct program *p = arg;

    if (p->shown == user)
        go_dark(p);
}

/* ---- viewers ---- */

static struct program *program_of(const rfbClientRec *client)
{
    return client->screen->screenData;
}

static void key(struct viewer *v, int code, bool down)
{
    uint8_t bit = (uint8_t)(1u << code % 8);

    if (down)
        v->keys[code / 8] |= bit;
    else
        v->keys[code / 8] &= (uint8_t)~bit;
    if (v->program->input)
        (void)far_outside_key(v->program->input, (unsigned)code, down);
}

static void on_key(rfbBool down, rfbKeySym keysym, rfbClientRec *client)
{
    int code = far_vnc_key(keysym);

    if (code >= 0 && client->clientData)
        key(client->clientData, code, down);
}

static void on_pointer(int buttons, int x, int y, rfbClientRec *client)
{
    static const int codes[] = { BTN_LEFT, BTN_MIDDLE, BTN_RIGHT };
    struct viewer *v = client->clientData;
    struct program *p = program_of(client);
    int pressed, dz;

    if (!v || !p->input)
        return;
    pressed = buttons & ~v->buttons;
    dz = (pressed & 16 ? 1 : 0) - (pressed & 8 ? 1 : 0);
    x = x < 0 ? 0 : x >= (int)p->width ? (int)p->width - 1 : x;
    y = y < 0 ? 0 : y >= (int)p->height ? (int)p->height - 1 : y;
    (void)far_outside_position(
        p->input, (int)((int64_t)x * FAR_INPUT_POS_MAX / (p->width - 1)),
        (int)((int64_t)y * FAR_INPUT_POS_MAX / (p->height - 1)), dz);
    for (unsigned i = 0; i < 3; i++)
        if ((buttons ^ v->buttons) & 1 << i)
            key(v, codes[i], buttons & 1 << i);
    v->buttons = buttons;
}

static void on_gone(rfbClientRec *client)
{
    struct viewer *v = client->clientData;

    /* libvncserver 0.9.14 forgets it: 45 KB for each websocket */
    free(client->wsctx);
    client->wsctx = NULL;
    if (!v)
        return;
    for (int code = 0; code <= FAR_INPUT_KEY_MAX; code++)
        if (v->keys[code / 8] & 1u << code % 8)
            key(v, code, false);
    v->program->viewers--;
    client->clientData = NULL;
    free(v);
}

static enum rfbNewClientAction on_viewer(rfbClientRec *client)
{
    struct program *p = program_of(client);
    struct viewer *v;
    bool tls = false;

    client->clientGoneHook = on_gone;
    for (unsigned i = 0; i < 2; i++)
        if (p->doors[i].screen == client->screen)
            tls = p->doors[i].tls;
    if ((tls && (!client->wsctx || !client->sslctx)) ||
        p->viewers == VIEWERS_MAX)
        return RFB_CLIENT_REFUSE;
    v = calloc(1, sizeof(*v));
    if (!v)
        return RFB_CLIENT_REFUSE;
    v->program = p;
    p->viewers++;
    client->clientData = v;
    return RFB_CLIENT_ACCEPT;
}

/* A viewer's window has another size: the guest is told what would be liked,
 * and the viewer that it is not so yet. */
static int on_resize(int width, int height, int screens,
                     struct rfbExtDesktopScreen *layout, rfbClientRec *client)
{
    const struct far_display_mode wish = { .width = (uint32_t)width,
                                           .height = (uint32_t)height };
    struct program *p = program_of(client);
    uint8_t args[32];

    (void)screens;
    (void)layout;
    memcpy(args, &wish, sizeof(args));
    if (p->shown && width > 0 && height > 0 &&
        far_display_size_valid(wish.width, wish.height))
        (void)far_outside_interrupt(p->shown, FAR_DISPLAY_WISH, args);
    return rfbExtDesktopSize_ResizeProhibited;
}

/* ---- doors ---- */

/* address NULL: loopback. 0, or a negative errno, said. */
static int open_door(struct program *p, struct door *door, const char *address,
                     int port, char *cert, char *key_file)
{
    static char loopback[] = "::1", any[] = "::";
    rfbScreenInfoPtr s =
        rfbGetScreen(NULL, NULL, (int)p->width, (int)p->height, 8, 3, 4);

    if (!s)
        return -ENOMEM;
    s->frameBuffer = (char *)p->pixels;
    s->screenData = p;
    s->desktopName = "Farside";
    s->port = s->ipv6port = port;
    s->autoPort = FALSE;
    s->alwaysShared = TRUE;
    s->cursor = NULL; /* the guest draws its own */
    s->deferUpdateTime = 0;
    s->maxClientWait = CLIENT_MS;
    s->listenInterface = htonl(address ? INADDR_ANY : INADDR_LOOPBACK);
    s->listen6Interface = address ? any : loopback;
    if (address && strcmp(address, "*")) {
        struct in6_addr six;

        if (inet_pton(AF_INET, address, &s->listenInterface) == 1) {
            s->ipv6port = 0;
        } else if (inet_pton(AF_INET6, address, &six) == 1) {
            s->listen6Interface = (char *)(uintptr_t)address;
            s->port = 0;
        } else {
            say("--web: %s is no address of this machine", address);
            return -EINVAL;
        }
    }
    s->sslcertfile = cert;
    s->sslkeyfile = key_file;
    s->kbdAddEvent = on_key;
    s->ptrAddEvent = on_pointer;
    s->newClientHook = on_viewer;
    s->setDesktopSizeHook = on_resize;
    if (p->passwords[0]) {
        s->authPasswdData = p->passwords;
        s->passwordCheck = rfbCheckPasswordByList;
    }
    door->tls = address != NULL;
    door->screen = s;
    rfbInitServer(s);
    if (s->listenSock < 0 && s->listen6Sock < 0) {
        say("port %d can't be listened at: %s", port, strerror(errno));
        return -EADDRINUSE;
    }
    return 0;
}

static bool any_viewers(const struct program *p)
{
    return p->viewers != 0;
}

static unsigned add_sockets(const struct door *door, struct pollfd *fds,
                            unsigned count, unsigned most)
{
    rfbClientIteratorPtr iterator;
    rfbClientPtr client;

    if (!door->screen)
        return count;
    if (door->screen->listenSock >= 0 && count < most)
        fds[count++] = (struct pollfd){ door->screen->listenSock, POLLIN, 0 };
    if (door->screen->listen6Sock >= 0 && count < most)
        fds[count++] = (struct pollfd){ door->screen->listen6Sock, POLLIN, 0 };
    iterator = rfbGetClientIterator(door->screen);
    while ((client = rfbClientIteratorNext(iterator)))
        if (count < most && client->sock >= 0)
            fds[count++] = (struct pollfd){ client->sock, POLLIN, 0 };
    rfbReleaseClientIterator(iterator);
    return count;
}

static void run(struct program *p)
{
    struct pollfd fds[2 * VIEWERS_MAX + 8];
    const unsigned most = sizeof(fds) / sizeof(fds[0]);

    while (!ends) {
        unsigned count = 0;

        (void)far_outside_turn(p->display, 0);
        if (p->input)
            (void)far_outside_turn(p->input, 0);
        for (unsigned i = 0; i < 2; i++)
            if (p->doors[i].screen)
                (void)rfbProcessEvents(p->doors[i].screen, 0);
        fds[count++] = (struct pollfd){ far_outside_fd(p->display), POLLIN, 0 };
        if (p->input)
            fds[count++] =
                (struct pollfd){ far_outside_fd(p->input), POLLIN, 0 };
        for (unsigned i = 0; i < 2; i++)
            count = add_sockets(&p->doors[i], fds, count, most);
        (void)poll(fds, count, any_viewers(p) ? BUSY_MS : IDLE_MS);
    }
}

/* ---- beginning ---- */

/* Its first line, as far as VNC takes it. */
static char *read_password(const char *path)
{
    static char password[PASSWORD_BYTES];
    struct stat st;
    FILE *f = fopen(path, "re");

    if (!f || fstat(fileno(f), &st) || !fgets(password, sizeof(password), f)) {
        say("the password can't be read from %s: %s", path,
            f ? "it is empty" : strerror(errno));
        if (f)
            fclose(f);
        return NULL;
    }
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        say("%s can be read by others than its owner", path);
    fclose(f);
    password[strcspn(password, "\r\n")] = '\0';
    if (!password[0])
        say("the password in %s is empty", path);
    return password[0] ? password : NULL;
}

static void quiet(const char *format, ...)
{
    (void)format;
}

static int usage(void)
{
    fprintf(
        stderr,
        "usage: farside-vnc [--socket=PATH] [--input=PATH] [--port=NUMBER]\n"
        "                   [--password=FILE]\n"
        "                   [--web=[ADDRESS:]PORT --cert=FILE --key=FILE]\n"
        "Shows a screen of Farside to VNC viewers; see farside-vnc(8).\n");
    return 2;
}

struct options {
    const char *socket, *input, *password;
    char *web, *cert, *key;
    long port;
};

static bool parse(struct options *o, int argc, char **argv)
{
    static const struct option options[] = {
        { "socket", required_argument, NULL, 's' },
        { "input", required_argument, NULL, 'i' },
        { "port", required_argument, NULL, 'p' },
        { "password", required_argument, NULL, 'w' },
        { "web", required_argument, NULL, 'W' },
        { "cert", required_argument, NULL, 'c' },
        { "key", required_argument, NULL, 'k' },
        { "help", no_argument, NULL, 'h' },
        { 0 }
    };
    char *end;
    int c;

    *o = (struct options){ .port = 5900 };
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 's':
            o->socket = optarg;
            break;
        case 'i':
            o->input = optarg;
            break;
        case 'w':
            o->password = optarg;
            break;
        case 'W':
            o->web = optarg;
            break;
        case 'c':
            o->cert = optarg;
            break;
        case 'k':
            o->key = optarg;
            break;
        case 'p':
            o->port = strtol(optarg, &end, 10);
            if (*end || o->port < 0 || o->port > 65535)
                return false;
            break;
        default:
            return false;
        }
    }
    if (optind != argc || (o->web && (!o->cert || !o->key)))
        return false;
    if (o->web && !o->password) {
        say("--web needs --password: everybody could look");
        return false;
    }
    return true;
}

static int open_doors(struct program *p, const struct options *o)
{
    char *at, *end;
    long port;
    int r = 0;

    if (o->port)
        r = open_door(p, &p->doors[0], NULL, (int)o->port, NULL, NULL);
    if (r || !o->web)
        return r;
    at = strrchr(o->web, ':');
    port = strtol(at ? at + 1 : o->web, &end, 10);
    if (*end || port < 1 || port > 65535) {
        say("--web=%s: wants a port", o->web);
        return -EINVAL;
    }
    if (at)
        *at = '\0';
    return open_door(p, &p->doors[1], at ? o->web : "*", (int)port, o->cert,
                     o->key);
}

static int open_devices(struct program *p, const struct options *o)
{
    static const struct far_outside_calls calls = { .bytes = sizeof(calls),
                                                    .detached = on_detached,
                                                    .op = on_op };
    static const struct far_outside_calls none = { .bytes = sizeof(none) };
    const struct far_display_props props = { .encodings =
                                                 far_tiles_encodings() };
    const struct far_input_props can = { .can = FAR_INPUT_CAN_KEYS |
                                                FAR_INPUT_CAN_BUTTONS |
                                                FAR_INPUT_CAN_ABS };
    char why[200];

    p->display =
        far_outside_new(o->socket, "display", &calls, p, why, sizeof(why));
    if (p->display && o->input)
        p->input =
            far_outside_new(o->input, "input", &none, p, why, sizeof(why));
    if (!p->display || (o->input && !p->input)) {
        say("%s", why);
        return -EIO;
    }
    (void)far_outside_props(p->display, &props, sizeof(props));
    if (p->input)
        (void)far_outside_props(p->input, &can, sizeof(can));
    return 0;
}

int main(int argc, char **argv)
{
    static struct program p;
    struct sigaction action = { .sa_handler = on_signal };
    struct options o;

    if (!parse(&o, argc, argv))
        return usage();
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    rfbLog = rfbErr = quiet;
    rfbMaxClientWait = CLIENT_MS;
    if (o.password) {
        p.passwords[0] = read_password(o.password);
        if (!p.passwords[0])
            return 1;
    }
    p.packer = far_packer_new();
    if (!p.packer || set_size(&p, DARK_WIDTH, DARK_HEIGHT))
        return 1;
    if (open_doors(&p, &o) || open_devices(&p, &o))
        return 1;
    run(&p);
    for (unsigned i = 0; i < 2; i++)
        if (p.doors[i].screen) {
            rfbShutdownServer(p.doors[i].screen, TRUE);
            rfbScreenCleanup(p.doors[i].screen);
        }
    far_outside_free(p.display);
    far_outside_free(p.input);
    far_packer_free(p.packer);
    free(p.pixels);
    return 0;
}

/* gwcross.c - load generator for what crosses nodes: senders on the first node,
 * listeners on others, and what the processes of each spent on a message.
 *
 *   gwcross [options] uid|room|all HOST:PORT…
 *
 * Listener i has the name i % NAMES + 1, a uid or a room, and is on one of the
 * nodes FROM to TO in turn. A sender sends the text ["uid","7","TEXT"] (room,
 * or all, which has no name), and each who has the name is to hear
 * ["m","TEXT"]. With -e the same in the frames of Engine.IO and Socket.IO,
 * which put 42 in front. Every message leaves at a time of its own, at a rate,
 * or with a number in flight. What is sent while warming up is not counted, and
 * not missed. Prints one JSON line.
 *
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "load.h"

#define NODES_MAX  64
#define GROUPS_MAX 8
#define PIDS_MAX   1024
#define EVENTS     512
#define HEAD_LEN   18 /* "%016llx" of the time, and 1 if it counts */
#define TEXT_MAX   4096
#define BUF_SIZE   65536
#define SEND_ROUND 64 /* messages sent before it looks at what came */

struct client {
    int fd;
    size_t in_len;
    uint8_t in[BUF_SIZE];
};

/* Processes whose time is told together. */
struct group {
    const char *name;
    int pids[PIDS_MAX];
    unsigned count;
    uint64_t ns;
};

static struct {
    const char *what; /* uid, room, all */
    bool socket_io;
    unsigned senders, listeners, names;
    unsigned from, to; /* the listeners' nodes */
    size_t size;
    double rate; /* messages a second; 0: by in_flight */
    unsigned in_flight;
    double seconds, warmup;
    struct group groups[GROUPS_MAX];
    unsigned ngroups;
    struct sockaddr_in nodes[NODES_MAX];
    unsigned nnodes;
} opt = {
    .senders = 16,
    .listeners = 48,
    .names = 48,
    .to = NODES_MAX,
    .size = 64,
    .in_flight = 1,
    .seconds = 3,
    .warmup = 1,
};

static struct {
    struct client **clients; /* the senders first */
    unsigned count;
    int epoll;
    bool counting;
    uint64_t sent;          /* of all, with the warm-up */
    uint64_t heard;         /* likewise, deliveries */
    uint64_t counted, came; /* those that count */
    uint64_t other;         /* frames that are none of ours */
    struct histogram hist;
} run;

/* How many are to hear a message. */
static unsigned fanout(void)
{
    return strcmp(opt.what, "all") == 0 ? run.count : opt.listeners / opt.names;
}

static void put(struct client *c, const char *text, size_t len)
{
    uint8_t frame[TEXT_MAX + 64 + FRAME_EXTRA];
    size_t size = frame_put(frame, 0x1, (const uint8_t *)text, len);

    if (send(c->fd, frame, size, MSG_NOSIGNAL) != (ssize_t)size)
        die("send", "the server does not read");
}

static void send_message(void)
{
    static char padding[TEXT_MAX];
    char text[TEXT_MAX + 64];
    char name[16] = "";
    int len;

    if (!padding[0])
        memset(padding, 'x', sizeof(padding));
    if (strcmp(opt.what, "all") != 0)
        snprintf(
            name, sizeof(name), "\"%u\",", (unsigned)run.sent % opt.names + 1);
    len = snprintf(text, sizeof(text), "%s[\"%s\",%s\"%016" PRIx64 "%d:%.*s\"]",
        opt.socket_io ? "42" : "", opt.what, name, now_ns(), run.counting,
        (int)(opt.size - HEAD_LEN), padding);
    put(run.clients[run.sent++ % opt.senders], text, (size_t)len);
    run.counted += run.counting;
}

static void on_message(struct client *c, const uint8_t *data, size_t len)
{
    const char *begin = opt.socket_io ? "42[\"m\",\"" : "[\"m\",\"";
    size_t skip = strlen(begin);
    char head[HEAD_LEN];
    uint64_t sent_at;

    if (opt.socket_io && len == 1 && data[0] == '2') {
        put(c, "3", 1); /* its ping */
        return;
    }
    if (len != skip + opt.size + 2 || memcmp(data, begin, skip) != 0) {
        run.other++;
        return;
    }
    run.heard++;
    memcpy(head, data + skip, HEAD_LEN - 1);
    head[HEAD_LEN - 1] = '\0';
    if (head[HEAD_LEN - 2] != '1')
        return;
    head[HEAD_LEN - 2] = '\0';
    sent_at = strtoull(head, NULL, 16);
    hist_add(&run.hist, now_ns() - sent_at);
    run.came++;
}

static void on_readable(struct client *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, BUF_SIZE - c->in_len, 0);
    size_t done = 0, used, head, len;
    uint8_t opcode;

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        die("a client was closed", n < 0 ? strerror(errno) : "by the server");
    c->in_len += (size_t)n;
    while ((used = frame_next(
                c->in + done, c->in_len - done, &opcode, &head, &len)) > 0) {
        if (opcode == 0x1)
            on_message(c, c->in + done + head, len);
        done += used;
    }
    c->in_len -= done;
    memmove(c->in, c->in + done, c->in_len);
}

/* Read to the end of the handshake's answer, or of Socket.IO's. */
static void wait_for(struct client *c, const char *text)
{
    for (;;) {
        ssize_t n;
        uint8_t *found = memmem(c->in, c->in_len, text, strlen(text));

        if (found) {
            size_t done = (size_t)(found + strlen(text) - c->in);

            c->in_len -= done;
            memmove(c->in, c->in + done, c->in_len);
            return;
        }
        n = recv(c->fd, c->in + c->in_len, BUF_SIZE - c->in_len, 0);
        if (n <= 0)
            die("no answer to the handshake, waiting for", text);
        c->in_len += (size_t)n;
    }
}

/* A client of that node; name NULL: a sender. */
static void open_client(unsigned node, const unsigned *name)
{
    struct client *c = calloc(1, sizeof(*c));
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    struct timeval patience = {.tv_sec = 60};
    char query[64] = "";
    char text[512];
    int one = 1;
    int len;

    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(c->fd, (struct sockaddr *)&opt.nodes[node],
            sizeof(opt.nodes[node])) < 0)
        die("connect", strerror(errno));
    if (name)
        snprintf(query, sizeof(query), "%s=%u", opt.what, *name);
    len = snprintf(text, sizeof(text),
        "GET %s%s HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        opt.socket_io ? "/socket.io/?EIO=4&transport=websocket&" : "/?", query);
    if (send(c->fd, text, (size_t)len, MSG_NOSIGNAL) != len)
        die("send", strerror(errno));
    wait_for(c, "\r\n\r\n");
    if (opt.socket_io) {
        wait_for(c, "\"maxPayload\":");
        wait_for(c, "}");
        put(c, "40", 2);
        wait_for(c, "40{");
        wait_for(c, "}");
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(run.epoll, EPOLL_CTL_ADD, c->fd, &ev);
    run.clients[run.count++] = c;
}

static void open_all(void)
{
    run.clients = calloc(opt.senders + opt.listeners, sizeof(*run.clients));
    run.epoll = epoll_create1(0);
    if (opt.to >= opt.nnodes)
        opt.to = opt.nnodes - 1;
    for (unsigned i = 0; i < opt.senders; i++)
        open_client(0, NULL);
    for (unsigned i = 0; i < opt.listeners; i++) {
        unsigned name = i % opt.names + 1;
        unsigned turn = i % opt.names + i / opt.names;

        open_client(opt.from + turn % (opt.to - opt.from + 1), &name);
    }
}

/* Hear what comes until the time, in ns. */
static void listen_until(uint64_t until)
{
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns();
    uint64_t wait = until > now ? until - now : 0;
    struct timespec ts = {
        .tv_sec = (time_t)(wait / 1000000000u),
        .tv_nsec = (long)(wait % 1000000000u),
    };
    int n = epoll_pwait2(run.epoll, events, EVENTS, &ts, NULL);

    for (int i = 0; i < n; i++)
        on_readable(events[i].data.ptr);
}

/* Send at the rate, or what in_flight leaves, for so long. */
static void drive(double seconds)
{
    uint64_t began = now_ns();
    uint64_t end = began + (uint64_t)(seconds * 1e9);
    uint64_t first = run.sent, now;

    run.heard = run.sent * fanout(); /* what did not come yet may never do */
    while ((now = now_ns()) < end) {
        uint64_t next = end;

        for (int i = 0; i < SEND_ROUND; i++) {
            if (opt.rate > 0) {
                next = began +
                       (uint64_t)((double)(run.sent - first) / opt.rate * 1e9);
                if (next > now)
                    break;
            } else if (run.sent * fanout() >=
                       run.heard + (uint64_t)opt.in_flight * fanout()) {
                break;
            }
            send_message();
            next = now;
        }
        listen_until(next < end ? next : end);
    }
}

static void take_times(int sign)
{
    for (unsigned i = 0; i < opt.ngroups; i++) {
        struct group *g = &opt.groups[i];

        g->ns += (uint64_t)sign * cpu_ns(g->pids, g->count);
    }
}

static void report(double seconds)
{
    double sent = run.counted ? (double)run.counted : 1;

    printf("{\"sent\":%" PRIu64 ",\"with_warmup\":%" PRIu64
           ",\"per_second\":%.0f,\"lost\":%" PRIu64 ",\"other\":%" PRIu64
           ",\"p50\":%.1f,\"p99\":%.1f,\"cpu\":{",
        run.counted, run.sent, (double)run.counted / seconds,
        run.counted * fanout() - run.came, run.other,
        hist_percentile(&run.hist, 0.5), hist_percentile(&run.hist, 0.99));
    for (unsigned i = 0; i < opt.ngroups; i++)
        printf("%s\"%s\":%.3f", i > 0 ? "," : "", opt.groups[i].name,
            (double)opt.groups[i].ns / 1e3 / sent);
    printf("}}\n");
}

static void usage(void)
{
    fputs("usage: gwcross [options] uid|room|all HOST:PORT…\n"
          "  -e             speak Socket.IO\n"
          "  -c N           senders, on the first node (16)\n"
          "  -l N           listeners (48)\n"
          "  -n N           names that they share (48)\n"
          "  -a FROM        first node of listeners, from 0 (0)\n"
          "  -z TO          last node of listeners (the last)\n"
          "  -s BYTES       size of the text (64)\n"
          "  -r RATE        messages a second (0: as many as come back)\n"
          "  -i N           in flight, without -r (1)\n"
          "  -t SEC         measure for so long (3)\n"
          "  -w SEC         warm up for so long first (1)\n"
          "  -p NAME=PIDS   processes, comma separated, whose CPU is told\n",
        stderr);
    exit(2);
}

static void add_group(char *text)
{
    struct group *g = &opt.groups[opt.ngroups++];
    char *pids = strchr(text, '=');

    if (!pids || opt.ngroups == GROUPS_MAX)
        usage();
    *pids++ = '\0';
    g->name = text;
    for (char *p = strtok(pids, ","); p && g->count < PIDS_MAX;
         p = strtok(NULL, ","))
        g->pids[g->count++] = (int)strtol(p, NULL, 10);
}

static void add_node(char *text)
{
    struct sockaddr_in *sa = &opt.nodes[opt.nnodes];
    char *colon = strrchr(text, ':');

    if (!colon || opt.nnodes == NODES_MAX)
        usage();
    *colon = '\0';
    sa->sin_family = AF_INET;
    sa->sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, text, &sa->sin_addr) != 1)
        die("not an IPv4 address", text);
    opt.nnodes++;
}

static void parse_options(int argc, char **argv)
{
    unsigned *const numbers[] = {['c'] = &opt.senders,
        ['l'] = &opt.listeners,
        ['n'] = &opt.names,
        ['a'] = &opt.from,
        ['z'] = &opt.to,
        ['i'] = &opt.in_flight};
    double *const decimals[] = {
        ['r'] = &opt.rate, ['t'] = &opt.seconds, ['w'] = &opt.warmup};
    int o;

    while ((o = getopt(argc, argv, "ec:l:n:a:z:s:r:i:t:w:p:")) != -1) {
        if (o == '?')
            usage();
        else if (o == 'e')
            opt.socket_io = true;
        else if (o == 'p')
            add_group(optarg);
        else if (o == 's')
            opt.size = strtoul(optarg, NULL, 10);
        else if (strchr("rtw", o))
            *decimals[o] = strtod(optarg, NULL);
        else
            *numbers[o] = (unsigned)strtoul(optarg, NULL, 10);
    }
    if (optind + 2 > argc)
        usage();
    opt.what = argv[optind];
    for (int i = optind + 1; i < argc; i++)
        add_node(argv[i]);
    if (opt.size < HEAD_LEN || opt.size > TEXT_MAX || opt.senders == 0 ||
        opt.names == 0 || opt.listeners % opt.names != 0 ||
        opt.from >= opt.nnodes || opt.to < opt.from)
        usage();
}

int main(int argc, char **argv)
{
    struct rlimit rl;
    uint64_t began, deadline;
    double seconds;

    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    parse_options(argc, argv);
    open_all();
    drive(opt.warmup);
    run.counting = true;
    take_times(-1);
    began = now_ns();
    drive(opt.seconds);
    seconds = (double)(now_ns() - began) / 1e9;
    deadline = now_ns() + 10000000000u; /* what is on its way is not lost yet */
    while (run.came < run.counted * fanout() && now_ns() < deadline)
        listen_until(now_ns() + 1000000);
    take_times(1);
    report(seconds);
    return 0;
}

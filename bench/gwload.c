/* gwload.c - load generator: many clients on one epoll loop, and what the
 * server's processes spent on them.
 *
 *   gwload [options] echo|broadcast|connect|serve HOST:PORT
 *
 * echo: every client keeps -i messages in flight and expects each back, in
 * order. broadcast: client 0 sends one message, which must reach every client,
 * then the next. connect: open the clients, hold them, close them. serve: be
 * the least that can echo bytes, as the floor for comparisons. Every message
 * carries its client, number and time, so loss, duplication and reordering are
 * counted. Prints one JSON line.
 *
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define HEAD_LEN   34 /* "%08x:%08x:%016llx" of client, number, time */
#define MAX_PIDS   1024
#define MAX_EVENTS 512
#define CONNECTING 256 /* handshakes under way at once */

enum mode { MODE_ECHO, MODE_BROADCAST, MODE_CONNECT, MODE_SERVE };
enum state { STATE_NEW, STATE_CONNECTING, STATE_OPEN, STATE_CLOSED };

struct client {
    int fd;
    enum state state;
    bool want_out;     /* EPOLLOUT is on */
    uint32_t sent;     /* messages so far */
    uint32_t received; /* number that the next one must have */
    uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len;
};

static struct {
    enum mode mode;
    bool text;  /* lines instead of websocket */
    bool check; /* exit 1 when anything was lost, doubled or reordered */
    unsigned clients;
    unsigned inflight;
    unsigned sources; /* 127.0.1.1 and following; 0: the kernel chooses */
    size_t size;
    double seconds;
    double warmup;
    const char *path;
    struct sockaddr_in addr;
    char host[64];
    int pids[MAX_PIDS];
    unsigned npids;
} opt = {
    .clients = 100,
    .inflight = 1,
    .size = 64,
    .seconds = 5,
    .warmup = 1,
    .path = "/",
};

static struct {
    struct client *clients;
    int epoll;
    size_t buf_size;
    unsigned started, open, closed;
    bool counting;     /* the warm-up is over */
    bool stopping;     /* send nothing new */
    uint64_t messages; /* received while counting */
    uint64_t duplicated, reordered, other;
    uint32_t round;          /* broadcast: number of the message under way */
    unsigned round_received; /* broadcast: clients that have it */
    struct histogram hist;
    uint8_t *payload;
} run;

static volatile sig_atomic_t interrupted; /* ends what is being waited for */

static void on_signal(int signo)
{
    interrupted = 1;
}

/* Resident bytes of the server's processes. */
static uint64_t server_rss(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < opt.npids; i++) {
        char path[64];
        unsigned long pages = 0;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/statm", opt.pids[i]);
        f = fopen(path, "r");
        if (f && fscanf(f, "%*u %lu", &pages) == 1)
            sum += pages * (uint64_t)sysconf(_SC_PAGESIZE);
        if (f)
            fclose(f);
    }
    return sum;
}

static void watch(struct client *c, bool out)
{
    struct epoll_event ev = {
        .events = EPOLLIN | (out ? EPOLLOUT : 0),
        .data.ptr = c,
    };

    if (c->want_out == out)
        return;
    c->want_out = out;
    epoll_ctl(run.epoll, EPOLL_CTL_MOD, c->fd, &ev);
}

static void drop(struct client *c)
{
    if (c->state == STATE_OPEN)
        run.open--;
    c->state = STATE_CLOSED;
    run.closed++;
    close(c->fd);
    free(c->in);
    free(c->out);
    c->in = c->out = NULL;
}

static void flush(struct client *c)
{
    ssize_t n;

    if (c->out_len == 0)
        return;
    n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        drop(c);
        return;
    }
    if (n > 0) {
        c->out_len -= (size_t)n;
        memmove(c->out, c->out + n, c->out_len);
    }
    watch(c, c->out_len > 0);
}

/* Queue one frame; opcode is ignored on a line protocol. */
static void put_frame(
    struct client *c, uint8_t opcode, const uint8_t *data, size_t len)
{
    uint8_t *p = c->out + c->out_len;

    if (c->out_len + len + FRAME_EXTRA > run.buf_size)
        die("a client's output overflows", "the server does not read");
    if (opt.text) {
        memcpy(p, data, len);
        p[len] = '\n';
        c->out_len += len + 1;
        return;
    }
    c->out_len += frame_put(p, opcode, data, len);
}

static void send_message(struct client *c)
{
    char head[HEAD_LEN + 1];

    snprintf(head, sizeof(head), "%08x:%08x:%016" PRIx64,
        (unsigned)(c - run.clients), c->sent++, now_ns());
    memcpy(run.payload, head, HEAD_LEN);
    put_frame(c, 0x1, run.payload, opt.size);
}

static void start_round(void)
{
    run.round = run.clients[0].sent;
    run.round_received = 0;
    send_message(&run.clients[0]);
    flush(&run.clients[0]);
}

static void on_message(struct client *c, const uint8_t *data, size_t len)
{
    char head[HEAD_LEN + 1];
    unsigned from, number;
    uint64_t sent_at;

    if (len != opt.size) {
        run.other++;
        return;
    }
    memcpy(head, data, HEAD_LEN);
    head[HEAD_LEN] = '\0';
    if (sscanf(head, "%8x:%8x:%16" SCNx64, &from, &number, &sent_at) != 3) {
        run.other++;
        return;
    }
    if (opt.mode == MODE_ECHO && from != (unsigned)(c - run.clients)) {
        run.other++;
        return;
    }
    if (number < c->received)
        run.duplicated++;
    else if (number > c->received)
        run.reordered++;
    c->received = number + 1;
    if (run.counting) {
        run.messages++;
        hist_add(&run.hist, now_ns() - sent_at);
    }
    if (opt.mode == MODE_ECHO && !run.stopping)
        send_message(c);
    if (opt.mode == MODE_BROADCAST && number == run.round &&
        ++run.round_received == run.open && !run.stopping)
        start_round();
}

/* The length of the first frame in the size bytes at p, of its head and of its
 * payload; 0 when it is not whole. */
static size_t next_frame(
    const uint8_t *p, size_t size, uint8_t *opcode, size_t *head, size_t *len)
{
    if (opt.text) {
        const uint8_t *end = memchr(p, '\n', size);

        *opcode = 0x1;
        *head = 0;
        *len = end ? (size_t)(end - p) : 0;
        return end ? *len + 1 : 0;
    }
    return frame_next(p, size, opcode, head, len);
}

static void parse(struct client *c)
{
    size_t done = 0, used, head, len;
    uint8_t opcode;

    while ((used = next_frame(
                c->in + done, c->in_len - done, &opcode, &head, &len)) > 0) {
        if (opcode == 0x1 || opcode == 0x2)
            on_message(c, c->in + done + head, len);
        else if (opcode == 0x9)
            put_frame(c, 0xa, c->in + done + head, len);
        else if (opcode == 0x8)
            drop(c);
        if (c->state != STATE_OPEN)
            return;
        done += used;
    }
    if (done == 0 && c->in_len == run.buf_size)
        die("a message is larger than the buffer", "see -s");
    c->in_len -= done;
    memmove(c->in, c->in + done, c->in_len);
}

static void on_open(struct client *c)
{
    c->state = STATE_OPEN;
    run.open++;
    c->in_len = 0;
}

/* Bytes of the handshake's answer; what follows it are frames. */
static void parse_handshake(struct client *c)
{
    uint8_t *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
    size_t head;

    if (!end)
        return;
    if (c->in_len < 12 || memcmp(c->in, "HTTP/1.1 101", 12) != 0) {
        fprintf(stderr, "gwload: refused: %.*s\n",
            (int)((uint8_t *)memchr(c->in, '\r', c->in_len) - c->in), c->in);
        drop(c);
        return;
    }
    head = (size_t)(end + 4 - c->in);
    c->in_len -= head;
    memmove(c->in, c->in + head, c->in_len);
    c->state = STATE_OPEN;
    run.open++;
    parse(c);
}

static void on_readable(struct client *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, run.buf_size - c->in_len, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        drop(c);
        return;
    }
    c->in_len += (size_t)n;
    if (c->state == STATE_CONNECTING)
        parse_handshake(c);
    else
        parse(c);
    if (c->state == STATE_OPEN)
        flush(c);
}

/* One address has some 28,000 ports for connections to the same server. */
static void bind_source(const struct client *c)
{
    unsigned number = (unsigned)(c - run.clients) % opt.sources;
    struct sockaddr_in source = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(0x7f000101 + number),
    };
    int one = 1;

    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (bind(c->fd, (struct sockaddr *)&source, sizeof(source)) < 0)
        die("bind", strerror(errno));
}

static void start_client(struct client *c)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        die("socket", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (opt.sources > 0)
        bind_source(c);
    if (connect(c->fd, (struct sockaddr *)&opt.addr, sizeof(opt.addr)) < 0 &&
        errno != EINPROGRESS)
        die("connect", strerror(errno));
    c->in = malloc(run.buf_size);
    c->out = malloc(run.buf_size);
    c->want_out = true;
    c->state = STATE_CONNECTING;
    if (!opt.text)
        c->out_len = (size_t)snprintf((char *)c->out, run.buf_size,
            "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            opt.path, opt.host);
    epoll_ctl(run.epoll, EPOLL_CTL_ADD, c->fd, &ev);
    run.started++;
}

static void on_writable(struct client *c)
{
    if (c->state == STATE_CONNECTING && opt.text)
        on_open(c);
    if (c->out_len > 0)
        flush(c);
    else
        watch(c, false);
}

/* Serve events until the deadline (ns), or until done() says so. */
static void loop_until(uint64_t deadline, bool (*done)(void))
{
    struct epoll_event events[MAX_EVENTS];

    while (!interrupted && !(done && done())) {
        uint64_t now = now_ns();
        int n;

        if (now >= deadline)
            return;
        n = epoll_wait(run.epoll, events, MAX_EVENTS,
            (int)((deadline - now) / 1000000 + 1));
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;

            if (events[i].events & EPOLLOUT && c->state != STATE_CLOSED)
                on_writable(c);
            if (events[i].events & ~(uint32_t)EPOLLOUT &&
                c->state != STATE_CLOSED)
                on_readable(c);
        }
    }
}

static bool handshakes_settled(void)
{
    while (run.started < opt.clients &&
           run.started - run.open - run.closed < CONNECTING)
        start_client(&run.clients[run.started]);
    return run.open + run.closed == opt.clients;
}

/* Every message sent has come back (or its client is gone). */
static bool all_received(void)
{
    for (unsigned i = 0; i < opt.clients; i++) {
        const struct client *c = &run.clients[i];
        uint32_t want = opt.mode == MODE_ECHO ? c->sent : run.clients[0].sent;

        if (c->state == STATE_OPEN && c->received < want)
            return false;
    }
    return true;
}

static uint64_t count_lost(void)
{
    uint64_t lost = 0;

    for (unsigned i = 0; i < opt.clients; i++) {
        const struct client *c = &run.clients[i];
        uint32_t want = opt.mode == MODE_ECHO ? c->sent : run.clients[0].sent;

        lost += want - (c->received < want ? c->received : want);
    }
    return lost;
}

static void usage(void)
{
    fputs(
        "usage: gwload [options] echo|broadcast|connect|serve HOST:PORT\n"
        "  -c N      clients (100)\n"
        "  -i N      messages in flight per client (1)\n"
        "  -s BYTES  size of a message, at least 34 (64)\n"
        "  -t SEC    measure for so long, or until SIGINT (5)\n"
        "  -w SEC    warm up for so long first (1)\n"
        "  -p PIDS   server processes, comma separated: their CPU and memory\n"
        "  -u PATH   path of the websocket handshake (/)\n"
        "  -x        text lines instead of websocket\n"
        "  -b N      connect from N addresses of 127.0.1.0/24 in turn\n"
        "  -k        exit 1 when a message was lost, doubled or reordered\n",
        stderr);
    exit(2);
}

static void parse_options(int argc, char **argv)
{
    int o;
    char *colon;

    while ((o = getopt(argc, argv, "c:i:s:t:w:p:u:b:xk")) != -1) {
        switch (o) {
        case 'c':
            opt.clients = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'i':
            opt.inflight = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            opt.size = strtoul(optarg, NULL, 10);
            break;
        case 't':
            opt.seconds = strtod(optarg, NULL);
            break;
        case 'w':
            opt.warmup = strtod(optarg, NULL);
            break;
        case 'p':
            for (char *p = strtok(optarg, ","); p && opt.npids < MAX_PIDS;
                 p = strtok(NULL, ","))
                opt.pids[opt.npids++] = (int)strtol(p, NULL, 10);
            break;
        case 'u':
            opt.path = optarg;
            break;
        case 'b':
            opt.sources = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'x':
            opt.text = true;
            break;
        case 'k':
            opt.check = true;
            break;
        default:
            usage();
        }
    }
    if (argc - optind != 2 || opt.size < HEAD_LEN || opt.clients == 0)
        usage();
    if (strcmp(argv[optind], "echo") == 0)
        opt.mode = MODE_ECHO;
    else if (strcmp(argv[optind], "broadcast") == 0)
        opt.mode = MODE_BROADCAST;
    else if (strcmp(argv[optind], "connect") == 0)
        opt.mode = MODE_CONNECT;
    else if (strcmp(argv[optind], "serve") == 0)
        opt.mode = MODE_SERVE;
    else
        usage();
    snprintf(opt.host, sizeof(opt.host), "%s", argv[optind + 1]);
    colon = strrchr(opt.host, ':');
    if (!colon)
        usage();
    *colon = '\0';
    opt.addr.sin_family = AF_INET;
    opt.addr.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, opt.host, &opt.addr.sin_addr) != 1)
        die("not an IPv4 address", opt.host);
    *colon = ':';
}

static void report(
    double seconds, uint64_t cpu_ns, uint64_t own_ns, uint64_t rss)
{
    static const char *const names[] = {"echo", "broadcast", "connect"};
    double messages = run.messages ? (double)run.messages : 1;

    printf("{\"mode\":\"%s\",\"protocol\":\"%s\",\"clients\":%u,"
           "\"inflight\":%u,\"size\":%zu,\"seconds\":%.3f,\"messages\":%" PRIu64
           ",\"per_second\":%.0f,",
        names[opt.mode], opt.text ? "text" : "websocket", opt.clients,
        opt.inflight, opt.size, seconds, run.messages,
        (double)run.messages / seconds);
    printf("\"latency_us\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,"
           "\"p999\":%.1f,\"max\":%.1f},",
        hist_percentile(&run.hist, 0.5), hist_percentile(&run.hist, 0.9),
        hist_percentile(&run.hist, 0.99), hist_percentile(&run.hist, 0.999),
        (double)run.hist.max / 1e3);
    if (opt.npids > 0)
        printf("\"server_cpu_us_per_message\":%.3f,\"server_cpu_share\":%.3f,"
               "\"server_rss_bytes\":%" PRIu64 ",",
            (double)cpu_ns / 1e3 / messages, (double)cpu_ns / 1e9 / seconds,
            rss);
    printf("\"own_cpu_us_per_message\":%.3f,\"open\":%u,\"closed\":%u,"
           "\"lost\":%" PRIu64 ",\"duplicated\":%" PRIu64
           ",\"reordered\":%" PRIu64 ",\"other\":%" PRIu64 "}\n",
        (double)own_ns / 1e3 / messages, run.open, run.closed, count_lost(),
        run.duplicated, run.reordered, run.other);
}

static uint64_t own_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void start_traffic(void)
{
    if (opt.mode == MODE_BROADCAST && run.open > 0 &&
        run.clients[0].state == STATE_OPEN)
        start_round();
    for (unsigned i = 0; opt.mode == MODE_ECHO && i < opt.clients; i++) {
        struct client *c = &run.clients[i];

        for (unsigned j = 0; c->state == STATE_OPEN && j < opt.inflight; j++)
            send_message(c);
        if (c->state == STATE_OPEN)
            flush(c);
    }
}

/* Send back what comes, nothing else: recv and send are all it costs. */
static int serve(void)
{
    static uint8_t data[65536];
    struct epoll_event events[MAX_EVENTS];
    struct epoll_event ev = {.events = EPOLLIN};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&opt.addr, sizeof(opt.addr)) < 0 ||
        listen(listener, 1024) < 0)
        die("listen", strerror(errno));
    ev.data.fd = listener;
    epoll_ctl(run.epoll, EPOLL_CTL_ADD, listener, &ev);
    while (!interrupted) {
        int n = epoll_wait(run.epoll, events, MAX_EVENTS, -1);

        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            ssize_t len;

            if (fd == listener) {
                ev.data.fd = accept(listener, NULL, NULL);
                setsockopt(
                    ev.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
                epoll_ctl(run.epoll, EPOLL_CTL_ADD, ev.data.fd, &ev);
                continue;
            }
            len = recv(fd, data, sizeof(data), 0);
            if (len <= 0 || send(fd, data, (size_t)len, MSG_NOSIGNAL) != len)
                close(fd);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct rlimit rl;
    uint64_t began, cpu, own;
    double seconds;
    unsigned failed;

    parse_options(argc, argv);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    run.buf_size =
        opt.mode == MODE_CONNECT
            ? 1024 /* the handshake */
            : (opt.size + FRAME_EXTRA) * (opt.inflight + 1) * 2 + 4096;
    run.clients = calloc(opt.clients, sizeof(*run.clients));
    run.payload = malloc(opt.size);
    memset(run.payload, 'x', opt.size);
    run.epoll = epoll_create1(0);
    if (opt.mode == MODE_SERVE)
        return serve();

    began = now_ns();
    loop_until(
        began + 60000000000u + opt.clients * 20000000ull, handshakes_settled);
    failed = opt.clients - run.open;
    if (failed > 0)
        fprintf(stderr, "gwload: %u of %u clients could not connect\n", failed,
            opt.clients);
    if (run.open == 0)
        return 2;
    seconds = (double)(now_ns() - began) / 1e9;
    cpu = cpu_ns(opt.pids, opt.npids);
    own = own_cpu_ns();
    if (opt.mode == MODE_CONNECT) {
        fprintf(stderr, "gwload: %u clients in %.3f s\n", run.open, seconds);
        loop_until(now_ns() + (uint64_t)(opt.seconds * 1e9), NULL);
    } else {
        start_traffic();
        loop_until(now_ns() + (uint64_t)(opt.warmup * 1e9), NULL);
        run.counting = true;
        began = now_ns();
        cpu = cpu_ns(opt.pids, opt.npids);
        own = own_cpu_ns();
        loop_until(began + (uint64_t)(opt.seconds * 1e9), NULL);
        seconds = (double)(now_ns() - began) / 1e9;
    }
    cpu = cpu_ns(opt.pids, opt.npids) - cpu;
    own = own_cpu_ns() - own;
    run.counting = false;
    run.stopping = true;
    interrupted = 0; /* what is on its way is not lost yet */
    loop_until(now_ns() + 10000000000u, all_received);
    report(seconds, cpu, own, server_rss());
    return opt.check && (failed || run.closed || count_lost() ||
                            run.duplicated || run.reordered);
}

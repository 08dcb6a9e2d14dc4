/* libcurl says which sockets it waits for and until when; our polls and one
 * timer call it back. Calls that have ended are looked for after each of
 * these, not inside libcurl's callbacks, because a done may begin or cancel
 * others. */
#include "upstream/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/handle.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/list.h"

#define HTTP_KEPT_MAX 64 /* idle connections */

struct http {
    CURLM *multi; /* owned */
    uv_timer_t timer;
    struct list calls;
    struct list news; /* streams that have something to tell */
    struct list polls;
    size_t ncalls;
    size_t nsockets, nlent; /* connections, and calls that have one */
    struct tally_share shown;
};

struct http_call {
    struct list node;
    struct http *http;          /* borrowed, outlives it */
    CURL *easy;                 /* owned; NULL: of a stream that has ended */
    struct curl_slist *headers; /* owned; of the request */
    struct buf head;
    struct buf body;
    size_t body_max, body_sum; /* sum: all that came, taken or not */
    bool too_large;
    bool follows;  /* redirects */
    bool moved;    /* the head in hand has a Location */
    bool has_head; /* of a stream, and whole */
    bool told;     /* done has run */
    bool paused;
    bool ended;
    bool waited;       /* for a connection */
    bool lent;         /* it has one */
    int err;           /* of one that has */
    struct list news;  /* in http.news */
    http_more_cb more; /* NULL: no stream */
    http_done_cb done;
    void *arg; /* borrowed, handed to done */
    char message[CURL_ERROR_SIZE];
};

/* A socket of libcurl's that it wants to be watched. */
struct watch {
    uv_poll_t poll;
    struct list node;
    struct http *http; /* borrowed, outlives the active poll */
    curl_socket_t fd;
};

/* ---- connections ---- */

/* After each change. Calls of HTTP/2 share one. */
static void show(struct http *h)
{
    tally_show(&h->shown, h->nsockets,
        h->nsockets > h->nlent ? h->nsockets - h->nlent : 0,
        h->ncalls - h->nlent);
}

static curl_socket_t on_open_socket(
    void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http *h = arg;
    int fd = socket(
        address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

    if (fd < 0)
        return CURL_SOCKET_BAD;
    h->nsockets++;
    show(h);
    return fd;
}

static int on_close_socket(void *arg, curl_socket_t fd)
{
    struct http *h = arg;

    h->nsockets--;
    show(h);
    return close(fd);
}

static void note_wait(struct http_call *call)
{
    if (!call->waited)
        tally_wait(&call->http->shown);
    call->waited = true;
}

/* Its connection is there; behind a redirect, another one may be. */
static int on_lent(
    void *arg, char *ip, char *local_ip, int port, int local_port)
{
    struct http_call *call = arg;
    long opened = 0;

    curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &opened);
    if (opened > 0)
        note_wait(call);
    call->http->nlent += !call->lent;
    call->lent = true;
    show(call->http);
    return CURL_PREREQFUNC_OK;
}

static void give_back(struct http_call *call)
{
    call->http->nlent -= call->lent;
    call->lent = false;
}

/* ---- the end of calls ---- */

static const struct {
    CURLcode code;
    int err;
} errors[] = {
    {CURLE_UNSUPPORTED_PROTOCOL, -EPROTONOSUPPORT},
    {CURLE_URL_MALFORMAT, -EINVAL},
    {CURLE_COULDNT_RESOLVE_HOST, UV_EAI_NONAME},
    {CURLE_COULDNT_RESOLVE_PROXY, UV_EAI_NONAME},
    {CURLE_COULDNT_CONNECT, -ECONNREFUSED},
    {CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT},
    {CURLE_TOO_MANY_REDIRECTS, -ELOOP},
    {CURLE_FILESIZE_EXCEEDED, -EMSGSIZE},
    {CURLE_PEER_FAILED_VERIFICATION, -EACCES},
    {CURLE_SSL_CACERT_BADFILE, -ENOENT},
    {CURLE_SSL_CONNECT_ERROR, -EPROTO},
    {CURLE_GOT_NOTHING, -ECONNRESET},
    {CURLE_PARTIAL_FILE, -ECONNRESET},
    {CURLE_SEND_ERROR, -ECONNRESET},
    {CURLE_RECV_ERROR, -ECONNRESET},
    {CURLE_OUT_OF_MEMORY, -ENOMEM},
};

static int to_errno(const struct http_call *call, CURLcode code)
{
    if (call->too_large)
        return -EMSGSIZE;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].code == code)
            return errors[i].err;
    }
    return -EIO;
}

static void end_transfer(struct http_call *call)
{
    if (call->easy) {
        curl_multi_remove_handle(call->http->multi, call->easy);
        curl_easy_cleanup(call->easy);
    }
    call->easy = NULL;
    give_back(call);
}

static void free_call(struct http_call *call)
{
    struct http *h = call->http;

    end_transfer(call);
    list_remove(&call->news);
    curl_slist_free_all(call->headers);
    buf_fini(&call->head);
    buf_fini(&call->body);
    list_remove(&call->node);
    h->ncalls--;
    show(h);
    free(call);
}

/* What was answered, but for its body. The strings are libcurl's and call's. */
static struct http_response head_of(const struct http_call *call)
{
    struct http_response response = {
        .headers = (const char *)call->head.data,
        .headers_len = call->head.len,
    };
    char *url = NULL;

    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &response.status);
    curl_easy_getinfo(call->easy, CURLINFO_EFFECTIVE_URL, &url);
    response.url = url ? url : "";
    return response;
}

static const char *message_of(const struct http_call *call, CURLcode code)
{
    if (call->too_large)
        return "the response is too large";
    return *call->message ? call->message : curl_easy_strerror(code);
}

/* What came of a stream stays until its owner has taken it. */
static void finish_stream(struct http_call *call, CURLcode code)
{
    call->ended = true;
    if (code != CURLE_OK || call->too_large) {
        const char *message = message_of(call, code);

        call->err = to_errno(call, code);
        if (message != call->message)
            snprintf(call->message, sizeof(call->message), "%s", message);
    }
    end_transfer(call);
    call->more(call->arg);
}

static void finish(struct http_call *call, CURLcode code)
{
    struct http_response response;

    if (code == CURLE_OPERATION_TIMEDOUT)
        tally_timeout(&call->http->shown);
    if (call->told) {
        finish_stream(call, code);
        return;
    }
    if (code == CURLE_OK && call->more)
        code = CURLE_GOT_NOTHING; /* no head */
    if (code != CURLE_OK) {
        call->done(
            to_errno(call, code), NULL, message_of(call, code), call->arg);
        free_call(call);
        return;
    }
    response = head_of(call);
    response.body = (const char *)call->body.data;
    response.body_len = call->body.len;
    call->done(0, &response, NULL, call->arg);
    free_call(call);
}

static void note(struct http_call *call)
{
    if (list_empty(&call->news))
        list_push_back(&call->http->news, &call->news);
}

/* Tell the owners of streams what has come. They may cancel theirs. */
static void tell_news(struct http *h)
{
    while (!list_empty(&h->news)) {
        struct http_call *call =
            LIST_ENTRY(h->news.next, struct http_call, news);

        list_remove(&call->news);
        if (call->told) {
            call->more(call->arg);
        } else {
            struct http_response response = head_of(call);

            call->told = true;
            call->done(0, &response, NULL, call->arg);
        }
    }
}

static void finish_completed(struct http *h)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
        CURLcode code = m->data.result;
        char *private = NULL;

        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        finish((struct http_call *)(void *)private, code);
    }
}

/* ---- the loop ---- */

static void end_watch(struct watch *w)
{
    list_remove(&w->node);
    handle_close(&w->poll, w);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    struct http *h = w->http;
    int flags = 0, running;

    if (status < 0)
        flags = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(h->multi, w->fd, flags, &running);
    tell_news(h);
    finish_completed(h);
}

/* libcurl: watch this socket, or not any more. */
static int on_socket(
    CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http *h = arg;
    struct watch *w = socket_arg;

    if (what == CURL_POLL_REMOVE) {
        if (w)
            end_watch(w);
        curl_multi_assign(h->multi, fd, NULL);
        return 0;
    }
    if (!w) {
        w = xcalloc(1, sizeof(*w));
        if (uv_poll_init_socket(h->timer.loop, &w->poll, fd) < 0) {
            free(w);
            return -1;
        }
        w->poll.data = w;
        w->http = h;
        w->fd = fd;
        list_push_back(&h->polls, &w->node);
        curl_multi_assign(h->multi, fd, w);
    }
    uv_poll_start(&w->poll,
        (what & CURL_POLL_IN ? UV_READABLE : 0) |
            (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
        on_poll);
    return 0;
}

static void on_time(uv_timer_t *timer)
{
    struct http *h = timer->data;
    int running;

    curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    tell_news(h);
    finish_completed(h);
}

/* libcurl: call me in that time, or never if it is negative. */
static int on_timeout_wanted(CURLM *multi, long ms, void *arg)
{
    struct http *h = arg;

    if (ms < 0) {
        uv_timer_stop(&h->timer);
        return 0;
    }
    uv_update_time(h->timer.loop);
    uv_timer_start(&h->timer, on_time, (uint64_t)ms, 0);
    return 0;
}

/* ---- requests ---- */

/* The line that ends a head has come; of a stream, its owner is told. A
 * redirect that is followed is none, and neither is 100 Continue. */
static void end_head(struct http_call *call)
{
    long status = 0;

    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (!call->more || call->has_head || status < 200 ||
        (call->follows && call->moved && status / 100 == 3))
        return;
    call->has_head = true;
    note(call);
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t len = size * count;

    if (call->told)
        return len; /* behind a body in pieces */
    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        buf_clear(&call->head); /* that of a redirect came before */
        call->moved = false;
    }
    if (len >= 9 && strncasecmp(data, "location:", 9) == 0)
        call->moved = true;
    if (call->head.len + len > HTTP_HEADERS_MAX) {
        call->too_large = true;
        return 0;
    }
    buf_append(&call->head, data, len);
    if (len <= 2)
        end_head(call);
    return len;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t len = size * count;

    if (call->too_large)
        return 0;
    if (len > call->body_max - call->body_sum) {
        call->too_large = true;
        return 0;
    }
    if (call->more && call->body.len > 0 && call->body.len + len > HTTP_AHEAD) {
        call->paused = true;
        return CURL_WRITEFUNC_PAUSE; /* it comes again */
    }
    call->body_sum += len;
    buf_append(&call->body, data, len);
    if (call->more)
        note(call);
    return len;
}

static void set_method(CURL *easy, const struct http_request *request)
{
    const char *method = request->method;

    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (request->body || strcmp(method, "POST") == 0) {
        curl_easy_setopt(
            easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
        curl_easy_setopt(
            easy, CURLOPT_COPYPOSTFIELDS, request->body ? request->body : "");
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
    }
    /* not for POST: a redirect may make GET of it */
    if (strcmp(method, "POST") != 0 && strcmp(method, "GET") != 0)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    else if (request->body && strcmp(method, "GET") == 0)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "GET");
}

static void set_limits(CURL *easy, const struct http_request *request)
{
    if (!request->more)
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(
        easy, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_ms);
    curl_easy_setopt(
        easy, CURLOPT_FOLLOWLOCATION, request->redirects_max > 0 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, request->redirects_max);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    /* The end of a call must not wait for the thread that looks up its name. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    if (request->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file);
}

/* A stream comes as it is: a few packed bytes may be very many, and HTTP/2 lets
 * a server send megabytes to who has paused. */
static void set_encoding(CURL *easy, const struct http_request *request)
{
    if (request->more)
        curl_easy_setopt(
            easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    else
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, ""); /* all it knows */
}

static void set_connections(struct http_call *call)
{
    CURL *easy = call->easy;

    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call->http);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, call->http);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_lent);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
}

static void set_headers(struct http_call *call, const struct http_request *r)
{
    /* "Expect: 100-continue" costs a round trip or a second of waiting */
    call->headers = curl_slist_append(NULL, "Expect:");
    for (size_t i = 0; i < r->nheaders; i++) {
        struct curl_slist *list =
            curl_slist_append(call->headers, r->headers[i]);

        if (list)
            call->headers = list;
    }
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
}

int http_start(struct http *h, const struct http_request *request,
    http_done_cb done, void *arg, struct http_call **out)
{
    struct http_call *call;
    CURL *easy;

    if (h->ncalls >= HTTP_CALLS_MAX)
        return -ENOBUFS;
    easy = curl_easy_init();
    if (!easy)
        return -ENOMEM;
    call = xcalloc(1, sizeof(*call));
    call->http = h;
    call->easy = easy;
    list_init(&call->news);
    call->body_max = request->body_max;
    call->follows = request->redirects_max > 0;
    call->more = request->more;
    call->done = done;
    call->arg = arg;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->message);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "gwrun/" GWRUN_VERSION);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    set_connections(call);
    set_encoding(easy, request);
    set_method(easy, request);
    set_limits(easy, request);
    set_headers(call, request);
    list_push_back(&h->calls, &call->node);
    if (h->ncalls >= h->nsockets)
        note_wait(call);
    h->ncalls++;
    show(h);
    if (curl_multi_add_handle(h->multi, easy) != CURLM_OK) {
        free_call(call);
        return -ENOMEM;
    }
    *out = call;
    return 0;
}

void http_cancel(struct http_call *call)
{
    free_call(call);
}

const uint8_t *http_bytes(const struct http_call *call, size_t *len)
{
    *len = call->body.len;
    return call->body.data;
}

/* What it held back comes inside, and is told later. What goes wrong with that
 * is said to nobody else. */
static void go_on(struct http_call *call)
{
    CURLcode code = curl_easy_pause(call->easy, CURLPAUSE_CONT);

    if (code != CURLE_OK || call->too_large)
        finish_stream(call, code);
}

void http_take(struct http_call *call, size_t n)
{
    buf_consume(&call->body, n);
    buf_shrink(&call->body, 0);
    if (!call->paused || call->body.len > HTTP_AHEAD / 2)
        return;
    call->paused = false;
    if (call->easy)
        go_on(call);
}

bool http_has_ended(
    const struct http_call *call, int *err, const char **message)
{
    *err = call->err;
    *message = call->message;
    return call->ended;
}

struct http *http_new(uv_loop_t *loop, struct tally *tally)
{
    struct http *h = xcalloc(1, sizeof(*h));

    curl_global_init(CURL_GLOBAL_DEFAULT); /* counted */
    h->multi = curl_multi_init();
    if (!h->multi)
        abort();
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    curl_multi_setopt(
        h->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)HTTP_CONNECTIONS_MAX);
    curl_multi_setopt(
        h->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)HTTP_PER_HOST_MAX);
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)HTTP_KEPT_MAX);
    list_init(&h->calls);
    list_init(&h->news);
    list_init(&h->polls);
    uv_timer_init(loop, &h->timer);
    h->timer.data = h;
    h->shown.tally = tally;
    return h;
}

void http_close(struct http *h)
{
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &h->calls)
        free_call(LIST_ENTRY(node, struct http_call, node));
    curl_multi_cleanup(h->multi); /* ends watches of idle connections */
    LIST_FOREACH_SAFE (node, tmp, &h->polls)
        end_watch(LIST_ENTRY(node, struct watch, node));
    tally_show(&h->shown, 0, 0, 0);
    curl_global_cleanup();
    handle_close(&h->timer, h);
}

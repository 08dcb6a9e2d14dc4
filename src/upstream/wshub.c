/* The library's context on a loop of ours. Its plugin for libuv puts handles of
 * its own on the loop; they close in their own time, and only then may the
 * context be freed: a timer of ours looks whether they are gone. Nothing is
 * created or destroyed inside a callback of the library. */
#include "upstream/wshub.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "net/handle.h"
#include "util/alloc.h"
#include "util/list.h"
#include "util/log.h"

#define SCRATCH     (64 * 1024) /* bytes; the library's buffer for everybody */
#define HEAD_MAX    (16 * 1024) /* bytes of a request's or an answer's head */
#define PATIENCE    (24 * 3600) /* s; waits are ended by us */
#define LOG_BURST   10          /* lines of the library a second that we pass */
#define HANDLES_MAX 8           /* of the library's own on a loop */

/* Whom a certificate must come from. */
struct trust {
    struct list node;
    char *ca_file;           /* owned; NULL: the system's */
    struct lws_vhost *vhost; /* owned by the library */
};

/* Of a connection: the owner, and how often it took another id. */
struct place {
    void *owner; /* borrowed; NULL: free */
    uintptr_t turn;
};

struct wshub {
    struct list node; /* among all of the process */
    uv_timer_t timer; /* its loop, and the end */
    struct lws_context *lws;
    lws_callback_function *on_event;
    size_t users;
    struct place places[WSHUB_CONNECTIONS_MAX];
    struct list trusts;
    size_t ntrusts;
    const uv_handle_t
        *handles[HANDLES_MAX]; /* the library's, till they close */
    size_t nhandles;
    int wake_fd; /* with which the library wakes itself */
    bool ending; /* its handles are closing */
};

/* Those that somebody has. Process-wide, for the loops of `gwrun dev`. */
static struct list hubs = {&hubs, &hubs};

/* ---- the library's context ---- */

/* What went wrong is told by who asked; these lines are for who looks closer.
 * Process-wide, as the library's log is. */
static void on_log(int level, const char *line)
{
    static struct log_share share;
    char text[LOG_QUOTE_SIZE];

    if (!log_enabled(LOG_DEBUG) ||
        !log_may(&share, "libwebsockets", LOG_BURST, 1000))
        return;
    log_quote(text, line, strcspn(line, "\n"));
    log_debug("libwebsockets says %s", text);
}

static void count_handle(uv_handle_t *handle, void *arg)
{
    ++*(size_t *)arg;
}

struct walk {
    struct wshub *hub;
    size_t skip;  /* handles that were there before */
    size_t found; /* of the library's */
};

static void note_handle(uv_handle_t *handle, void *arg)
{
    struct walk *walk = arg;
    struct wshub *hub = walk->hub;
    uv_os_fd_t fd;

    if (walk->skip > 0) {
        walk->skip--;
        return;
    }
    if (hub->nhandles < HANDLES_MAX)
        hub->handles[hub->nhandles++] = handle;
    if (handle->type == UV_POLL && uv_fileno(handle, &fd) == 0)
        hub->wake_fd = fd;
}

static void fill_info(struct wshub *hub, struct lws_context_creation_info *info)
{
    static const lws_retry_bo_t no_timers;
    static struct lws_protocols protocols[2];

    memset(info, 0, sizeof(*info));
    protocols[0].name = "gwrun";
    protocols[0].callback = hub->on_event;
    protocols[0].rx_buffer_size = WSHUB_READ_SIZE;
    protocols[0].tx_packet_size = 1024 * 1024;
    info->port = CONTEXT_PORT_NO_LISTEN;
    info->options = LWS_SERVER_OPTION_LIBUV |
                    LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                    LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    info->user = hub;
    info->protocols = protocols;
    info->retry_and_idle_policy = &no_timers;
    info->pt_serv_buf_size = SCRATCH;
    info->max_http_header_data = HEAD_MAX;
    info->max_http_header_pool = WSHUB_CONNECTIONS_MAX;
    info->fd_limit_per_thread = 2 * WSHUB_CONNECTIONS_MAX;
    info->timeout_secs = PATIENCE;
    info->connect_timeout_secs = PATIENCE;
    info->gid = (gid_t)-1;
    info->uid = (uid_t)-1;
}

static int create_context(struct wshub *hub)
{
    struct lws_context_creation_info info;
    void *loops[1] = {hub->timer.loop};
    struct walk walk = {.hub = hub};

    fill_info(hub, &info);
    info.foreign_loops = loops;
    uv_walk(hub->timer.loop, count_handle, &walk.skip);
    lws_set_log_level(LLL_ERR | LLL_WARN | LLL_NOTICE, on_log);
    hub->lws = lws_create_context(&info);
    if (hub->lws == NULL)
        return -ENOTSUP;
    uv_walk(hub->timer.loop, note_handle, &walk);
    return 0;
}

/* ---- trust ---- */

static bool is_readable(const char *ca_file)
{
    X509_STORE *store = X509_STORE_new();
    bool good = store != NULL && X509_STORE_load_file(store, ca_file) == 1;

    X509_STORE_free(store);
    return good;
}

static int make_vhost(
    struct wshub *hub, const char *ca_file, struct lws_vhost **out)
{
    struct lws_context_creation_info info;
    char name[32];

    if (ca_file != NULL && !is_readable(ca_file))
        return -ENOENT;
    fill_info(hub, &info);
    snprintf(name, sizeof(name), "trust %zu", hub->ntrusts);
    info.vhost_name = name;
    /* Without one it takes that of the environment. This is none: it has no
     * port. */
    info.http_proxy_address = "none";
    if (ca_file != NULL) {
        info.client_ssl_ca_filepath = ca_file;
        info.options |= LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
    }
    info.ssl_client_options_set =
        SSL_OP_NO_SSLv3 | SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1;
    *out = lws_create_vhost(hub->lws, &info);
    return *out != NULL ? 0 : -ENOMEM;
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

int wshub_trust(struct wshub *hub, const char *ca_file, struct lws_vhost **out)
{
    struct list *node;
    struct trust *trust;
    int err;

    LIST_FOREACH (node, &hub->trusts) {
        trust = LIST_ENTRY(node, struct trust, node);
        if (is_same(trust->ca_file, ca_file)) {
            *out = trust->vhost;
            return 0;
        }
    }
    if (hub->ntrusts == WSHUB_TRUSTS_MAX)
        return -ENOBUFS;
    err = make_vhost(hub, ca_file, out);
    if (err < 0)
        return err;
    trust = xcalloc(1, sizeof(*trust));
    trust->ca_file = ca_file != NULL ? xstrdup(ca_file) : NULL;
    trust->vhost = *out;
    list_push_back(&hub->trusts, &trust->node);
    hub->ntrusts++;
    return 0;
}

/* ---- life ---- */

static void release(struct wshub *hub)
{
    struct list *node, *tmp;

    list_remove(&hub->node);
    LIST_FOREACH_SAFE (node, tmp, &hub->trusts) {
        struct trust *trust = LIST_ENTRY(node, struct trust, node);

        free(trust->ca_file);
        free(trust);
    }
    handle_close(&hub->timer, hub);
}

static void find_handle(uv_handle_t *handle, void *arg)
{
    struct walk *walk = arg;

    for (size_t i = 0; i < walk->hub->nhandles; i++)
        if (walk->hub->handles[i] == handle)
            walk->found++;
}

/* The library closes its wake descriptor at once, and once more by number when
 * its handle has closed. Keep the number ours until then, or the second close
 * hits whoever got it. */
static void hold_number(int fd)
{
    int placeholder = eventfd(0, EFD_CLOEXEC);

    if (placeholder < 0 || placeholder == fd)
        return;
    dup3(placeholder, fd, O_CLOEXEC);
    close(placeholder);
}

static void on_end(uv_timer_t *timer)
{
    struct wshub *hub = timer->data;
    struct walk walk = {.hub = hub};

    if (!hub->ending) {
        hub->ending = true;
        lws_context_destroy(hub->lws);
        if (hub->wake_fd >= 0)
            hold_number(hub->wake_fd);
    }
    uv_walk(timer->loop, find_handle, &walk);
    if (walk.found > 0) {
        uv_timer_start(timer, on_end, 1, 0); /* 0 would be in this turn */
        return;
    }
    lws_context_destroy(hub->lws);
    release(hub);
}

struct wshub *wshub_take(uv_loop_t *loop, lws_callback_function *on_event)
{
    struct list *node;
    struct wshub *hub;

    LIST_FOREACH (node, &hubs) {
        hub = LIST_ENTRY(node, struct wshub, node);
        if (hub->timer.loop == loop) {
            hub->users++;
            return hub;
        }
    }
    hub = xcalloc(1, sizeof(*hub));
    list_init(&hub->trusts);
    list_init(&hub->node);
    hub->on_event = on_event;
    hub->wake_fd = -1;
    hub->users = 1;
    uv_timer_init(loop, &hub->timer);
    hub->timer.data = hub;
    if (create_context(hub) < 0) {
        release(hub);
        return NULL;
    }
    list_push_back(&hubs, &hub->node);
    return hub;
}

void wshub_drop(struct wshub *hub)
{
    if (--hub->users > 0)
        return;
    list_remove(&hub->node);
    uv_timer_start(&hub->timer, on_end, 0, 0);
}

/* ---- places ---- */

/* Above the place's number, how often it changed; never 0. */
static uintptr_t id_of(const struct wshub *hub, size_t place)
{
    return hub->places[place].turn * WSHUB_CONNECTIONS_MAX + place;
}

int wshub_enter(struct wshub *hub, void *owner, uintptr_t *id)
{
    for (size_t i = 0; i < WSHUB_CONNECTIONS_MAX; i++) {
        if (hub->places[i].owner == NULL) {
            hub->places[i].owner = owner;
            hub->places[i].turn++;
            *id = id_of(hub, i);
            return 0;
        }
    }
    return -ENOBUFS;
}

uintptr_t wshub_rename(struct wshub *hub, uintptr_t id)
{
    size_t place = id % WSHUB_CONNECTIONS_MAX;

    hub->places[place].turn++;
    return id_of(hub, place);
}

void wshub_leave(struct wshub *hub, uintptr_t id)
{
    if (id != 0)
        hub->places[id % WSHUB_CONNECTIONS_MAX].owner = NULL;
}

void *wshub_owner(struct lws *wsi)
{
    const struct wshub *hub;
    uintptr_t id;
    size_t place;

    if (wsi == NULL)
        return NULL;
    hub = lws_context_user(lws_get_context(wsi));
    id = (uintptr_t)lws_get_opaque_user_data(wsi);
    place = id % WSHUB_CONNECTIONS_MAX;
    return id != 0 && id_of(hub, place) == id ? hub->places[place].owner : NULL;
}

struct lws_context *wshub_context(const struct wshub *hub)
{
    return hub->lws;
}

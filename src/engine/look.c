/* From outside: one connection on a loop of its own, two commands, and the end.
 * A cell whose name another run has since is not told. */
#include "engine/look.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cells.h"
#include "engine/engine_calls.h"
#include "engine/server.h"
#include "engine/words.h"
#include "net/clock.h"
#include "upstream/rediscommand.h"
#include "util/alloc.h"

#define SILENT (2 * ENGINE_REFRESH) /* seconds without a refresh */

struct asking {
    struct look *look; /* borrowed */
    const struct engine_conf *conf;
    struct server server;
    uv_loop_t loop;
    struct turn *turn;
    struct redis *redis;
    uint64_t timeout_ms;
    bool done;
    int err;
};

static void fail(struct asking *a, int err, const char *why)
{
    a->err = err;
    a->done = true;
    snprintf(a->look->error, sizeof(a->look->error), "%s", why);
}

static void ask(struct asking *a, struct buf *commands, redis_reply_cb done)
{
    struct redis_request request = {.commands = commands,
        .count = 1,
        .timeout_ms = a->timeout_ms,
        .done = done,
        .arg = a};
    struct redis_call *unused;

    if (redis_send(a->redis, &request, &unused) < 0)
        fail(a, -ENOBUFS, "no memory");
    buf_fini(commands);
}

/* The next word of *text, or "". */
static void take_word(char *out, size_t size, const char **text)
{
    size_t len = strcspn(*text, " ");

    snprintf(out, size, "%.*s", (int)len, *text);
    *text += len + ((*text)[len] == ' ');
}

/* "time what …" of one process. */
static void read_process(struct look_cell *c, const char *text, double oldest)
{
    char time[32], kind[16], address[ADDR_TEXT_SIZE], number[32], state[16];
    uint64_t clients;

    take_word(time, sizeof(time), &text);
    take_word(kind, sizeof(kind), &text);
    take_word(address, sizeof(address), &text);
    take_word(number, sizeof(number), &text);
    take_word(state, sizeof(state), &text);
    clients = strtoull(number, NULL, 10);
    if (strtod(time, NULL) < oldest)
        return;
    if (strcmp(kind, "worker") == 0)
        c->workers++;
    else if (strcmp(kind, "register") == 0)
        c->registers++;
    else if (strcmp(kind, "gateway") == 0) {
        c->gateways =
            xrealloc(c->gateways, (c->ngateways + 1) * sizeof(*c->gateways));
        snprintf(
            c->gateways[c->ngateways].address, ADDR_TEXT_SIZE, "%s", address);
        c->gateways[c->ngateways++].clients = clients;
        c->clients += clients;
        c->leaving = c->leaving || strcmp(state, "leaving") == 0;
    }
}

static void read_record(
    struct look_cell *c, const struct redisvalue *record, double now)
{
    for (size_t i = 0; i + 1 < record->len; i += 2) {
        const char *key = record->items[i].text;
        const char *value = record->items[i + 1].text;

        if (strcmp(key, "version") == 0)
            snprintf(c->version, sizeof(c->version), "%s", value);
        else if (strcmp(key, "since") == 0)
            c->since = strtod(value, NULL);
        else if (strncmp(key, "p:", 2) == 0)
            read_process(c, value, now - ENGINE_EXPIRY);
    }
    c->there = record->len > 0;
}

static bool are_texts(const struct redisvalue *v)
{
    for (size_t i = 0; i < v->len; i++)
        if (v->items[i].type != REDIS_STRING)
            return false;
    return true;
}

/* { "run cell", heard, record }. */
static bool read_cell(
    struct look_cell *c, const struct redisvalue *v, double now)
{
    const size_t run = ENGINE_RUN_SIZE - 1;
    const char *name;

    if (v->type != REDIS_ARRAY || v->len != 3 ||
        v->items[0].type != REDIS_STRING || v->items[1].type != REDIS_STRING ||
        v->items[2].type != REDIS_ARRAY || !are_texts(&v->items[2]) ||
        v->items[0].len <= run + 1)
        return false;
    name = v->items[0].text;
    snprintf(c->run, sizeof(c->run), "%s", name);
    snprintf(c->name, sizeof(c->name), "%s", name + run + 1);
    c->heard = strtod(v->items[1].text, NULL);
    read_record(c, &v->items[2], now);
    return true;
}

/* Those that are there first of one name, so that others can be left out. */
static int compare(const void *a, const void *b)
{
    const struct look_cell *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    if (order != 0)
        return order;
    if (x->there != y->there)
        return x->there ? -1 : 1;
    return x->heard > y->heard ? -1 : x->heard < y->heard;
}

static int compare_gateways(const void *a, const void *b)
{
    return strcmp(((const struct look_gateway *)a)->address,
        ((const struct look_gateway *)b)->address);
}

static void put_in_order(struct look *l)
{
    size_t n = 0;

    if (l->ncells > 0)
        qsort(l->cells, l->ncells, sizeof(*l->cells), compare);
    for (size_t i = 0; i < l->ncells; i++) {
        struct look_cell *c = &l->cells[i];

        if (n > 0 && strcmp(l->cells[n - 1].name, c->name) == 0) {
            free(c->gateways);
            continue;
        }
        if (c->ngateways > 0)
            qsort(c->gateways, c->ngateways, sizeof(*c->gateways),
                compare_gateways);
        l->cells[n++] = *c;
    }
    l->ncells = n;
}

/* What was asked with cells_put_look(). */
static bool read_cells(struct look *l, const struct redisvalue *reply)
{
    if (reply->type != REDIS_ARRAY || reply->len == 0 ||
        reply->items[0].type != REDIS_STRING)
        return false;
    l->now = strtod(reply->items[0].text, NULL);
    l->cells = xcalloc(reply->len, sizeof(*l->cells));
    for (size_t i = 1; i < reply->len; i++)
        l->ncells += read_cell(&l->cells[l->ncells], &reply->items[i], l->now);
    put_in_order(l);
    return true;
}

static void on_cells(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct asking *a = arg;

    if (err < 0)
        fail(a, err, redis_error(a->redis));
    else if (!read_cells(a->look, replies))
        fail(a, -EPROTO,
            replies->type == REDIS_ERROR ? replies->text
                                         : "it answers nonsense");
    a->done = true;
}

static void on_info(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct asking *a = arg;
    char why[ENGINE_ERROR_SIZE] = "";
    struct buf commands = {0};

    if (err < 0) {
        fail(a, err, redis_error(a->redis));
        return;
    }
    if (replies->type == REDIS_ERROR &&
        strncmp(replies->text, "NOPERM", 6) != 0)
        err = -EPROTO;
    else if (replies->type == REDIS_STRING)
        err = server_judge(replies->text, why);
    if (err < 0) {
        fail(a, err, *why ? why : replies->text);
        return;
    }
    snprintf(a->look->warning, sizeof(a->look->warning), "%s", why);
    cells_put_look(&commands, a->conf);
    ask(a, &commands, on_cells);
}

const char *look_state(const struct look *l, const struct look_cell *c)
{
    if (!c->there)
        return "gone";
    if (l->now - c->heard > SILENT)
        return "silent";
    return c->leaving ? "leaving" : "up";
}

int look_run(
    struct look *out, const struct engine_conf *conf, uint64_t timeout_ms)
{
    struct asking a = {.look = out, .conf = conf, .timeout_ms = timeout_ms};
    struct redis_conf more = {.connect_ms = timeout_ms};
    struct buf commands = {0};

    *out = (struct look){.now = 0};
    if (!server_init(&a.server, conf, out->error))
        return -EINVAL;
    clock_loop_init(&a.loop);
    a.turn = turn_new(&a.loop);
    a.redis = server_open(&a.server, a.turn, &more);
    rediscommand_begin(&commands, 1);
    words_text(&commands, "INFO");
    ask(&a, &commands, on_info);
    while (!a.done)
        uv_run(&a.loop, UV_RUN_ONCE);
    redis_close(a.redis);
    turn_close(a.turn);
    uv_run(&a.loop, UV_RUN_DEFAULT);
    uv_loop_close(&a.loop);
    server_fini(&a.server);
    return a.err;
}

void look_fini(struct look *l)
{
    for (size_t i = 0; i < l->ncells; i++)
        free(l->cells[i].gateways);
    free(l->cells);
    *l = (struct look){.now = 0};
}

static void on_seen(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct looker *k = arg;
    struct look l = {.now = 0};

    k->is_out = false;
    if (err == 0 && read_cells(&l, replies))
        k->seen(&l, k->arg);
    look_fini(&l);
}

void look_ask(struct looker *k)
{
    char address[ADDR_TEXT_SIZE];
    struct buf commands = {0};

    if (k->is_out || !engine_is_up(k->engine))
        return;
    cells_put_look(&commands, engine_self(k->engine, address).conf);
    k->is_out = engine_call(k->engine, &commands, on_seen, k) == 0;
    buf_fini(&commands);
}

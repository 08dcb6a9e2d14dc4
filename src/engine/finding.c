/* A field counts while its token is the one that its gateway lives by now. The
 * others are of gateways that are gone, or that came back without the name: who
 * meets them takes them out. */
#include "engine/finding.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/directory.h"
#include "engine/words.h"
#include "net/addr.h"
#include "util/alloc.h"

/* A question under way. */
struct finding {
    struct list node; /* in the list of all */
    engine_found_cb found;
    void *arg; /* borrowed */
};

/* KEYS: the names' hashes. ARGV: in front of an address, its token's key. */
static const char script[] =
    "local out, alive, seen = {}, {}, {}\n"
    "for _, key in ipairs(KEYS) do\n"
    "  local all = redis.call('HGETALL', key)\n"
    "  for i = 1, #all, 2 do\n"
    "    local a = all[i]\n"
    "    if alive[a] == nil then\n"
    "      alive[a] = redis.call('GET', ARGV[1] .. a)\n"
    "    end\n"
    "    if alive[a] ~= all[i + 1] then\n"
    "      redis.call('HDEL', key, a)\n"
    "    elseif not seen[a] then\n"
    "      seen[a] = true\n"
    "      out[#out + 1] = a\n"
    "    end\n"
    "  end\n"
    "end\n"
    "return out\n";

/* The words of the question. */
static void put(struct buf *out, const char *cluster, enum engine_name kind,
    const struct cmdjson_names *names)
{
    words_eval(out, script, names->count, 1);
    for (size_t i = 0; i < names->count; i++)
        directory_put_name(
            out, cluster, kind, names->items[i].data, names->items[i].len);
    words_key(out, cluster, "alive:", "");
}

/* One of the gateways of the reply. */
static bool read_place(struct engine_place *place, const struct redisvalue *v)
{
    union addr a;

    if (v->type != REDIS_STRING || addr_parse(&a, v->text) < 0 ||
        a.sa.sa_family != AF_INET)
        return false;
    *place = (struct engine_place){addr_ipv4(&a), addr_port(&a)};
    return true;
}

static void end(struct finding *f)
{
    list_remove(&f->node);
    free(f);
}

static void on_reply(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct finding *f = arg;
    struct engine_place *places = NULL;
    size_t n = 0;

    if (err == 0 && replies->type != REDIS_ARRAY)
        err = -EPROTO;
    if (err == 0) {
        places = xcalloc(replies->len + 1, sizeof(*places));
        for (size_t i = 0; i < replies->len; i++)
            n += read_place(&places[n], &replies->items[i]);
    }
    f->found(err, places, n, f->arg);
    free(places);
    end(f);
}

int finding_begin(struct list *findings, struct redis *commands,
    const struct finding_question *question, engine_found_cb found, void *arg)
{
    struct finding *f = xcalloc(1, sizeof(*f));
    struct buf out = {0};
    struct redis_request request = {.commands = &out,
        .count = 1,
        .timeout_ms = ENGINE_CALL_MS,
        .done = on_reply,
        .arg = f};
    struct redis_call *unused;
    int err;

    f->found = found;
    f->arg = arg;
    list_init(&f->node);
    list_push_back(findings, &f->node);
    put(&out, question->cluster, question->kind, question->names);
    err = redis_send(commands, &request, &unused);
    buf_fini(&out);
    if (err < 0)
        end(f);
    return err;
}

void finding_end_all(struct list *findings)
{
    while (!list_empty(findings))
        end(LIST_ENTRY(findings->next, struct finding, node));
}

/* Each command is a script, so that a claim is one step: nobody comes between
 * the look and the taking. What a script needs to know stands in its arguments,
 * and all of its keys begin with the cluster's name. */
#include "engine/cells.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/addr.h"
#include "upstream/rediscommand.h"
#include "util/alloc.h"

/* In front of all that need the time. */
#define NOW                            \
    "local now = redis.call('TIME')\n" \
    "now = now[1] .. string.format('.%03d', math.floor(now[2] / 1000))\n"

/* Processes of the record that have not said for too long that they live. */
#define SWEEP                                                            \
    "local function sweep(record, life)\n"                               \
    "  local all, left = redis.call('HGETALL', record), 0\n"             \
    "  for i = 1, #all, 2 do\n"                                          \
    "    if all[i]:sub(1, 2) == 'p:' then\n"                             \
    "      if tonumber(all[i + 1]:match('^[%d.]+')) < now - life then\n" \
    "        redis.call('HDEL', record, all[i])\n"                       \
    "      else left = left + 1 end\n"                                   \
    "    end\n"                                                          \
    "  end\n"                                                            \
    "  return left\n"                                                    \
    "end\n"

static const char claim_script[] = NOW SWEEP
    "local gateways, cells, record, holder, former, gateway = unpack(KEYS)\n"
    "local run, life, cell, process, what, version, formers, long, address,\n"
    "  gone = unpack(ARGV)\n"
    "if redis.call('EXISTS', former) == 1 then return 'FORMER' end\n"
    "local has = redis.call('HGET', record, 'run')\n"
    "if has and has ~= run then return has .. ' ' .. cell end\n"
    "local of = gateway and redis.call('GET', gateway)\n"
    "if of and of:sub(1, #run) ~= run then return of end\n"
    "if not has then\n"
    "  redis.call('ZREMRANGEBYSCORE', cells, '-inf', now - long)\n"
    "  local before = redis.call('GET', holder)\n"
    "  if before and before ~= run then\n"
    "    redis.call('SET', formers .. before, cell, 'EX', long)\n"
    "  end\n"
    "  redis.call('HSET', record, 'run', run, 'since', now)\n"
    "  redis.call('DEL', gone)\n"
    "end\n"
    "if redis.call('HEXISTS', record, process) == 0 then sweep(record, life) end\n"
    "redis.call('SET', holder, run, 'EX', long)\n"
    "redis.call('HSET', record, process, now .. ' ' .. what,\n"
    "  'version', version)\n"
    "redis.call('EXPIRE', record, life)\n"
    "redis.call('ZADD', cells, now, run .. ' ' .. cell)\n"
    "if gateway then\n"
    "  redis.call('SET', gateway, run .. ' ' .. cell, 'EX', life)\n"
    "  redis.call('SADD', gateways, address)\n"
    "end\n"
    "return 'OK'\n";

static const char release_script[] = NOW SWEEP
    "local gateways, cells, record, holder, former, gateway = unpack(KEYS)\n"
    "local run, life, cell, process, address = unpack(ARGV)\n"
    "local of = gateway and redis.call('GET', gateway)\n"
    "if of and of:sub(1, #run) == run then\n"
    "  redis.call('DEL', gateway)\n"
    "  redis.call('SREM', gateways, address)\n"
    "end\n"
    "if redis.call('HGET', record, 'run') ~= run then return end\n"
    "redis.call('HDEL', record, process)\n"
    "if sweep(record, life) > 0 then return end\n"
    "redis.call('DEL', record, holder)\n"
    "redis.call('ZREM', cells, run .. ' ' .. cell)\n";

/* address, value, address, value … */
static const char members_script[] =
    "local out = {}\n"
    "for _, a in ipairs(redis.call('SMEMBERS', KEYS[1])) do\n"
    "  local v = redis.call('GET', ARGV[1] .. a)\n"
    "  if v then out[#out + 1] = a out[#out + 1] = v\n"
    "  else redis.call('SREM', KEYS[1], a) end\n"
    "end\n"
    "return out\n";

static const char look_script[] =
    NOW "local out = { now }\n"
        "local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')\n"
        "for i = 1, #all, 2 do\n"
        "  local run, cell = all[i]:match('^(%S+) (.*)$')\n"
        "  local record = redis.call('HGETALL', ARGV[1] .. cell)\n"
        "  local of = redis.call('HGET', ARGV[1] .. cell, 'run')\n"
        "  if of ~= run then record = {} end\n"
        "  out[#out + 1] = { all[i], all[i + 1], record }\n"
        "end\n"
        "return out\n";

void cells_put_word(struct buf *out, const char *word)
{
    rediscommand_word(out, word, strlen(word));
}

void cells_put_number(struct buf *out, uint64_t n)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRIu64, n);
    cells_put_word(out, text);
}

void cells_put_key(struct buf *out, const struct engine_conf *conf,
    const char *kind, const char *name)
{
    char *key = xasprintf("%s:%s%s", conf->name, kind, name);

    cells_put_word(out, key);
    free(key);
}

/* EVAL, the script and the keys that claims and releases need. */
static void begin(struct buf *out, const char *script,
    const struct cells_self *self, size_t arguments)
{
    size_t keys = *self->address ? 6 : 5;

    rediscommand_begin(out, 3 + keys + arguments);
    cells_put_word(out, "EVAL");
    cells_put_word(out, script);
    cells_put_number(out, keys);
    cells_put_key(out, self->conf, "gateways", "");
    cells_put_key(out, self->conf, "cells", "");
    cells_put_key(out, self->conf, "cell:", self->conf->cell);
    cells_put_key(out, self->conf, "holder:", self->conf->cell);
    cells_put_key(out, self->conf, "former:", self->conf->run);
    if (*self->address)
        cells_put_key(out, self->conf, "gateway:", self->address);
}

static void put_process(struct buf *out, const struct cells_self *self)
{
    char *field = xasprintf("p:%s", self->process);

    cells_put_word(out, field);
    free(field);
}

void cells_put_claim(struct buf *out, const struct cells_self *self)
{
    char *what = *self->address ? xasprintf("%s %s %" PRIu64, self->kind,
                                      self->address, self->clients)
                                : xstrdup(self->kind);

    begin(out, claim_script, self, 10);
    cells_put_word(out, self->conf->run);
    cells_put_number(out, ENGINE_EXPIRY);
    cells_put_word(out, self->conf->cell);
    put_process(out, self);
    cells_put_word(out, what);
    cells_put_word(out, GWRUN_VERSION);
    cells_put_key(out, self->conf, "former:", "");
    cells_put_number(out, CELLS_REMEMBERED);
    cells_put_word(out, self->address);
    cells_put_key(out, self->conf, "gone:", self->conf->run);
    free(what);
}

void cells_put_release(struct buf *out, const struct cells_self *self)
{
    begin(out, release_script, self, 5);
    cells_put_word(out, self->conf->run);
    cells_put_number(out, ENGINE_EXPIRY);
    cells_put_word(out, self->conf->cell);
    put_process(out, self);
    cells_put_word(out, self->address);
}

static bool is_text(const struct redisvalue *v, const char *text)
{
    return v->type == REDIS_STRING && v->len == strlen(text) &&
           memcmp(v->text, text, v->len) == 0;
}

enum cells_claim cells_read_claim(const struct redisvalue *reply,
    const struct cells_self *self, char why[ENGINE_ERROR_SIZE])
{
    const char *own = self->conf->cell;
    const char *cell =
        reply->type == REDIS_STRING ? strchr(reply->text, ' ') : NULL;

    if (is_text(reply, "OK"))
        return CELLS_OURS;
    if (is_text(reply, "FORMER")) {
        snprintf(why, ENGINE_ERROR_SIZE,
            "another system has taken the name %s while this one was not heard "
            "of; stop this one, or give it a name of its own (cluster.cell)",
            own);
        return CELLS_FORMER;
    }
    if (reply->type == REDIS_ERROR)
        snprintf(why, ENGINE_ERROR_SIZE, "%s", reply->text);
    else if (!cell)
        snprintf(why, ENGINE_ERROR_SIZE, "it answers nonsense");
    else if (strcmp(cell + 1, own) == 0)
        snprintf(why, ENGINE_ERROR_SIZE,
            "another system runs as cell %s; give each a name of its own "
            "(cluster.cell); one that was killed is forgotten after %d seconds",
            own, ENGINE_EXPIRY);
    else
        snprintf(why, ENGINE_ERROR_SIZE,
            "%s is a gateway of cell %.64s already, and this is cell %s; give "
            "each a lan_ip, or start_port, of its own",
            self->address, cell + 1, own);
    return CELLS_REFUSED;
}

void cells_put_members(struct buf *out, const struct engine_conf *conf)
{
    rediscommand_begin(out, 5);
    cells_put_word(out, "EVAL");
    cells_put_word(out, members_script);
    cells_put_word(out, "1");
    cells_put_key(out, conf, "gateways", "");
    cells_put_key(out, conf, "gateway:", "");
}

/* "run cell", as claims have it. */
bool cells_read_member(struct engine_member *m, const struct redisvalue *where,
    const struct redisvalue *what)
{
    const size_t run = ENGINE_RUN_SIZE - 1;
    union addr a;

    if (where->type != REDIS_STRING || what->type != REDIS_STRING ||
        addr_parse(&a, where->text) < 0 || a.sa.sa_family != AF_INET ||
        what->len <= run + 1 || what->text[run] != ' ')
        return false;
    m->ip = addr_ipv4(&a);
    m->port = addr_port(&a);
    snprintf(m->run, sizeof(m->run), "%s", what->text);
    snprintf(m->cell, sizeof(m->cell), "%s", what->text + run + 1);
    return true;
}

void cells_put_look(struct buf *out, const struct engine_conf *conf)
{
    rediscommand_begin(out, 5);
    cells_put_word(out, "EVAL");
    cells_put_word(out, look_script);
    cells_put_word(out, "1");
    cells_put_key(out, conf, "cells", "");
    cells_put_key(out, conf, "cell:", "");
}

/* Each command is a script, so that a claim is one step: nobody comes between
 * the look and the taking. What a script needs to know stands in its arguments,
 * and all of its keys begin with the cluster's name. */
#include "engine/cells.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/words.h"
#include "net/addr.h"
#include "util/alloc.h"

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

static const char claim_script[] = WORDS_NOW SWEEP
    "local gateways, cells, record, holder, former, gateway = unpack(KEYS)\n"
    "local run, life, cell, process, what, version, formers, long, address,\n"
    "  gone, limits = unpack(ARGV)\n"
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
    "  redis.call('SET', gateway, run .. ' ' .. cell .. '\\n' .. limits, 'EX',\n"
    "    life)\n"
    "  redis.call('SADD', gateways, address)\n"
    "end\n"
    "return 'OK'\n";

static const char release_script[] = WORDS_NOW SWEEP
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
    WORDS_NOW "local out = { now }\n"
              "local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')\n"
              "for i = 1, #all, 2 do\n"
              "  local run, cell = all[i]:match('^(%S+) (.*)$')\n"
              "  local record = redis.call('HGETALL', ARGV[1] .. cell)\n"
              "  local of = redis.call('HGET', ARGV[1] .. cell, 'run')\n"
              "  if of ~= run then record = {} end\n"
              "  out[#out + 1] = { all[i], all[i + 1], record }\n"
              "end\n"
              "return out\n";

/* EVAL, the script and the keys that claims and releases need. */
static void begin(struct buf *out, const char *script,
    const struct cells_self *self, size_t arguments)
{
    size_t keys = *self->address ? 6 : 5;

    words_eval(out, script, keys, arguments);
    words_key(out, self->conf->name, "gateways", "");
    words_key(out, self->conf->name, "cells", "");
    words_key(out, self->conf->name, "cell:", self->conf->cell);
    words_key(out, self->conf->name, "holder:", self->conf->cell);
    words_key(out, self->conf->name, "former:", self->conf->run);
    if (*self->address)
        words_key(out, self->conf->name, "gateway:", self->address);
}

static void put_process(struct buf *out, const struct cells_self *self)
{
    char *field = xasprintf("p:%s", self->process);

    words_text(out, field);
    free(field);
}

static void put_limits(struct buf *out, const struct engine_limits *limits)
{
    char *text =
        xasprintf("%" PRIu32 " %" PRIu32, limits->groups, limits->session);

    words_text(out, text);
    free(text);
}

void cells_put_claim(struct buf *out, const struct cells_self *self)
{
    char *what = *self->address ? xasprintf("%s %s %" PRIu64 "%s", self->kind,
                                      self->address, self->clients,
                                      self->leaving ? " leaving" : "")
                                : xstrdup(self->kind);

    begin(out, claim_script, self, 11);
    words_text(out, self->conf->run);
    words_number(out, ENGINE_EXPIRY);
    words_text(out, self->conf->cell);
    put_process(out, self);
    words_text(out, what);
    words_text(out, GWRUN_VERSION);
    words_key(out, self->conf->name, "former:", "");
    words_number(out, CELLS_REMEMBERED);
    words_text(out, self->address);
    words_key(out, self->conf->name, "gone:", self->conf->run);
    put_limits(out, &self->limits);
    free(what);
}

void cells_put_release(struct buf *out, const struct cells_self *self)
{
    begin(out, release_script, self, 5);
    words_text(out, self->conf->run);
    words_number(out, ENGINE_EXPIRY);
    words_text(out, self->conf->cell);
    put_process(out, self);
    words_text(out, self->address);
}

enum cells_claim cells_read_claim(const struct redisvalue *reply,
    const struct cells_self *self, char why[ENGINE_ERROR_SIZE])
{
    const char *own = self->conf->cell;
    const char *cell =
        reply->type == REDIS_STRING ? strchr(reply->text, ' ') : NULL;
    size_t cell_len = cell ? strcspn(cell + 1, "\n") : 0;

    if (words_are(reply, "OK"))
        return CELLS_OURS;
    if (words_are(reply, "FORMER")) {
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
    else if (cell_len == strlen(own) && memcmp(cell + 1, own, cell_len) == 0)
        snprintf(why, ENGINE_ERROR_SIZE,
            "another system runs as cell %s; give each a name of its own "
            "(cluster.cell); one that was killed is forgotten after %d seconds",
            own, ENGINE_EXPIRY);
    else
        snprintf(why, ENGINE_ERROR_SIZE,
            "%s is a gateway of cell %.*s already, and this is cell %s; give "
            "each a lan_ip, or start_port, of its own",
            self->address,
            (int)(cell_len < ENGINE_NAME_MAX ? cell_len : ENGINE_NAME_MAX),
            cell + 1, own);
    return CELLS_REFUSED;
}

/* Read the set, and the key of each that is in it. */
static void put_question(struct buf *out, const char *script,
    const char *cluster, const char *set, const char *each)
{
    words_eval(out, script, 1, 1);
    words_key(out, cluster, set, "");
    words_key(out, cluster, each, "");
}

void cells_put_members(struct buf *out, const struct engine_conf *conf)
{
    put_question(out, members_script, conf->name, "gateways", "gateway:");
}

static void read_limits(struct engine_limits *limits, const char *text)
{
    unsigned long groups, session;
    char *end;

    *limits = (struct engine_limits){0};
    if (*text != '\n')
        return;
    groups = strtoul(text, &end, 10);
    if (*end != ' ')
        return;
    session = strtoul(end, &end, 10);
    if (*end == '\0' && groups <= UINT32_MAX && session <= UINT32_MAX)
        *limits = (struct engine_limits){(uint32_t)groups, (uint32_t)session};
}

/* "run cell", and what it allows, as claims have it. */
bool cells_read_member(struct engine_member *m, const struct redisvalue *where,
    const struct redisvalue *what)
{
    const size_t run = ENGINE_RUN_SIZE - 1;
    union addr a;
    const char *cell;
    size_t cell_len;

    if (where->type != REDIS_STRING || what->type != REDIS_STRING ||
        addr_parse(&a, where->text) < 0 || a.sa.sa_family != AF_INET ||
        what->len <= run + 1 || what->text[run] != ' ')
        return false;
    m->ip = addr_ipv4(&a);
    m->port = addr_port(&a);
    snprintf(m->run, sizeof(m->run), "%s", what->text);
    cell = what->text + run + 1;
    cell_len = strcspn(cell, "\n");
    snprintf(m->cell, sizeof(m->cell), "%.*s", (int)cell_len, cell);
    read_limits(&m->limits, cell + cell_len);
    return true;
}

void cells_put_look(struct buf *out, const struct engine_conf *conf)
{
    put_question(out, look_script, conf->name, "cells", "cell:");
}

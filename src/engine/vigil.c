/* A cell that is gone is told of in two steps. Whoever finds it claims it, for
 * as long as a claim holds; before the script begins, the claim becomes a mark
 * that stays. So another takes over from one that died in between, and nobody
 * tells of it twice. After a break of its own an engine finds nobody gone for
 * as long as others may take to come back. */
#include "engine/vigil.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_calls.h"
#include "engine/words.h"

/* KEYS: cells. ARGV: in front of records, of marks; our process, seconds. */
static const char find_script[] = WORDS_NOW
    "local records, marks, own, life = unpack(ARGV)\n"
    "local all = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - life,\n"
    "  'WITHSCORES', 'LIMIT', 0, 16)\n"
    "for i = 1, #all, 2 do\n"
    "  local run, cell = all[i]:match('^(%S+) (.*)$')\n"
    "  if redis.call('HGET', records .. cell, 'run') ~= run and\n"
    "     redis.call('SET', marks .. run, own, 'NX', 'EX', life) then\n"
    "    return { all[i], all[i + 1] }\n"
    "  end\n"
    "end\n"
    "return {}\n";

/* KEYS: cells, the mark. ARGV: the member, when it was heard of, our process,
 * seconds. */
static const char begin_script[] =
    "local member, heard, own, long = unpack(ARGV)\n"
    "if redis.call('GET', KEYS[2]) ~= own then return 0 end\n"
    "if redis.call('ZSCORE', KEYS[1], member) ~= heard then\n"
    "  redis.call('DEL', KEYS[2])\n"
    "  return 0\n"
    "end\n"
    "redis.call('SET', KEYS[2], 'begun', 'EX', long)\n"
    "redis.call('ZREM', KEYS[1], member)\n"
    "return 1\n";

/* KEYS: our record. ARGV: our run, seconds, and until one before is old. */
static const char note_script[] = WORDS_NOW
    "local run, seconds, old = unpack(ARGV)\n"
    "if redis.call('HGET', KEYS[1], 'run') ~= run then return end\n"
    "local at = tonumber(redis.call('HGET', KEYS[1], 'gap_at') or '0')\n"
    "local gap = now - at < tonumber(old) and\n"
    "  tonumber(redis.call('HGET', KEYS[1], 'gap') or '0') or 0\n"
    "if gap < tonumber(seconds) then\n"
    "  redis.call('HSET', KEYS[1], 'gap', seconds)\n"
    "end\n"
    "redis.call('HSET', KEYS[1], 'gap_at', now)\n";

/* KEYS: our record. ARGV: our run, seconds of quiet, and until it is old. */
static const char take_script[] = WORDS_NOW
    "local run, quiet, old = unpack(ARGV)\n"
    "if redis.call('HGET', KEYS[1], 'run') ~= run then return '' end\n"
    "local at = redis.call('HGET', KEYS[1], 'gap_at')\n"
    "if not at or now - at < tonumber(quiet) then return '' end\n"
    "local gap = redis.call('HGET', KEYS[1], 'gap')\n"
    "redis.call('HDEL', KEYS[1], 'gap', 'gap_at')\n"
    "return now - at < tonumber(old) and gap or ''\n";

/* ---- cells that are gone ---- */

static void on_begun(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct vigil *v = arg;

    v->asks_gone = false;
    if (err == 0 && replies->type == REDIS_INTEGER && replies->integer == 1)
        v->wish->on_gone(
            v->member + ENGINE_RUN_SIZE, strtod(v->heard, NULL), v->arg);
}

static void ask_to_begin(struct vigil *v)
{
    char address[ADDR_TEXT_SIZE];
    struct cells_self self = engine_self(v->engine, address);
    char run[ENGINE_RUN_SIZE];
    struct buf out = {0};

    snprintf(run, sizeof(run), "%.*s", ENGINE_RUN_SIZE - 1, v->member);
    words_eval(&out, begin_script, 2, 4);
    words_key(&out, self.conf->name, "cells", "");
    words_key(&out, self.conf->name, "gone:", run);
    words_text(&out, v->member);
    words_text(&out, v->heard);
    words_text(&out, self.process);
    words_number(&out, CELLS_REMEMBERED);
    v->asks_gone = engine_call(v->engine, &out, on_begun, v) == 0;
    buf_fini(&out);
}

/* { "run cell", heard }, or empty. */
static void on_found(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct vigil *v = arg;

    v->asks_gone = false;
    if (err < 0 || replies->type != REDIS_ARRAY || replies->len != 2 ||
        replies->items[0].type != REDIS_STRING ||
        replies->items[1].type != REDIS_STRING ||
        replies->items[0].len <= ENGINE_RUN_SIZE ||
        replies->items[0].len >= sizeof(v->member))
        return;
    snprintf(v->member, sizeof(v->member), "%s", replies->items[0].text);
    snprintf(v->heard, sizeof(v->heard), "%s", replies->items[1].text);
    ask_to_begin(v);
}

static void look_for_gone(struct vigil *v)
{
    char address[ADDR_TEXT_SIZE];
    struct cells_self self = engine_self(v->engine, address);
    struct buf out = {0};

    words_eval(&out, find_script, 1, 4);
    words_key(&out, self.conf->name, "cells", "");
    words_key(&out, self.conf->name, "cell:", "");
    words_key(&out, self.conf->name, "gone:", "");
    words_text(&out, self.process);
    words_number(&out, ENGINE_EXPIRY);
    v->asks_gone = engine_call(v->engine, &out, on_found, v) == 0;
    buf_fini(&out);
}

/* ---- gaps of this cell ---- */

static void on_noted(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
}

static void note_gap(struct vigil *v, uint64_t away_ms)
{
    char address[ADDR_TEXT_SIZE], seconds[32];
    struct cells_self self = engine_self(v->engine, address);
    struct buf out = {0};

    snprintf(seconds, sizeof(seconds), "%.3f", (double)away_ms / 1000);
    words_eval(&out, note_script, 1, 3);
    words_key(&out, self.conf->name, "cell:", self.conf->cell);
    words_text(&out, self.conf->run);
    words_text(&out, seconds);
    words_number(&out, VIGIL_OLD);
    engine_call(v->engine, &out, on_noted, v);
    buf_fini(&out);
}

static void on_taken(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct vigil *v = arg;

    v->asks_gap = false;
    if (err == 0 && replies->type == REDIS_STRING && replies->len > 0)
        v->wish->on_gap(strtod(replies->text, NULL), v->arg);
}

static void look_for_gap(struct vigil *v)
{
    char address[ADDR_TEXT_SIZE];
    struct cells_self self = engine_self(v->engine, address);
    struct buf out = {0};

    words_eval(&out, take_script, 1, 3);
    words_key(&out, self.conf->name, "cell:", self.conf->cell);
    words_text(&out, self.conf->run);
    words_number(&out, VIGIL_QUIET);
    words_number(&out, VIGIL_OLD);
    v->asks_gap = engine_call(v->engine, &out, on_taken, v) == 0;
    buf_fini(&out);
}

void vigil_begin(struct vigil *v, uint64_t now, uint64_t away_ms)
{
    v->up_at = now;
    if (away_ms > 0)
        note_gap(v, away_ms);
}

void vigil_look(struct vigil *v, uint64_t now)
{
    if (!v->wish)
        return;
    if (!v->asks_gap && v->wish->wants_gap(v->arg))
        look_for_gap(v);
    if (!v->asks_gone && now - v->up_at >= ENGINE_EXPIRY * 1000 &&
        v->wish->wants_gone(v->arg))
        look_for_gone(v);
}

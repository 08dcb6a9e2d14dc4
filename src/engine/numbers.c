/* One EVAL a block. A block whose answer is lost is given to nobody. What was
 * given last may not have reached the replica that became the master: it goes
 * on behind what the asker knows. Where nobody knows of any, the store may have
 * lost them: it begins at a block of the time, one for each minute, which is
 * more than gateways use. */
#include "engine/numbers.h"

#include "engine/engine_calls.h"
#include "engine/words.h"
#include "upstream/rediscommand.h"

/* KEYS: ids given out. ARGV: of them, those that we know of; a block, and how
 * many there are. */
static const char take_script[] =
    "local known, block, blocks = unpack(ARGV)\n"
    "local given = redis.call('GET', KEYS[1])\n"
    "if not given and known == '0' then\n"
    "  local minutes = math.floor(redis.call('TIME')[1] / 60)\n"
    "  given = minutes % blocks * block\n"
    "end\n"
    "given = math.max(tonumber(given or '0'), tonumber(known)) + block\n"
    "redis.call('SET', KEYS[1], string.format('%.0f', given))\n"
    "return given\n";

static void on_reply(
    int err, const struct redisvalue *replies, size_t count, void *arg)
{
    struct numbers *n = arg;
    const uint32_t blocks = NUMBERS_END / NUMBERS_BLOCK;
    uint32_t first;

    n->asking = false;
    if (err < 0 || replies->type != REDIS_INTEGER ||
        replies->integer < NUMBERS_BLOCK) {
        n->done(0, 0, n->arg);
        return;
    }
    n->given = (uint64_t)replies->integer;
    first = (uint32_t)(replies->integer / NUMBERS_BLOCK - 1) % blocks *
            NUMBERS_BLOCK;
    if (first == 0) /* there is no id 0 */
        n->done(1, NUMBERS_BLOCK - 1, n->arg);
    else
        n->done(first, NUMBERS_BLOCK, n->arg);
}

void numbers_ask(struct numbers *n, struct engine *e)
{
    char address[ADDR_TEXT_SIZE];
    struct cells_self self = engine_self(e, address);
    struct buf command = {0};

    if (n->asking || !engine_is_up(e))
        return;
    rediscommand_begin(&command, 7);
    words_text(&command, "EVAL");
    words_text(&command, take_script);
    words_text(&command, "1");
    words_key(&command, self.conf->name, "ids:", self.address);
    words_number(&command, n->given);
    words_number(&command, NUMBERS_BLOCK);
    words_number(&command, NUMBERS_END / NUMBERS_BLOCK);
    n->asking = engine_call(e, &command, on_reply, n) == 0;
    buf_fini(&command);
}

/* A field counts while its token is the one that its gateway lives by now. The
 * others are of gateways that are gone, or that came back without the name: who
 * meets them takes them out. */
#include "engine/finding.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/directory.h"
#include "net/addr.h"
#include "upstream/rediscommand.h"
#include "util/alloc.h"

/* KEYS: the names' hashes. ARGV: in front of an address, the key of its token.
 */
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

void finding_put(struct buf *out, const char *cluster, enum engine_name kind,
    const struct cmdjson_names *names)
{
    char *alive = xasprintf("%s:alive:", cluster);
    char count[32];

    snprintf(count, sizeof(count), "%zu", names->count);
    rediscommand_begin(out, 4 + names->count);
    rediscommand_word(out, "EVAL", 4);
    rediscommand_word(out, script, sizeof(script) - 1);
    rediscommand_word(out, count, strlen(count));
    for (size_t i = 0; i < names->count; i++)
        directory_put_name(
            out, cluster, kind, names->items[i].data, names->items[i].len);
    rediscommand_word(out, alive, strlen(alive));
    free(alive);
}

bool finding_read(struct engine_place *place, const struct redisvalue *v)
{
    union addr a;

    if (v->type != REDIS_STRING || addr_parse(&a, v->text) < 0 ||
        a.sa.sa_family != AF_INET)
        return false;
    *place = (struct engine_place){addr_ipv4(&a), addr_port(&a)};
    return true;
}

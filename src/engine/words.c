/* Nothing here knows what the commands mean. */
#include "engine/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/rediscommand.h"
#include "util/alloc.h"

void words_text(struct buf *out, const char *word)
{
    rediscommand_word(out, word, strlen(word));
}

void words_number(struct buf *out, uint64_t n)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRIu64, n);
    words_text(out, text);
}

void words_key(
    struct buf *out, const char *cluster, const char *kind, const char *name)
{
    char *key = xasprintf("%s:%s%s", cluster, kind, name);

    words_text(out, key);
    free(key);
}

void words_eval(
    struct buf *out, const char *script, size_t keys, size_t arguments)
{
    rediscommand_begin(out, 3 + keys + arguments);
    words_text(out, "EVAL");
    words_text(out, script);
    words_number(out, keys);
}

bool words_are(const struct redisvalue *v, const char *text)
{
    return v->type == REDIS_STRING && v->len == strlen(text) &&
           memcmp(v->text, text, v->len) == 0;
}

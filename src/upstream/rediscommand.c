/* Words with their lengths: nothing in them needs an escape. */
#include "upstream/rediscommand.h"

#include <string.h>

void rediscommand_begin(struct buf *out, size_t words)
{
    buf_printf(out, "*%zu\r\n", words);
}

void rediscommand_word(struct buf *out, const char *word, size_t len)
{
    buf_printf(out, "$%zu\r\n", len);
    buf_append(out, word, len);
    buf_append(out, "\r\n", 2);
}

void rediscommand_put(struct buf *out, const char *const *words)
{
    size_t count = 0;

    while (words[count])
        count++;
    rediscommand_begin(out, count);
    for (size_t i = 0; i < count; i++)
        rediscommand_word(out, words[i], strlen(words[i]));
}

void rediscommand_auth(struct buf *out, const char *user, const char *password)
{
    const char *words[] = {
        "AUTH", user ? user : password, user ? password : NULL, NULL};

    rediscommand_put(out, words);
}

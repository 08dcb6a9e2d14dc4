/* hiredis calls back for each value of a reply; they become our own structs at
 * once, so that nothing outside of this file sees the library. What is too
 * large fails the reader, which is of no use afterwards. */
#include "upstream/redisvalue.h"

#include <errno.h>
#include <hiredis/read.h>
#include <stdlib.h>

#include "util/alloc.h"

struct redisvalue_reader {
    redisReader *parser; /* owned */
    size_t bytes;        /* read of a value that is not complete */
    size_t items;        /* in it */
};

void redisvalue_clear(struct redisvalue *v)
{
    free(v->text);
    for (size_t i = 0; v->type == REDIS_ARRAY && i < v->len; i++)
        redisvalue_clear(&v->items[i]); /* hiredis limits the depth to 7 */
    free(v->items);
}

void redisvalue_free(struct redisvalue *v)
{
    redisvalue_clear(v);
    free(v);
}

/* Where the value goes that is being read: its place in an array, or a new
 * one. NULL when the reply has too many. */
static struct redisvalue *place(const redisReadTask *task)
{
    struct redisvalue_reader *r = task->privdata;
    struct redisvalue *parent;

    if (!task->parent)
        return xcalloc(1, sizeof(struct redisvalue));
    parent = task->parent->obj;
    if (++r->items > REDISVALUE_ITEMS_MAX)
        return NULL;
    return &parent->items[task->idx];
}

static void *on_string(const redisReadTask *task, char *text, size_t len)
{
    struct redisvalue *v = place(task);

    if (!v)
        return NULL;
    v->type = task->type == REDIS_REPLY_ERROR    ? REDIS_ERROR
              : task->type == REDIS_REPLY_STATUS ? REDIS_STATUS
                                                 : REDIS_STRING;
    v->text = xmemdup(text, len);
    v->len = len;
    return v;
}

static void *on_array(const redisReadTask *task, int count)
{
    struct redisvalue *v;

    if (count < 0 || count > REDISVALUE_ITEMS_MAX)
        return NULL;
    v = place(task);
    if (!v)
        return NULL;
    v->type = REDIS_ARRAY;
    v->len = (size_t)count;
    if (count > 0)
        v->items = xcalloc((size_t)count, sizeof(*v->items));
    return v;
}

static void *on_integer(const redisReadTask *task, long long integer)
{
    struct redisvalue *v = place(task);

    if (!v)
        return NULL;
    v->type = REDIS_INTEGER;
    v->integer = integer;
    return v;
}

static void *on_nil(const redisReadTask *task)
{
    return place(task); /* zeros are REDIS_NIL */
}

static void on_unfinished(void *obj)
{
    redisvalue_free(obj);
}

struct redisvalue_reader *redisvalue_reader_new(void)
{
    static redisReplyObjectFunctions functions = {
        .createString = on_string,
        .createArray = on_array,
        .createInteger = on_integer,
        .createNil = on_nil,
        .freeObject = on_unfinished,
    };
    struct redisvalue_reader *r = xcalloc(1, sizeof(*r));

    r->parser = redisReaderCreateWithFunctions(&functions);
    if (!r->parser) {
        free(r);
        return NULL;
    }
    r->parser->privdata = r; /* for place() */
    return r;
}

void redisvalue_reader_free(struct redisvalue_reader *r)
{
    if (!r)
        return;
    redisReaderFree(r->parser);
    free(r);
}

void redisvalue_reader_feed(
    struct redisvalue_reader *r, const void *data, size_t len)
{
    redisReaderFeed(r->parser, data, len);
    r->bytes += len;
}

static int too_large(const char **why)
{
    *why = "a reply is too large";
    return -EMSGSIZE;
}

int redisvalue_reader_next(
    struct redisvalue_reader *r, struct redisvalue **out, const char **why)
{
    void *reply = NULL;

    if (redisReaderGetReply(r->parser, &reply) != REDIS_OK) {
        *why = r->parser->errstr;
        return r->parser->err == REDIS_ERR_OOM ? too_large(why) : -EPROTO;
    }
    if (!reply)
        return r->bytes > REDISVALUE_BYTES_MAX ? too_large(why) : 0;
    r->bytes = 0;
    r->items = 0;
    *out = reply;
    return 1;
}

/* A client is picked once because its mark says so (roster_new_mark()): no set
 * is kept beside the list. */
#include "gateway/picked.h"

#include <stdlib.h>

#include "util/alloc.h"

#define PICKED_KEEP 1024 /* clients; room kept between commands */

void picked_begin(struct picked *p, struct roster *roster)
{
    p->roster = roster;
    p->mark = roster_new_mark(roster);
    p->count = 0;
}

void picked_end(struct picked *p)
{
    p->count = 0;
    if (p->cap > PICKED_KEEP)
        picked_fini(p);
}

void picked_fini(struct picked *p)
{
    free(p->items);
    p->items = NULL;
    p->count = p->cap = 0;
}

static void add(struct picked *p, struct client *c)
{
    if (c->mark == p->mark)
        return;
    c->mark = p->mark;
    if (p->count == p->cap) {
        p->cap = p->cap > 0 ? p->cap * 2 : PICKED_KEEP;
        p->items = xrealloc(p->items, p->cap * sizeof(struct client *));
    }
    p->items[p->count++] = c;
}

void picked_add_if(struct picked *p,
    bool (*is_meant)(const struct client *c, const void *arg), const void *arg)
{
    for (size_t i = 0; i < roster_count(p->roster); i++) {
        struct client *c = roster_at(p->roster, i);

        if (is_meant(c, arg))
            add(p, c);
    }
}

void picked_add_all(struct picked *p)
{
    for (size_t i = 0; i < roster_count(p->roster); i++)
        add(p, roster_at(p->roster, i));
}

void picked_add_name(struct picked *p, const struct roster_name *name)
{
    for (uint32_t i = 0; name && i < name->count; i++)
        add(p, name->members[i].client);
}

void picked_add_names(struct picked *p, const struct cmdjson_names *names,
    const struct roster_name *(*find)(
        const struct roster *roster, const void *text, size_t len))
{
    for (size_t i = 0; i < names->count; i++)
        picked_add_name(
            p, find(p->roster, names->items[i].data, names->items[i].len));
}

size_t picked_add_ids(struct picked *p, const struct cmdjson_ids *ids)
{
    size_t gone = 0;

    for (size_t i = 0; i < ids->count; i++) {
        struct client *c = roster_find(p->roster, ids->items[i]);

        if (c)
            add(p, c);
        else
            gone++;
    }
    return gone;
}

void picked_pass_over(struct picked *p, const struct cmdjson_ids *ids)
{
    for (size_t i = 0; i < ids->count; i++) {
        struct client *c = roster_find(p->roster, ids->items[i]);

        if (c)
            c->mark = p->mark;
    }
}

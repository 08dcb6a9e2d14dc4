/* list.h - an intrusive doubly linked ring.
 *
 * A struct list is both the head of a ring and a node in one. An unlinked node
 * points to itself, so removing it twice is harmless.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_UTIL_LIST_H
#define GW_UTIL_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev;
    struct list *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l;
    l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Move everything from one ring to the end of another. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* The struct that holds node as its field. */
#define LIST_ENTRY(node, type, field) \
    ((type *)(void *)((char *)(node)-offsetof(type, field)))

#define LIST_FOREACH(node, head) \
    for ((node) = (head)->next; (node) != (head); (node) = (node)->next)

/* The body may remove node. */
#define LIST_FOREACH_SAFE(node, tmp, head)                              \
    for ((node) = (head)->next, (tmp) = (node)->next; (node) != (head); \
         (node) = (tmp), (tmp) = (node)->next)

#endif /* GW_UTIL_LIST_H */

/* One entry a uid, in a ring by when its login came: what is not fresh any more
 * goes when the next one comes. */
#include "gateway/logins.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/hash.h"

struct login {
    UT_hash_handle hh;
    struct list node;
    uint64_t time;       /* nanoseconds since 1970, by whoever logged it in */
    uint64_t came;       /* ms, by our clock */
    uint32_t connection; /* 0: elsewhere */
    uint32_t len;
    char uid[];
};

static void drop(struct logins *l, struct login *login)
{
    list_remove(&login->node);
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in there */
    HASH_DEL(l->by_uid, login);
    free(login);
}

static struct login *first(struct logins *l)
{
    return list_empty(&l->oldest)
               ? NULL
               : LIST_ENTRY(l->oldest.next, struct login, node);
}

void logins_fini(struct logins *l)
{
    while (l->by_uid)
        drop(l, first(l));
}

static struct login *find(struct logins *l, const void *uid, size_t len)
{
    struct login *login;

    HASH_FIND(hh, l->by_uid, uid, (unsigned)len, login);
    return login;
}

static void forget_stale(struct logins *l, uint64_t now)
{
    struct login *login;

    if (!l->oldest.next)
        list_init(&l->oldest);
    while ((login = first(l)) && now - login->came >= LOGINS_FRESH * 1000)
        drop(l, login);
}

static struct login *add(struct logins *l, const void *uid, size_t len)
{
    struct login *login;

    if (HASH_COUNT(l->by_uid) >= LOGINS_MAX)
        drop(l, first(l));
    login = xcalloc(1, sizeof(*login) + len);
    memcpy(login->uid, uid, len);
    login->len = (uint32_t)len;
    list_init(&login->node);
    HASH_ADD_KEYPTR(hh, l->by_uid, login->uid, login->len, login);
    return login;
}

bool logins_note(struct logins *l, const void *uid, size_t len, uint64_t time,
    uint32_t connection, uint64_t now)
{
    struct login *login;

    forget_stale(l, now);
    login = find(l, uid, len);
    if (login && login->time >= time)
        return false;
    if (!login)
        login = add(l, uid, len);
    list_remove(&login->node);
    list_push_back(&l->oldest, &login->node);
    login->time = time;
    login->came = now;
    login->connection = connection;
    return true;
}

uint64_t logins_newest(struct logins *l, const void *uid, size_t len,
    uint64_t now, uint32_t *connection)
{
    struct login *login;

    forget_stale(l, now);
    login = find(l, uid, len);
    *connection = login ? login->connection : 0;
    return login ? login->time : 0;
}

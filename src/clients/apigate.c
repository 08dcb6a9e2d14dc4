/* The door of the push API: address, page, key, and what a head says of the
 * body, in that order. Who guesses keys gets 429 after some, but a right key is
 * never looked at later than any other: guesses of somebody behind the same
 * address lock nobody out. */
#include "clients/apigate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "clients/apikeys.h"
#include "clients/forwarded.h"
#include "clients/limits.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/list.h"

/* An address that had a wrong key. */
struct guess {
    UT_hash_handle hh;
    struct list node; /* in gate->oldest */
    uint8_t key[LIMITS_KEY_LEN];
    unsigned count;
    uint64_t began; /* ms */
};

struct apigate {
    const struct apigate_conf *conf; /* borrowed */
    struct apikeys *keys, *fresh;    /* owned; fresh NULL: nothing is due */
    struct forwarded_trust allow;    /* the networks of conf->allow */
    struct guess *guesses;           /* owned; by address */
    struct list oldest;              /* the same, the oldest first */
};

struct apigate *apigate_new(const struct apigate_conf *conf, char err[256])
{
    struct apigate *g = xcalloc(1, sizeof(*g));
    const char *bad;

    g->conf = conf;
    list_init(&g->oldest);
    if (forwarded_trust_init(&g->allow, conf->allow, &bad) < 0) {
        snprintf(err, 256, "api.allow: \"%.100s\" is not a network", bad);
        free(g);
        return NULL;
    }
    g->keys = apikeys_parse(conf->keys, err);
    if (g->keys != NULL)
        return g;
    apigate_free(g);
    return NULL;
}

static void forget(struct apigate *g, struct guess *guess)
{
    /* What is in the list is in the map. */
    HASH_DEL(g->guesses, guess); /* NOLINT(clang-analyzer-*) */
    list_remove(&guess->node);
    free(guess);
}

void apigate_free(struct apigate *g)
{
    if (g == NULL)
        return;
    while (!list_empty(&g->oldest))
        forget(g, LIST_ENTRY(g->oldest.next, struct guess, node));
    forwarded_trust_fini(&g->allow);
    apikeys_free(g->keys);
    apikeys_free(g->fresh);
    free(g);
}

int apigate_prepare(struct apigate *g, const char *keys, char err[256])
{
    apigate_settle(g, false);
    g->fresh = apikeys_parse(keys, err);
    return g->fresh != NULL ? 0 : -EINVAL;
}

void apigate_settle(struct apigate *g, bool take)
{
    struct apikeys *unused = g->fresh;

    if (unused == NULL)
        return;
    if (take) {
        unused = g->keys;
        g->keys = g->fresh;
    }
    g->fresh = NULL;
    apikeys_free(unused);
}

bool apigate_has(const struct apigate *g, const char *target)
{
    size_t len = strlen(g->conf->path);

    return strncmp(target, g->conf->path, len) == 0 &&
           strchr("/?", target[len]) != NULL; /* or the end */
}

/* ---- wrong keys ---- */

static void forget_old(struct apigate *g, uint64_t now)
{
    while (!list_empty(&g->oldest)) {
        struct guess *guess = LIST_ENTRY(g->oldest.next, struct guess, node);

        if (now - guess->began < APIGATE_WINDOW &&
            HASH_COUNT(g->guesses) <= APIGATE_ADDRESSES)
            return;
        forget(g, guess);
    }
}

/* One more of this address. False: that is too many. */
static bool note_guess(struct apigate *g, const union addr *peer, uint64_t now)
{
    struct guess *guess;
    uint8_t key[LIMITS_KEY_LEN];

    forget_old(g, now);
    limits_make_key(key, peer);
    HASH_FIND(hh, g->guesses, key, LIMITS_KEY_LEN, guess);
    if (guess == NULL) {
        guess = xcalloc(1, sizeof(*guess));
        memcpy(guess->key, key, LIMITS_KEY_LEN);
        guess->began = now;
        list_push_back(&g->oldest, &guess->node);
        HASH_ADD(hh, g->guesses, key, LIMITS_KEY_LEN, guess);
    }
    if (guess->count >= APIGATE_GUESSES)
        return false;
    guess->count++;
    return true;
}

/* ---- the verdict ---- */

static bool is_allowed(const struct apigate *g, const union addr *peer)
{
    return g->conf->allow != NULL ? forwarded_trusts(&g->allow, peer)
                                  : addr_is_private(peer);
}

static const char *find_rights(
    const struct apigate *g, const struct httphead *head)
{
    static const char scheme[] = "bearer ";
    const char *said;

    if (!httphead_find_only(head, "authorization", &said) || said == NULL ||
        strncasecmp(said, scheme, strlen(scheme)) != 0)
        return NULL;
    said += strlen(scheme);
    said += strspn(said, " ");
    return apikeys_find(g->keys, said, strlen(said));
}

static bool is_json(const struct httphead *head)
{
    static const char json[] = "application/json";
    const char *type;

    if (!httphead_find_only(head, "content-type", &type) || type == NULL ||
        strncasecmp(type, json, strlen(json)) != 0)
        return false;
    type += strlen(json);
    type += strspn(type, " \t");
    return *type == '\0' || *type == ';';
}

/* Nothing but one name may stand behind the path. */
static bool names_call(const struct apigate *g, const char *target)
{
    const char *name = target + strlen(g->conf->path);
    size_t len = *name == '/' ? strcspn(++name, "/?") : 0;

    return len > 0 && name[len] == '\0';
}

struct apigate_verdict apigate_judge(struct apigate *g,
    const struct httphead *head, const union addr *peer, uint64_t now)
{
    const char *rights;

    if (!is_allowed(g, peer))
        return (struct apigate_verdict){403, "eacces",
            "this address is not one of those that may call the API", NULL};
    if (httphead_find(head, "origin") != NULL)
        return (struct apigate_verdict){403, "eacces",
            "pages in browsers may not call the API: their readers would "
            "know the key",
            NULL};
    rights = find_rights(g, head);
    if (rights == NULL && !note_guess(g, peer, now))
        return (struct apigate_verdict){429, "eagain",
            "too many requests without a right key from this address", NULL};
    if (rights == NULL)
        return (struct apigate_verdict){401, "eacces",
            "give a key of the API: Authorization: Bearer KEY", NULL};
    if (!names_call(g, head->target))
        return (struct apigate_verdict){404, "enoent",
            "there is no such call: give its name behind the path of the API",
            NULL};
    if (strcmp(head->method, "POST") != 0)
        return (struct apigate_verdict){
            405, "enotsup", "calls are made with POST", NULL};
    if (!is_json(head))
        return (struct apigate_verdict){415, "enotsup",
            "give a JSON object, with Content-Type: application/json", NULL};
    return (struct apigate_verdict){.rights = rights};
}

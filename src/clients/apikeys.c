/* The keys of the push API. Only their hashes stay: comparing those tells
 * nothing about a key by the time that it takes, wherever they differ. */
#include "clients/apikeys.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/buf.h"
#include "util/log.h"
#include "util/secret.h"
#include "util/typos.h"

#define HASH_LEN 32 /* bytes of SHA-256 */
#define HASH     "sha256:"
#define BLANKS   " \t\r"

/* Every call that there is, as lua/gwrun/api.lua has them (a spec compares). */
static const char *const calls[] = {"sendToAll", "sendToClient", "sendToUid",
    "sendToGroup", "bindUid", "unbindUid", "joinGroup", "leaveGroup", "ungroup",
    "isOnline", "isUidOnline", "isUidsOnline", "getClientIdByUid",
    "batchGetClientIdByUid", "getUidByClientId", "getGroupsByClientId",
    "getAllClientIdCount", "getAllClientCount", "getClientIdCountByGroup",
    "getClientCountByGroup", "batchGetClientIdCountByGroup",
    "getAllClientIdList", "getClientIdListByGroup", "getUidListByGroup",
    "getUidCountByGroup", "getAllUidList", "getAllUidCount",
    "getAllGroupIdList", "getAllGroupUidList", "getAllGroupUidCount",
    "getAllGroupClientIdList", "getAllGroupClientIdCount", "closeClient",
    "destroyClient", "closeUid", "closeGroup", "getSession", "setSession",
    "updateSession", "getAllClientSessions", "getClientSessionsByGroup", NULL};

struct key {
    char *rights; /* owned */
    size_t name_len;
    uint8_t hash[HASH_LEN];
};

struct apikeys {
    struct key *items; /* owned */
    size_t count;
    EVP_MD *md;      /* owned; looked up once, which costs more than a hash */
    EVP_MD_CTX *ctx; /* owned; used again and again */
};

/* A file while it is read. */
struct reading {
    struct apikeys *keys;
    unsigned line;
    char *err; /* 256 bytes */
};

/* Text between blanks. */
struct word {
    const char *at;
    size_t len;
};

static bool fail(struct reading *r, const char *what)
{
    snprintf(r->err, 256, "line %u: %s", r->line, what);
    return false;
}

static struct word next_word(const char **at, const char *end)
{
    struct word w;

    *at += strspn(*at, BLANKS);
    w.at = *at;
    while (*at < end && !strchr(BLANKS, **at))
        ++*at;
    w.len = (size_t)(*at - w.at);
    return w;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hash(uint8_t out[HASH_LEN], const char *digits, size_t len)
{
    for (size_t i = 0; i < len && len == 2 * (size_t)HASH_LEN; i += 2) {
        int high = digit_of(digits[i]), low = digit_of(digits[i + 1]);

        if (high < 0 || low < 0)
            return false;
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    return len == 2 * (size_t)HASH_LEN;
}

/* Where there is no memory for a hash, nobody has the key. */
static bool hash_key(
    const struct apikeys *k, uint8_t out[HASH_LEN], const char *key, size_t len)
{
    return k->ctx != NULL && EVP_DigestInit_ex2(k->ctx, k->md, NULL) == 1 &&
           EVP_DigestUpdate(k->ctx, key, len) == 1 &&
           EVP_DigestFinal_ex(k->ctx, out, NULL) == 1;
}

static bool take_name(struct reading *r, const struct word *name)
{
    size_t same = 0;

    for (size_t i = 0; i < name->len; i++)
        if (!isalnum((unsigned char)name->at[i]) && !strchr("._-", name->at[i]))
            return fail(
                r, "a name has letters, digits, \".\", \"_\" and \"-\"");
    if (name->len > APIKEYS_NAME_MAX)
        return fail(r, "a name has at most 64 bytes");
    for (size_t i = 0; i < r->keys->count; i++) {
        const struct key *k = &r->keys->items[i];

        same += k->name_len == name->len &&
                memcmp(k->rights, name->at, name->len) == 0;
    }
    return same < APIKEYS_OF_NAME || fail(r, "the third key of this name");
}

static bool take_key(
    struct reading *r, const struct word *key, uint8_t hash[HASH_LEN])
{
    size_t prefix = strlen(HASH);

    if (key->len == 0)
        return fail(r, "no key behind the name");
    for (size_t i = 0; i < key->len; i++)
        if ((unsigned char)key->at[i] > '~')
            return fail(r, "a key has ASCII characters only");
    if (key->len >= prefix && memcmp(key->at, HASH, prefix) == 0) {
        if (!read_hash(hash, key->at + prefix, key->len - prefix))
            return fail(r, "64 hexadecimal digits are due behind sha256:");
    } else if (key->len < APIKEYS_KEY_MIN) {
        return fail(r, "a key has at least 16 characters");
    } else if (!hash_key(r->keys, hash, key->at, key->len)) {
        return fail(r, "a key cannot be hashed");
    }
    for (size_t i = 0; i < r->keys->count; i++)
        if (memcmp(r->keys->items[i].hash, hash, HASH_LEN) == 0)
            return fail(r, "this key has stood above");
    return true;
}

/* Append one call of a list. */
static bool take_call(
    struct reading *r, struct buf *rights, const char *at, size_t len)
{
    char name[64], quoted[LOG_QUOTE_SIZE], what[220];
    const char *meant;

    snprintf(name, sizeof(name), "%.*s", (int)len, at);
    for (size_t i = 0; calls[i]; i++)
        if (strcmp(calls[i], name) == 0) {
            buf_append_byte(
                rights, memchr(rights->data, ' ', rights->len) ? ',' : ' ');
            buf_append_str(rights, name);
            return true;
        }
    meant = typos_meant(name, calls);
    log_quote(quoted, name, strlen(name));
    snprintf(what, sizeof(what), "%.100s is no call of the API%s%s%s", quoted,
        meant ? "; did you mean \"" : "", meant ? meant : "",
        meant ? "\"?" : "");
    return fail(r, what);
}

/* The rest of a line: calls with commas or blanks between them. */
static bool take_calls(
    struct reading *r, struct buf *rights, const char *at, const char *end)
{
    static const char between[] = BLANKS ",";

    while (at < end) {
        size_t len = 0;

        if (strchr(between, *at)) {
            at++;
            continue;
        }
        while (at + len < end && !strchr(between, at[len]))
            len++;
        if (!take_call(r, rights, at, len))
            return false;
        at += len;
    }
    return true;
}

static bool take_line(struct reading *r, const char *at, const char *end)
{
    struct apikeys *keys = r->keys;
    struct word name = next_word(&at, end), secret;
    struct buf rights = {0};
    struct key key = {.name_len = name.len};

    if (name.len == 0 || name.at[0] == '#')
        return true;
    secret = next_word(&at, end);
    if (!take_name(r, &name) || !take_key(r, &secret, key.hash))
        return false;
    if (keys->count == APIKEYS_MAX)
        return fail(r, "too many keys");
    buf_append(&rights, name.at, name.len);
    if (!take_calls(r, &rights, at, end)) {
        buf_fini(&rights);
        return false;
    }
    key.rights = xstrndup((const char *)rights.data, rights.len);
    buf_fini(&rights);
    keys->items =
        xrealloc(keys->items, (keys->count + 1) * sizeof(*keys->items));
    keys->items[keys->count++] = key;
    return true;
}

struct apikeys *apikeys_parse(const char *text, char err[256])
{
    struct reading r = {.keys = xcalloc(1, sizeof(*r.keys)), .err = err};
    bool good = true;

    r.keys->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    r.keys->ctx = r.keys->md != NULL ? EVP_MD_CTX_new() : NULL;
    while (good && *text) {
        const char *end = text + strcspn(text, "\n");

        r.line++;
        good = take_line(&r, text, end);
        text = *end ? end + 1 : end;
    }
    if (good && r.keys->count == 0) {
        snprintf(err, 256, "there is no key in it; write lines \"name key\"");
        good = false;
    }
    if (good)
        return r.keys;
    apikeys_free(r.keys);
    return NULL;
}

void apikeys_free(struct apikeys *k)
{
    if (k == NULL)
        return;
    for (size_t i = 0; i < k->count; i++)
        free(k->items[i].rights);
    free(k->items);
    EVP_MD_CTX_free(k->ctx);
    EVP_MD_free(k->md);
    free(k);
}

const char *apikeys_find(const struct apikeys *k, const char *key, size_t len)
{
    uint8_t hash[HASH_LEN];
    const char *found = NULL;

    if (!hash_key(k, hash, key, len))
        return NULL;
    for (size_t i = 0; i < k->count; i++)
        if (secret_equal(hash, HASH_LEN, k->items[i].hash, HASH_LEN))
            found = k->items[i].rights;
    return found;
}

const char *const *apikeys_calls(void)
{
    return calls;
}

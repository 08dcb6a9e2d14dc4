/* Which proxies are trusted, and whom a header of theirs speaks for. Only
 * what a trusted address says counts; everything behind the first address
 * that is not trusted is what a client made up. */
#include "clients/forwarded.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/alloc.h"
#include "util/buf.h"

int forwarded_trust_init(
    struct forwarded_trust *t, const char *const *texts, const char **bad)
{
    size_t count = 0;

    while (texts && texts[count])
        count++;
    t->nets = xcalloc(count + 1, sizeof(*t->nets));
    t->count = count;
    for (size_t i = 0; i < count; i++) {
        if (addr_net_parse(&t->nets[i], texts[i]) == 0)
            continue;
        *bad = texts[i];
        forwarded_trust_fini(t);
        return -EINVAL;
    }
    return 0;
}

void forwarded_trust_fini(struct forwarded_trust *t)
{
    free(t->nets);
    *t = (struct forwarded_trust){0};
}

bool forwarded_trusts(const struct forwarded_trust *t, const union addr *peer)
{
    for (size_t i = 0; i < t->count; i++)
        if (addr_net_has(&t->nets[i], peer))
            return true;
    return false;
}

/* An entry of len bytes: a host, or host and port as some proxies write it. */
static int parse_entry(union addr *out, const char *text, size_t len)
{
    char entry[ADDR_TEXT_SIZE];

    if (len >= sizeof(entry) || memchr(text, '\0', len))
        return -EINVAL;
    memcpy(entry, text, len);
    entry[len] = '\0';
    if (addr_parse_host(out, entry) < 0 && addr_parse(out, entry) < 0)
        return -EINVAL;
    addr_unmap(out);
    return 0;
}

/* Cut the blanks off both ends of the text between *from and *to. */
static void trim(const char **from, const char **to)
{
    while (*from < *to && (**from == ' ' || **from == '\t'))
        ++*from;
    while (*to > *from && ((*to)[-1] == ' ' || (*to)[-1] == '\t'))
        --*to;
}

/* Each proxy speaks for the entry to the left of its own. */
static void follow(const struct forwarded_trust *t, union addr *peer,
    const char *list, const char *end)
{
    for (int i = 0; i < FORWARDED_MAX && end && forwarded_trusts(t, peer);
         i++) {
        const char *comma = memrchr(list, ',', (size_t)(end - list));
        const char *from = comma ? comma + 1 : list;
        const char *to = end;
        union addr entry;

        trim(&from, &to);
        if (parse_entry(&entry, from, (size_t)(to - from)) < 0)
            return;
        *peer = entry;
        end = comma;
    }
}

void forwarded_find(const struct forwarded_trust *t, union addr *peer,
    const char *forwarded_for, const char *real_ip)
{
    const char *list = *forwarded_for ? forwarded_for : real_ip;

    follow(t, peer, list, list + strlen(list));
}

/* A proxy may add its line behind one that the client has made up, so of
 * X-Forwarded-For all count, and of X-Real-IP the last. */
void forwarded_read(const struct forwarded_trust *t, union addr *peer,
    const struct httphead *head)
{
    const char *real_ip = "";
    struct buf list = {0};

    if (!forwarded_trusts(t, peer))
        return;
    for (size_t i = 0; i < head->nfields; i++) {
        const struct httphead_field *f = &head->fields[i];

        if (strcmp(f->name, "x-forwarded-for") == 0)
            buf_printf(&list, "%s%s", list.len > 0 ? "," : "", f->value);
        else if (strcmp(f->name, "x-real-ip") == 0)
            real_ip = f->value;
    }
    buf_append_byte(&list, '\0');
    forwarded_find(t, peer, (const char *)list.data, real_ip);
    buf_fini(&list);
}

bool forwarded_is_https(const struct forwarded_trust *t, const union addr *peer,
    const struct httphead *head)
{
    const char *said;

    return forwarded_trusts(t, peer) &&
           httphead_find_only(head, "x-forwarded-proto", &said) &&
           said != NULL && strcasecmp(said, "https") == 0;
}

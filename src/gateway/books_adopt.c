/* Books of gateways of this machine that do not come again: their slot has left
 * the configuration, or nothing can be started in it. The lock of a book's file
 * says whether somebody has it, so of several gateways that want one only one
 * gets it, and when that dies the book is there for the next one, or for the
 * gateway itself. */
#include <dirent.h>
#include <string.h>

#include "gateway/books_impl.h"

/* A name begins with the gateway's address, as gateway.c writes it. */
static bool read_home(struct books_home *out, const char *name)
{
    char text[BOOK_NAME_MAX];
    union addr addr;
    char *p;

    snprintf(text, sizeof(text), "%.90s", name);
    p = strchr(text, '.');
    if (!p)
        return false;
    *p = '\0';
    for (p = text; (p = strpbrk(p, "_-"));)
        *p = *p == '_' ? '.' : ':';
    if (addr_parse(&addr, text) < 0 || addr.sa.sa_family != AF_INET)
        return false;
    *out = (struct books_home){addr_ipv4(&addr), addr_port(&addr)};
    return true;
}

/* NULL: there are too many. */
static struct books_candidate *find_candidate(
    struct books *b, const char *name, uint64_t now)
{
    struct books_candidate *c;

    for (size_t i = 0; i < b->ncandidates; i++)
        if (strcmp(b->candidates[i].name, name) == 0)
            return &b->candidates[i];
    if (b->ncandidates == CANDIDATES)
        return NULL;
    c = &b->candidates[b->ncandidates++];
    *c = (struct books_candidate){.since = now};
    snprintf(c->name, sizeof(c->name), "%.90s", name);
    return c;
}

static void drop_unseen(struct books *b)
{
    for (size_t i = b->ncandidates; i > 0; i--) {
        struct books_candidate *c = &b->candidates[i - 1];

        if (c->seen)
            c->seen = false;
        else
            *c = b->candidates[--b->ncandidates];
    }
}

/* 1: it is adopted now. */
static size_t consider(struct books *b, const char *name, uint64_t now)
{
    struct book **book = books_free_number(b, BOOKS_ADOPTED, BOOKS_MAX);
    struct books_candidate *c;
    struct books_home home;
    uint64_t family = 0;
    bool wait = false;

    if (strlen(name) > 90 || books_have(b, name) || !read_home(&home, name) ||
        book_probe(b->folder, name, &family) < 0 || family != b->family)
        return 0;
    c = find_candidate(b, name, now);
    if (!c)
        return 0;
    c->seen = now - c->since < BOOKS_ADOPT_MS; /* else it is one no more */
    if (c->seen || books_take_over(b, book, name, &wait) == 0)
        return 0;
    b->home[book - b->book] = home;
    return 1;
}

size_t books_adopt(struct books *b, uint64_t now)
{
    const struct dirent *entry;
    size_t count = 0;
    DIR *dir = b->family != 0 ? books_list(b) : NULL;

    if (!dir)
        return 0;
    while ((entry = readdir(dir)))
        if (!book_is_of(entry->d_name, b->slot))
            count += consider(b, entry->d_name, now);
    closedir(dir);
    drop_unseen(b);
    b->serial += count > 0;
    return count;
}

/* Certificates that are read again, by the master, who may, while everybody
 * else goes on with those that were read before. */
#include <stdlib.h>
#include <string.h>

#include "config/config_impl.h"
#include "util/alloc.h"

/* The text of that file now, kept among the fresh ones. NULL with a line in
 * *err. */
static const struct config_file *read_fresh(
    struct config *c, const char *name, char **err)
{
    struct config_memory *m = c->memory;
    char *path = config_path(c, name);
    struct config_file *file = config_file_find(m->fresh, path);
    char *text;
    size_t len;
    int result;

    if (!file) {
        result = config_file_read(path, &text, &len);
        if (result < 0) {
            *err = xasprintf("%s: %s", path, strerror(-result));
        } else {
            file = config_file_add(&m->fresh, path, text, len);
            explicit_bzero(text, len);
            free(text);
        }
    }
    free(path);
    return file;
}

static bool has_changed(
    const struct certificates_pem *old, const struct certificates_pem *tls)
{
    return strcmp(old->cert, tls->cert) != 0 || strcmp(old->key, tls->key) != 0;
}

/* Read the pair of one gateway group. Out of its time is wrong here: the one
 * that serves is at least no worse. NULL, or what is wrong. */
static char *read_pair(struct config *c, const struct certificates_pem *old)
{
    const struct config_file *cert, *key = NULL;
    struct certificates_pem tls = *old;
    char line[256], *err = NULL;

    cert = read_fresh(c, old->cert_name, &err);
    if (cert)
        key = read_fresh(c, old->key_name, &err);
    if (!key)
        return err;
    tls.cert = cert->text;
    tls.key = key->text;
    if (has_changed(old, &tls) && certificates_check(&tls, line) < 0)
        return xstrdup(line);
    return NULL;
}

char *config_read_tls(struct config *c)
{
    char *err = NULL, *why;

    config_settle_tls(c, false);
    for (size_t i = 0; i < c->ngateways && !err; i++) {
        const struct config_gateway *g = &c->gateways[i];

        if (!g->conf.clients.tls.cert)
            continue;
        why = read_pair(c, &g->conf.clients.tls);
        if (why)
            err = xasprintf("tls of gateway \"%s\": %s", g->conf.name, why);
        free(why);
    }
    return err;
}

/* The fresh text of a file, or the one that is in use. */
static const char *find_text(const struct config *c, const char *name)
{
    struct config_memory *m = c->memory;
    char *path = config_path(c, name);
    const struct config_file *file = config_file_find(m->fresh, path);

    if (!file)
        file = config_file_find(m->files, path);
    free(path);
    return file->text;
}

bool config_fresh_tls(const struct config *c, const struct config_gateway *g,
    struct certificates_pem *out)
{
    *out = g->conf.clients.tls;
    if (!out->cert)
        return false;
    out->cert = find_text(c, out->cert_name);
    out->key = find_text(c, out->key_name);
    return has_changed(&g->conf.clients.tls, out);
}

/* Let files of that name have the fresh texts, and give theirs away. */
static void swap_texts(struct config_memory *m)
{
    for (struct config_file *f = m->fresh; f; f = f->next) {
        struct config_file *old = config_file_find(m->files, f->name);
        struct config_file text = *old;

        old->text = f->text;
        old->len = f->len;
        f->text = text.text;
        f->len = text.len;
    }
}

void config_settle_tls(struct config *c, bool take)
{
    struct config_memory *m = c->memory;

    if (take)
        swap_texts(m);
    config_files_free(m->fresh);
    m->fresh = NULL;
    for (size_t i = 0; take && i < c->ngateways; i++) {
        struct certificates_pem *tls = &c->gateways[i].conf.clients.tls;

        if (tls->cert) {
            tls->cert = find_text(c, tls->cert_name);
            tls->key = find_text(c, tls->key_name);
        }
    }
}

void config_forget_keys(struct config *c, const struct config_gateway *but)
{
    const char *keep = but ? but->conf.clients.tls.key : NULL;
    struct config_memory *m = c->memory;

    for (size_t i = 0; i < c->ngateways; i++) {
        struct certificates_pem *tls = &c->gateways[i].conf.clients.tls;

        for (struct config_file *f = m->files; f; f = f->next) {
            if (f->text == tls->key && f->text != keep)
                explicit_bzero(f->text, f->len);
        }
    }
}

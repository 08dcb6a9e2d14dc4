/* Certificates, and keys of push APIs, that are read again, by the master, who
 * may, while everybody else goes on with those that were read before. */
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

/* The keys of one gateway group's API. NULL, or what is wrong. */
static char *read_keys(struct config *c, const char *name)
{
    char *err = NULL;
    const struct config_file *file = read_fresh(c, name, &err);

    return file ? config_check_keys(file->name, file->text) : err;
}

/* Prefix what is wrong, if anything is; takes ownership of why. */
static char *say_where(
    const char *key, const struct config_gateway *g, char *why)
{
    char *line =
        why ? xasprintf("%s of gateway \"%s\": %s", key, g->conf.name, why)
            : NULL;

    free(why);
    return line;
}

char *config_read_tls(struct config *c)
{
    char *err = NULL;

    config_settle_tls(c, false);
    for (size_t i = 0; i < c->ngateways && !err; i++) {
        const struct config_gateway *g = &c->gateways[i];

        if (g->conf.clients.tls.cert)
            err = say_where("tls", g, read_pair(c, &g->conf.clients.tls));
        if (!err && g->conf.clients.api.keys)
            err = say_where(
                "api", g, read_keys(c, g->conf.clients.api.keys_name));
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

const char *config_fresh_keys(
    const struct config *c, const struct config_gateway *g)
{
    const struct apigate_conf *api = &g->conf.clients.api;
    const char *text;

    if (!api->keys)
        return NULL;
    text = find_text(c, api->keys_name);
    return strcmp(text, api->keys) != 0 ? text : NULL;
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
        struct apigate_conf *api = &c->gateways[i].conf.clients.api;

        if (tls->cert) {
            tls->cert = find_text(c, tls->cert_name);
            tls->key = find_text(c, tls->key_name);
        }
        if (api->keys)
            api->keys = find_text(c, api->keys_name);
    }
}

void config_forget_keys(struct config *c, const struct config_gateway *but)
{
    const char *tls_key = but ? but->conf.clients.tls.key : NULL;
    const char *api_keys = but ? but->conf.clients.api.keys : NULL;
    struct config_memory *m = c->memory;

    for (size_t i = 0; i < c->ngateways; i++) {
        const struct port_conf *port = &c->gateways[i].conf.clients;

        for (struct config_file *f = m->files; f; f = f->next) {
            if (f->text != port->tls.key && f->text != port->api.keys)
                continue;
            if (f->text != tls_key && f->text != api_keys)
                explicit_bzero(f->text, f->len);
        }
    }
}

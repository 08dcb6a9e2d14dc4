/* OpenSSL says why a file is of no use only by a number of its own, so the
 * sentences for people are made here. */
#include "net/trust.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>

static bool load_authorities(
    SSL_CTX *ctx, const struct trust_conf *conf, char *err)
{
    if (conf->insecure)
        return true;
    if (!conf->ca_file) {
        SSL_CTX_set_default_verify_paths(ctx);
        return true;
    }
    if (SSL_CTX_load_verify_file(ctx, conf->ca_file) == 1)
        return true;
    snprintf(err, TRUST_ERROR_SIZE, "ca_file %s: no certificate can be read",
        conf->ca_file);
    return false;
}

static bool load_identity(
    SSL_CTX *ctx, const struct trust_conf *conf, char *err)
{
    const char *key = conf->key_file ? conf->key_file : conf->cert_file;

    if (!conf->cert_file)
        return true;
    if (SSL_CTX_use_certificate_chain_file(ctx, conf->cert_file) != 1) {
        snprintf(err, TRUST_ERROR_SIZE,
            "cert_file %s: no certificate can be read", conf->cert_file);
        return false;
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1)
        return true;
    snprintf(err, TRUST_ERROR_SIZE,
        "%s %s: no key of that certificate can be read",
        conf->key_file ? "key_file" : "cert_file", key);
    return false;
}

/* A key with a passphrase is no key: nobody is there to type it. */
static int refuse_passphrase(char *out, int size, int writing, void *unused)
{
    return -1;
}

SSL_CTX *trust_new(const struct trust_conf *conf, char err[TRUST_ERROR_SIZE])
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (!ctx) {
        snprintf(err, TRUST_ERROR_SIZE, "not enough memory");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_default_passwd_cb(ctx, refuse_passphrase);
    SSL_CTX_set_verify(
        ctx, conf->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (!load_authorities(ctx, conf, err) || !load_identity(ctx, conf, err)) {
        SSL_CTX_free(ctx);
        ctx = NULL;
    }
    ERR_clear_error();
    return ctx;
}

SSL_CTX *trust_share(SSL_CTX *ctx)
{
    if (ctx)
        SSL_CTX_up_ref(ctx);
    return ctx;
}

void trust_free(SSL_CTX *ctx)
{
    SSL_CTX_free(ctx);
}

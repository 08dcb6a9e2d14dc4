/* cert.h - self-signed certificates, made on the spot. */
#ifndef GW_SPEC_SUPPORT_CERT_H
#define GW_SPEC_SUPPORT_CERT_H

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#define CERT_HOUR 3600 /* seconds */

struct cert {
    char cert[4096], key[4096]; /* PEM */
};

static inline void cert_take_text(char out[4096], BIO *bio)
{
    int n = BIO_read(bio, out, 4095);

    out[n > 0 ? n : 0] = '\0';
    BIO_free(bio);
}

/* For name, valid between these seconds from now; pkey is freed. */
static inline void cert_make(
    struct cert *out, const char *name, EVP_PKEY *pkey, long begin, long end)
{
    X509 *x = X509_new();
    X509_NAME *subject = X509_get_subject_name(x);
    BIO *bio = BIO_new(BIO_s_mem());

    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), begin);
    X509_gmtime_adj(X509_getm_notAfter(x), end);
    X509_set_pubkey(x, pkey);
    X509_NAME_add_entry_by_txt(
        subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, subject);
    X509_sign(x, pkey, EVP_sha256());
    PEM_write_bio_X509(bio, x);
    cert_take_text(out->cert, bio);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
    cert_take_text(out->key, bio);
    X509_free(x);
    EVP_PKEY_free(pkey);
}

#endif /* GW_SPEC_SUPPORT_CERT_H */

/* Thin calls of OpenSSL: bytes in, bytes out. What is convenient (hex, base64,
 * JWT) is in Lua. Errors of OpenSSL are taken off its queue, where the next
 * caller would find them. */
#include "lualib/lcrypto.h"

#include <lauxlib.h>
#include <limits.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lualib/lnumber.h"
#include "lualib/lscrypt.h"
#include "util/secret.h"

static const EVP_MD *check_digest(lua_State *L, int arg)
{
    const char *name = luaL_checkstring(L, arg);
    const EVP_MD *md = EVP_get_digestbyname(name);

    if (!md)
        luaL_argerror(L, arg, lua_pushfstring(L, "no digest '%s'", name));
    return md;
}

static int raise(lua_State *L, const char *what)
{
    ERR_clear_error();
    return luaL_error(L, "%s failed", what);
}

/* digest(name, data) -> bytes */
static int crypto_digest(lua_State *L)
{
    const EVP_MD *md = check_digest(L, 1);
    size_t len;
    const char *data = lnumber_checklstring(L, 2, &len);
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned out_len;

    if (!EVP_Digest(data, len, out, &out_len, md, NULL))
        return raise(L, "digest");
    lua_pushlstring(L, (const char *)out, out_len);
    return 1;
}

/* hmac(name, key, data) -> bytes */
static int crypto_hmac(lua_State *L)
{
    const EVP_MD *md = check_digest(L, 1);
    size_t key_len, len;
    const char *key = lnumber_checklstring(L, 2, &key_len);
    const char *data = lnumber_checklstring(L, 3, &len);
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned out_len;

    luaL_argcheck(L, key_len <= INT_MAX, 2, "key is too long");
    if (!HMAC(md, key, (int)key_len, (const unsigned char *)data, len, out,
            &out_len))
        return raise(L, "hmac");
    lua_pushlstring(L, (const char *)out, out_len);
    return 1;
}

/* random(count) -> bytes nobody can guess */
static int crypto_random(lua_State *L)
{
    lua_Integer count = luaL_checkinteger(L, 1);
    luaL_Buffer b;
    char *out;

    luaL_argcheck(L, count >= 0 && count <= LCRYPTO_RANDOM_MAX, 1,
        "0 to 1048576 bytes expected");
    out = luaL_buffinitsize(L, &b, (size_t)count + 1);
    if (count > 0 && RAND_bytes((unsigned char *)out, (int)count) != 1)
        return raise(L, "random");
    luaL_pushresultsize(&b, (size_t)count);
    return 1;
}

/* equal(a, b): the time it takes says nothing about where they differ */
static int crypto_equal(lua_State *L)
{
    size_t a_len, b_len;
    const char *a = lnumber_checklstring(L, 1, &a_len);
    const char *b = lnumber_checklstring(L, 2, &b_len);

    lua_pushboolean(L, secret_equal(a, a_len, b, b_len));
    return 1;
}

/* ---- base64 ---- */

static const char plain_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* base64(data, url) -> text; for urls with - and _ and without padding */
static int crypto_base64(lua_State *L)
{
    size_t len;
    const unsigned char *in =
        (const unsigned char *)lnumber_checklstring(L, 1, &len);
    bool url = lua_toboolean(L, 2);
    const char *digits = url ? url_digits : plain_digits;
    luaL_Buffer b;
    char *out, *p;

    luaL_argcheck(L, len <= INT_MAX, 1, "data is too long");
    out = luaL_buffinitsize(L, &b, (len + 2) / 3 * 4 + 1);
    p = out;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t bits = (uint32_t)in[i] << 16 |
                        (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                        (left > 2 ? in[i + 2] : 0);

        *p++ = digits[bits >> 18];
        *p++ = digits[bits >> 12 & 63];
        if (left > 1 || !url)
            *p++ = left > 1 ? digits[bits >> 6 & 63] : '=';
        if (left > 2 || !url)
            *p++ = left > 2 ? digits[bits & 63] : '=';
    }
    luaL_pushresultsize(&b, (size_t)(p - out));
    return 1;
}

/* unbase64(text, url) -> data, or nil when it is not what base64() writes */
static int crypto_unbase64(lua_State *L)
{
    size_t len;
    const char *in = lnumber_checklstring(L, 1, &len);
    bool url = lua_toboolean(L, 2);
    const char *digits = url ? url_digits : plain_digits;
    luaL_Buffer b;
    uint32_t bits = 0;
    unsigned count = 0; /* of bits that are waiting */
    bool good = url || len % 4 == 0;

    while (!url && len > 0 && in[len - 1] == '=' && len + 2 > lua_rawlen(L, 1))
        len--;
    luaL_buffinitsize(L, &b, len + 1);
    for (size_t i = 0; good && i < len; i++) {
        const char *digit = in[i] ? strchr(digits, in[i]) : NULL;

        good = digit != NULL;
        bits = bits << 6 | (uint32_t)(digit ? digit - digits : 0);
        count += 6;
        if (count >= 8) {
            count -= 8;
            luaL_addchar(&b, (char)(bits >> count & 255));
        }
    }
    luaL_pushresult(&b);
    /* no digit too many, and nothing hidden in the last one's spare bits */
    if (!good || count >= 6 || (bits & ((1U << count) - 1)) != 0)
        lua_pushnil(L);
    return 1;
}

/* ---- public keys ---- */

enum family { RSA_PKCS1, ECDSA };

static const struct algorithm {
    const char *name; /* as in a JWT */
    enum family family;
    const char *digest;
    const char *curve;
    size_t half; /* bytes of each number of an ECDSA signature */
} algorithms[] = {
    {"RS256", RSA_PKCS1, "SHA256", NULL, 0},
    {"RS384", RSA_PKCS1, "SHA384", NULL, 0},
    {"RS512", RSA_PKCS1, "SHA512", NULL, 0},
    {"ES256", ECDSA, "SHA256", "prime256v1", 32},
    {"ES384", ECDSA, "SHA384", "secp384r1", 48},
};

static const struct algorithm *check_algorithm(lua_State *L, int arg)
{
    const char *name = luaL_checkstring(L, arg);

    for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
        if (strcmp(name, algorithms[i].name) == 0)
            return &algorithms[i];
    }
    luaL_argerror(L, arg, lua_pushfstring(L, "no algorithm '%s'", name));
    return NULL;
}

/* The key of a PEM text, a public key or a certificate; NULL when it is none.
 */
static EVP_PKEY *read_key(const char *pem, size_t len)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    EVP_PKEY *key = NULL;
    X509 *cert;

    if (!bio)
        return NULL;
    if (strstr(pem, "-----BEGIN CERTIFICATE-----")) {
        cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (cert)
            key = X509_get_pubkey(cert);
        X509_free(cert);
    } else {
        key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    }
    BIO_free(bio);
    return key;
}

/* NULL, or why the key cannot be used. */
static const char *refuse_key(const EVP_PKEY *key, const struct algorithm *a)
{
    char curve[64];

    if (a->family == RSA_PKCS1) {
        if (EVP_PKEY_base_id(key) != EVP_PKEY_RSA)
            return "the key is no RSA key";
        return EVP_PKEY_bits(key) < LCRYPTO_RSA_BITS_MIN
                   ? "an RSA key of less than 2048 bits is not safe"
                   : NULL;
    }
    if (EVP_PKEY_base_id(key) != EVP_PKEY_EC ||
        !EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL) ||
        strcmp(curve, a->curve) != 0)
        return "the key is not on the curve of the algorithm";
    return NULL;
}

/* Two numbers of fixed length as the DER that OpenSSL wants; to OPENSSL_free().
 * 0 when memory is out. */
static int to_der(const unsigned char *raw, size_t half, unsigned char **der)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, (int)half, NULL);
    BIGNUM *s = BN_bin2bn(raw + half, (int)half, NULL);
    int len = 0;

    if (sig && r && s && ECDSA_SIG_set0(sig, r, s)) {
        len = i2d_ECDSA_SIG(sig, der);
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return len > 0 ? len : 0;
}

static bool verify(EVP_PKEY *key, const struct algorithm *a,
    const unsigned char *data, size_t len, const unsigned char *sig,
    size_t sig_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx &&
                EVP_DigestVerifyInit(ctx, NULL, EVP_get_digestbyname(a->digest),
                    NULL, key) == 1 &&
                EVP_DigestVerify(ctx, sig, sig_len, data, len) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

/* verify(algorithm, pem, data, signature) -> whether it is the key's; raises
 * when the key will not do. */
static int crypto_verify(lua_State *L)
{
    const struct algorithm *a = check_algorithm(L, 1);
    size_t pem_len, len, sig_len;
    const char *pem = lnumber_checklstring(L, 2, &pem_len);
    const char *data = lnumber_checklstring(L, 3, &len);
    const char *sig = lnumber_checklstring(L, 4, &sig_len);
    unsigned char *der = NULL;
    const char *refused = "no public key in PEM format";
    bool good = false;
    EVP_PKEY *key;

    luaL_argcheck(L, pem_len <= 65536, 2, "the key is too long");
    key = read_key(pem, pem_len);
    if (key)
        refused = refuse_key(key, a);
    if (!refused && a->family == RSA_PKCS1) {
        good = verify(key, a, (const unsigned char *)data, len,
            (const unsigned char *)sig, sig_len);
    } else if (!refused && sig_len == 2 * a->half) {
        int der_len = to_der((const unsigned char *)sig, a->half, &der);

        good = der_len > 0 && verify(key, a, (const unsigned char *)data, len,
                                  der, (size_t)der_len);
        OPENSSL_free(der);
    }
    EVP_PKEY_free(key);
    ERR_clear_error();
    luaL_argcheck(L, !refused, 2, refused);
    lua_pushboolean(L, good);
    return 1;
}

void lcrypto_push_quick(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"digest", crypto_digest},
        {"hmac", crypto_hmac},
        {"random", crypto_random},
        {"equal", crypto_equal},
        {"base64", crypto_base64},
        {"unbase64", crypto_unbase64},
        {"verify", crypto_verify},
        {NULL, NULL},
    };

    luaL_newlib(L, functions);
}

void lcrypto_push(lua_State *L)
{
    lcrypto_push_quick(L);
    lscrypt_push(L);
    lua_setfield(L, -2, "scrypt");
}

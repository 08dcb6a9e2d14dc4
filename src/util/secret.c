/* The one comparison of secrets; OpenSSL's cannot be shortened by a compiler.
 * And the one way to tokens. */
#include "util/secret.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "util/log.h"

bool secret_equal(
    const void *given, size_t given_len, const void *secret, size_t secret_len)
{
    return given_len == secret_len &&
           CRYPTO_memcmp(given, secret, secret_len) == 0;
}

bool secret_equal_text(const char *given, const char *secret)
{
    return secret_equal(given, strlen(given), secret, strlen(secret));
}

bool secret_is_one_of(const char *given, const char *secret, const char *also)
{
    bool is = secret_equal_text(given, secret);

    return (also && secret_equal_text(given, also)) || is;
}

void secret_new_token(char out[SECRET_TOKEN_SIZE])
{
    uint64_t random[2];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        fatal("cannot read random bytes");
    snprintf(out, SECRET_TOKEN_SIZE, "%016" PRIx64 "%016" PRIx64, random[0],
        random[1]);
}

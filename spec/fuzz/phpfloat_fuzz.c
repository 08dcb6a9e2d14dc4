/* Floats: a number that was read is written so that it reads back. */
#include "fuzz.h"

#include <math.h>

#include "wire/phpfloat.h"

static void check_number(double value)
{
    struct buf text = {0};
    double got;

    phpfloat_put(&text, value);
    assert(phpfloat_parse(&got, text.data, text.len) == 0);
    assert(isnan(value) ? isnan(got) : memcmp(&got, &value, sizeof(got)) == 0);
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    double value;

    if (phpfloat_parse(&value, data, len) == 0)
        check_number(value);
    if (len == sizeof(value)) {
        memcpy(&value, data, sizeof(value));
        check_number(value);
    }
    return 0;
}

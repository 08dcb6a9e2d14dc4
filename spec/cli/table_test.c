#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "cli/table.h"

/* What the table prints; the caller frees it. */
static char *print(const struct table *t)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    table_print(t, f);
    fclose(f);
    return text;
}

static void check(struct table *t, const char *want)
{
    char *got = print(t);

    assert_string_equal(got, want);
    free(got);
    table_free(t);
}

static void aligns_columns_left_and_right(void **state)
{
    struct table *t = table_new("lrl");

    table_add(t, "name");
    table_add(t, "n");
    table_add(t, "status");
    table_add(t, "a");
    table_add(t, "%d", 1000);
    table_add(t, "ok");
    check(t, "name     n  status\n"
             "a     1000  ok\n");
}

static void counts_characters_and_not_bytes(void **state)
{
    struct table *t = table_new("lr");

    table_add(t, "聊天");
    table_add(t, "1");
    table_add(t, "abc");
    table_add(t, "22");
    check(t, "聊天    1\nabc  22\n");
}

static void lets_no_text_command_the_terminal(void **state)
{
    struct table *t = table_new("l");

    table_add(t, "\033[2Jbad\n\t\xc2\x9b");
    table_add(t, "\xe2\x80\xaetxt");
    check(t, "?[2Jbad????\n???txt\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aligns_columns_left_and_right),
        cmocka_unit_test(counts_characters_and_not_bytes),
        cmocka_unit_test(lets_no_text_command_the_terminal),
    };

    return cmocka_run_group_tests_name("cli.table", tests, NULL, NULL);
}

/* Workers of machines that could not be reached any more. */
#include "gateway/absent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct seen {
    char text[4096];
    size_t count;
};

static void note(const struct reach_link *l, void *arg)
{
    struct seen *s = arg;
    size_t used = strlen(s->text);

    s->count++;
    snprintf(s->text + used, sizeof(s->text) - used, "%s %s %u,", l->peer,
        l->state, (unsigned)l->ms);
}

static struct seen look(struct absent *a, uint64_t now)
{
    struct seen s = {0};

    absent_report(a, now, note, &s);
    return s;
}

static void names_who_is_away_and_since_when(void **state)
{
    struct absent a = {0};

    absent_add(&a, "10.0.0.3:W:0", 1000);
    absent_add(&a, "10.0.0.3:W:1", 2000);
    assert_string_equal(
        look(&a, 5000).text, "10.0.0.3:W:0 away 4000,10.0.0.3:W:1 away 3000,");
    absent_add(&a, "10.0.0.3:W:0", 6000); /* it was back, and is away again */
    assert_string_equal(
        look(&a, 6000).text, "10.0.0.3:W:1 away 4000,10.0.0.3:W:0 away 0,");
    absent_strike(&a, "10.0.0.3:W:1");
    absent_strike(&a, "10.0.0.3:W:7");
    assert_string_equal(look(&a, 6000).text, "10.0.0.3:W:0 away 0,");
    absent_fini(&a);
    assert_string_equal(look(&a, 6000).text, "");
}

static void forgets_the_oldest(void **state)
{
    struct absent a = {0};
    char key[32];

    for (unsigned i = 0; i < ABSENT_MAX + 5; i++) {
        snprintf(key, sizeof(key), "w%u", i);
        absent_add(&a, key, i);
    }
    assert_int_equal(look(&a, ABSENT_MAX).count, ABSENT_MAX);
    assert_memory_equal(look(&a, ABSENT_MAX).text, "w5 ", 3);
    assert_int_equal(look(&a, ABSENT_MS + 6).count, ABSENT_MAX - 2);
    assert_int_equal(look(&a, 2 * ABSENT_MS).count, 0);
    absent_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_who_is_away_and_since_when),
        cmocka_unit_test(forgets_the_oldest),
    };

    return cmocka_run_group_tests_name("gateway.absent", tests, NULL, NULL);
}

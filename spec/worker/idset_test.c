/* The set of connection ids against a plain table of booleans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/idset.h"

#define IDS 3000

static void holds_what_was_added_and_not_removed(void **state)
{
    static bool want[IDS];
    struct idset s = {0};
    uint32_t seed = 1;
    size_t count = 0;

    for (int i = 0; i < 100000; i++) {
        uint32_t id;

        seed = seed * 1103515245 + 12345;
        id = 1 + (seed >> 8) % (IDS - 1);
        if ((seed >> 4) % 3 > 0) {
            count += !want[id];
            want[id] = true;
            idset_add(&s, id);
        } else {
            count -= want[id];
            want[id] = false;
            idset_remove(&s, id);
        }
        assert_int_equal(s.count, count);
    }
    for (uint32_t id = 1; id < IDS; id++)
        assert_int_equal(idset_has(&s, id), want[id]);
    idset_fini(&s);
}

static void gives_all_out_once(void **state)
{
    struct idset s = {0};
    size_t n = 0;

    for (uint32_t id = 1; id <= 1000; id++)
        idset_add(&s, id * 7);
    while (idset_pop(&s) != 0)
        n++;
    assert_int_equal(n, 1000);
    assert_int_equal(s.count, 0);
    assert_false(idset_has(&s, 7));
    idset_fini(&s);
}

static void never_holds_zero(void **state)
{
    struct idset s = {0};

    idset_add(&s, 0);
    assert_int_equal(s.count, 0);
    assert_false(idset_has(&s, 0));
    assert_int_equal(idset_pop(&s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_what_was_added_and_not_removed),
        cmocka_unit_test(gives_all_out_once),
        cmocka_unit_test(never_holds_zero),
    };

    return cmocka_run_group_tests_name("worker.idset", tests, NULL, NULL);
}

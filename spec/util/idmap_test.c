/* Sets and maps of connection ids against plain tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/idmap.h"

#define IDS 3000

static void holds_what_was_added_and_not_removed(void **state)
{
    static bool want[IDS];
    struct idmap s = {0};
    uint32_t seed = 1;
    size_t count = 0;

    for (int i = 0; i < 100000; i++) {
        uint32_t id;

        seed = seed * 1103515245 + 12345;
        id = 1 + (seed >> 8) % (IDS - 1);
        if ((seed >> 4) % 3 > 0) {
            count += !want[id];
            want[id] = true;
            idmap_add(&s, id);
        } else {
            count -= want[id];
            want[id] = false;
            idmap_remove(&s, id);
        }
        assert_int_equal(s.count, count);
    }
    for (uint32_t id = 1; id < IDS; id++)
        assert_int_equal(idmap_has(&s, id), want[id]);
    idmap_fini(&s);
}

static void gives_all_out_once(void **state)
{
    struct idmap s = {0};
    size_t n = 0;

    for (uint32_t id = 1; id <= 1000; id++)
        idmap_add(&s, id * 7);
    while (idmap_pop(&s) != 0)
        n++;
    assert_int_equal(n, 1000);
    assert_int_equal(s.count, 0);
    assert_false(idmap_has(&s, 7));
    idmap_fini(&s);
}

static void never_holds_zero(void **state)
{
    struct idmap s = {0};

    idmap_add(&s, 0);
    assert_int_equal(s.count, 0);
    assert_false(idmap_has(&s, 0));
    assert_int_equal(idmap_pop(&s), 0);
}

/* Half of them lie side by side, as a gateway gives them, half are scattered.
 */
static uint32_t id_of(uint32_t n)
{
    return n % 2 ? n : n * 0x10001;
}

static void gives_each_id_its_latest_value(void **state)
{
    static int *want[IDS];
    static int numbers[IDS];
    struct idmap m = {0};
    uint32_t seed = 7;
    size_t count = 0;

    for (int i = 0; i < 100000; i++) {
        uint32_t n;

        seed = seed * 1103515245 + 12345;
        n = 1 + (seed >> 8) % (IDS - 1);
        if ((seed >> 4) % 3 > 0) {
            count += !want[n];
            want[n] = &numbers[i % IDS];
            idmap_put(&m, id_of(n), want[n]);
        } else {
            count -= want[n] != NULL;
            want[n] = NULL;
            idmap_remove(&m, id_of(n));
        }
        assert_int_equal(m.count, count);
    }
    for (uint32_t n = 1; n < IDS; n++) {
        assert_ptr_equal(idmap_get(&m, id_of(n)), want[n]);
        assert_int_equal(idmap_has(&m, id_of(n)), want[n] != NULL);
    }
    assert_null(idmap_get(&m, 0));
    idmap_fini(&m);
    assert_null(idmap_get(&m, 1));
}

static void shrinks_when_most_have_left(void **state)
{
    struct idmap m = {0};
    size_t most;

    for (uint32_t id = 1; id <= 1000; id++)
        idmap_put(&m, id, &m);
    most = m.size;
    for (uint32_t id = 1; id <= 990; id++)
        idmap_remove(&m, id);
    assert_true(m.size * 8 < most);
    for (uint32_t id = 991; id <= 1000; id++)
        assert_ptr_equal(idmap_get(&m, id), &m);
    idmap_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_what_was_added_and_not_removed),
        cmocka_unit_test(gives_all_out_once),
        cmocka_unit_test(never_holds_zero),
        cmocka_unit_test(gives_each_id_its_latest_value),
        cmocka_unit_test(shrinks_when_most_have_left),
    };

    return cmocka_run_group_tests_name("util.idmap", tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker/heap.h"

#define BLOCKS 1000

static void gives_a_small_block_again(void **state)
{
    struct heap h = {.max = 1000};
    void *first = heap_alloc(&h, NULL, 0, 40);

    heap_alloc(&h, first, 40, 0);
    assert_ptr_equal(
        heap_alloc(&h, NULL, 0, 33), first); /* the same size class */
    heap_alloc(&h, first, 33, 0);
    assert_int_equal(h.used, 0);
    heap_fini(&h);
}

static void counts_what_lua_has_and_stops_at_the_limit(void **state)
{
    struct heap h = {.max = 1000};
    void *a = heap_alloc(&h, NULL, 7 /* a type, not a size */, 600);

    assert_int_equal(h.used, 600);
    assert_null(heap_alloc(&h, NULL, 0, 401));
    assert_null(heap_alloc(&h, a, 600, 1001));
    a = heap_alloc(&h, a, 600, 1000);
    assert_int_equal(h.used, 1000);
    assert_null(heap_alloc(&h, NULL, 0, 1));
    a = heap_alloc(&h, a, 1000, 10); /* shrinks into a small one */
    assert_int_equal(h.used, 10);
    heap_alloc(&h, a, 10, 0);
    assert_int_equal(h.used, 0);
    heap_fini(&h);
}

static void keeps_the_content_at_every_change_of_size(void **state)
{
    static const size_t sizes[] = {1, 16, 17, 256, 257, 5000, 300, 256, 40, 1};
    struct heap h = {.max = 100000};
    uint8_t *p = NULL;
    size_t old = 0;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t kept = old < sizes[i] ? old : sizes[i];

        p = heap_alloc(&h, p, old, sizes[i]);
        for (size_t k = 0; k < kept; k++)
            assert_int_equal(p[k], (uint8_t)k);
        for (size_t k = 0; k < sizes[i]; k++)
            p[k] = (uint8_t)k;
        old = sizes[i];
    }
    heap_alloc(&h, p, old, 0);
    heap_fini(&h);
}

static void keeps_no_more_than_its_share(void **state)
{
    static void *blocks[HEAP_KEEP_MAX / HEAP_SMALL_MAX + BLOCKS];
    size_t count = sizeof(blocks) / sizeof(blocks[0]);
    struct heap h = {.max = SIZE_MAX};

    for (size_t i = 0; i < count; i++)
        blocks[i] = heap_alloc(&h, NULL, 0, HEAP_SMALL_MAX);
    for (size_t i = 0; i < count; i++)
        heap_alloc(&h, blocks[i], HEAP_SMALL_MAX, 0);
    assert_int_equal(h.kept, HEAP_KEEP_MAX);
    heap_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_a_small_block_again),
        cmocka_unit_test(counts_what_lua_has_and_stops_at_the_limit),
        cmocka_unit_test(keeps_the_content_at_every_change_of_size),
        cmocka_unit_test(keeps_no_more_than_its_share),
    };

    return cmocka_run_group_tests_name("worker.heap", tests, NULL, NULL);
}

/* Books of gateways that do not come again: who takes them, when, and what of
 * them is left if that one dies as well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../support/tempdir.h"
#include "gateway/books.h"
#include "util/log.h"

#define FAMILY 77

static char folder[TEMPDIR_SIZE];
static union addr peer;

static struct books *open_books(const char *slot, uint64_t family)
{
    return books_new(&(struct books_conf){.folder = folder,
        .slot = slot,
        .session_max = 100,
        .family = family,
        .gateway_port = 8282});
}

/* A gateway that has been killed with client 7, whose onConnect had begun. */
static void leave_book(const char *slot, uint64_t family)
{
    struct books *b = open_books(slot, family);
    struct client c = {.id = 7, .peer = peer};

    books_enter(b, &c);
    bookmark_begin(
        book_mark(books_number(b, BOOKS_OWN), c.place), 7, BOOKMARK_CONNECTED);
    books_free(b);
}

static int set_scene(void **state)
{
    log_set_level(LOG_WARN);
    tempdir_make(folder);
    assert_int_equal(addr_parse(&peer, "10.0.0.9:4000"), 0);
    leave_book("127_0_0_1-2901", FAMILY);
    return 0;
}

static struct books *open_heir(void)
{
    return open_books("127_0_0_1-2900", FAMILY);
}

/* Ends what it has adopted, as an outbox does. */
static void close_all_of(struct books *b)
{
    struct book *book = books_inherited(b, BOOKS_ADOPTED);
    uint32_t place = book_next(book, 0);

    bookmark_begin(book_mark(book, place), 7, BOOKMARK_CLOSED);
    books_given(b, BOOKS_ADOPTED, place);
    books_tend(b);
    assert_null(books_inherited(b, BOOKS_ADOPTED));
}

static void are_adopted_after_a_while(void **state)
{
    struct books *b = open_heir();

    assert_int_equal(books_adopt(b, 1000), 0);
    assert_int_equal(books_adopt(b, 2999), 0);
    assert_int_equal(books_adopt(b, 3000), 1);
    assert_int_equal(books_counts(b).inherited, 1);
    assert_int_equal(books_adopt(b, 9000), 0);
    close_all_of(b);
    assert_int_equal(books_counts(b).inherited, 0);
    books_free(b);
    b = open_heir();
    assert_int_equal(books_adopt(b, 0), 0);
    assert_int_equal(books_adopt(b, 9000), 0);
    books_free(b);
}

static void say_whose_the_client_was(void **state)
{
    struct frame f = {.cmd = FRAME_ON_CLOSE,
        .local_ip = 1,
        .local_port = 2,
        .connection_id = 7};
    struct books *b = open_heir();
    struct client c = {.id = 7, .peer = peer, .book = BOOKS_ADOPTED};

    books_adopt(b, 0);
    books_adopt(b, 2000);
    c.place = book_next(books_inherited(b, BOOKS_ADOPTED), 0);
    books_put(b, &c, &f, BOOKS_MAY_ASK);
    assert_int_equal(f.local_ip, 0x7f000001);
    assert_int_equal(f.local_port, 2901);
    assert_int_equal(f.gateway_port, 8282);
    assert_true(frame_is_of_other(&f));
    assert_int_equal(f.book % BOOKS_MAX, BOOKS_ADOPTED);
    assert_int_not_equal(frame_ack_id(&f), 7);
    close_all_of(b);
    books_free(b);
}

static void are_left_to_a_gateway_that_comes_again(void **state)
{
    struct books *b = open_heir(), *own;
    bool wait;

    assert_int_equal(books_adopt(b, 0), 0);
    own = open_books("127_0_0_1-2901", FAMILY);
    assert_int_equal(books_inherit(own, &wait), 1);
    assert_int_equal(books_adopt(b, 2000), 0);
    books_free(own);
    assert_int_equal(books_adopt(b, 2001), 0); /* it has as long again */
    assert_int_equal(books_adopt(b, 4001), 1);
    books_free(b);
}

static void have_one_heir(void **state)
{
    struct books *b = open_heir();
    struct books *other = open_books("127_0_0_1-2902", FAMILY);

    for (uint64_t at = 0; at <= 2000; at += 1000) {
        books_adopt(b, at);
        books_adopt(other, at);
    }
    books_adopt(other, 9000);
    assert_int_equal(books_counts(b).inherited, 1);
    assert_int_equal(books_counts(other).inherited, 0);
    books_free(b); /* it dies, too */
    assert_int_equal(books_adopt(other, 10000), 0);
    assert_int_equal(books_adopt(other, 12000), 1);
    close_all_of(other);
    books_free(other);
}

/* Its own gateway is there again meanwhile: it waits for it. */
static void are_waited_for_by_their_gateway(void **state)
{
    struct books *b = open_heir(), *own;
    bool wait = false;

    books_adopt(b, 0);
    assert_int_equal(books_adopt(b, 2000), 1);
    own = open_books("127_0_0_1-2901", FAMILY);
    assert_int_equal(books_inherit(own, &wait), 0);
    assert_true(wait);
    close_all_of(b);
    assert_int_equal(books_inherit(own, &wait), 0);
    assert_false(wait);
    books_free(own);
    books_free(b);
}

/* With no descriptor for the list, with one for it alone, and with all. */
static void are_inherited_once_there_are_descriptors(void **state)
{
    struct books *b = open_books("127_0_0_1-2901", FAMILY);
    struct rlimit all, few;
    bool wait;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
    few = all;
    few.rlim_cur = (rlim_t)dup(0);
    close((int)few.rlim_cur);
    log_set_level(LOG_ERROR);
    for (int i = 0; i < 2; i++, few.rlim_cur++) {
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        assert_int_equal(books_inherit(b, &wait), 0);
        assert_true(wait);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
    assert_int_equal(books_inherit(b, &wait), 1);
    assert_false(wait);
    books_free(b);
}

static void are_for_gateways_with_the_same_workers(void **state)
{
    struct books *b = open_books("127_0_0_1-2900", FAMILY + 1);
    struct books *none = open_books("127_0_0_1-2903", 0);

    for (uint64_t at = 0; at <= 4000; at += 2000) {
        assert_int_equal(books_adopt(b, at), 0);
        assert_int_equal(books_adopt(none, at), 0);
    }
    books_free(b);
    books_free(none);
    b = open_heir();
    books_adopt(b, 0);
    assert_int_equal(books_adopt(b, 2000), 1);
    books_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(are_adopted_after_a_while, set_scene),
        cmocka_unit_test_setup(say_whose_the_client_was, set_scene),
        cmocka_unit_test_setup(
            are_left_to_a_gateway_that_comes_again, set_scene),
        cmocka_unit_test_setup(have_one_heir, set_scene),
        cmocka_unit_test_setup(are_waited_for_by_their_gateway, set_scene),
        cmocka_unit_test_setup(
            are_inherited_once_there_are_descriptors, set_scene),
        cmocka_unit_test_setup(
            are_for_gateways_with_the_same_workers, set_scene),
    };

    return cmocka_run_group_tests_name("gateway.books", tests, NULL, NULL);
}

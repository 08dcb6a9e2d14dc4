/* What others get when a worker with a page of claims is lost: all that it has
 * not claimed, and nothing else, whatever it said and however it ended. */
#include "router_fixture.h"

#include <fcntl.h>
#include <unistd.h>

#include "../support/tempdir.h"
#include "gateway/books.h"
#include "proc/claims.h"

static char prefix[TEMPDIR_SIZE];
static struct claims *page; /* worker 0's end */

static struct test *start_with_pages(void)
{
    struct router_conf conf = router_defaults;

    tempdir_make(prefix);
    conf.claims = prefix;
    conf.high_water = 64 * 1024 * 1024;
    conf.client_share = 64 * 1024 * 1024;
    return start_with(conf);
}

static const struct router_features features = {
    .acks = true, .is_local = true, .claims = true};

/* The next packet of a link names a page; its name. */
static const char *take_name(struct conn *link)
{
    static const char word[] = "CLAIMS 0 ";
    const char *event = next_event(link);

    if (strncmp(event, word, sizeof(word) - 1) != 0)
        fail_msg("%s", event);
    return event + sizeof(word) - 1;
}

static void add_claiming(struct test *t, int i)
{
    add_worker_with(t, i, features);
    assert_string_equal(next_event(&t->links[i]), "ACK 0 ");
}

/* Worker 0 has got "a" to "c" of one client and "d" of another one. */
static struct test *set_scene(void)
{
    struct test *t = start_with_pages();
    const char *name;

    add_claiming(t, 0);
    name = take_name(&t->links[0]);
    assert_int_equal(claims_open(&page, prefix, name, strlen(name)), 0);
    say(t, 0, "a");
    say(t, 0, "b");
    say(t, 0, "c");
    say(t, 1, "d");
    return t;
}

static void strike(struct test *t)
{
    claims_close(page);
    page = NULL;
    finish(t);
}

static void expect_given(struct test *t, const char *const *want)
{
    add_worker_with(t, 1, (struct router_features){.acks = true});
    assert_string_equal(next_event(&t->links[1]), "ACK 0 ");
    for (; *want; want++)
        assert_string_equal(next_event(&t->links[1]), *want);
    assert_string_equal(next_event(&t->links[1]), "");
}

#define EXPECT_GIVEN(t, ...) \
    expect_given((t), (const char *const[]){__VA_ARGS__, NULL})

static void claim(uint32_t number)
{
    assert_int_equal(claims_begin(page, number), 0);
}

/* Killed before it could say so. */
static void gives_nobody_what_was_claimed(void **state)
{
    struct test *t = set_scene();
    const struct router_counters *counted = router_counters(t->router);

    claim(1);
    claim(4);
    lose(t, 0, true);
    EXPECT_GIVEN(t, "ON_MESSAGE 1 b", "ON_MESSAGE 1 c");
    assert_int_equal(counted->again, 2);
    assert_int_equal(counted->cut_off, 2);
    assert_int_equal(counted->lost, 0);
    strike(t);
}

/* A reset between two that live, or a peer that did not answer. */
static void loses_nothing_where_nobody_knows_what_was_said(void **state)
{
    struct test *t = set_scene();
    const struct router_counters *counted = router_counters(t->router);

    claim(1);
    lose(t, 0, false);
    EXPECT_GIVEN(t, "ON_MESSAGE 1 b", "ON_MESSAGE 1 c", "ON_MESSAGE 2 d");
    assert_int_equal(counted->again, 3);
    assert_int_equal(counted->cut_off, 1);
    assert_int_equal(counted->lost, 0);
    strike(t);
}

/* Its link is lost while it was stopped; it goes on an hour later. */
static void lets_a_lost_worker_begin_nothing(void **state)
{
    struct test *t = set_scene();

    claim(1);
    router_remove_worker(t->router, t->workers[0]);
    assert_int_equal(claims_begin(page, 2), -ECANCELED);
    router_settle(t->router, t->workers[0], t->roster, true);
    assert_int_equal(claims_begin(page, 2), -ECANCELED);
    EXPECT_GIVEN(t, "ON_MESSAGE 1 b", "ON_MESSAGE 1 c", "ON_MESSAGE 2 d");
    strike(t);
}

static void believes_what_the_worker_says_before_it_is_settled(void **state)
{
    struct test *t = set_scene();

    claim(1);
    claim(2);
    router_remove_worker(t->router, t->workers[0]);
    assert_int_equal(acknowledge(t, 0, 1, 1), 0);
    router_settle(t->router, t->workers[0], t->roster, true);
    EXPECT_GIVEN(t, "ON_MESSAGE 1 c", "ON_MESSAGE 2 d");
    assert_int_equal(router_counters(t->router)->cut_off, 1);
    strike(t);
}

static void counts_as_lost_what_a_page_of_garbage_leaves_open(void **state)
{
    struct test *t = set_scene();
    const struct router_counters *counted = router_counters(t->router);

    claim(1);
    claim(77);
    lose(t, 0, true);
    assert_int_equal(counted->again, 0);
    assert_int_equal(counted->cut_off, 1);
    assert_int_equal(counted->lost, 3);
    assert_int_equal(router_unbegun_count(t->router), 0);
    strike(t);
}

/* Then what it says is all that there is. */
static void does_as_without_for_one_that_has_not_joined(void **state)
{
    struct test *t = start_with_pages();

    add_claiming(t, 0);
    take_name(&t->links[0]);
    say(t, 0, "a");
    say(t, 0, "b");
    assert_int_equal(acknowledge(t, 0, 1, 1), 0);
    lose(t, 0, true);
    EXPECT_GIVEN(t, "ON_MESSAGE 1 b");
    lose(t, 1, false);
    assert_int_equal(router_counters(t->router)->lost, 1);
    finish(t);
}

static void does_without_where_no_page_can_be_made(void **state)
{
    struct router_conf conf = router_defaults;
    struct test *t;

    conf.claims = "/nowhere/at all";
    t = start_with(conf);
    add_claiming(t, 0);
    say(t, 0, "a");
    assert_string_equal(next_event(&t->links[0]), "ON_MESSAGE 1 a");
    lose(t, 0, true);
    EXPECT_GIVEN(t, "ON_MESSAGE 1 a");
    finish(t);
}

static void keeps_back_what_a_page_has_no_room_for(void **state)
{
    struct test *t = set_scene();

    for (int i = 4; i < CLAIMS_EVENTS; i++)
        say(t, 2, "x");
    assert_int_equal(router_held_count(t->router), 0);
    say(t, 3, "y");
    say(t, 3, "z");
    assert_int_equal(router_held_count(t->router), 2);
    assert_true(t->sockets[3].paused);
    assert_int_equal(acknowledge(t, 0, 1, 1), 0);
    assert_int_equal(router_held_count(t->router), 1);
    assert_int_equal(acknowledge(t, 0, 1, 1), 0);
    assert_int_equal(router_held_count(t->router), 0);
    assert_int_equal(acknowledge(t, 0, CLAIMS_EVENTS, CLAIMS_EVENTS), 0);
    assert_false(t->sockets[3].paused);
    strike(t);
}

/* ---- with a book ---- */

static struct books *books;
static struct bookmarks *marks; /* worker 0's end */
static uint32_t place;          /* of client 1 */
static char file_name[BOOK_NAME_MAX];

static void note_book(unsigned number, const char *name, void *arg)
{
    snprintf(file_name, sizeof(file_name), "%s", name);
}

static void open_marks(void)
{
    int folder = open(prefix, O_RDONLY | O_DIRECTORY);

    books_each(books, note_book, NULL);
    assert_int_equal(bookmarks_open(&marks, folder, file_name), 0);
    close(folder);
}

/* Worker 0 has got onConnect, "a" and onClose of client 1. */
static struct test *set_scene_with_book(void)
{
    struct router_features with_book = features;
    struct router_conf conf = router_defaults;
    const char *name;
    struct test *t;

    tempdir_make(prefix);
    books = books_new(&(struct books_conf){.folder = prefix, .slot = "x"});
    conf.claims = prefix;
    conf.books = books;
    t = start_with(conf);
    with_book.book = true;
    add_worker_with(t, 0, with_book);
    assert_int_equal(strncmp(next_event(&t->links[0]), "BOOK 0 ", 7), 0);
    assert_string_equal(next_event(&t->links[0]), "ACK 0 ");
    open_marks();
    name = take_name(&t->links[0]);
    assert_int_equal(claims_open(&page, prefix, name, strlen(name)), 0);
    books_enter(books, t->client[0]);
    place = t->client[0]->place;
    assert_int_equal(
        router_forward(t->router, t->client[0], FRAME_ON_CONNECT, 0, NULL, 0),
        0);
    say(t, 0, "a");
    leave(t, 0);
    return t;
}

static void mark(enum bookmark bit)
{
    assert_true(bookmarks_begin(marks, place, 1, bit));
}

/* What worker 1 gets, without what the events say. */
static void expect_kinds(struct test *t, const char *want)
{
    char got[256] = "", kind[32];
    unsigned id;

    add_worker_with(t, 1, (struct router_features){.acks = true});
    assert_string_equal(next_event(&t->links[1]), "ACK 0 ");
    while (sscanf(next_event(&t->links[1]), "%31s %u", kind, &id) == 2)
        snprintf(
            got + strlen(got), sizeof(got) - strlen(got), "%s %u ", kind, id);
    assert_string_equal(got, want);
}

static void strike_with_book(struct test *t)
{
    bookmarks_close(marks);
    strike(t);
    books_free(books);
}

/* Killed between its claim and the entry's word, some instructions apart. */
static void gives_again_what_was_claimed_and_is_not_in_the_book(void **state)
{
    struct test *t = set_scene_with_book();
    const struct router_counters *counted = router_counters(t->router);

    claim(1);
    claim(2);
    claim(3);
    lose(t, 0, true);
    expect_kinds(t, "ON_CONNECT 1 ON_CLOSE 1 ");
    assert_int_equal(counted->again, 2);
    assert_int_equal(counted->cut_off, 1);
    strike_with_book(t);
}

static void gives_nobody_what_the_book_says_has_begun(void **state)
{
    struct test *t = set_scene_with_book();

    claim(1);
    mark(BOOKMARK_CONNECTED);
    claim(2);
    claim(3);
    mark(BOOKMARK_CLOSED);
    lose(t, 0, true);
    expect_kinds(t, "");
    assert_int_equal(router_counters(t->router)->cut_off, 3);
    strike_with_book(t);
}

/* The message that goes in front of it does not tell where its entry is. */
static void gives_a_close_again_with_its_place_in_the_book(void **state)
{
    struct test *t = set_scene_with_book();
    struct router_features with_book = features;

    claim(1);
    mark(BOOKMARK_CONNECTED);
    lose(t, 0, true);
    with_book.book = true;
    add_worker_with(t, 1, with_book);
    assert_int_equal(strncmp(next_event(&t->links[1]), "BOOK 0 ", 7), 0);
    assert_string_equal(next_event(&t->links[1]), "ACK 0 ");
    take_name(&t->links[1]);
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 1 a");
    assert_true(next_flag(&t->links[1]) & FRAME_FLAG_BOOK);
    mark(BOOKMARK_CLOSED);
    books_tend(books);
    assert_int_equal(books_counts(books).entries, 0);
    strike_with_book(t);
}

/* ---- the same process again ---- */

/* A handler of the client may still run there. */
static void gives_clients_back_to_the_process_that_had_them(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_acking(t, 0);
    say(t, 0, "a");
    say(t, 1, "b");
    router_remove_worker(t->router, t->workers[0]);
    add_acking(t, 1); /* it has no clients, and is the first one */
    add_acking(t, 2);
    say(t, 0, "c");
    assert_string_equal(next_event(&t->links[1]), "");
    router_inherit(t->workers[2], t->workers[0]);
    router_settle(t->router, t->workers[0], t->roster, true);
    assert_string_equal(next_event(&t->links[2]), "ON_MESSAGE 1 a");
    assert_string_equal(next_event(&t->links[2]), "ON_MESSAGE 1 c");
    assert_string_equal(next_event(&t->links[2]), "ON_MESSAGE 2 b");
    say(t, 2, "d");
    assert_string_equal(next_event(&t->links[1]), "ON_MESSAGE 3 d");
    finish(t);
}

/* … also when nothing of the client came between two losses. */
static void gives_clients_back_after_a_second_loss(void **state)
{
    struct test *t = start(GATEWAY_ROUTER_LEAST);

    add_acking(t, 0);
    say(t, 0, "a");
    assert_int_equal(acknowledge(t, 0, 1, 0), 0);
    router_remove_worker(t->router, t->workers[0]);
    add_acking(t, 1);
    router_inherit(t->workers[1], t->workers[0]);
    router_settle(t->router, t->workers[0], t->roster, true);
    router_remove_worker(t->router, t->workers[1]);
    add_acking(t, 3); /* it has no clients, and is the first one */
    add_acking(t, 2);
    router_inherit(t->workers[2], t->workers[1]);
    router_settle(t->router, t->workers[1], t->roster, true);
    say(t, 0, "b");
    assert_string_equal(next_event(&t->links[2]), "ON_MESSAGE 1 b");
    finish(t);
}

/* ---- with a book that the worker cannot ask ---- */

/* Worker 0, on another machine, has got the same, with so many messages. */
static struct test *set_far_scene_with(uint32_t window, int messages)
{
    const struct router_features far = {
        .acks = true, .far_book = true, .window = window > 0};
    struct router_conf conf = router_defaults;
    struct test *t;

    conf.begin_window = window;
    tempdir_make(prefix);
    books = books_new(&(struct books_conf){.folder = prefix, .slot = "x"});
    conf.books = books;
    t = start_with(conf);
    add_worker_with(t, 0, far);
    assert_int_equal(strncmp(next_event(&t->links[0]), "KEEPS 0 ", 8), 0);
    assert_string_equal(next_event(&t->links[0]), "ACK 0 ");
    if (window > 0)
        assert_string_equal(next_event(&t->links[0]), "WINDOW 0 ");
    books_enter(books, t->client[0]);
    place = t->client[0]->place;
    assert_int_equal(
        router_forward(t->router, t->client[0], FRAME_ON_CONNECT, 0, NULL, 0),
        0);
    assert_true(next_flag(&t->links[0]) & FRAME_FLAG_BOOK);
    while (messages-- > 0)
        say(t, 0, "a");
    leave(t, 0);
    return t;
}

static struct test *set_far_scene(void)
{
    return set_far_scene_with(0, 1);
}

static void strike_far(struct test *t)
{
    finish(t);
    books_free(books);
}

static uint64_t far_bits(void)
{
    return bookmark_get(book_mark(books_number(books, BOOKS_OWN), place)) &
           BOOKMARK_BITS;
}

static void marks_what_a_far_worker_says_to_have_begun(void **state)
{
    struct test *t = set_far_scene();

    assert_int_equal(far_bits(), 0);
    assert_int_equal(acknowledge(t, 0, 1, 0), 0);
    assert_int_equal(far_bits(), BOOKMARK_CONNECTED);
    assert_int_equal(acknowledge(t, 0, 2, 3), 0);
    assert_int_equal(far_bits(), BOOKMARK_BITS);
    books_tend(books);
    assert_int_equal(books_counts(books).entries, 0);
    strike_far(t);
}

static void expect_orphan(bool certain)
{
    struct books_orphan orphan;

    assert_int_equal(books_counts(books).orphans, 1);
    assert_true(books_take_orphan(books, &orphan));
    assert_int_equal(orphan.number, BOOKS_OWN);
    assert_int_equal(orphan.place, place);
    assert_int_equal(orphan.id, 1);
    assert_int_equal(orphan.certain, certain);
    assert_true(books_awaits(books, &orphan));
    assert_false(books_take_orphan(books, &orphan));
}

static void puts_a_close_aside_that_a_far_worker_may_have_begun(void **state)
{
    struct test *t = set_far_scene();

    lose(t, 0, false);
    expect_orphan(false);
    expect_kinds(t, "");
    assert_int_equal(far_bits(), BOOKMARK_CONNECTED); /* counts as begun */
    assert_int_equal(router_counters(t->router)->lost, 2);
    strike_far(t);
}

/* What it says may not be all, if the way broke. */
static void puts_a_close_aside_that_a_far_worker_has_not_begun(void **state)
{
    struct test *t = set_far_scene();

    acknowledge(t, 0, 2, 2);
    lose(t, 0, true);
    expect_orphan(true);
    expect_kinds(t, "");
    assert_int_equal(router_counters(t->router)->again, 1);
    strike_far(t);
}

static void puts_a_close_aside_that_a_window_has_let_begin(void **state)
{
    struct test *t = set_far_scene_with(8, 1);

    lose(t, 0, true);
    expect_orphan(false);
    expect_kinds(t, "");
    assert_int_equal(far_bits(), BOOKMARK_CONNECTED);
    assert_int_equal(router_counters(t->router)->unknown, 2);
    assert_int_equal(router_counters(t->router)->again, 1);
    assert_int_equal(router_counters(t->router)->lost, 0);
    strike_far(t);
}

static void gives_a_close_again_that_cannot_have_begun(void **state)
{
    struct test *t = set_far_scene_with(8, 6);

    lose(t, 0, false);
    assert_int_equal(books_counts(books).orphans, 0);
    expect_kinds(t, "ON_MESSAGE 1 ON_CLOSE 1 ");
    assert_int_equal(router_counters(t->router)->unknown, 6);
    assert_int_equal(router_counters(t->router)->again, 2);
    strike_far(t);
}

static void keeps_a_close_behind_what_has_not_begun_for_certain(void **state)
{
    struct test *t = set_far_scene();

    acknowledge(t, 0, 1, 1);
    lose(t, 0, true);
    assert_int_equal(books_counts(books).orphans, 0);
    expect_kinds(t, "ON_MESSAGE 1 ON_CLOSE 1 ");
    strike_far(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_nobody_what_was_claimed),
        cmocka_unit_test(loses_nothing_where_nobody_knows_what_was_said),
        cmocka_unit_test(lets_a_lost_worker_begin_nothing),
        cmocka_unit_test(believes_what_the_worker_says_before_it_is_settled),
        cmocka_unit_test(counts_as_lost_what_a_page_of_garbage_leaves_open),
        cmocka_unit_test(does_as_without_for_one_that_has_not_joined),
        cmocka_unit_test(does_without_where_no_page_can_be_made),
        cmocka_unit_test(keeps_back_what_a_page_has_no_room_for),
        cmocka_unit_test(gives_again_what_was_claimed_and_is_not_in_the_book),
        cmocka_unit_test(gives_nobody_what_the_book_says_has_begun),
        cmocka_unit_test(gives_a_close_again_with_its_place_in_the_book),
        cmocka_unit_test(gives_clients_back_to_the_process_that_had_them),
        cmocka_unit_test(gives_clients_back_after_a_second_loss),
        cmocka_unit_test(marks_what_a_far_worker_says_to_have_begun),
        cmocka_unit_test(puts_a_close_aside_that_a_far_worker_may_have_begun),
        cmocka_unit_test(puts_a_close_aside_that_a_far_worker_has_not_begun),
        cmocka_unit_test(puts_a_close_aside_that_a_window_has_let_begin),
        cmocka_unit_test(gives_a_close_again_that_cannot_have_begun),
        cmocka_unit_test(keeps_a_close_behind_what_has_not_begun_for_certain),
    };

    return cmocka_run_group_tests_name(
        "gateway.router_settle", tests, NULL, NULL);
}

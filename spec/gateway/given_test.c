/* What a worker was given and has not begun, as it says what it takes. */
#include "fakes.h"

#include <stdio.h>
#include <stdlib.h>

#include "../support/tempdir.h"
#include "gateway/given.h"
#include "wire/frame.h"

static struct given *given;
static struct buf gone; /* "id:bytes …" of what went last */
static struct buf waits, begins;

static int set_up(void **state)
{
    given = given_new(NULL);
    return 0;
}

static int tear_down(void **state)
{
    given_free(given);
    buf_fini(&waits);
    buf_fini(&begins);
    buf_fini(&gone);
    return 0;
}

static void give(uint32_t id, const char *text)
{
    struct frame f = {.cmd = FRAME_ON_MESSAGE,
        .connection_id = id,
        .body = (const uint8_t *)text,
        .body_len = strlen(text)};
    struct buf packet = {0};

    frame_encode(&packet, &f);
    given_add(given, packet.data, packet.len);
    buf_fini(&packet);
}

static void note_gone(const uint8_t *packet, size_t len, void *arg)
{
    buf_printf(&gone, "%u:%zu ", frame_connection_id(packet), len);
}

static const char *gone_text(void)
{
    buf_append_byte(&gone, 0);
    return (const char *)gone.data;
}

/* taken of them; those in waits and begins are used up. */
static ssize_t take(uint32_t taken)
{
    struct buf body = {0};
    struct ack ack;
    ssize_t n;

    ack_put(&body, taken, 0, &waits, &begins);
    assert_int_equal(ack_parse(&ack, body.data, body.len), 0);
    buf_clear(&gone);
    n = given_take(given, &ack, note_gone, NULL);
    buf_fini(&body);
    buf_clear(&waits);
    buf_clear(&begins);
    return n;
}

static void note(const uint8_t *packet, size_t len, void *arg)
{
    struct frame f;

    assert_int_equal(frame_decode(&f, packet, len), 0);
    buf_printf(arg, "%u:%.*s ", f.connection_id, (int)f.body_len,
        (const char *)f.body);
}

/* What is left as "id:text …"; the clients whose events wait come first. */
static void expect(const char *want)
{
    struct buf text = {0};

    given_each(given, note, &text);
    buf_append_byte(&text, 0);
    assert_string_equal(text.data, want);
    buf_fini(&text);
}

static void forgets_what_begins_in_the_order_given(void **state)
{
    give(1, "a");
    give(2, "b");
    give(1, "c");
    assert_int_equal(given_count(given), 3);
    assert_int_equal(given_bytes(given), 3 * (FRAME_HEAD_LEN + 1));
    assert_int_equal(take(2), 2);
    expect("1:c ");
    give(3, "d");
    assert_int_equal(take(2), 2);
    expect("");
    assert_int_equal(given_count(given), 0);
    assert_int_equal(given_bytes(given), 0);
}

static void keeps_what_waits_until_it_begins(void **state)
{
    give(1, "a");
    give(1, "b");
    give(2, "c");
    give(1, "d");
    give(2, "e");
    ack_put_number(&waits, 1);
    ack_put_number(&waits, 3);
    assert_int_equal(take(4), 2);
    assert_string_equal(gone_text(), "1:29 2:29 ");
    assert_int_equal(given_untaken(given), 29);
    expect("1:b 1:d 2:e ");
    assert_int_equal(given_count(given), 3);
    ack_put_number(&begins, 1);
    assert_int_equal(take(1), 2);
    assert_string_equal(gone_text(), "2:29 1:29 ");
    assert_int_equal(given_untaken(given), 0);
    expect("1:d ");
    ack_put_number(&begins, 1);
    assert_int_equal(take(0), 1);
    expect("");
    assert_int_equal(given_bytes(given), 0);
}

static void takes_what_waits_and_begins_in_one_go(void **state)
{
    give(7, "a");
    ack_put_number(&waits, 0);
    ack_put_number(&begins, 7);
    assert_int_equal(take(1), 1);
    expect("");
}

static bool drop(uint32_t number, const char *want)
{
    struct buf text = {0};
    bool found = given_drop(given, number, note, &text);

    buf_append_byte(&text, 0);
    assert_string_equal(text.data, want);
    buf_fini(&text);
    return found;
}

static void drops_one_event_by_its_number(void **state)
{
    give(1, "a");
    give(1, "b");
    give(2, "c");
    give(1, "d");
    give(2, "e");
    ack_put_number(&waits, 1);
    assert_int_equal(take(2), 1); /* a begins, b waits */
    assert_false(drop(0, ""));
    assert_false(drop(1, ""));
    assert_false(drop(6, ""));
    assert_true(drop(4, "1:d "));
    expect("1:b 2:c 2:e ");
    assert_true(drop(2, "1:b "));
    assert_false(drop(2, ""));
    expect("2:c 2:e ");
    assert_int_equal(given_count(given), 2);
    assert_int_equal(given_bytes(given), 2 * (FRAME_HEAD_LEN + 1));
}

static void notices_talk_of_other_events(void **state)
{
    give(1, "a");
    assert_int_equal(take(2), -EPROTO);
    give(1, "a");
    ack_put_number(&waits, 1);
    assert_int_equal(take(1), -EPROTO);
    ack_put_number(&begins, 1);
    assert_int_equal(take(0), -EPROTO);
    give(1, "a");
    give(1, "b");
    ack_put_number(&waits, 1);
    ack_put_number(&waits, 0); /* not in order */
    assert_int_equal(take(2), -EPROTO);
}

/* ---- with a window ---- */

/* What the next grant says: "limit id id …"; "" when there is none. */
static const char *grant(void)
{
    static char text[64];
    struct buf body = {0};
    size_t n = 0;

    text[0] = '\0';
    if (given_grant(given, &body)) {
        const struct ack_numbers numbers = {body.data, body.len / 4};

        for (size_t i = 0; i < numbers.count; i++)
            n += (size_t)snprintf(
                text + n, sizeof(text) - n, "%u ", ack_number(&numbers, i));
    }
    buf_fini(&body);
    return text;
}

static void lets_a_line_be_taken_at_a_time(void **state)
{
    assert_string_equal(grant(), "");
    given_set_window(given, 8, 2);
    assert_string_equal(grant(), "");
    for (uint32_t i = 1; i <= 30; i++)
        give(i, "x");
    assert_int_equal(take(9), -EPROTO);
    assert_int_equal(take(2), 2);
    assert_string_equal(grant(), ""); /* it is not worth a packet */
    assert_int_equal(take(7), -EPROTO);
    assert_int_equal(take(6), 6);
    assert_string_equal(grant(), "16 ");
    assert_string_equal(grant(), "");
    assert_int_equal(take(3), 3);
    assert_string_equal(grant(), "19 ");
}

/* Client 1's "b" and "c", 2's "d", 3's "e" wait. */
static void set_waiting(void)
{
    given_set_window(given, 8, 2);
    give(1, "a");
    give(1, "b");
    give(1, "c");
    give(2, "d");
    give(3, "e");
    for (uint32_t i = 1; i < 5; i++)
        ack_put_number(&waits, i);
    assert_int_equal(take(5), 1);
    assert_string_equal(grant(), "13 ");
}

static ssize_t begin(uint32_t id)
{
    ack_put_number(&begins, id);
    return take(0);
}

static void lets_begin_what_waits_a_few_at_a_time(void **state)
{
    set_waiting();
    assert_int_equal(begin(1), -EPROTO);
    assert_int_equal(given_want(given, 7), -EPROTO);
    assert_int_equal(given_want(given, 2), 0);
    assert_int_equal(given_want(given, 2), -EPROTO);
    assert_string_equal(grant(), "13 2 ");
    assert_int_equal(given_want(given, 2), -EPROTO);
    assert_int_equal(given_want(given, 3), 0);
    assert_int_equal(given_want(given, 1), 0);
    assert_string_equal(grant(), "13 3 ");
    assert_string_equal(grant(), "");
    assert_int_equal(begin(2), 1);
    assert_string_equal(grant(), "13 1 ");
    assert_int_equal(begin(1), 1);
    assert_int_equal(begin(1), -EPROTO);
    assert_int_equal(given_want(given, 1), 0);
    assert_string_equal(grant(), "13 1 ");
    assert_int_equal(begin(3), 1);
    assert_int_equal(begin(1), 1);
    expect("");
}

static void close_window_with(const char *want)
{
    struct buf text = {0};

    given_close_window(given, note, &text);
    buf_append_byte(&text, 0);
    assert_string_equal(text.data, want);
    buf_fini(&text);
}

/* What the worker was let begin it may have begun, or begins yet. */
static void keeps_what_cannot_have_begun(void **state)
{
    set_waiting();
    assert_int_equal(given_want(given, 1), 0);
    assert_string_equal(grant(), "13 1 ");
    assert_int_equal(given_want(given, 2), 0); /* it was not heard */
    give(2, "f");                              /* waits behind "d" */
    for (int i = 0; i < 9; i++)
        give(4, i < 7 ? "g" : "h");
    close_window_with("1:b 4:g 4:g 4:g 4:g 4:g 4:g 4:g ");
    expect("1:c 2:d 3:e 2:f 4:h 4:h ");
    assert_int_equal(given_count(given), 6);
    assert_int_equal(given_bytes(given), 6 * (FRAME_HEAD_LEN + 1));
}

/* An ON_CLOSE of a client with that id that another gateway had. */
static uint32_t give_other(uint32_t id)
{
    struct frame f = {.cmd = FRAME_ON_CLOSE,
        .flag = FRAME_FLAG_BOOK,
        .book = 16 | FRAME_BOOK_OTHER,
        .place = 4099,
        .connection_id = id,
        .body = (const uint8_t *)"x",
        .body_len = 1};
    struct buf packet = {0};

    frame_encode(&packet, &f);
    given_add(given, packet.data, packet.len);
    buf_fini(&packet);
    return frame_ack_id(&f);
}

/* A grant cannot name it. */
static void lets_begin_whom_another_gateway_had(void **state)
{
    uint32_t other;

    given_set_window(given, 8, 2);
    other = give_other(5);
    ack_put_number(&waits, 0);
    assert_int_equal(take(1), 0);
    assert_int_equal(begin(other), 1);
    expect("");
}

/* … and so may have begun when its worker is lost, whoever waits with the same
 * number. */
static void keeps_no_other_that_may_have_begun(void **state)
{
    give(5, "a");
    given_set_window(given, 8, 2);
    give_other(5);
    ack_put_number(&waits, 0);
    ack_put_number(&waits, 1);
    assert_int_equal(take(2), 0);
    close_window_with("5:x ");
    expect("5:a ");
}

static void keeps_no_other_that_is_in_line(void **state)
{
    given_set_window(given, 8, 2);
    give(5, "a");
    ack_put_number(&waits, 0);
    assert_int_equal(take(1), 0);
    give_other(5);
    close_window_with("5:x ");
    expect("5:a ");
}

/* ---- with the word of the worker ---- */

static void leave_with(
    int err, uint32_t taken, const struct buf *unbegun, const char *want);

/* taken of all; those in waits are not begun, and used up. */
static void leaves(int err, uint32_t taken, const char *want)
{
    leave_with(err, taken, &waits, want);
    buf_clear(&waits);
}

static void keeps_what_the_worker_says_it_has_not_begun(void **state)
{
    give(1, "a");
    give(1, "b");
    give(1, "c");
    give(2, "d");
    give(1, "e");
    give(2, "f");
    give(2, "g");
    ack_put_number(&waits, 1);
    ack_put_number(&waits, 2);
    assert_int_equal(take(3), 1); /* a begins, b and c wait */
    ack_put_number(&waits, 5);
    ack_put_number(&waits, 3); /* c, in any order */
    leaves(0, 6, "1:b 2:d 2:f ");
    expect("1:c 1:e 2:g ");
    assert_int_equal(given_count(given), 3);
    assert_int_equal(given_bytes(given), 3 * (FRAME_HEAD_LEN + 1));
    leaves(-EPROTO, 6, "");
}

static void believes_no_word_about_what_was_not_given(void **state)
{
    give(1, "a");
    give(1, "b");
    assert_int_equal(take(1), 1);
    leaves(-EPROTO, 0, ""); /* less than it has said */
    leaves(-EPROTO, 3, "");
    ack_put_number(&waits, 1); /* it has begun */
    leaves(-EPROTO, 2, "");
    ack_put_number(&waits, 2); /* not even taken */
    leaves(-EPROTO, 1, "");
    ack_put_number(&waits, 2);
    ack_put_number(&waits, 2);
    leaves(-EPROTO, 2, "");
    expect("1:b ");
    leaves(0, 1, "");
    expect("1:b ");
}

static void believes_no_word_beyond_the_window(void **state)
{
    given_set_window(given, 3, 1);
    for (int i = 0; i < 6; i++)
        give(1, i < 3 ? "a" : "b");
    leaves(-EPROTO, 4, "");
    leaves(0, 3, "1:a 1:a 1:a ");
    expect("1:b 1:b 1:b ");
}

/* ---- with a page ---- */

static struct claims *page; /* the worker's end */

static void claim(uint32_t number)
{
    assert_int_equal(claims_begin(page, number), 0);
}

/* "x" has not begun, whatever was claimed. */
static bool note_begun(const uint8_t *packet, size_t len, void *arg)
{
    if (packet[len - 1] == 'x')
        return false;
    note(packet, len, arg);
    return true;
}

/* What has begun and was not told of is want. */
static void close_with(int err, const char *want)
{
    struct buf text = {0};

    assert_int_equal(given_close(given, note_begun, &text), err);
    buf_append_byte(&text, 0);
    assert_string_equal(text.data, want);
    buf_fini(&text);
}

static void leave_with(
    int err, uint32_t taken, const struct buf *unbegun, const char *want)
{
    struct buf text = {0}, body = {0};
    struct ack_left left;

    ack_put_left(&body, "p", taken, unbegun);
    assert_int_equal(ack_parse_left(&left, body.data, body.len), 0);
    assert_int_equal(given_leave(given, &left, note_begun, &text), err);
    buf_append_byte(&text, 0);
    assert_string_equal(text.data, want);
    buf_fini(&text);
    buf_fini(&body);
}

/* The gateway's end of a new page. */
static struct claims *make_page(void)
{
    struct claims *own;
    char dir[TEMPDIR_SIZE];
    const char *name;

    tempdir_make(dir);
    assert_int_equal(claims_create(&own, dir), 0);
    name = claims_name(own);
    assert_int_equal(claims_open(&page, dir, name, strlen(name)), 0);
    return own;
}

static int set_up_page(void **state)
{
    given = given_new(make_page());
    return 0;
}

static int tear_down_page(void **state)
{
    claims_close(page);
    page = NULL;
    return tear_down(state);
}

static void knows_nothing_more_without_a_page(void **state)
{
    give(1, "a");
    close_with(-ENOTCONN, "");
    expect("1:a ");
}

static void finds_what_was_claimed_and_not_told(void **state)
{
    give(1, "a");
    give(1, "b");
    give(2, "c");
    give(1, "d");
    give(2, "e");
    claim(1);
    ack_put_number(&waits, 1);
    assert_int_equal(take(2), 1); /* a begins, b waits */
    claim(4);
    claim(2);
    given_revoke(given);
    assert_int_equal(claims_begin(page, 3), -ECANCELED);
    close_with(0, "1:b 1:d ");
    expect("2:c 2:e ");
    assert_int_equal(given_count(given), 2);
    assert_int_equal(given_bytes(given), 2 * (FRAME_HEAD_LEN + 1));
    assert_int_equal(given_untaken(given), given_bytes(given));
}

/* The worker has taken all that was given before it goes on. */
static void counts_on_with_another_page(void **state)
{
    give(1, "a");
    give(1, "b");
    give(2, "c");
    claim(1);
    given_revoke(given);
    close_with(0, "1:a ");
    expect("1:b 2:c ");
    claims_close(page);
    given_renew(given, make_page());
    given_renewed(given);
    give(1, "d");
    give(2, "e");
    claim(4);
    given_revoke(given);
    close_with(0, "1:d ");
    expect("2:e ");
}

static void keeps_what_has_not_begun_though_it_was_claimed(void **state)
{
    give(1, "a");
    give(1, "x");
    give(2, "b");
    give(2, "x");
    claim(1);
    claim(3);
    ack_put_number(&waits, 0);
    ack_put_number(&waits, 1);
    assert_int_equal(take(2), 0); /* a and x wait */
    claim(2);
    claim(4);
    given_revoke(given);
    close_with(0, "1:a 2:b ");
    expect("1:x 2:x ");
    assert_int_equal(given_count(given), 2);
}

/* The worker told it before its link ended, the gateway heard it later. */
static void hears_what_was_told_after_it_revoked(void **state)
{
    give(1, "a");
    give(1, "b");
    give(1, "c");
    claim(1);
    claim(2);
    given_revoke(given);
    assert_int_equal(take(1), 1);
    close_with(0, "1:b ");
    expect("1:c ");
}

static void closes_when_all_was_told(void **state)
{
    give(1, "a");
    claim(1);
    assert_int_equal(take(1), 1);
    close_with(0, "");
    close_with(0, "");
    assert_int_equal(given_count(given), 0);
}

static void counts_the_one_that_hung_once(void **state)
{
    give(1, "a");
    give(2, "b");
    give(2, "c");
    claim(1);
    claim(2);
    assert_true(drop(2, "2:b "));
    close_with(0, "1:a ");
    expect("2:c ");
}

static void believes_no_page_with_a_number_of_none(void **state)
{
    give(1, "a");
    give(1, "b");
    claim(0);
    close_with(-EPROTO, "");
}

static void believes_no_page_that_speaks_of_other_events(void **state)
{
    give(1, "a");
    give(1, "b");
    claim(2);
    claim(3);
    close_with(-EPROTO, "1:b ");
    expect("1:a ");
}

static void believes_no_page_that_says_a_thing_twice(void **state)
{
    give(1, "a");
    give(1, "b");
    claim(2);
    claim(2);
    close_with(-EPROTO, "");
    expect("1:a 1:b ");
}

static void believes_no_page_with_more_than_was_given(void **state)
{
    give(1, "a");
    claim(1);
    claim(2);
    close_with(-EPROTO, "");
    expect("1:a ");
}

static void believes_no_page_with_less_than_was_told(void **state)
{
    give(1, "a");
    give(1, "b");
    assert_int_equal(take(1), 1);
    close_with(-EPROTO, "");
    expect("1:b ");
}

static void gives_no_more_than_the_page_has_room_for(void **state)
{
    for (uint32_t i = 0; i < CLAIMS_EVENTS; i++) {
        assert_true(given_has_room(given, SIZE_MAX));
        give(1, "x");
        claim(i + 1);
    }
    assert_false(given_has_room(given, SIZE_MAX));
    assert_int_equal(take(1), 1);
    assert_true(given_has_room(given, SIZE_MAX));
    give(1, "y");
    claim(CLAIMS_EVENTS + 1);
    assert_int_equal(take(CLAIMS_EVENTS - 1), CLAIMS_EVENTS - 1);
    close_with(0, "1:y ");
}

static void stays_small_over_many_events(void **state)
{
    for (unsigned i = 0; i < 100000; i++) {
        char want[32];

        give(i, "x");
        give(i + 1, "y");
        if (i > 0)
            assert_int_equal(take(2), 2);
        snprintf(want, sizeof(want), "%u:x %u:y ", i, i + 1);
        expect(want);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
#define PAGE(f) cmocka_unit_test_setup_teardown(f, set_up_page, tear_down_page)
    const struct CMUnitTest tests[] = {
        TEST(forgets_what_begins_in_the_order_given),
        TEST(keeps_what_waits_until_it_begins),
        TEST(takes_what_waits_and_begins_in_one_go),
        TEST(drops_one_event_by_its_number),
        TEST(notices_talk_of_other_events),
        TEST(stays_small_over_many_events),
        TEST(lets_a_line_be_taken_at_a_time),
        TEST(lets_begin_what_waits_a_few_at_a_time),
        TEST(keeps_what_cannot_have_begun),
        TEST(lets_begin_whom_another_gateway_had),
        TEST(keeps_no_other_that_may_have_begun),
        TEST(keeps_no_other_that_is_in_line),
        TEST(believes_no_word_beyond_the_window),
        TEST(keeps_what_the_worker_says_it_has_not_begun),
        TEST(believes_no_word_about_what_was_not_given),
        TEST(knows_nothing_more_without_a_page),
        PAGE(finds_what_was_claimed_and_not_told),
        PAGE(counts_on_with_another_page),
        PAGE(keeps_what_has_not_begun_though_it_was_claimed),
        PAGE(hears_what_was_told_after_it_revoked),
        PAGE(closes_when_all_was_told),
        PAGE(counts_the_one_that_hung_once),
        PAGE(believes_no_page_with_a_number_of_none),
        PAGE(believes_no_page_that_speaks_of_other_events),
        PAGE(believes_no_page_that_says_a_thing_twice),
        PAGE(believes_no_page_with_more_than_was_given),
        PAGE(believes_no_page_with_less_than_was_told),
        PAGE(gives_no_more_than_the_page_has_room_for),
    };

    return cmocka_run_group_tests_name("gateway.given", tests, NULL, NULL);
}

/* What a worker was given and has not begun, as it says what it takes. */
#include "fakes.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/given.h"
#include "wire/frame.h"

static struct given *given;
static struct buf gone; /* "id:bytes …" of what went last */
static struct buf waits, begins;

static int set_up(void **state)
{
    given = given_new();
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

static void note_gone(uint32_t id, size_t len, void *arg)
{
    buf_printf(&gone, "%u:%zu ", id, len);
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
    const struct CMUnitTest tests[] = {
        TEST(forgets_what_begins_in_the_order_given),
        TEST(keeps_what_waits_until_it_begins),
        TEST(takes_what_waits_and_begins_in_one_go),
        TEST(drops_one_event_by_its_number),
        TEST(notices_talk_of_other_events),
        TEST(stays_small_over_many_events),
    };

    return cmocka_run_group_tests_name("gateway.given", tests, NULL, NULL);
}

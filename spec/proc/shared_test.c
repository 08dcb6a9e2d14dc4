/* shared: a table that processes use at once, and that outlives their death. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proc/shared.h"

#define ROOM 1000 /* keys */

static struct shared *s;

static int setup(void **state)
{
    s = shared_new(ROOM);
    assert_non_null(s);
    return 0;
}

static int teardown(void **state)
{
    shared_close(s);
    return 0;
}

static struct shared_key key_of(const char *text)
{
    return (struct shared_key){text, strlen(text)};
}

static struct shared_value text_of(const char *text)
{
    struct shared_value v = {.type = SHARED_TEXT, .len = strlen(text)};

    memcpy(v.text, text, v.len);
    return v;
}

static void assert_text(const char *name, const char *expected)
{
    struct shared_key key = key_of(name);
    struct shared_value v;

    if (!expected) {
        assert_int_equal(shared_get(s, &key, &v), 0);
        return;
    }
    assert_int_equal(shared_get(s, &key, &v), 1);
    assert_int_equal(v.type, SHARED_TEXT);
    assert_int_equal(v.len, strlen(expected));
    assert_memory_equal(v.text, expected, v.len);
}

static void keeps_values(void **state)
{
    struct shared_key a = key_of("a"), none = {"", 0};
    struct shared_value one = text_of("one"), two = text_of(""), v;
    struct shared_value number = {.type = SHARED_FLOAT, .number = 0.5};

    assert_text("a", NULL);
    assert_int_equal(shared_set(s, &a, &one, 0), 1);
    assert_text("a", "one");
    assert_int_equal(shared_set(s, &a, &two, 0), 1);
    assert_text("a", "");
    assert_int_equal(shared_set(s, &none, &number, 0), 1);
    assert_int_equal(shared_get(s, &none, &v), 1);
    assert_true(v.type == SHARED_FLOAT && v.number == 0.5);
    assert_int_equal(shared_delete(s, &a), 1);
    assert_int_equal(shared_delete(s, &a), 0);
    assert_text("a", NULL);
}

static void adds_compares_and_counts(void **state)
{
    struct shared_key a = key_of("a"), n = key_of("n");
    struct shared_value one = text_of("one"), two = text_of("two");
    struct shared_value integer = {.type = SHARED_INTEGER, .integer = 1};
    int64_t out;

    assert_int_equal(shared_add(s, &a, &one, 0), 1);
    assert_int_equal(shared_add(s, &a, &two, 0), 0);
    assert_int_equal(shared_cas(s, &a, &two, &one, 0), 0);
    assert_int_equal(shared_cas(s, &a, &integer, &one, 0), 0);
    assert_int_equal(shared_cas(s, &a, &one, &two, 0), 1);
    assert_text("a", "two");
    assert_int_equal(shared_incr(s, &a, 1, 0, &out), -EINVAL);
    assert_int_equal(shared_cas(s, &a, &two, NULL, 0), 1);
    assert_text("a", NULL);
    assert_int_equal(shared_incr(s, &n, INT64_MAX, 0, &out), 1);
    assert_true(out == INT64_MAX);
    assert_int_equal(shared_incr(s, &n, 1, 0, &out), -ERANGE);
    assert_int_equal(shared_incr(s, &n, -1, 0, &out), 1);
    assert_true(out == INT64_MAX - 1);
}

static void wait_until_gone(const struct shared_key *key)
{
    time_t begun = time(NULL);
    struct shared_value v;

    while (shared_get(s, key, &v) == 1)
        assert_in_range(time(NULL) - begun, 0, 10);
}

static void forgets_what_is_over(void **state)
{
    struct shared_key a = key_of("a"), n = key_of("n");
    struct shared_value one = text_of("one");
    int64_t out;

    assert_int_equal(shared_set(s, &a, &one, 1), 1);
    assert_int_equal(shared_incr(s, &n, 5, 1, &out), 1);
    wait_until_gone(&a);
    wait_until_gone(&n);
    assert_int_equal(shared_expire(s, &a, 1000), 0);
    assert_int_equal(shared_incr(s, &n, 5, 0, &out), 1);
    assert_int_equal(out, 5);
    assert_int_equal(shared_expire(s, &n, 1), 1);
    wait_until_gone(&n);
    assert_int_equal(shared_add(s, &a, &one, 0), 1);
}

static void is_bounded(void **state)
{
    static const char long_text[SHARED_VALUE_MAX + 1];
    struct shared_key key = {long_text, SHARED_KEY_MAX + 1};
    struct shared_value v = {.type = SHARED_TEXT, .len = SHARED_VALUE_MAX + 1};
    char name[16];
    int64_t out;

    assert_int_equal(shared_delete(s, &key), -EMSGSIZE);
    key.len = SHARED_KEY_MAX;
    assert_int_equal(shared_set(s, &key, &v, 0), -EMSGSIZE);
    for (int i = 0; i < ROOM; i++) {
        snprintf(name, sizeof(name), "%d", i);
        key = key_of(name);
        assert_int_equal(shared_incr(s, &key, i, 0, &out), 1);
    }
    key = key_of("more");
    assert_int_equal(shared_incr(s, &key, 1, 0, &out), -ENOSPC);
    for (int i = 0; i < ROOM; i++) {
        snprintf(name, sizeof(name), "%d", i);
        key = key_of(name);
        assert_int_equal(shared_incr(s, &key, 0, 0, &out), 1);
        assert_int_equal(out, i);
        assert_int_equal(shared_delete(s, &key), 1);
    }
    assert_int_equal(shared_incr(s, &key, 1, 0, &out), 1);
}

static int add_key(int number, uint64_t ttl_ms)
{
    char name[16];
    struct shared_key key = {
        name, (size_t)snprintf(name, sizeof(name), "key%d", number)};
    int64_t out;

    return shared_incr(s, &key, 1, ttl_ms, &out);
}

static bool has_key(int number)
{
    char name[16];
    struct shared_key key = {
        name, (size_t)snprintf(name, sizeof(name), "key%d", number)};
    struct shared_value v;

    return shared_get(s, &key, &v) == 1;
}

/* Keys end in another order than they came, some have their end put off, some
 * are deleted: a full table has room for exactly as many as are over. */
static void uses_the_room_of_what_is_over_at_once(void **state)
{
    uint64_t now = 1000;
    int alive = 0;

    shared_use_clock(s, &now);
    for (int i = 0; i < ROOM; i++)
        assert_int_equal(add_key(i, 1 + (uint64_t)(i * 7919 % ROOM)), 1);
    assert_int_equal(add_key(ROOM, 5), -ENOSPC);
    for (int i = 0; i < 10; i++) { /* these are the first */
        struct shared_key key = {(char[16]){0}, 0};

        for (int k = 0; k < ROOM; k++) {
            if (k * 7919 % ROOM != i)
                continue;
            key.len = (size_t)snprintf((char *)key.text, 16, "key%d", k);
        }
        assert_int_equal(shared_expire(s, &key, i < 5 ? 0 : ROOM + 10), 1);
    }
    now += 10;
    assert_int_equal(add_key(ROOM, 5), -ENOSPC);
    for (int step = 1; step <= 90; step++) { /* one is over each ms */
        now++;
        assert_int_equal(add_key(ROOM + step, 10 * ROOM), 1);
        assert_int_equal(add_key(2 * ROOM + step, 10 * ROOM), -ENOSPC);
    }
    assert_int_equal(shared_status(s).refused, 92);
    assert_int_equal(shared_status(s).keys, ROOM);
    for (int i = 0; i <= 3 * ROOM; i++)
        alive += has_key(i);
    assert_int_equal(alive, ROOM);
}

/* Memory follows what is there at a time, not all that ever was. */
static void takes_new_room_only_when_none_is_over(void **state)
{
    uint64_t now = 1000;

    shared_use_clock(s, &now);
    for (int i = 0; i < 50 * ROOM; i++, now++)
        assert_int_equal(add_key(i, 10), 1);
    assert_in_range(shared_status(s).keys, 1, 11);
}

/* CPU nanoseconds for a thousand keys that find no place; the best of some. */
static uint64_t time_misses(void)
{
    uint64_t best = UINT64_MAX;

    for (int round = 0; round < 5; round++) {
        struct timespec from, to;
        uint64_t ns;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        for (int i = 0; i < 1000; i++)
            has_key(1000000 + i);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        ns = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 +
             (uint64_t)to.tv_nsec - (uint64_t)from.tv_nsec;
        if (ns < best)
            best = ns;
    }
    return best;
}

/* A table that is searched takes ten thousand times as long. */
static void takes_no_longer_when_it_is_full(void **state)
{
    uint64_t empty;

    shared_close(s);
    s = shared_new(100000);
    assert_non_null(s);
    empty = time_misses();
    for (int i = 0; i < 100000; i++)
        assert_int_equal(add_key(i, 60000), 1);
    assert_int_equal(add_key(100000, 60000), -ENOSPC);
    assert_true(time_misses() < 50 * empty);
}

/* shared_incr() by a user who waits for the lock as long as it takes: another
 * may hold it while it does not run, or take it again and again. */
static int count(struct shared *table, int64_t by, int64_t *out)
{
    struct shared_key n = key_of("n");
    int err;

    do
        err = shared_incr(table, &n, by, 0, out);
    while (err == -ETIMEDOUT);
    return err;
}

/* One of a hundred keys comes, goes, or lives for another while. */
static void change_something(struct shared *table, int i)
{
    char name[16];
    struct shared_key key = {
        name, (size_t)snprintf(name, sizeof(name), "key%d", i * 37 % 100)};
    int64_t out;

    if (i % 3 == 0)
        shared_delete(table, &key);
    else if (i % 3 == 1)
        shared_incr(table, &key, 1, 1 + (uint64_t)i % 5, &out);
    else
        shared_expire(table, &key, 1 + (uint64_t)i % 7);
}

/* Count in a process of its own until told (rounds 0: until killed). */
static pid_t count_in_child(int fd, int rounds)
{
    pid_t pid = fork();
    struct shared *mine;
    struct shared_key a = key_of("a");
    struct shared_value v = text_of("some text to write");
    int64_t out;

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* when the test fails */
    mine = shared_open(fd);
    for (int i = 0; rounds == 0 || i < rounds; i++) {
        if (count(mine, 1, &out) < 0)
            _exit(1);
        shared_set(mine, &a, &v, 0);
        shared_delete(mine, &a);
        change_something(mine, i);
    }
    _exit(0);
}

static void counts_exactly_between_processes(void **state)
{
    int fd = shared_create(ROOM);
    struct shared_key n = key_of("n");
    struct shared_value v;
    int status;

    assert_true(fd >= 0);
    shared_close(s);
    s = shared_open(fd);
    assert_non_null(s);
    for (int i = 0; i < 4; i++)
        assert_true(count_in_child(fd, 5000) > 0);
    for (int i = 0; i < 4; i++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(shared_get(s, &n, &v), 1);
    assert_int_equal(v.integer, 20000);
    close(fd);
}

/* No slot was lost, none is used twice. */
static void assert_all_room_is_there(void)
{
    struct shared_key n = key_of("n"), a = key_of("a");
    uint64_t later = UINT64_MAX / 2;

    shared_delete(s, &n);
    shared_delete(s, &a);
    shared_use_clock(s, &later); /* all others are over */
    for (int i = 0; i < ROOM; i++)
        assert_int_equal(add_key(1000 + i, 0), 1);
    assert_int_equal(add_key(3000, 0), -ENOSPC);
    for (int i = 0; i < ROOM; i++)
        assert_true(has_key(1000 + i));
}

static void survives_the_death_of_its_users(void **state)
{
    int fd = shared_create(ROOM);
    struct shared_key a = key_of("a");
    struct shared_value v = text_of("some text to write"), got;
    int64_t before = 0, out;

    shared_close(s);
    s = shared_open(fd);
    for (int i = 0; i < 100; i++) {
        pid_t pid = count_in_child(fd, 0);

        do
            assert_int_equal(count(s, 0, &out), 1);
        while (out < before + 50);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_int_equal(count(s, 0, &out), 1);
        assert_true(out >= before);
        before = out;
        if (shared_get(s, &a, &got) == 1)
            assert_memory_equal(got.text, v.text, v.len);
    }
    assert_all_room_is_there();
    close(fd);
}

static void refuses_what_is_no_table(void **state)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    assert_null(shared_open(fds[0]));
    close(fds[0]);
    close(fds[1]);
}

static void ends_keys_by_the_clock_it_is_given(void **state)
{
    struct shared_key k = key_of("k");
    struct shared_value v = text_of("v"), got;
    uint64_t now = 1000;

    shared_use_clock(s, &now);
    assert_int_equal(shared_set(s, &k, &v, 500), 1);
    now = 1499;
    assert_int_equal(shared_get(s, &k, &got), 1);
    now = 1500;
    assert_int_equal(shared_get(s, &k, &got), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(keeps_values),
        TEST(adds_compares_and_counts),
        TEST(forgets_what_is_over),
        TEST(ends_keys_by_the_clock_it_is_given),
        TEST(is_bounded),
        TEST(uses_the_room_of_what_is_over_at_once),
        TEST(takes_new_room_only_when_none_is_over),
        TEST(takes_no_longer_when_it_is_full),
        TEST(counts_exactly_between_processes),
        TEST(survives_the_death_of_its_users),
        TEST(refuses_what_is_no_table),
    };

    return cmocka_run_group_tests_name("proc.shared", tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/clients.h"
#include "gateway/ids.h"
#include "util/buf.h"

#define MANY 3000

static const union addr nowhere = {.sa.sa_family = AF_INET};

static struct clients *make(int fd)
{
    struct clients *cs = NULL;

    assert_int_equal(clients_new(&cs, fd), 0);
    return cs;
}

static struct client *add(struct clients *cs)
{
    return clients_add(cs, NULL, &nowhere, 0);
}

static void end(struct clients *cs, struct client *c)
{
    clients_remove(cs, c);
    clients_release(c);
}

static int open_file(const char *content)
{
    char path[] = "ids-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(
        write(fd, content, strlen(content)), (ssize_t)strlen(content));
    return fd;
}

static int join(struct clients *cs, struct client *c, const char *group)
{
    return clients_join(cs, c, group, strlen(group));
}

static uint32_t group_count(struct clients *cs, const char *group)
{
    const struct clients_name *n = clients_group(cs, group, strlen(group));

    return n ? n->count : 0;
}

/* Every place in an index and the member it names point at each other. */
static void check_places(const struct clients *cs)
{
    for (size_t i = 0; i < clients_count(cs); i++) {
        const struct client *c = clients_at(cs, i);

        assert_int_equal(c->slot, i);
        assert_ptr_equal(clients_find(cs, c->id), c);
        for (uint16_t g = 0; g < c->ngroups; g++) {
            const struct clients_membership *m = &c->groups[g];

            assert_ptr_equal(m->name->members[m->pos].client, c);
            assert_int_equal(m->name->members[m->pos].slot, g);
        }
        if (c->uid.name) {
            assert_ptr_equal(c->uid.name->members[c->uid.pos].client, c);
        }
    }
}

static void numbers_clients_from_one(void **state)
{
    struct clients *cs = make(-1);

    assert_int_equal(add(cs)->id, 1);
    assert_int_equal(add(cs)->id, 2);
    assert_null(clients_find(cs, 0));
    assert_null(clients_find(cs, 3));
    clients_free(cs);
}

static void goes_on_above_after_a_restart(void **state)
{
    int fd = open_file("");
    struct clients *cs = make(dup(fd));

    assert_int_equal(add(cs)->id, 1);
    clients_free(cs);
    cs = make(dup(fd));
    assert_int_equal(add(cs)->id, 1 + IDS_BLOCK);
    for (uint32_t i = 1; i < IDS_BLOCK; i++)
        end(cs, add(cs));
    assert_int_equal(add(cs)->id, 1 + 2 * IDS_BLOCK);
    clients_free(cs);
    cs = make(fd);
    assert_int_equal(add(cs)->id, 1 + 3 * IDS_BLOCK);
    clients_free(cs);
}

static void wraps_after_the_last_id(void **state)
{
    struct clients *cs = make(open_file("4294967294\n"));
    struct client *last;

    assert_int_equal(add(cs)->id, UINT32_MAX - 1);
    last = add(cs);
    assert_int_equal(last->id, UINT32_MAX);
    assert_int_equal(add(cs)->id, 1);
    clients_free(cs);
    /* Only the wrap differs for a client that stays: */
    cs = make(open_file("4294967295\n"));
    last = add(cs);
    for (uint32_t i = 1; i <= 3; i++)
        assert_int_equal(add(cs)->id, i);
    assert_ptr_equal(clients_find(cs, UINT32_MAX), last);
    clients_free(cs);
}

static void refuses_a_damaged_file(void **state)
{
    static const char *const bad[] = {
        "x", "12x", "99999999999\n", "\n", "4294967296\n"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int fd = open_file(bad[i]);
        struct clients *cs;

        assert_int_equal(clients_new(&cs, fd), -EINVAL);
        close(fd);
    }
}

static void keeps_one_uid_a_client(void **state)
{
    struct clients *cs = make(-1);
    struct client *a = add(cs);
    struct client *b = add(cs);
    const struct clients_name *n;

    assert_int_equal(clients_bind_uid(cs, a, "u\0x", 3), 0);
    assert_int_equal(clients_bind_uid(cs, b, "u\0x", 3), 0);
    n = clients_uid(cs, "u\0x", 3);
    assert_int_equal(n->count, 2);
    assert_null(clients_uid(cs, "u", 1));
    assert_int_equal(clients_bind_uid(cs, a, "other", 5), 0);
    assert_int_equal(clients_uid(cs, "u\0x", 3)->count, 1);
    assert_ptr_equal(clients_uid(cs, "u\0x", 3)->members[0].client, b);
    clients_unbind_uid(cs, a);
    clients_unbind_uid(cs, a);
    assert_null(clients_uid(cs, "other", 5));
    assert_int_equal(clients_uid_count(cs), 1);
    clients_free(cs);
}

static void refuses_names_that_php_calls_empty_and_long_ones(void **state)
{
    struct clients *cs = make(-1);
    struct client *c = add(cs);
    char longest[GATEWAY_NAME_MAX + 1];

    memset(longest, 'n', sizeof(longest));
    assert_int_equal(join(cs, c, ""), -EINVAL);
    assert_int_equal(join(cs, c, "0"), -EINVAL);
    assert_int_equal(join(cs, c, "00"), 0);
    assert_int_equal(clients_join(cs, c, longest, GATEWAY_NAME_MAX), 0);
    assert_int_equal(
        clients_join(cs, c, longest, GATEWAY_NAME_MAX + 1), -EINVAL);
    assert_null(clients_group(cs, longest, GATEWAY_NAME_MAX + 1));
    assert_int_equal(clients_bind_uid(cs, c, "0", 1), -EINVAL);
    assert_int_equal(clients_bind_uid(cs, c, "", 0), -EINVAL);
    clients_free(cs);
}

static void bounds_the_groups_of_a_client(void **state)
{
    struct clients *cs = make(-1);
    struct client *c = add(cs);
    char name[16];

    for (int i = 0; i < GATEWAY_GROUPS_MAX; i++) {
        snprintf(name, sizeof(name), "g%d", i);
        assert_int_equal(join(cs, c, name), 0);
    }
    assert_int_equal(join(cs, c, "one more"), -E2BIG);
    assert_int_equal(join(cs, c, "g7"), 0); /* it is in there already */
    assert_int_equal(clients_group_count(cs), GATEWAY_GROUPS_MAX);
    end(cs, c);
    assert_int_equal(clients_group_count(cs), 0);
    clients_free(cs);
}

static void forgets_a_group_without_members(void **state)
{
    struct clients *cs = make(-1);
    struct client *a = add(cs);
    struct client *b = add(cs);

    join(cs, a, "room");
    join(cs, b, "room");
    join(cs, b, "hall");
    join(cs, b, "room");
    assert_int_equal(group_count(cs, "room"), 2);
    clients_leave(cs, a, "room", 4);
    clients_leave(cs, a, "room", 4);
    clients_leave(cs, a, "nowhere", 7);
    assert_int_equal(group_count(cs, "room"), 1);
    clients_ungroup(cs, "room", 4);
    clients_ungroup(cs, "room", 4);
    assert_null(clients_group(cs, "room", 4));
    assert_ptr_equal(clients_first_group(cs), clients_group(cs, "hall", 4));
    assert_null(clients_next_group(clients_first_group(cs)));
    assert_int_equal(b->ngroups, 1);
    clients_free(cs);
}

/* A fixed sequence of random steps, checked against plain counters. */
static void stays_consistent_through_churn(void **state)
{
    struct clients *cs = make(-1);
    uint32_t seed = 20260105;
    char name[16];

    for (int step = 0; step < 30 * MANY; step++) {
        size_t count = clients_count(cs);
        struct client *c;

        seed = seed * 1664525U + 1013904223U;
        if (count < MANY && (seed >> 8) % 4 == 0) {
            add(cs);
            continue;
        }
        if (count == 0)
            continue;
        c = clients_at(cs, (seed >> 4) % count);
        snprintf(name, sizeof(name), "g%u", (seed >> 12) % 37);
        switch ((seed >> 20) % 6) {
        case 0:
        case 1:
            assert_int_equal(join(cs, c, name), 0);
            break;
        case 2:
            clients_leave(cs, c, name, strlen(name));
            break;
        case 3:
            assert_int_equal(clients_bind_uid(cs, c, name, strlen(name)), 0);
            break;
        case 4:
            if ((seed >> 26) % 8 == 0)
                clients_ungroup(cs, name, strlen(name));
            break;
        default:
            end(cs, c);
        }
        if (step % 997 == 0)
            check_places(cs);
    }
    check_places(cs);
    while (clients_count(cs) > 0)
        end(cs, clients_at(cs, 0));
    assert_int_equal(clients_group_count(cs), 0);
    assert_int_equal(clients_uid_count(cs), 0);
    clients_free(cs);
}

static void keeps_a_client_while_its_events_wait(void **state)
{
    struct clients *cs = make(-1);
    struct client *c = add(cs);

    c->held = 1;
    end(cs, c);
    assert_int_equal(c->slot, CLIENTS_OFFLINE);
    assert_null(clients_find(cs, 1));
    clients_remove(cs, c);
    c->held = 0;
    clients_release(c);
    clients_free(cs);
}

static void merges_and_bounds_sessions(void **state)
{
    struct clients *cs = make(-1);
    struct client *c = add(cs);
    static const char one[] = "a:1:{s:1:\"a\";i:1;}";
    static const char two[] = "a:1:{s:1:\"b\";i:2;}";
    static const char both[] = "a:2:{s:1:\"a\";i:1;s:1:\"b\";i:2;}";
    struct buf big = {0};

    assert_int_equal(clients_merge_session(c, one, sizeof(one) - 1), 0);
    assert_int_equal(clients_merge_session(c, two, sizeof(two) - 1), 0);
    assert_int_equal(c->session_len, sizeof(both) - 1);
    assert_memory_equal(c->session, both, sizeof(both) - 1);
    assert_true(clients_set_session(c, "a:1:{", 5) < 0);
    assert_true(clients_set_session(c, "O:1:\"X\":0:{}", 12) < 0);
    assert_true(clients_merge_session(c, "i:1;", 4) < 0);
    buf_printf(&big, "s:%d:\"", CLIENTS_SESSION_MAX);
    memset(buf_extend(&big, CLIENTS_SESSION_MAX), 'x', CLIENTS_SESSION_MAX);
    buf_append_str(&big, "\";");
    assert_int_equal(clients_set_session(c, big.data, big.len), -E2BIG);
    assert_memory_equal(c->session, both, sizeof(both) - 1);
    assert_int_equal(clients_set_session(c, "", 0), 0);
    assert_null(c->session);
    buf_fini(&big);
    clients_free(cs);
}

static void stays_small_for_a_million(void **state)
{
    assert_true(sizeof(struct client) <= 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_clients_from_one),
        cmocka_unit_test(goes_on_above_after_a_restart),
        cmocka_unit_test(wraps_after_the_last_id),
        cmocka_unit_test(refuses_a_damaged_file),
        cmocka_unit_test(keeps_one_uid_a_client),
        cmocka_unit_test(refuses_names_that_php_calls_empty_and_long_ones),
        cmocka_unit_test(bounds_the_groups_of_a_client),
        cmocka_unit_test(forgets_a_group_without_members),
        cmocka_unit_test(stays_consistent_through_churn),
        cmocka_unit_test(keeps_a_client_while_its_events_wait),
        cmocka_unit_test(merges_and_bounds_sessions),
        cmocka_unit_test(stays_small_for_a_million),
    };

    return cmocka_run_group_tests_name("gateway.clients", tests, NULL, NULL);
}

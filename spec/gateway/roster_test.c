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

#include "gateway/ids.h"
#include "gateway/roster.h"
#include "util/buf.h"

#define MANY 3000

static const union addr nowhere = {.sa.sa_family = AF_INET};

static struct roster *make(int fd)
{
    struct roster *roster = NULL;

    assert_int_equal(roster_new(&roster, fd), 0);
    return roster;
}

static struct client *add(struct roster *roster)
{
    return roster_add(roster, NULL, &nowhere, 0);
}

static void end(struct roster *roster, struct client *c)
{
    roster_remove(roster, c);
    roster_release(c);
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

static int join(struct roster *roster, struct client *c, const char *group)
{
    return roster_join(roster, c, group, strlen(group));
}

static uint32_t group_count(struct roster *roster, const char *group)
{
    const struct roster_name *n = roster_group(roster, group, strlen(group));

    return n ? n->count : 0;
}

/* Every place in an index and the member it names point at each other. */
static void check_places(const struct roster *roster)
{
    for (size_t i = 0; i < roster_count(roster); i++) {
        const struct client *c = roster_at(roster, i);

        assert_int_equal(c->slot, i);
        assert_ptr_equal(roster_find(roster, c->id), c);
        for (uint16_t g = 0; g < c->ngroups; g++) {
            const struct roster_membership *m = &c->groups[g];

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
    struct roster *roster = make(-1);

    assert_int_equal(add(roster)->id, 1);
    assert_int_equal(add(roster)->id, 2);
    assert_null(roster_find(roster, 0));
    assert_null(roster_find(roster, 3));
    roster_free(roster);
}

static void goes_on_above_after_a_restart(void **state)
{
    int fd = open_file("");
    struct roster *roster = make(dup(fd));

    assert_int_equal(add(roster)->id, 1);
    roster_free(roster);
    roster = make(dup(fd));
    assert_int_equal(add(roster)->id, 1 + IDS_BLOCK);
    for (uint32_t i = 1; i < IDS_BLOCK; i++)
        end(roster, add(roster));
    assert_int_equal(add(roster)->id, 1 + 2 * IDS_BLOCK);
    roster_free(roster);
    roster = make(fd);
    assert_int_equal(add(roster)->id, 1 + 3 * IDS_BLOCK);
    roster_free(roster);
}

static void wraps_after_the_last_id(void **state)
{
    struct roster *roster = make(open_file("4294967294\n"));
    struct client *last;

    assert_int_equal(add(roster)->id, UINT32_MAX - 1);
    last = add(roster);
    assert_int_equal(last->id, UINT32_MAX);
    assert_int_equal(add(roster)->id, 1);
    roster_free(roster);
    /* Only the wrap differs for a client that stays: */
    roster = make(open_file("4294967295\n"));
    last = add(roster);
    for (uint32_t i = 1; i <= 3; i++)
        assert_int_equal(add(roster)->id, i);
    assert_ptr_equal(roster_find(roster, UINT32_MAX), last);
    roster_free(roster);
}

static void refuses_a_damaged_file(void **state)
{
    static const char *const bad[] = {
        "x", "12x", "99999999999\n", "\n", "4294967296\n"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int fd = open_file(bad[i]);
        struct roster *roster;

        assert_int_equal(roster_new(&roster, fd), -EINVAL);
        close(fd);
    }
}

static void keeps_one_uid_a_client(void **state)
{
    struct roster *roster = make(-1);
    struct client *a = add(roster);
    struct client *b = add(roster);
    const struct roster_name *n;

    assert_int_equal(roster_bind_uid(roster, a, "u\0x", 3), 0);
    assert_int_equal(roster_bind_uid(roster, b, "u\0x", 3), 0);
    n = roster_uid(roster, "u\0x", 3);
    assert_int_equal(n->count, 2);
    assert_null(roster_uid(roster, "u", 1));
    assert_int_equal(roster_bind_uid(roster, a, "other", 5), 0);
    assert_int_equal(bans_set(roster_bans(roster), "x\0y", 3, 3600), 0);
    assert_int_equal(roster_bind_uid(roster, a, "x\0y", 3), -EPERM);
    assert_int_equal(roster_bind_uid(roster, a, "x", 1), 0);
    assert_int_equal(roster_bind_uid(roster, a, "other", 5), 0);
    assert_int_equal(roster_uid(roster, "u\0x", 3)->count, 1);
    assert_ptr_equal(roster_uid(roster, "u\0x", 3)->members[0].client, b);
    roster_unbind_uid(roster, a);
    roster_unbind_uid(roster, a);
    assert_null(roster_uid(roster, "other", 5));
    assert_int_equal(roster_uid_count(roster), 1);
    roster_free(roster);
}

static void refuses_names_that_php_calls_empty_and_long_ones(void **state)
{
    struct roster *roster = make(-1);
    struct client *c = add(roster);
    char longest[GATEWAY_NAME_MAX + 1];

    memset(longest, 'n', sizeof(longest));
    assert_int_equal(join(roster, c, ""), -EINVAL);
    assert_int_equal(join(roster, c, "0"), -EINVAL);
    assert_int_equal(join(roster, c, "00"), 0);
    assert_int_equal(roster_join(roster, c, longest, GATEWAY_NAME_MAX), 0);
    assert_int_equal(
        roster_join(roster, c, longest, GATEWAY_NAME_MAX + 1), -EINVAL);
    assert_null(roster_group(roster, longest, GATEWAY_NAME_MAX + 1));
    assert_int_equal(roster_bind_uid(roster, c, "0", 1), -EINVAL);
    assert_int_equal(roster_bind_uid(roster, c, "", 0), -EINVAL);
    roster_free(roster);
}

static void bounds_the_groups_of_a_client(void **state)
{
    struct roster *roster = make(-1);
    struct client *c = add(roster);
    char name[16];

    for (int i = 0; i < GATEWAY_GROUPS_MAX; i++) {
        snprintf(name, sizeof(name), "g%d", i);
        assert_int_equal(join(roster, c, name), 0);
    }
    assert_int_equal(join(roster, c, "one more"), -E2BIG);
    assert_int_equal(join(roster, c, "g7"), 0); /* it is in there already */
    assert_int_equal(roster_group_count(roster), GATEWAY_GROUPS_MAX);
    end(roster, c);
    assert_int_equal(roster_group_count(roster), 0);
    roster_free(roster);
}

static void forgets_a_group_without_members(void **state)
{
    struct roster *roster = make(-1);
    struct client *a = add(roster);
    struct client *b = add(roster);

    join(roster, a, "room");
    join(roster, b, "room");
    join(roster, b, "hall");
    join(roster, b, "room");
    assert_int_equal(group_count(roster, "room"), 2);
    roster_leave(roster, a, "room", 4);
    roster_leave(roster, a, "room", 4);
    roster_leave(roster, a, "nowhere", 7);
    assert_int_equal(group_count(roster, "room"), 1);
    roster_ungroup(roster, "room", 4);
    roster_ungroup(roster, "room", 4);
    assert_null(roster_group(roster, "room", 4));
    assert_ptr_equal(
        roster_first_group(roster), roster_group(roster, "hall", 4));
    assert_null(roster_next_group(roster_first_group(roster)));
    assert_int_equal(b->ngroups, 1);
    roster_free(roster);
}

/* A fixed sequence of random steps, checked against plain counters. */
static void stays_consistent_through_churn(void **state)
{
    struct roster *roster = make(-1);
    uint32_t seed = 20260105;
    char name[16];

    for (int step = 0; step < 30 * MANY; step++) {
        size_t count = roster_count(roster);
        struct client *c;

        seed = seed * 1664525U + 1013904223U;
        if (count < MANY && (seed >> 8) % 4 == 0) {
            add(roster);
            continue;
        }
        if (count == 0)
            continue;
        c = roster_at(roster, (seed >> 4) % count);
        snprintf(name, sizeof(name), "g%u", (seed >> 12) % 37);
        switch ((seed >> 20) % 6) {
        case 0:
        case 1:
            assert_int_equal(join(roster, c, name), 0);
            break;
        case 2:
            roster_leave(roster, c, name, strlen(name));
            break;
        case 3:
            assert_int_equal(roster_bind_uid(roster, c, name, strlen(name)), 0);
            break;
        case 4:
            if ((seed >> 26) % 8 == 0)
                roster_ungroup(roster, name, strlen(name));
            break;
        default:
            end(roster, c);
        }
        if (step % 997 == 0)
            check_places(roster);
    }
    check_places(roster);
    while (roster_count(roster) > 0)
        end(roster, roster_at(roster, 0));
    assert_int_equal(roster_group_count(roster), 0);
    assert_int_equal(roster_uid_count(roster), 0);
    roster_free(roster);
}

static void keeps_a_client_while_its_events_wait(void **state)
{
    struct roster *roster = make(-1);
    struct client *c = add(roster);

    c->wait = (struct router_wait *)roster; /* any */
    end(roster, c);
    assert_int_equal(c->slot, ROSTER_OFFLINE);
    assert_null(roster_find(roster, 1));
    roster_remove(roster, c);
    c->wait = NULL;
    roster_release(c);
    roster_free(roster);
}

static void merges_and_bounds_sessions(void **state)
{
    struct roster *roster = make(-1);
    struct client *c = add(roster);
    static const char one[] = "a:1:{s:1:\"a\";i:1;}";
    static const char two[] = "a:1:{s:1:\"b\";i:2;}";
    static const char both[] = "a:2:{s:1:\"a\";i:1;s:1:\"b\";i:2;}";
    struct buf big = {0};

    assert_int_equal(roster_merge_session(roster, c, one, sizeof(one) - 1), 0);
    assert_int_equal(roster_merge_session(roster, c, two, sizeof(two) - 1), 0);
    assert_int_equal(c->session_len, sizeof(both) - 1);
    assert_memory_equal(c->session, both, sizeof(both) - 1);
    assert_true(roster_set_session(roster, c, "a:1:{", 5) < 0);
    assert_true(roster_set_session(roster, c, "O:1:\"X\":1:{}", 12) < 0);
    assert_true(roster_merge_session(roster, c, "i:1;", 4) < 0);
    buf_printf(&big, "s:%d:\"", GATEWAY_SESSION_MAX);
    memset(buf_extend(&big, GATEWAY_SESSION_MAX), 'x', GATEWAY_SESSION_MAX);
    buf_append_str(&big, "\";");
    assert_int_equal(
        roster_set_session(roster, c, big.data, big.len), -EMSGSIZE);
    assert_memory_equal(c->session, both, sizeof(both) - 1);
    assert_int_equal(roster_set_session(roster, c, "", 0), 0);
    assert_null(c->session);
    buf_fini(&big);
    roster_free(roster);
}

static void stays_small_for_a_million(void **state)
{
    assert_true(sizeof(struct client) <= 128);
}

static struct {
    int added, removed;
    bool uid;
    char name[16];
} told;

static void on_added(bool uid, const char *name, size_t len, void *arg)
{
    told.added++;
    told.uid = uid;
    snprintf(told.name, sizeof(told.name), "%.*s", (int)len, name);
}

static void on_removed(bool uid, const char *name, size_t len, void *arg)
{
    on_added(uid, name, len, arg);
    told.added--;
    told.removed++;
}

static void check_told(int added, int removed, bool uid, const char *name)
{
    assert_int_equal(told.added, added);
    assert_int_equal(told.removed, removed);
    assert_int_equal(told.uid, uid);
    assert_string_equal(told.name, name);
}

static void tells_of_first_members_and_of_last(void **state)
{
    static const struct roster_names_watch watch = {on_added, on_removed};
    struct roster *roster = make(-1);
    struct client *a = add(roster), *b = add(roster);

    roster_watch_names(roster, &watch, NULL);
    join(roster, a, "room");
    check_told(1, 0, false, "room");
    join(roster, b, "room");
    roster_bind_uid(roster, a, "ann", 3);
    roster_bind_uid(roster, a, "ann", 3); /* it has it */
    check_told(2, 0, true, "ann");
    roster_bind_uid(roster, b, "ann", 3);
    roster_leave(roster, a, "room", 4);
    check_told(2, 0, true, "ann");
    end(roster, b);
    check_told(2, 1, false, "room");
    roster_bind_uid(roster, a, "eve", 3);
    check_told(3, 2, true, "eve");
    end(roster, a);
    check_told(3, 3, true, "eve");
    roster_free(roster);
}

static void count_low(void *arg)
{
    ++*(int *)arg;
}

static void takes_ids_of_lent_blocks_and_its_own_beside_them(void **state)
{
    struct roster *roster = make(open_file("77\n"));
    int low = 0;
    uint32_t own;

    roster_borrow_ids(roster, count_low, &low);
    own = add(roster)->id; /* nothing was lent yet */
    assert_true(own >= IDS_OWN);
    assert_true(roster_ids_are_low(roster));
    roster_lend_ids(roster, 1000, 2);
    assert_int_equal(low, 1);
    assert_int_equal(add(roster)->id, 1000);
    roster_lend_ids(roster, 5000, 1);
    assert_false(roster_ids_are_low(roster));
    assert_int_equal(add(roster)->id, 1001);
    assert_int_equal(low, 2);
    assert_int_equal(add(roster)->id, 5000);
    assert_int_equal(low, 3);
    assert_int_equal(add(roster)->id, own + 1); /* nobody lends any more */
    roster_borrow_ids(roster, NULL, NULL);
    roster_lend_ids(roster, 9000, 1);
    assert_int_equal(add(roster)->id, 9000);
    assert_int_equal(low, 3);
    roster_free(roster);
}

static void remembers_its_own_ids_beside_lent_ones(void **state)
{
    int fd = open_file("4294967290\n"), copy = dup(fd), low = 0;
    struct roster *roster = make(fd);
    char text[16] = "";

    roster_borrow_ids(roster, count_low, &low);
    for (uint32_t id = 4294967290u; id != 0; id++)
        assert_int_equal(add(roster)->id, id);
    assert_int_equal(add(roster)->id, IDS_OWN);
    assert_true(pread(copy, text, 10, 0) == 10);
    assert_int_equal(strtoul(text, NULL, 10), IDS_OWN + IDS_BLOCK);
    close(copy);
    roster_free(roster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_clients_from_one),
        cmocka_unit_test(goes_on_above_after_a_restart),
        cmocka_unit_test(wraps_after_the_last_id),
        cmocka_unit_test(refuses_a_damaged_file),
        cmocka_unit_test(takes_ids_of_lent_blocks_and_its_own_beside_them),
        cmocka_unit_test(remembers_its_own_ids_beside_lent_ones),
        cmocka_unit_test(keeps_one_uid_a_client),
        cmocka_unit_test(refuses_names_that_php_calls_empty_and_long_ones),
        cmocka_unit_test(bounds_the_groups_of_a_client),
        cmocka_unit_test(forgets_a_group_without_members),
        cmocka_unit_test(stays_consistent_through_churn),
        cmocka_unit_test(keeps_a_client_while_its_events_wait),
        cmocka_unit_test(merges_and_bounds_sessions),
        cmocka_unit_test(tells_of_first_members_and_of_last),
        cmocka_unit_test(stays_small_for_a_million),
    };

    return cmocka_run_group_tests_name("gateway.roster", tests, NULL, NULL);
}

/* index.c - what the gateway's indexes cost at full size: ids, uids, groups.
 *
 *   gwindex [CLIENTS [GROUPS]]      default 1000000 100000
 *
 * One JSON line a case: ns of CPU time per operation, and the longest that
 * BLOCK of them took, in which a table that grows shows. All is run at a tenth
 * of the size first: an operation that takes constant time costs the same
 * there, but for the caches' misses.
 *
 * SPDX-License-Identifier: MIT
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gateway/commands.h"
#include "util/alloc.h"

#define BLOCK        64 /* operations timed together */
#define GROUPS_EACH  4  /* that every client joins */
#define ROOM         "room"
#define ROOM_PART    10   /* every tenth client is in one large group */
#define BUSY_CLIENTS 1000 /* that are in so many groups: */
#define BUSY_GROUPS  1000

struct bench {
    size_t clients, groups;
    struct commands commands;
    struct roster *roster; /* = commands.roster */
    struct client **all;   /* owned; in order of arrival */
    uint32_t random;
    struct buf answer;
    size_t seen; /* keeps the work from being optimized away */
};

typedef void (*bench_op)(struct bench *b, size_t i);

/* Of CPU time: others on the machine count little. */
static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint32_t draw(struct bench *b)
{
    b->random = b->random * 1664525U + 1013904223U;
    return b->random >> 4;
}

static void run(struct bench *b, const char *name, size_t count, bench_op op)
{
    double start = now_ns();
    double before = start;
    double worst = 0;

    for (size_t i = 0; i < count; i++) {
        op(b, i);
        if (i % BLOCK == BLOCK - 1 || i + 1 == count) {
            double after = now_ns();

            worst = after - before > worst ? after - before : worst;
            before = after;
        }
    }
    printf("{\"case\":\"%s\",\"clients\":%zu,\"groups\":%zu,\"operations\":%zu,"
           "\"ns\":%.1f,\"worst_block_us\":%.1f}\n",
        name, b->clients, b->groups, count, (before - start) / (double)count,
        worst / 1000);
    fflush(stdout);
}

static int name_of(char out[32], const char *prefix, size_t i)
{
    return snprintf(out, 32, "%s%07zu", prefix, i);
}

/* ---- the operations ---- */

static void add(struct bench *b, size_t i)
{
    static const union addr nowhere = {.sa.sa_family = AF_INET};

    b->all[i] = roster_add(b->roster, NULL, &nowhere, 0);
}

static void bind_uid(struct bench *b, size_t i)
{
    char uid[32];

    roster_bind_uid(b->roster, b->all[i], uid, (size_t)name_of(uid, "user", i));
}

static void join_random(struct bench *b, size_t i)
{
    char group[32];
    int len = name_of(group, "group", draw(b) % b->groups);

    roster_join(b->roster, b->all[i % b->clients], group, (size_t)len);
}

static void join_busy(struct bench *b, size_t i)
{
    char group[32];
    int len = name_of(group, "busy", i % BUSY_GROUPS);

    roster_join(b->roster, b->all[i / BUSY_GROUPS], group, (size_t)len);
}

/* From the middle of the client's list. */
static void leave_busy(struct bench *b, size_t i)
{
    char group[32];
    int len = name_of(group, "busy", (i + BUSY_GROUPS / 2) % BUSY_GROUPS);

    roster_leave(b->roster, b->all[i / BUSY_GROUPS], group, (size_t)len);
}

static void join_room(struct bench *b, size_t i)
{
    roster_join(b->roster, b->all[i * ROOM_PART], ROOM, sizeof(ROOM) - 1);
}

static void leave_room(struct bench *b, size_t i)
{
    roster_leave(b->roster, b->all[i * ROOM_PART], ROOM, sizeof(ROOM) - 1);
}

static void ungroup(struct bench *b, size_t i)
{
    roster_ungroup(b->roster, ROOM, sizeof(ROOM) - 1);
}

static void find_id(struct bench *b, size_t i)
{
    b->seen +=
        roster_find(b->roster, 1 + draw(b) % (uint32_t)b->clients) != NULL;
}

static void find_uid(struct bench *b, size_t i)
{
    char uid[32];
    int len = name_of(uid, "user", draw(b) % b->clients);

    b->seen += roster_uid(b->roster, uid, (size_t)len)->count;
}

static void find_group(struct bench *b, size_t i)
{
    char group[32];
    int len = name_of(group, "group", draw(b) % b->groups);

    b->seen += roster_group(b->roster, group, (size_t)len) != NULL;
}

static void pick_all(struct bench *b, size_t i)
{
    picked_begin(&b->commands.picked, b->roster);
    picked_add_all(&b->commands.picked);
    b->seen += b->commands.picked.count;
    picked_end(&b->commands.picked);
}

static void pick_room(struct bench *b, size_t i)
{
    picked_begin(&b->commands.picked, b->roster);
    picked_add_name(
        &b->commands.picked, roster_group(b->roster, ROOM, sizeof(ROOM) - 1));
    b->seen += b->commands.picked.count;
    picked_end(&b->commands.picked);
}

static void query(struct bench *b, uint8_t cmd, const char *ext)
{
    struct frame f = {
        .cmd = cmd, .ext = (const uint8_t *)ext, .ext_len = strlen(ext)};

    if (commands_run(&b->commands, &f, &b->answer) != 1)
        abort();
    b->seen += b->answer.len;
}

static void list_groups(struct bench *b, size_t i)
{
    query(b, FRAME_GET_GROUP_ID_LIST, "");
}

static void select_room(struct bench *b, size_t i)
{
    query(b, FRAME_SELECT,
        "{\"fields\":[\"uid\",\"groups\"],\"where\":{\"groups\":[\"" ROOM
        "\"]}}");
}

static void leave(struct bench *b, size_t i)
{
    roster_remove(b->roster, b->all[i]);
    roster_release(b->all[i]);
}

/* ---- the cases ---- */

static size_t used_bytes(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static void print_bytes(
    const struct bench *b, const char *name, size_t before, size_t count)
{
    printf("{\"case\":\"%s\",\"clients\":%zu,\"groups\":%zu,\"bytes\":%.1f}\n",
        name, b->clients, b->groups,
        (double)(used_bytes() - before) / (double)count);
}

/* What a client, its uid and its groups take. */
static void fill(struct bench *b)
{
    size_t before = used_bytes();

    run(b, "client comes", b->clients, add);
    print_bytes(b, "bytes per client", before, b->clients);
    before = used_bytes();
    run(b, "bind a uid", b->clients, bind_uid);
    print_bytes(b, "bytes per uid", before, b->clients);
    before = used_bytes();
    run(b, "join a group", b->clients * GROUPS_EACH, join_random);
    print_bytes(b, "bytes per membership", before, b->clients * GROUPS_EACH);
}

static void bench(size_t clients, size_t groups)
{
    struct router_conf conf = {.mode = GATEWAY_ROUTER_LEAST};
    struct bench b = {.clients = clients, .groups = groups, .random = 1};
    size_t room = clients / ROOM_PART;

    b.all = xcalloc(clients, sizeof(struct client *));
    if (roster_new(&b.roster, -1) < 0)
        abort();
    b.commands.roster = b.roster;
    b.commands.router = router_new(&conf);
    fill(&b);
    run(&b, "find by id", clients, find_id);
    run(&b, "find by uid", clients, find_uid);
    run(&b, "find a group", clients, find_group);
    run(&b, "join, up to 1000 groups a client", BUSY_CLIENTS * BUSY_GROUPS,
        join_busy);
    run(&b, "leave, down from 1000 groups a client", BUSY_CLIENTS * BUSY_GROUPS,
        leave_busy);
    run(&b, "join a group of a tenth of all", room, join_room);
    run(&b, "pick a group of a tenth of all", 10, pick_room);
    run(&b, "select a group of a tenth of all", 3, select_room);
    run(&b, "leave a group of a tenth of all", room, leave_room);
    run(&b, "join it again", room, join_room);
    run(&b, "ungroup a tenth of all", 1, ungroup);
    run(&b, "pick all", 10, pick_all);
    run(&b, "list the groups", 10, list_groups);
    run(&b, "join before all leave", room, join_room);
    run(&b, "join 1000 before all leave", BUSY_CLIENTS * BUSY_GROUPS,
        join_busy);
    run(&b, "client leaves", clients, leave);
    if (b.seen == 0 || roster_group_count(b.roster) != 0)
        abort();
    buf_fini(&b.answer);
    router_free(b.commands.router);
    commands_fini(&b.commands);
    roster_free(b.roster);
    free(b.all);
}

int main(int argc, char **argv)
{
    size_t clients = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    size_t groups = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000;

    if (clients / 10 < BUSY_CLIENTS || groups < 10) {
        fprintf(stderr, "usage: gwindex [CLIENTS [GROUPS]], CLIENTS from %d\n",
            BUSY_CLIENTS * 10);
        return 2;
    }
    bench(clients / 10, groups / 10);
    bench(clients, groups);
    return 0;
}

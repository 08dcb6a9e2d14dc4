/* fixture.h - a loop, a script in a temporary folder and a way to wait in it,
 * for the units of worker/.
 *
 * Scripts get two functions: wait(name) yields until the test calls wake(name);
 * note(text) appends to a text that the test compares.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_SPEC_WORKER_FIXTURE_H
#define GW_SPEC_WORKER_FIXTURE_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>
#include <uv.h>

#include "../support/tempdir.h"
#include "net/clock.h"
#include "net/turn.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/log.h"
#include "worker/coro.h"
#include "worker/handlers.h"
#include "worker/session.h"
#include "worker/vm.h"
#include "worker/worker.h"

#define FIXTURE_DEADLINE_MS 10000 /* a wait that takes longer has failed */

struct fixture_op {
    struct list node;
    struct coro *co;
    char name[32];
};

static struct fixture {
    uv_loop_t loop;
    struct turn *turn;
    struct handlers handlers; /* what came of them */
    struct worker_conf conf;
    char dir[TEMPDIR_SIZE];
    char script[TEMPDIR_SIZE + 16];
    struct buf notes;
    struct list waits; /* of struct fixture_op */
    int cancelled;
    uv_timer_t guard;
    bool late;
} fixture;

static inline void fixture_write(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static inline void fixture_script(const char *text)
{
    fixture_write(fixture.script, text);
}

static inline void fixture_cancel(void *arg)
{
    struct fixture_op *op = arg;

    list_remove(&op->node);
    free(op);
    fixture.cancelled++;
}

static inline int fixture_waited(lua_State *L, int status, lua_KContext ctx)
{
    lua_pushstring(L, "waited");
    return 1;
}

static inline int fixture_wait(lua_State *L)
{
    const char *name = luaL_optstring(L, 1, "");
    struct coro *co = coro_check(L);
    struct fixture_op *op = xcalloc(1, sizeof(*op));

    snprintf(op->name, sizeof(op->name), "%s", name);
    op->co = co;
    list_init(&op->node);
    list_push_back(&fixture.waits, &op->node);
    return coro_await(L, co, fixture_cancel, op, fixture_waited);
}

static inline int fixture_note(lua_State *L)
{
    buf_append_str(&fixture.notes, luaL_tolstring(L, 1, NULL));
    buf_append_byte(&fixture.notes, ' ');
    return 0;
}

static inline void fixture_open_libs(lua_State *L)
{
    luaL_openlibs(L);
    lua_register(L, "wait", fixture_wait);
    lua_register(L, "note", fixture_note);
}

/* Wake the first wait(name). */
static inline bool wake(const char *name)
{
    struct list *node;

    LIST_FOREACH (node, &fixture.waits) {
        struct fixture_op *op = LIST_ENTRY(node, struct fixture_op, node);
        struct coro *co = op->co;

        if (strcmp(op->name, name) != 0)
            continue;
        list_remove(&op->node);
        free(op);
        coro_wake(co);
        return true;
    }
    return false;
}

/* The content as a string; valid until the next call. */
static inline const char *buf_text(const struct buf *b)
{
    static char text[8192];

    snprintf(text, sizeof(text), "%.*s", (int)b->len,
        b->len > 0 ? (const char *)b->data : "");
    return text;
}

/* What was noted since the last call. */
static inline const char *notes(void)
{
    const char *text = buf_text(&fixture.notes);

    buf_clear(&fixture.notes);
    return text;
}

static inline void fixture_on_late(uv_timer_t *timer)
{
    fixture.late = true;
}

/* Run the loop until done(arg), or fail. */
static inline void run_until(bool (*done)(void *arg), void *arg)
{
    fixture.late = false;
    uv_timer_start(&fixture.guard, fixture_on_late, FIXTURE_DEADLINE_MS, 0);
    while (!done(arg) && !fixture.late)
        uv_run(&fixture.loop, UV_RUN_ONCE);
    uv_timer_stop(&fixture.guard);
    assert_false(fixture.late);
}

static inline bool fixture_is_set(void *arg)
{
    return *(bool *)arg;
}

static inline void run_until_set(bool *flag)
{
    run_until(fixture_is_set, flag);
}

static inline bool fixture_noted(void *arg)
{
    return strstr(buf_text(&fixture.notes), *(const char **)arg) != NULL;
}

/* Run the loop until text was noted. */
static inline void run_until_noted(const char *text)
{
    run_until(fixture_noted, &text);
}

/* A few turns, for what must not happen. */
static inline void run_turns(int n)
{
    while (n-- > 0)
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
}

static inline int fixture_setup(void **state)
{
    static const char *const nowhere[] = {NULL};

    log_open("/dev/null");
    memset(&fixture, 0, sizeof(fixture));
    list_init(&fixture.waits);
    tempdir_make(fixture.dir);
    snprintf(
        fixture.script, sizeof(fixture.script), "%s/events.lua", fixture.dir);
    fixture.conf = (struct worker_conf){
        .name = "W",
        .script = fixture.script,
        .event_handler = "Events",
        .discovery = {.registers = nowhere},
        .secret_key = "",
        .memory_max = 16 * 1024 * 1024,
        .handler_timeout = 5,
        .lua_dir = "lua",
        .queue_max = 1024 * 1024,
        .drain_time = 0.2,
        .gateway_high_water = 1024 * 1024,
        .open_libs = fixture_open_libs,
    };
    signal(SIGPIPE, SIG_IGN); /* as gwrun does */
    clock_loop_init(&fixture.loop);
    uv_timer_init(&fixture.loop, &fixture.guard);
    fixture.turn = turn_new(&fixture.loop);
    return 0;
}

/* After everything of the test itself is closed. */
static inline int fixture_teardown(void **state)
{
    turn_close(fixture.turn);
    uv_close((uv_handle_t *)&fixture.guard, NULL);
    uv_run(&fixture.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture.loop), 0);
    assert_true(list_empty(&fixture.waits));
    buf_fini(&fixture.notes);
    return 0;
}

#endif /* GW_SPEC_WORKER_FIXTURE_H */

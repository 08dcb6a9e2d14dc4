/* What gateways are told about the events that they gave, and when. */
#include <fcntl.h>
#include <sys/mman.h>

#include "fake_gateway.h"
#include "proc/claims.h"
#include "vm_fixture.h"
#include "worker/dispatch_impl.h"
#include "worker/gateways_impl.h"

static struct gateways *gateways;
static struct dispatch *d;
static struct vm *vm;
static struct fake_gateway gate;

static enum acks_event on_event(const struct frame *f, uint32_t link, void *arg)
{
    return dispatch_event(d, f, link);
}

static void on_link_lost(struct gateways_address from, void *arg)
{
    dispatch_link_lost(d, from);
}

static void on_revoked(struct gateways_address from, void *arg)
{
    dispatch_revoked(d, from);
}

static void on_client_lost(const struct client_id *id, bool certain, void *arg)
{
    dispatch_lost(d, id, certain);
}

static void on_granted(const struct client_id *id, void *arg)
{
    dispatch_granted(d, id);
}

static const struct gateways_ops ops = {
    .on_granted = on_granted,
    .on_event = on_event,
    .on_link_lost = on_link_lost,
    .on_revoked = on_revoked,
    .on_client_lost = on_client_lost,
};

/* send(text): a command to the gateway. */
static int lua_send(lua_State *L)
{
    struct frame f = {.cmd = FRAME_SEND_TO_ALL, .flag = FRAME_FLAG_STRING};

    f.body = (const uint8_t *)luaL_checklstring(L, 1, &f.body_len);
    gateways_send_all(gateways, &f, NULL);
    return 0;
}

/* leave(): something else is about to leave the process. */
static int lua_leave(lua_State *L)
{
    gateways_acknowledge(gateways);
    return 0;
}

static struct peer *peer(void)
{
    return gateways_find(
        gateways, addr_ipv4(&gate.addr), addr_port(&gate.addr));
}

static uint64_t greeting; /* bytes in front of all commands */

/* out() -> the bytes of commands that the kernel has. */
static int lua_out(lua_State *L)
{
    lua_pushinteger(
        L, (lua_Integer)(conn_bytes_out(peer()->commands) - greeting));
    return 1;
}

static struct dispatch_watch client_watch;

static void on_gone(struct dispatch_watch *watch)
{
    list_remove(&watch->node);
    wake("gone");
}

/* watch(): wake("gone") when the client is. */
static int lua_watch(lua_State *L)
{
    client_watch.gone = on_gone;
    assert_int_equal(dispatch_watch_client(L, &client_watch), 0);
    return 0;
}

/* hang(): what a signal handler says of the event that runs. */
static int lua_hang(lua_State *L)
{
    dispatch_tell_hanging(d);
    return 0;
}

/* The gateway's end of a page, which gateways make; NULL: it has made none. */
static struct claims *page;

/* revoke() -> the number of claims so far; no more follow. */
static int lua_revoke(lua_State *L)
{
    lua_pushinteger(L, claims_revoke(page));
    return 1;
}

static void open_libs(lua_State *L)
{
    fixture_open_libs(L);
    lua_register(L, "watch", lua_watch);
    lua_register(L, "send", lua_send);
    lua_register(L, "leave", lua_leave);
    lua_register(L, "out", lua_out);
    lua_register(L, "hang", lua_hang);
    lua_register(L, "revoke", lua_revoke);
}

static const char script[] =
    "Events = { onMessage = function(id, m)"
    " if m:find 'leave' then leave() end"
    " if m:find 'hang' then hang() end"
    " if m:find 'out' then note(out() > 0) end"
    " if m:find 'wait' then wait(m) end"
    " if m:find 'revoke' then note(revoke()) end"
    " if m == 'watch' then watch() wait 'gone' leave() end"
    " send(m) end, "
    " onClose = function(id, info) note(info.cause) end }";

static void serve(bool acks)
{
    const char *addresses[] = {gate.address};
    char *error;

    memset(&gate, 0, sizeof(gate));
    fake_listen(&gate);
    fixture.conf.open_libs = open_libs;
    gateways = gateways_new(fixture.turn, &fixture.conf, 0, &ops, NULL);
    gateways_set_addresses(addresses, 1, gateways);
    handlers_init(&fixture.handlers, turn_loop(fixture.turn));
    d = dispatch_new(fixture.turn, gateways, &fixture.conf, &fixture.handlers);
    vm = open_vm_for(script, gateways, &error);
    if (error)
        fail_msg("%s", error);
    dispatch_serve(d, vm);
    run_until(fake_has_events, &gate);
    if (acks)
        fake_want_acks(&gate);
    fake_got(&gate);
    greeting = conn_bytes_out(peer()->commands);
}

static void unserve(void)
{
    vm_close(vm);
    dispatch_free(d);
    gateways_close(gateways);
    fake_close(&gate);
}

static void message(uint32_t id, const char *text)
{
    fake_event(&gate, FRAME_ON_MESSAGE, id, text, "");
}

static bool got_enough(void *arg)
{
    return gate.got.len >= *(size_t *)arg;
}

static bool got_an_end(void *arg)
{
    return strstr(buf_text(&gate.got), "1 ended") != NULL;
}

static void expect(const char *want)
{
    size_t len = strlen(want);

    run_until(got_enough, &len);
    assert_string_equal(fake_got(&gate), want);
}

static void tells_nobody_who_does_not_ask(void **state)
{
    serve(false);
    message(1, "a");
    expect("SEND_TO_ALL::a ");
    run_turns(5);
    assert_string_equal(fake_got(&gate), "");
    unserve();
}

static void tells_first_what_began_and_last_what_ended(void **state)
{
    serve(true);
    message(1, "a");
    message(2, "b");
    message(1, "c");
    expect("[3 taken, 0 ended] SEND_TO_ALL::a SEND_TO_ALL::b SEND_TO_ALL::c "
           "[0 taken, 3 ended] ");
    message(1, "d");
    expect("[1 taken, 0 ended] SEND_TO_ALL::d [0 taken, 1 ended] ");
    unserve();
}

static void tells_what_waits_behind_a_handler(void **state)
{
    serve(true);
    message(1, "wait");
    message(1, "b");
    message(2, "c");
    message(1, "wait more");
    expect("[4 taken, 0 ended waits 1 waits 3] SEND_TO_ALL::c "
           "[0 taken, 1 ended] ");
    wake("wait");
    expect("[0 taken, 0 ended begins 1 begins 1] SEND_TO_ALL::wait "
           "SEND_TO_ALL::b [0 taken, 2 ended] ");
    wake("wait more");
    expect("SEND_TO_ALL::wait more [0 taken, 1 ended] ");
    unserve();
}

static void tells_at_once_when_something_else_is_to_leave(void **state)
{
    serve(true);
    message(1, "out");
    message(2, "leave out");
    message(3, "c");
    expect("[2 taken, 0 ended] [1 taken, 0 ended] SEND_TO_ALL::out "
           "SEND_TO_ALL::leave out SEND_TO_ALL::c [0 taken, 3 ended] ");
    assert_string_equal(notes(), "false true ");
    unserve();
}

/* So that one that kills its worker kills at most two, and takes nothing else
 * with it. */
static void tells_before_it_begins_what_was_given_before(void **state)
{
    serve(true);
    message(1, "out");
    fake_flagged_event(&gate, FRAME_ON_MESSAGE, FRAME_FLAG_AGAIN, 2, "out", "");
    expect("[2 taken, 0 ended] SEND_TO_ALL::out [0 taken, 1 ended] "
           "SEND_TO_ALL::out [0 taken, 1 ended] ");
    assert_string_equal(notes(), "false true ");
    message(1, "wait");
    fake_flagged_event(&gate, FRAME_ON_MESSAGE, FRAME_FLAG_AGAIN, 1, "out", "");
    expect("[2 taken, 0 ended waits 1] ");
    wake("wait");
    expect("[0 taken, 0 ended begins 1] SEND_TO_ALL::wait [0 taken, 1 ended] "
           "SEND_TO_ALL::out [0 taken, 1 ended] ");
    unserve();
}

static void tells_by_its_number_which_event_hangs(void **state)
{
    serve(true);
    message(1, "a");
    message(2, "hang");
    expect("[hangs in 2] [2 taken, 0 ended] SEND_TO_ALL::a SEND_TO_ALL::hang "
           "[0 taken, 2 ended] ");
    message(1, "wait");
    message(1, "hang queued");
    message(2, "c");
    expect("[3 taken, 0 ended waits 1] SEND_TO_ALL::c [0 taken, 1 ended] ");
    assert_true(wake("wait"));
    expect("[hangs in 4] [0 taken, 0 ended begins 1] SEND_TO_ALL::wait "
           "SEND_TO_ALL::hang queued [0 taken, 2 ended] ");
    message(2, "leave, then hang"); /* the gateway knows it as begun, and so */
    expect("[1 taken, 0 ended] [hangs in 6] SEND_TO_ALL::leave, then hang "
           "[0 taken, 1 ended] ");
    unserve();
}

static void counts_events_that_nobody_handles(void **state)
{
    serve(true);
    fake_event(&gate, FRAME_ON_CONNECT, 1, "", "");
    expect("[1 taken, 0 ended] [0 taken, 1 ended] ");
    fake_event(&gate, FRAME_PING, 0, "", "");
    run_turns(5);
    assert_string_equal(fake_got(&gate), "");
    unserve();
}

static void forgets_what_waits_when_the_link_is_lost(void **state)
{
    serve(true);
    message(1, "wait");
    message(1, "b");
    fake_event(&gate, FRAME_ON_CLOSE, 1, "", "");
    expect("[3 taken, 0 ended waits 1 waits 2] ");
    fake_cut(&gate);
    run_until(fake_has_events, &gate);
    assert_int_equal(dispatch_counts(d).queued, 0);
    assert_int_equal(dispatch_counts(d).forgotten, 2);
    assert_true(idmap_has(&peer()->clients, 1));
    fake_want_acks(&gate);
    message(2, "c");
    run_until(got_an_end, NULL);
    fake_got(&gate);
    wake("wait"); /* it goes on, but nobody waits for its end */
    expect("SEND_TO_ALL::wait ");
    message(2, "d");
    expect("[1 taken, 0 ended] SEND_TO_ALL::d [0 taken, 1 ended] ");
    unserve();
}

/* What is cut short because of an event may not run before the gateway knows
 * that this event waits for it. */
static void tells_that_a_close_waits_before_its_handler_goes_on(void **state)
{
    serve(true);
    message(1, "watch");
    expect("[1 taken, 0 ended] ");
    fake_event(&gate, FRAME_ON_CLOSE, 1, "", "");
    expect("[1 taken, 0 ended waits 0] [0 taken, 0 ended begins 1] "
           "SEND_TO_ALL::watch [0 taken, 2 ended] ");
    unserve();
}

static bool nothing_waits(void *arg)
{
    return dispatch_counts(d).queued == 0;
}

static bool has_lost_client(void *arg)
{
    return strstr(buf_text(&fixture.notes), "gateway_lost") != NULL;
}

/* The ON_CLOSE that was forgotten comes from nobody else. */
static void closes_forgotten_clients_when_the_gateway_stays_away(void **state)
{
    serve(true);
    message(1, "wait");
    fake_event(&gate, FRAME_ON_CLOSE, 1, "", "");
    expect("[2 taken, 0 ended waits 1] ");
    fake_die(&gate);
    gateways_set_addresses(NULL, 0, gateways);
    run_until(nothing_waits, NULL);
    wake("wait");
    run_until(has_lost_client, NULL);
    assert_string_equal(notes(), "gateway_lost ");
    unserve();
}

static void tells_of_handlers_that_a_reload_cuts_off(void **state)
{
    serve(true);
    message(1, "wait");
    expect("[1 taken, 0 ended] ");
    assert_int_equal(dispatch_abandon(d, vm), 1);
    expect("[0 taken, 1 ended] ");
    assert_int_equal(dispatch_counts(d).cut_off, 1);
    unserve();
}

static void leaves_those_that_a_stop_cuts_off_to_the_gateway(void **state)
{
    serve(true);
    message(1, "wait");
    expect("[1 taken, 0 ended] ");
    dispatch_stop(d);
    dispatch_abandon(d, vm);
    run_turns(5);
    assert_string_equal(fake_got(&gate), "");
    unserve();
}

static void tells_all_before_it_leaves(void **state)
{
    serve(true);
    message(1, "wait");
    expect("[1 taken, 0 ended] ");
    wake("wait");
    gateways_close(gateways);
    expect("SEND_TO_ALL::wait [0 taken, 1 ended] ");
    vm_close(vm);
    d->stopped = true; /* as after dispatch_stop() */
    dispatch_free(d);
    fake_close(&gate);
}

/* ---- links that are lost ---- */

/* As serve(), of a gateway that asks what is left of links. */
static void serve_leaving(void)
{
    serve(false);
    fake_want_left(&gate, "another");
    fake_want_acks(&gate);
}

static void cut_and_wait(void)
{
    fake_cut(&gate);
    run_until(fake_has_events, &gate);
    fake_got(&gate);
}

static void tells_the_same_gateway_what_was_left(void **state)
{
    char first[SECRET_TOKEN_SIZE], second[SECRET_TOKEN_SIZE];

    serve_leaving();
    message(1, "wait");
    message(1, "b");
    message(2, "c");
    message(1, "d");
    expect("[4 taken, 0 ended waits 1 waits 3] SEND_TO_ALL::c "
           "[0 taken, 1 ended] ");
    memcpy(first, peer()->pair, sizeof(first));
    cut_and_wait();
    assert_int_equal(dispatch_counts(d).queued, 0);
    wake("wait");
    expect("SEND_TO_ALL::wait ");
    memcpy(second, peer()->pair, sizeof(second));
    fake_want_left(&gate, first);
    expect("[left of 4 2 4] ");
    cut_and_wait(); /* it may not have heard that */
    fake_want_left(&gate, first);
    expect("[left of 4 2 4] ");
    cut_and_wait();
    fake_want_left(&gate, second); /* where nothing was asked of */
    fake_want_left(&gate, first);
    fake_want_acks(&gate);
    message(1, "e");
    expect("[1 taken, 0 ended] SEND_TO_ALL::e [0 taken, 1 ended] ");
    unserve();
}

static void tells_what_is_left_before_it_leaves(void **state)
{
    serve_leaving();
    message(1, "wait");
    message(1, "b");
    expect("[2 taken, 0 ended waits 1] ");
    gateways_close(gateways);
    expect("[left of 2 2] ");
    vm_close(vm);
    d->stopped = true; /* as after dispatch_stop() */
    dispatch_free(d);
    fake_close(&gate);
}

/* It asks for all of them, and its links break again and again. */
static void keeps_no_more_than_a_few(void **state)
{
    struct buf pairs = {0}, want = {0};
    struct frame f = {.cmd = FRAME_LEFT, .flag = FRAME_FLAG_STRING};

    serve(false);
    for (int i = 0; i < 6; i++) {
        f.body = pairs.data;
        f.body_len = pairs.len;
        frame_encode(conn_out(gate.events), &f);
        fake_want_acks(&gate);
        for (int n = 0; n <= i; n++) {
            message(1, "a");
            run_until(got_an_end, NULL);
            fake_got(&gate);
        }
        buf_append(&pairs, peer()->pair, strlen(peer()->pair) + 1);
        if (i >= 2)
            buf_printf(&want, "[left of %d] ", i + 1);
        cut_and_wait();
    }
    f.body = pairs.data;
    f.body_len = pairs.len;
    frame_encode(conn_out(gate.events), &f);
    expect(buf_text(&want));
    assert_int_equal(peer()->nremains, 4);
    buf_fini(&pairs);
    buf_fini(&want);
    unserve();
}

/* ---- with a window ---- */

static void serve_with_window(uint8_t limit)
{
    serve_leaving();
    fake_set_window(&gate, limit);
}

static void takes_no_more_than_it_is_let(void **state)
{
    serve_with_window(2);
    message(1, "a");
    message(2, "b");
    message(3, "c");
    message(4, "d");
    expect("[2 taken, 0 ended] SEND_TO_ALL::a SEND_TO_ALL::b "
           "[0 taken, 2 ended] ");
    run_turns(5);
    assert_string_equal(fake_got(&gate), "");
    fake_grant(&gate, 3, 0);
    expect("[1 taken, 0 ended] SEND_TO_ALL::c [0 taken, 1 ended] ");
    run_turns(5);
    gateways_hold_events(gateways, peer()->at, true);
    fake_grant(&gate, 9, 0);
    run_turns(5);
    assert_string_equal(fake_got(&gate), "");
    gateways_hold_events(gateways, peer()->at, false);
    expect("[1 taken, 0 ended] SEND_TO_ALL::d [0 taken, 1 ended] ");
    unserve();
}

static void begins_what_waited_only_when_it_is_let(void **state)
{
    serve_with_window(100);
    message(1, "wait");
    message(1, "b");
    message(1, "c");
    expect("[3 taken, 0 ended waits 1 waits 2] ");
    wake("wait");
    expect("[wants 1] SEND_TO_ALL::wait [0 taken, 1 ended] ");
    message(1, "d");
    expect("[1 taken, 0 ended waits 0] ");
    fake_grant(&gate, 100, 2); /* of somebody who wants nothing */
    run_turns(5);
    assert_string_equal(fake_got(&gate), "");
    fake_grant(&gate, 100, 1);
    expect("[0 taken, 0 ended begins 1] [wants 1] SEND_TO_ALL::b "
           "[0 taken, 1 ended] ");
    fake_grant(&gate, 100, 1);
    expect("[0 taken, 0 ended begins 1] [wants 1] SEND_TO_ALL::c "
           "[0 taken, 1 ended] ");
    fake_grant(&gate, 100, 1);
    expect("[0 taken, 0 ended begins 1] SEND_TO_ALL::d [0 taken, 1 ended] ");
    unserve();
}

static bool has_new_events(void *arg)
{
    return gate.accepted > 2 && gate.events;
}

/* A link that broke is read to its end, whoever does not want that. */
static void begins_nothing_beyond_of_a_link_that_broke(void **state)
{
    char pair[SECRET_TOKEN_SIZE];

    serve_with_window(1);
    memcpy(pair, peer()->pair, sizeof(pair));
    message(1, "a");
    message(2, "b");
    expect("[1 taken, 0 ended] SEND_TO_ALL::a [0 taken, 1 ended] ");
    conn_resume(peer()->events);
    run_until(has_new_events, NULL);
    fake_got(&gate);
    assert_int_equal(fixture.handlers.begun, 1);
    fake_want_left(&gate, pair);
    expect("[left of 1] ");
    unserve();
}

/* ---- with a page ---- */

static void name_page(const char *name)
{
    struct frame f = {.cmd = FRAME_CLAIMS,
        .flag = FRAME_FLAG_STRING,
        .body = (const uint8_t *)name,
        .body_len = strlen(name)};

    frame_encode(conn_out(gate.events), &f);
}

static void serve_with_page(void)
{
    fixture.conf.claims = fixture.dir;
    serve(true);
    assert_int_equal(claims_create(&page, fixture.dir), 0);
    name_page(claims_name(page));
}

/* The word that decides, for somebody who has no business there. */
static uint64_t *map_word(void)
{
    char path[TEMPDIR_SIZE + 64];
    uint64_t *words;
    int fd;

    snprintf(path, sizeof(path), "%s-%s", fixture.dir, claims_name(page));
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(words != MAP_FAILED);
    close(fd);
    return words + 8;
}

static void unserve_with_page(void)
{
    unserve();
    claims_close(page);
    page = NULL;
}

static void tells_once_and_last_what_it_has_claimed(void **state)
{
    serve_with_page();
    message(1, "a");
    message(2, "leave");
    message(1, "c");
    expect("SEND_TO_ALL::a SEND_TO_ALL::leave SEND_TO_ALL::c "
           "[3 taken, 3 ended] ");
    message(1, "wait");
    message(1, "b");
    message(2, "c");
    expect("SEND_TO_ALL::c [3 taken, 1 ended waits 1] ");
    wake("wait");
    expect("SEND_TO_ALL::wait SEND_TO_ALL::b "
           "[0 taken, 2 ended begins 1] ");
    assert_int_equal(claims_revoke(page), 6);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(claims_get(page, i), i + 1);
    assert_int_equal(claims_get(page, 4), 6); /* c overtook b */
    assert_int_equal(claims_get(page, 5), 5);
    unserve_with_page();
}

/* Otherwise what only the gateway closes would be given to others. */
static void claims_what_nobody_handles(void **state)
{
    serve_with_page();
    fake_event(&gate, FRAME_ON_CONNECT, 1, "", "");
    fake_event(&gate, FRAME_IS_ONLINE, 1, "", "");
    expect("[2 taken, 2 ended] ");
    assert_int_equal(claims_revoke(page), 2);
    unserve_with_page();
}

static bool has_new_links(void *arg)
{
    return gate.accepted == 4 && gate.events;
}

/* The gateway has taken back what was not claimed, and goes on with a new page.
 */
static void name_next_page(void)
{
    claims_close(page);
    assert_int_equal(claims_create(&page, fixture.dir), 0);
    name_page(claims_name(page));
}

static void begins_nothing_that_was_taken_back(void **state)
{
    serve_with_page();
    message(1, "revoke");
    message(2, "b");
    fake_event(&gate, FRAME_ON_CLOSE, 2, "", "");
    expect("SEND_TO_ALL::revoke [3 taken, 1 ended waits 1 waits 2] ");
    assert_string_equal(notes(), "1 ");
    assert_int_equal(dispatch_counts(d).clients, 0);
    message(3, "c"); /* on its way when that happened */
    name_next_page();
    expect("[1 taken, 0 ended waits 0] CLAIMS:: ");
    message(2, "d");
    expect("SEND_TO_ALL::d [1 taken, 1 ended] ");
    assert_int_equal(gate.accepted, 2); /* the links are the same */
    assert_int_equal(claims_revoke(page), 1);
    assert_int_equal(claims_get(page, 0), 5); /* numbers go on */
    unserve_with_page();
}

static void begins_nothing_that_was_taken_back_while_it_waited(void **state)
{
    serve_with_page();
    message(1, "wait");
    message(1, "b");
    message(1, "c");
    expect("[3 taken, 0 ended waits 1 waits 2] ");
    assert_int_equal(claims_revoke(page), 1);
    wake("wait"); /* goes on to its end, and nobody else runs it */
    expect("SEND_TO_ALL::wait [0 taken, 1 ended] ");
    assert_int_equal(dispatch_counts(d).forgotten, 2);
    assert_int_equal(fixture.handlers.begun, 1);
    unserve_with_page();
}

/* A handler that runs all the while is told of when it is through. */
static void goes_on_with_another_page_while_a_handler_runs(void **state)
{
    serve_with_page();
    message(1, "wait");
    message(1, "b");
    message(2, "c");
    expect("SEND_TO_ALL::c [3 taken, 1 ended waits 1] ");
    assert_int_equal(claims_revoke(page), 2);
    name_next_page();
    expect("CLAIMS:: ");
    assert_int_equal(dispatch_counts(d).forgotten, 1);
    message(1, "again"); /* behind the one that runs */
    message(2, "d");
    expect("SEND_TO_ALL::d [2 taken, 1 ended waits 0] ");
    wake("wait");
    expect("SEND_TO_ALL::wait SEND_TO_ALL::again [0 taken, 2 ended begins 1] ");
    assert_int_equal(claims_revoke(page), 2);
    assert_int_equal(claims_get(page, 0), 5);
    assert_int_equal(claims_get(page, 1), 4);
    unserve_with_page();
}

static void ends_the_links_of_a_page_of_garbage(void **state)
{
    uint64_t *word;

    serve_with_page();
    word = map_word(); /* the loop has not run: the page still has its name */
    message(1, "a");
    expect("SEND_TO_ALL::a [1 taken, 1 ended] ");
    *word += 5;
    message(1, "b");
    run_until(has_new_links, NULL);
    assert_int_equal(fixture.handlers.begun, 1);
    assert_int_equal(dispatch_counts(d).forgotten, 1);
    munmap(word - 8, 4096);
    unserve_with_page();
}

static void does_without_a_page_that_is_not_there(void **state)
{
    fixture.conf.claims = fixture.dir;
    serve(true);
    name_page("0123456789abcdef0123456789abcdef");
    message(1, "a");
    expect("[1 taken, 0 ended] SEND_TO_ALL::a [0 taken, 1 ended] ");
    unserve();
}

static void ends_the_links_when_the_next_page_is_not_there(void **state)
{
    serve_with_page();
    message(1, "a");
    expect("SEND_TO_ALL::a [1 taken, 1 ended] ");
    name_page("0123456789abcdef0123456789abcdef");
    message(1, "b");
    run_until(has_new_links, NULL);
    assert_int_equal(fixture.handlers.begun, 1);
    unserve_with_page();
}

static void joins_no_page_too_late(void **state)
{
    struct claims *late;

    serve(true);
    message(1, "a");
    expect("[1 taken, 0 ended] SEND_TO_ALL::a [0 taken, 1 ended] ");
    assert_int_equal(claims_create(&late, fixture.dir), 0);
    name_page(claims_name(late));
    message(1, "b");
    expect("[1 taken, 0 ended] SEND_TO_ALL::b [0 taken, 1 ended] ");
    assert_int_equal(claims_revoke(late), -ENOTCONN);
    claims_close(late);
    unserve();
}

static void tells_with_a_page_which_event_hangs(void **state)
{
    serve_with_page();
    message(1, "a");
    message(2, "hang");
    expect("[hangs in 2] SEND_TO_ALL::a SEND_TO_ALL::hang "
           "[2 taken, 2 ended] ");
    unserve_with_page();
}

static void name_book(uint8_t number, const char *name)
{
    char body[64];
    struct frame f = {.cmd = FRAME_BOOK,
        .flag = FRAME_FLAG_STRING,
        .body = (const uint8_t *)body,
        .body_len = (size_t)snprintf(body, sizeof(body), "%c%s", number, name)};

    frame_encode(conn_out(gate.events), &f);
}

/* Its gateway may be gone already, or the book over: only an event that needs
 * it tells. Then the worker comes again and does without. */
static void misses_a_book_when_an_event_needs_it(void **state)
{
    static struct worker_neighbour neighbours[2];

    fixture.conf.neighbours = neighbours;
    fixture.conf.book_folder = fixture.dir;
    neighbours[0].port = 0;
    serve(true);
    neighbours[0].ip = addr_ipv4(&gate.addr);
    neighbours[0].port = addr_port(&gate.addr);
    name_book(1, "gone.0123456789abcdef");
    message(1, "a");
    expect("[1 taken, 0 ended] SEND_TO_ALL::a [0 taken, 1 ended] ");
    assert_true(peer()->keeps_book);
    assert_false(peer()->marks_failed);
    fake_flagged_event(&gate, FRAME_ON_CONNECT, FRAME_FLAG_BOOK, 2, "", "");
    run_until(has_new_links, NULL);
    assert_true(peer()->marks_failed);
    assert_false(peer()->keeps_book);
    assert_null(strstr(fake_got(&gate), "\"book\""));
    unserve();
}

int main(void)
{
#define CASE(f) \
    cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(tells_nobody_who_does_not_ask),
        CASE(tells_first_what_began_and_last_what_ended),
        CASE(tells_what_waits_behind_a_handler),
        CASE(tells_at_once_when_something_else_is_to_leave),
        CASE(tells_before_it_begins_what_was_given_before),
        CASE(tells_by_its_number_which_event_hangs),
        CASE(counts_events_that_nobody_handles),
        CASE(forgets_what_waits_when_the_link_is_lost),
        CASE(tells_that_a_close_waits_before_its_handler_goes_on),
        CASE(closes_forgotten_clients_when_the_gateway_stays_away),
        CASE(tells_of_handlers_that_a_reload_cuts_off),
        CASE(leaves_those_that_a_stop_cuts_off_to_the_gateway),
        CASE(tells_all_before_it_leaves),
        CASE(tells_the_same_gateway_what_was_left),
        CASE(tells_what_is_left_before_it_leaves),
        CASE(keeps_no_more_than_a_few),
        CASE(takes_no_more_than_it_is_let),
        CASE(begins_what_waited_only_when_it_is_let),
        CASE(begins_nothing_beyond_of_a_link_that_broke),
        CASE(tells_once_and_last_what_it_has_claimed),
        CASE(claims_what_nobody_handles),
        CASE(begins_nothing_that_was_taken_back),
        CASE(begins_nothing_that_was_taken_back_while_it_waited),
        CASE(goes_on_with_another_page_while_a_handler_runs),
        CASE(ends_the_links_of_a_page_of_garbage),
        CASE(does_without_a_page_that_is_not_there),
        CASE(misses_a_book_when_an_event_needs_it),
        CASE(ends_the_links_when_the_next_page_is_not_there),
        CASE(joins_no_page_too_late),
        CASE(tells_with_a_page_which_event_hangs),
    };

    return cmocka_run_group_tests_name("worker.acks", tests, NULL, NULL);
}

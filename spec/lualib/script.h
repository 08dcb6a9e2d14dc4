/* script.h - runs Lua text as a client's handler, with gwrun's libraries, in
 * front of one fake gateway.
 *
 * The script: onMessage loads the message as Lua text and runs it; what it
 * returns is shown (tables with sorted keys, "P" for the first 12 digits of the
 * gateway's client ids) and noted. a, b and c are the clients 1, 2 and 3.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_SPEC_LUALIB_SCRIPT_H
#define GW_SPEC_LUALIB_SCRIPT_H

#include "../worker/fake_gateway.h"
#include "../worker/vm_fixture.h"
#include "lualib/linit.h"
#include "worker/dispatch_impl.h"
#include "worker/gateways_impl.h"

static struct gateways *gateways;
static struct dispatch *d;
static struct vm *vm;
static struct fake_gateway gate;

static const char script_text[] =
    "local cjson = require 'cjson'\n"
    "local function show(v)\n"
    "  if v == cjson.null then return 'null' end\n"
    "  if type(v) == 'string' then return (v:gsub(prefix or '\\0', 'P')) end\n"
    "  if type(v) ~= 'table' then return tostring(v) end\n"
    "  local keys, list = {}, {}\n"
    "  for k in pairs(v) do keys[#keys + 1] = k end\n"
    "  table.sort(keys, function(x, y) return tostring(x) < tostring(y) end)\n"
    "  for i, k in ipairs(keys) do\n"
    "    list[i] = (k == i and '' or show(k) .. '=') .. show(v[k])\n"
    "  end\n"
    "  return '{' .. table.concat(list, ',') .. '}'\n"
    "end\n"
    "function shown(...)\n"
    "  local list = table.pack(...)\n"
    "  for i = 1, list.n do list[i] = show(list[i]) end\n"
    "  return table.concat(list, ' ')\n"
    "end\n"
    "Events = {}\n"
    "function Events.onMessage(client_id, text)\n"
    "  prefix = client_id:sub(1, 12)\n"
    "  a, b, c = prefix .. '00000001', prefix .. '00000002',\n"
    "    prefix .. '00000003'\n"
    "  gone = prefix .. 'ffffffee'\n"
    "  local chunk = assert(load(text, '=test'))\n"
    "  note(shown(select(2, pcall(chunk))))\n"
    "end\n";

static inline void script_open_libs(lua_State *L)
{
    linit_open_libs(L);
    lua_register(L, "wait", fixture_wait);
    lua_register(L, "note", fixture_note);
}

static inline enum acks_event script_on_event(
    const struct frame *f, uint32_t link, void *arg)
{
    return dispatch_event(d, f, link);
}

static inline bool script_is_connected(void *arg)
{
    const struct gateways_address *list;

    return gateways_list(gateways, &list) == 1 && gate.events != NULL;
}

/* Load text, with no gateway. */
static inline void script_load(const char *text)
{
    static const struct gateways_ops ops = {.on_event = script_on_event};
    char *error;

    memset(&gate, 0, sizeof(gate));
    fixture.conf.open_libs = script_open_libs;
    fixture.conf.lua_dir = "lua";
    gateways = gateways_new(fixture.turn, &fixture.conf, 0, &ops, NULL);
    handlers_init(&fixture.handlers, turn_loop(fixture.turn));
    d = dispatch_new(fixture.turn, gateways, &fixture.conf, &fixture.handlers);
    vm = open_vm_for(text, gateways, &error);
    if (error)
        fail_msg("%s", error);
    dispatch_serve(d, vm);
}

/* Connect it to the gateway. */
static inline void script_connect(void)
{
    const char *addresses[] = {gate.address};

    fake_listen(&gate);
    addresses[0] = gate.address;
    gateways_set_addresses(addresses, 1, gateways);
    run_until(script_is_connected, NULL);
    fake_got(&gate);
}

static inline void script_serve(void)
{
    script_load(script_text);
    script_connect();
}

static inline void script_end(void)
{
    if (vm)
        vm_close(vm);
    vm = NULL;
    dispatch_free(d);
    gateways_close(gateways);
    fake_close(&gate);
}

static inline void script_event(
    uint8_t cmd, uint32_t id, const char *body, const char *session)
{
    struct frame f = {
        .cmd = cmd,
        .flag = FRAME_FLAG_STRING,
        .local_ip = 0x7f000001,
        .local_port = gate.listener ? addr_port(&gate.addr) : 2900,
        .client_ip = 0x0a000001,
        .client_port = 4000,
        .connection_id = id,
        .gateway_port = 8283,
        .ext = (const uint8_t *)session,
        .ext_len = strlen(session),
        .body = (const uint8_t *)body,
        .body_len = strlen(body),
    };

    dispatch_event(d, &f, 0);
}

static inline bool script_has_notes(void *arg)
{
    return fixture.notes.len > 0;
}

/* What the text returns, shown, when client 1 sends it and has this session. */
static inline const char *run_with(const char *session, const char *text)
{
    char *shown;

    buf_clear(&fixture.notes);
    script_event(FRAME_ON_MESSAGE, 1, text, session);
    run_until(script_has_notes, NULL);
    shown = (char *)notes();
    if (*shown)
        shown[strlen(shown) - 1] = '\0'; /* the blank behind a note */
    return shown;
}

static inline const char *run(const char *text)
{
    return run_with("", text);
}

/* The commands that reached the gateway by now. */
static inline const char *sent(void)
{
    run_until(fake_heard, &gate);
    return fake_got(&gate);
}

/* Nothing more was sent: an ordinary command comes next. */
static inline void assert_silent(void)
{
    run("return Gateway.destroyClient(a)");
    assert_string_equal(sent(), "DESTROY:: ");
}

#endif /* GW_SPEC_LUALIB_SCRIPT_H */

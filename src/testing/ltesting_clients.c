/* The clients' ends of connections: sockets of the test's own, which it reads
 * and writes without the world's loop. Each is known by its descriptor; those
 * that a test wants to hear of are in one epoll. */
#include "testing/ltesting_impl.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/addr.h"
#include "testing/sim.h"

#define READ_SIZE 65536
#define READY_MAX 1024 /* ends that sim:readable() tells at a time */

/* From now on sim:readable() looks at this end, or no more. 0 or -errno. */
static int watch(struct ltesting *t, int fd, bool watched)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    int op = watched ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;

    return epoll_ctl(t->ready, op, fd, &event) < 0 ? -errno : 0;
}

static int add_end(struct ltesting *t, int fd)
{
    int err = watch(t, fd, true);

    if (err < 0) {
        close(fd);
        return err;
    }
    while (t->ends.len <= (size_t)fd)
        buf_append_byte(&t->ends, false);
    t->ends.data[fd] = true;
    return fd;
}

int ltesting_clients_open(struct ltesting *t)
{
    t->ready = epoll_create1(EPOLL_CLOEXEC);
    return t->ready < 0 ? -errno : 0;
}

void ltesting_clients_close(struct ltesting *t)
{
    for (size_t fd = 0; fd < t->ends.len; fd++) {
        if (t->ends.data[fd])
            close((int)fd);
    }
    close(t->ready);
    buf_fini(&t->ends);
}

bool ltesting_clients_arrived(const struct ltesting *t)
{
    struct epoll_event event;

    return epoll_wait(t->ready, &event, 1, 0) != 0;
}

/* sim:connect(gateway, ip, port) -> fd | nil, message */
static int sim_lua_connect(lua_State *L)
{
    struct ltesting *t = ltesting_check(L);
    size_t i = ltesting_check_number(L, 2, sim_gateways(t->sim));
    const char *ip = luaL_checkstring(L, 3);
    lua_Integer port = luaL_checkinteger(L, 4);
    union addr peer;
    int fd;

    luaL_argcheck(L, addr_parse_host(&peer, ip) == 0, 3,
        "an IP address expected, such as \"192.0.2.1\"");
    luaL_argcheck(L, port > 0 && port <= UINT16_MAX, 4, "a port expected");
    addr_set_port(&peer, (uint16_t)port);
    fd = sim_connect(t->sim, i, &peer);
    if (fd == -EAGAIN)
        return ltesting_fail(
            L, "the gateway does not run, or no worker is there");
    if (fd >= 0)
        fd = add_end(t, fd);
    if (fd < 0)
        return ltesting_fail(L, strerror(-fd));
    lua_pushinteger(L, fd);
    return 1;
}

/* sim:newcomer(gateway) -> client_id, number | nothing: sim_newcomer() */
static int sim_lua_newcomer(lua_State *L)
{
    struct sim *s = ltesting_check(L)->sim;
    size_t i = ltesting_check_number(L, 2, sim_gateways(s));
    char id[SIM_ID_SIZE];
    size_t number;

    if (!sim_newcomer(s, i, id, &number))
        return 0;
    lua_pushstring(L, id);
    lua_pushinteger(L, (lua_Integer)number);
    return 2;
}

/* A client's end; raises when it is none. */
static int check_end(lua_State *L, struct ltesting *t, int arg)
{
    lua_Integer fd = luaL_checkinteger(L, arg);

    luaL_argcheck(L, fd >= 0 && (size_t)fd < t->ends.len && t->ends.data[fd],
        arg, "the client is closed");
    return (int)fd;
}

/* sim:send(fd, bytes, from) -> how many were taken; 0: none now | nil: gone */
static int sim_lua_send(lua_State *L)
{
    int fd = check_end(L, ltesting_check(L), 2);
    size_t len;
    const char *data = luaL_checklstring(L, 3, &len);
    lua_Integer from = luaL_checkinteger(L, 4);
    ssize_t n;

    luaL_argcheck(L, from >= 1 && (size_t)from <= len, 4, "out of range");
    n = send(fd, data + from - 1, len - (size_t)from + 1, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        return 0;
    lua_pushinteger(L, n > 0 ? n : 0);
    return 1;
}

/* sim:receive(fd) -> bytes, whether the gateway has closed it */
static int sim_lua_receive(lua_State *L)
{
    int fd = check_end(L, ltesting_check(L), 2);
    ssize_t n;
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    do {
        n = recv(fd, luaL_prepbuffsize(&b, READ_SIZE), READ_SIZE, 0);
        if (n > 0)
            luaL_addsize(&b, (size_t)n);
    } while (n > 0);
    n = n < 0 && errno == EAGAIN ? 1 : 0;
    luaL_pushresult(&b);
    lua_pushboolean(L, n == 0);
    return 2;
}

/* sim:readable() -> a list of ends with something to receive: of all that are
 * watched, or of some */
static int sim_lua_readable(lua_State *L)
{
    struct epoll_event events[READY_MAX];
    int count = epoll_wait(ltesting_check(L)->ready, events, READY_MAX, 0);

    lua_createtable(L, count > 0 ? count : 0, 0);
    for (int i = 0; i < count; i++) {
        lua_pushinteger(L, events[i].data.fd);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* sim:watch(fd, watched): new ends are */
static int sim_lua_watch(lua_State *L)
{
    struct ltesting *t = ltesting_check(L);

    watch(t, check_end(L, t, 2), lua_toboolean(L, 3)); /* may be so already */
    return 0;
}

/* sim:hang_up(fd) */
static int sim_lua_hang_up(lua_State *L)
{
    struct ltesting *t = ltesting_check(L);
    int fd = check_end(L, t, 2);

    t->ends.data[fd] = false;
    close(fd); /* also out of t->ready: nobody has a copy */
    return 0;
}

const luaL_Reg ltesting_clients[] = {
    {"connect", sim_lua_connect},
    {"hang_up", sim_lua_hang_up},
    {"newcomer", sim_lua_newcomer},
    {"readable", sim_lua_readable},
    {"receive", sim_lua_receive},
    {"send", sim_lua_send},
    {"watch", sim_lua_watch},
    {NULL, NULL},
};

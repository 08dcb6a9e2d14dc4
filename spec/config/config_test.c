/* Configurations that are right, and what is said about those that are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/cert.h"
#include "../support/localhost.h"
#include "../support/tempdir.h"
#include "config/config.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/log.h"

#define FILE_NAME "conf/gwrun.lua"

/* A good entry; later keys of a Lua table constructor win over earlier ones. */
#define GATEWAY(more)                                               \
    "{ name = 'A', listen = 'text://127.0.0.1:8283', start_port = " \
    "2900, " more " }"
#define TOP(more)      "return { register_address = '127.0.0.1:1237', " more " }"
#define GATEWAYS(more) TOP("gateways = { " more " }")
#define ONE(more)      GATEWAYS(GATEWAY(more))
#define LISTENS(more)  "gateways = { " GATEWAY(more) " }"
#define LISTED(list, more) \
    "return { discovery = { gateways = { " list " } }, " more " }"
#define REGISTER(more) \
    "return { register = { listen = '127.0.0.1:1237', " more " } }"
#define WORKERS(more) \
    TOP("workers = { name = 'W', script = 'scripts/events.lua', " more " }")

static char root[TEMPDIR_SIZE];

static void put(const char *name, const char *text, mode_t mode)
{
    FILE *file = fopen(name, "we");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(name, mode), 0);
}

/* A project folder that the tests run in. */
static int make_project(void **state)
{
    struct cert pair;

    tempdir_make(root);
    assert_int_equal(chdir(root), 0);
    mkdir("conf", 0755);
    mkdir("scripts", 0755);
    mkdir("www", 0755);
    put("scripts/events.lua", "Events = {}\n", 0644);
    cert_make(&pair, "localhost", EVP_EC_gen("P-256"), 0, CERT_HOUR);
    put("cert.pem", pair.cert, 0644);
    put("key.pem", pair.key, 0600);
    put("secret", "s3cret\n", 0600);
    put("open", "s3cret\n", 0644);
    put("empty", "\n", 0600);
    put("two", "new\r\nold\n", 0600);
    return 0;
}

/* Load text; *out gets the configuration, or the complaints are returned with
 * the root folder written as ROOT. The caller frees them. */
static char *load(struct config *out, const char *text)
{
    struct buf b = {0};
    char *err, *hit;
    const char *p;
    int status = config_load(out, FILE_NAME, text, &err);

    assert_int_equal(status, err ? -EINVAL : 0);
    if (!err)
        return NULL;
    for (p = err; (hit = strstr(p, root)); p = hit + strlen(root)) {
        buf_append(&b, p, (size_t)(hit - p));
        buf_append_str(&b, "ROOT");
    }
    buf_append(&b, p, strlen(p) + 1);
    free(err);
    return (char *)b.base;
}

static void expect_good(struct config *out, const char *text)
{
    char *err = load(out, text);

    if (err)
        fail_msg("%s", err);
}

struct broken {
    const char *text, *want; /* want without the file's name in front */
};

static const struct broken
    broken[] =
        {
            {"return {", ":1: unexpected symbol near <eof>"},
            {"return {}\nx = =", ":2: <eof> expected near 'x'"},
            {"error('no luck')", ":1: no luck"},
            {"local x = nil .. 1", ":1: attempt to concatenate a nil value"},
            {"require 'socket'",
                ":1: attempt to call a nil value (global 'require')"},
            {"os.execute('ls')",
                ":1: attempt to call a nil value (field 'execute')"},
            {"io.open('/etc/passwd')",
                ":1: attempt to index a nil value (global 'io')"},
            {"while true do end",
                ":1: still running after 10000000 steps; a configuration must end"},
            {"local s = ('x'):rep(1e9)", ": not enough memory"},
            {"\033Lua", ": attempt to load a binary chunk (mode is 't')"},
            {"x = 1", ": returns a nil; end it with return { … }"},
            {"return 7", ": returns 7; end it with return { … }"},
            {"return {}",
                ": nothing to run; give register, gateways or workers, or a register_address for programs (gwrun exec)"},
            {"return { discovery = {} }",
                ": discovery.gateways: is missing; give a string or a list of strings"},
            {TOP("discovery = { gateways = '10.0.0.5:2900' }"),
                ": register_address: stands beside discovery.gateways; keep the one or the other"},
            {LISTED(
                 "'10.0.0.5:2900'", "register = { listen = '127.0.0.1:1237' }"),
                ": register: would be asked by nobody where discovery.gateways lists the gateways; keep the one or the other"},
            {LISTED("'127.0.0.1:2900'",
                 "gateways = { " GATEWAY(
                     "register_address = '127.0.0.1:1237'") " }"),
                ": gateways[1].register_address: stands beside discovery.gateways; keep the one or the other"},
            {LISTED("'10.0.0.5:2900', '10.0.0.5:2900'", ""),
                ": discovery.gateways: 10.0.0.5:2900 is in it twice; remove one"},
            {LISTED("'chat.internal:2900'", ""),
                ": discovery.gateways: \"chat.internal:2900\" is not an address; give host:port with a numeric host, such as \"127.0.0.1:1237\""},
            {LISTED("'0.0.0.0:2900'", ""),
                ": discovery.gateways: 0.0.0.0:2900 cannot be a gateway's; give its lan_ip, an IPv4 address, and its start_port, one more for each further process"},
            {LISTED("'[::1]:2900'", ""),
                ": discovery.gateways: [::1]:2900 cannot be a gateway's; give its lan_ip, an IPv4 address, and its start_port, one more for each further process"},
            {LISTED("'8.8.8.8:2900'", ""),
                ": discovery.gateways: 8.8.8.8:2900 can be reached from outside, and there is no secret_key; set secret_key, or use an address that is not public"},
            {LISTED(
                 "'127.0.0.1:2900'", "gateways = { " GATEWAY("count = 2") " }"),
                ": gateways[1]: no worker finds 127.0.0.1:2901; add it to discovery.gateways"},
            {TOP("gatways = {}"),
                ": unknown key \"gatways\"; did you mean \"gateways\"?"},
            {TOP("banana = 1"),
                ": unknown key \"banana\"; remove it (docs/configuration.md lists the keys)"},
            {ONE("lanIp = '127.0.0.1'"),
                ": gateways[1]: unknown key \"lanIp\"; did you mean \"lan_ip\"?"},
            {ONE("pingInterval = 3"),
                ": gateways[1]: unknown key \"pingInterval\"; did you mean \"ping_interval\"?"},
            {ONE("conut = 3"),
                ": gateways[1]: unknown key \"conut\"; did you mean \"count\"?"},
            {ONE("tls = { cert = 'cert.pem', key = 'key.pem', kye = 1 }"),
                ": gateways[1].tls: unknown key \"kye\"; did you mean \"key\"?"},
            {WORKERS("queue_limits = 1"),
                ": workers: unknown key \"queue_limits\"; did you mean \"queue_limit\"?"},
            {REGISTER("'127.0.0.1:1'"),
                ": register: has an entry [1]; write key = value"},
            {TOP("register = 5"),
                ": register: is 5; give a table { key = value, … }"},
            {TOP("gateways = 'A'"),
                ": gateways: is \"A\"; give a list of 1 to 256 tables: { { name = …, listen = …, start_port = … } }"},
            {TOP("gateways = { name = 'A' }"),
                ": gateways: is a table with no or too many entries; give a list of 1 to 256 tables: { { name = …, listen = …, start_port = … } }"},
            {GATEWAYS("7"),
                ": gateways[1]: is 7; give a table { name = …, listen = …, start_port = … }"},
            {ONE("count = 'two'"),
                ": gateways[1].count: is \"two\"; give a whole number from 1 to 1024"},
            {ONE("client_pong = 'pong'"),
                ": gateways[1].client_pong: answers client_ping; say which message "
                "that is, too"},
            {ONE("count = 0"),
                ": gateways[1].count: is 0; give a whole number from 1 to 1024"},
            {ONE("count = 1.5"),
                ": gateways[1].count: is 1.5; give a whole number from 1 to 1024"},
            {ONE("max_message = 1e12"),
                ": gateways[1].max_message: is 1000000000000; give a whole number from 1 to 1073741824"},
            {ONE("ping_interval = -1"),
                ": gateways[1].ping_interval: is -1; give a number of seconds from 0 to 604800"},
            {ONE("idle_timeout = 0/0"),
                ": gateways[1].idle_timeout: is -nan; give a number of seconds from 0 to 604800"},
            {ONE("accept_before_ready = 1"),
                ": gateways[1].accept_before_ready: is 1; give true or false"},
            {ONE("overflow = 'drip'"),
                ": gateways[1].overflow: is \"drip\"; give \"close\" or \"drop\""},
            {ONE("send = 'blob'"),
                ": gateways[1].send: is \"blob\"; give \"text\" or \"binary\""},
            {ONE("router = 'most'"),
                ": gateways[1].router: is \"most\"; give \"least\", \"random\", \"hash_ip\", \"hash_uid\" or a function"},
            {ONE("overflow = function() end"),
                ": gateways[1].overflow: is a function; give \"close\" or \"drop\""},
            {ONE("name = 'a\\0b'"),
                ": gateways[1].name: is \"a\\x00b\"; give a string of 1 to 64 bytes"},
            {ONE("name = 'a b'"),
                ": gateways[1].name: has characters that a name cannot have; use letters, digits, \".\", \"_\" and \"-\""},
            {GATEWAYS("{ name = 'A', listen = 'text://127.0.0.1:1' }"),
                ": gateways[1].start_port: is missing; give a whole number from 1 to 65535"},
            {GATEWAYS("{ name = 'A', start_port = 2900 }"),
                ": gateways[1].listen: is missing; give \"protocol://host:port\", such as \"websocket://0.0.0.0:8283\""},
            {"return { register = {} }",
                ": register.listen: is missing; give \"host:port\", such as \"127.0.0.1:1237\""},
            {WORKERS("script = {}"),
                ": workers.script: is a table; give the path of a Lua file, such as \"scripts/events.lua\""},
            {WORKERS("memory_limit = 1000"),
                ": workers.memory_limit: is 1000; give a whole number from 1048576 to 1099511627776"},
            {TOP("register_address = { }"),
                ": register_address: is a table; give a string or a list of strings"},
            {ONE("listen = 'ws://127.0.0.1:80', allowed_origins = { 1 }"),
                ": gateways[1].allowed_origins: entry 1 is 1; give a string"},
            {TOP("log = { level = 'loud' }"),
                ": log.level: is \"loud\"; give \"error\", \"warn\", \"notice\", \"info\" or \"debug\""},
            {ONE("tls = true"),
                ": gateways[1].tls: is true; give tls = { cert = \"file.pem\", key = \"file.pem\" }"},
            {ONE("listen = 'smtp://127.0.0.1:80'"),
                ": gateways[1].listen: \"smtp://127.0.0.1:80\" has no known protocol; give websocket://, wss://, http://, https://, text://, frame:// or tcp:// and host:port"},
            {ONE("listen = 'text://localhost:80'"),
                ": gateways[1].listen: \"localhost:80\" is not an address; give host:port with a numeric host, such as \"127.0.0.1:1237\""},
            {ONE("listen = 'text://127.0.0.1:0'"),
                ": gateways[1].listen: \"127.0.0.1:0\" has port 0; give a port from 1 to 65535"},
            {ONE("listen = 'text://127.0.0.1:65536'"),
                ": gateways[1].listen: \"127.0.0.1:65536\" is not an address; give host:port with a numeric host, such as \"127.0.0.1:1237\""},
            {REGISTER("listen = '1237'"),
                ": register.listen: \"1237\" is not an address; give host:port with a numeric host, such as \"127.0.0.1:1237\""},
            {ONE("register_address = 'localhost'"),
                ": gateways[1].register_address: \"localhost\" is not an address; give host:port, such as \"127.0.0.1:1237\" or \"register.internal:1237\""},
            {ONE("register_address = '10.1.1:1237'"),
                ": gateways[1].register_address: \"10.1.1:1237\" is not an address; give host:port, such as \"127.0.0.1:1237\" or \"register.internal:1237\""},
            {ONE("register_address = 'register.internal:0'"), ": gateways[1].register_address: \"register.internal:0\" is not an address; give host:port, such as \"127.0.0.1:1237\" or \"register.internal:1237\""},
            {ONE("lan_ip = '0.0.0.0'"),
                ": gateways[1].lan_ip: \"0.0.0.0\" cannot be announced to workers; give the IPv4 address that workers reach this machine at"},
            {ONE("lan_ip = '::1'"),
                ": gateways[1].lan_ip: \"::1\" cannot be announced to workers; give the IPv4 address that workers reach this machine at"},
            {ONE("inner_listen = 'eth0'"),
                ": gateways[1].inner_listen: \"eth0\" is not an address; give the IPv4 address to listen for workers on"},
            {ONE("lan_ip = '8.8.8.8'"),
                ": gateways[1].lan_ip: 8.8.8.8 can be reached from outside, and there is no secret_key; set secret_key, or use an address that is not public"},
            {ONE("inner_listen = '0.0.0.0'"),
                ": gateways[1].inner_listen: 0.0.0.0 can be reached from outside, and there is no secret_key; set secret_key, or use an address that is not public"},
            {REGISTER("listen = '0.0.0.0:1237'"),
                ": register.listen: 0.0.0.0:1237 can be reached from outside, and there is no secret_key; set secret_key, or use an address that is not public"},
            {ONE("register_address = '8.8.8.8:1'"),
                ": gateways[1].register_address: 8.8.8.8:1 can be reached from outside, and there is no secret_key; set secret_key, or use an address that is not public"},
            {ONE("register_address = '0.0.0.0:1'"),
                ": gateways[1].register_address: 0.0.0.0:1 is nobody's address; give the address of the machine that the register runs on"},
            {"return { gateways = { " GATEWAY("") " } }",
                ": gateways[1].register_address: is missing; give the register's \"host:port\", or a list of them"},
            {GATEWAYS(GATEWAY("count = 3") ", " GATEWAY(
                 "name = 'B', listen = 'text://127.0.0.1:8284', start_port = 2902")),
                ": gateways[2].start_port: port 2902 of B is taken by A (gateways[1].start_port); choose another"},
            {GATEWAYS(GATEWAY("") ", " GATEWAY(
                 "name = 'B', listen = 'text://0.0.0.0:8283', start_port = 2902")),
                ": gateways[2].listen: port 8283 of B is taken by A (gateways[1].listen); choose another"},
            {ONE("listen = 'text://0.0.0.0:2900'"),
                ": gateways[1].start_port: port 2900 of A is taken by A (gateways[1].listen); choose another"},
            {TOP("register = { listen = '127.0.0.1:8283' }, gateways = { " GATEWAY(
                 "") " }"),
                ": gateways[1].listen: port 8283 of A is taken by the register (register.listen); choose another"},
            {GATEWAYS(GATEWAY("") ", " GATEWAY(
                 "listen = 'text://127.0.0.1:8284', start_port = 2910")),
                ": gateways[2].name: \"A\" is the name of gateways[1] too; give each its own"},
            {ONE("start_port = 65535, count = 2"),
                ": gateways[1].start_port: 65535 and 1 more for count = 2 go beyond 65535; choose a lower one"},
            {WORKERS("script = 'none.lua'"),
                ": workers.script: ROOT/none.lua: No such file or directory; give a file that exists"},
            {WORKERS("script = 'scripts'"),
                ": workers.script: ROOT/scripts is not a file; give a file"},
            {ONE("listen = 'ws://127.0.0.1:80', www = 'none'"),
                ": gateways[1].www: ROOT/none: No such file or directory; give a folder that exists"},
            {ONE("listen = 'ws://127.0.0.1:80', www = 'cert.pem'"),
                ": gateways[1].www: ROOT/cert.pem is not a folder; give a folder"},
            {ONE("www = 'www'"),
                ": gateways[1].www: works on websocket and http ports only; remove it here"},
            {ONE("send = 'binary'"),
                ": gateways[1].send: works on websocket ports only; remove it here"},
            {ONE("allowed_origins = 'https://a.b'"),
                ": gateways[1].allowed_origins: works on websocket and http ports only; remove it here"},
            {ONE("protocols = 'v1'"),
                ": gateways[1].protocols: works on websocket ports only; remove it here"},
            {ONE("listen = 'ws://127.0.0.1:80', protocols = { 'v2', 'v 1' }"),
                ": gateways[1].protocols: \"v 1\" is no subprotocol; give a token of RFC 9110: letters, digits and !#$%&'*+-.^_`|~"},
            {ONE("listen = 'ws://127.0.0.1:80', protocols = { 'v2', 'v1', 'v2' }"),
                ": gateways[1].protocols: has \"v2\" twice; remove one"},
            {ONE("listen = 'ws://127.0.0.1:80', protocols = { v2 = true }"),
                ": gateways[1].protocols: is a table; give a subprotocol, or a list of them, the best first, such as { \"v2\", \"v1\" }"},
            {ONE("listen = 'wss://127.0.0.1:443'"),
                ": gateways[1].listen: wss:// needs a certificate; add tls = { cert = \"file.pem\", key = \"file.pem\" }"},
            {ONE("tls = { cert = 'cert.pem' }"),
                ": gateways[1].tls.key: is missing; give the path of a PEM file"},
            {ONE("tls = { cert = 'key.pem', key = 'key.pem' }"),
                ": gateways[1].tls: key.pem has no whole CERTIFICATE in it; give a PEM file"},
            {ONE("tls = { cert = 'cert.pem', key = 'cert.pem' }"),
                ": gateways[1].tls: cert.pem has no whole PRIVATE KEY in it; give a PEM file"},
            {TOP("secret_key_file = 'none', gateways = { " GATEWAY("") " }"),
                ": secret_key_file: ROOT/none: No such file or directory; give a file that exists"},
            {TOP("secret_key_file = 'open', gateways = { " GATEWAY("") " }"),
                ": secret_key_file: ROOT/open can be read by other users; run chmod 600 ROOT/open"},
            {TOP("secret_key_file = 'empty', gateways = { " GATEWAY("") " }"),
                ": secret_key_file: ROOT/empty has no key of 1 to 255 bytes in its first line; write one"},
            {TOP("secret_key_file = 'secret', secret_key = 'x', gateways = { " GATEWAY(
                 "") " }"),
                ": secret_key_file: is given beside secret_key; give one of them"},
            {TOP("secret_key_file = 'two', secret_key_also = 'x', gateways = { " GATEWAY(
                 "") " }"),
                ": secret_key_file: is given beside secret_key_also; give one of them"},
            {TOP("secret_key_also = 'x', gateways = { " GATEWAY("") " }"),
                ": secret_key_also: is accepted beside secret_key; give that, too"},
            {TOP("user = 'no.such.user', gateways = { " GATEWAY("") " }"),
                ": user: there is no user \"no.such.user\"; create it or name another"},
            {TOP("group = 'no.such.group', gateways = { " GATEWAY("") " }"),
                ": group: there is no group \"no.such.group\"; create it or name another"},
            {TOP("drain_time = 20, gateways = { " GATEWAY("") " }"),
                ": drain_time: is 20, longer than stop_timeout (10), when processes are killed; give at most that"},
};

static const struct broken broken_proxies[] = {
    {ONE("listen = 'ws://127.0.0.1:80', trusted_proxies = 7"),
        ": gateways[1].trusted_proxies: is 7; give a network, or a list of them, such as \"10.0.0.0/8\""},
    {ONE("listen = 'ws://[::]:80', trusted_proxies = '10.0.0.1/8'"),
        ": gateways[1].trusted_proxies: \"10.0.0.1/8\" is not a network; give a numeric address, or one with zeros behind its prefix, such as \"10.0.0.0/8\""},
    {ONE("trusted_proxies = '127.0.0.1'"),
        ": gateways[1].trusted_proxies: works on websocket and http ports, or with proxy_protocol = true; add that, or remove it here"},
    {ONE("proxy_protocol = true"),
        ": gateways[1].proxy_protocol: would refuse everybody; name the proxies in trusted_proxies"},
    {ONE("proxy_protocol = 'v2'"),
        ": gateways[1].proxy_protocol: is \"v2\"; give true or false"},
    {GATEWAYS(GATEWAY("") ", " GATEWAY(
         "name = 'B', listen = 'text://[::]:8283', start_port = 2902")),
        ": gateways[2].listen: port 8283 of B is taken by A (gateways[1].listen); choose another"},
};

static void expect_broken(const struct broken *rows, size_t count)
{
    size_t wrong = 0;

    for (size_t i = 0; i < count; i++) {
        struct config c;
        char *err = load(&c, rows[i].text);
        char *want = xasprintf("%s%s\n", FILE_NAME, rows[i].want);

        if (!err || strcmp(err, want) != 0) {
            print_error("%s\n got: %s\nwant: %s\n", rows[i].text,
                err ? err : "nothing\n", want);
            wrong++;
        }
        if (!err)
            config_free(&c);
        free(want);
        free(err);
    }
    assert_int_equal(wrong, 0);
}

static void names_what_is_wrong_where_and_what_to_do(void **state)
{
    expect_broken(broken, sizeof(broken) / sizeof(broken[0]));
}

static void names_proxies_that_cannot_be(void **state)
{
    expect_broken(
        broken_proxies, sizeof(broken_proxies) / sizeof(broken_proxies[0]));
}

static void reports_several_mistakes_together(void **state)
{
    struct config c;
    char *err = load(&c, ONE("count = 0, overflow = 'x', listen = 'y'"));

    assert_string_equal(err,
        FILE_NAME ": gateways[1].count: is 0; give a whole number from 1 to "
                  "1024\n" FILE_NAME
                  ": gateways[1].overflow: is \"x\"; give \"close\" or "
                  "\"drop\"\n" FILE_NAME
                  ": gateways[1].listen: \"y\" has no known protocol; give "
                  "websocket://, wss://, http://, https://, text://, frame:// "
                  "or tcp:// and host:port\n");
    free(err);
}

static void stops_counting_after_fifty_mistakes(void **state)
{
    struct config c;
    size_t lines = 0;
    char *err = load(&c, "local t = {} for i = 1, 1000 do t['k' .. i] = i end "
                         "return t");

    for (const char *p = err; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 51);
    free(err);
}

static void says_how_to_name_a_file_that_is_not_there(void **state)
{
    struct config c;
    char *err;

    assert_int_equal(config_load(&c, "conf/none.lua", NULL, &err), -EINVAL);
    assert_string_equal(err,
        "conf/none.lua: cannot be read: No such file or directory; name the "
        "file with -c FILE, or make a project with gwrun new DIR\n");
    free(err);
}

static void wants_room_for_the_largest_message(void **state)
{
    struct config c;
    char *err;

    assert_int_equal(
        config_load(&c, "conf/gwrun.lua",
            ONE("max_message = 1000, max_unfinished_total = 1999"), &err),
        -EINVAL);
    assert_non_null(strstr(err, "max_unfinished_total: is 1999, and one message"
                                " may take twice max_message (1000)"));
    free(err);
}

static void wants_room_for_an_event_in_a_packet(void **state)
{
    struct config c;
    char *err;

    expect_good(&c,
        TOP("max_packet = 128 * 2^20, " LISTENS("max_message = 100 * 2^20")));
    assert_int_equal(c.gateways[0].conf.packet_max, 128 << 20);
    assert_int_equal(c.program_conf.packet_max, 128 << 20);
    config_free(&c);
    assert_int_equal(
        config_load(&c, "conf/gwrun.lua",
            TOP("max_packet = 16 * 2^20, " LISTENS(
                "max_message = 2^24 - 2^20, "
                "max_session = 8 * 2^20, max_request_head = 2^20")),
            &err),
        -EINVAL);
    assert_non_null(strstr(err,
        "max_message: is 15728640, and does not fit into max_packet (16777216)"
        " with a session of max_session (8388608); give no more than 8323072,"
        " or raise max_packet"));
    assert_non_null(strstr(err, "max_request_head: is 1048576, and does not"));
    free(err);
}

static void reads_a_whole_configuration(void **state)
{
    struct config c;
    const struct config_gateway *g;
    const struct config_workers *w;

    expect_good(&c,
        "return { register = { listen = '127.0.0.1:1237' }, "
        "gateways = { { name = 'Chat', listen = 'wss://0.0.0.0:8283', "
        "count = 2, start_port = 2900, www = 'www', send = 'binary', "
        "overflow = 'drop', router = 'hash_uid', ping_data = 'hi', "
        "ping_interval = 1.5, max_message = 70000, "
        "max_request_head = 4096, max_headers = 20, "
        "max_unfinished_total = 140000, message_timeout = 7, "
        "allowed_origins = { 'https://a', 'https://b' }, "
        "protocols = { 'v2', 'v1' }, "
        "tls = { cert = 'cert.pem', key = 'key.pem' } } }, "
        "workers = { name = 'W', count = 3, script = 'scripts/events.lua', "
        "memory_limit = 2^20 }, log = { level = 'debug', file = 'x.log' }, "
        "secret_key_file = 'secret', run_dir = 'r', stop_timeout = 3, "
        "drain_time = 1 }");
    assert_string_equal(c.root, root);
    assert_true(c.has_register);
    assert_string_equal(c.register_conf.secret_key, "s3cret");
    assert_int_equal(c.ngateways, 1);
    g = &c.gateways[0];
    assert_string_equal(g->address, "0.0.0.0:8283");
    assert_string_equal(g->inner_listen, "127.0.0.1");
    assert_int_equal(g->count, 2);
    assert_int_equal(g->conf.clients.protocol, &proto_websocket);
    assert_int_equal(g->conf.clients.overflow, PORT_OVERFLOW_DROP);
    assert_true(g->conf.clients.send_binary);
    assert_int_equal(g->conf.clients.message_max, 70000);
    assert_int_equal(g->conf.clients.head_max, 4096);
    assert_int_equal(g->conf.clients.headers_max, 20);
    assert_int_equal(g->conf.clients.unfinished_total_max, 140000);
    assert_true(g->conf.clients.message_timeout == 7);
    assert_int_equal(g->conf.clients.queue_max, PORT_QUEUE_MAX);
    assert_string_equal(g->conf.clients.allowed_origins[1], "https://b");
    assert_null(g->conf.clients.allowed_origins[2]);
    assert_string_equal(g->conf.clients.protocols[1], "v1");
    assert_null(g->conf.clients.protocols[2]);
    assert_int_equal(g->conf.router, GATEWAY_ROUTER_HASH_UID);
    assert_true(g->conf.ping_interval == 1.5);
    assert_string_equal(g->conf.ping_data, "hi");
    assert_string_equal(g->conf.discovery.registers[0], "127.0.0.1:1237");
    assert_string_equal(g->conf.secret_key, "s3cret");
    assert_int_equal(c.nworkers, 1);
    w = &c.workers[0];
    assert_int_equal(w->count, 3);
    assert_int_equal(w->conf.memory_max, 1 << 20);
    assert_string_equal(w->conf.event_handler, "Events");
    assert_string_equal(w->conf.discovery.registers[0], "127.0.0.1:1237");
    assert_int_equal(c.log_level, LOG_DEBUG);
    assert_string_equal(c.log_file, "x.log");
    assert_true(c.stop_timeout == 3 && c.drain_time == 1);
    config_free(&c);
}

static void fills_in_the_defaults(void **state)
{
    struct config c;

    expect_good(&c, ONE("ping_data = ''"));
    assert_false(c.has_register);
    assert_int_equal(c.nworkers, 0);
    assert_int_equal(c.gateways[0].count, 1);
    assert_string_equal(c.gateways[0].conf.lan_ip, "127.0.0.1");
    assert_null(c.gateways[0].conf.ping_data);
    assert_string_equal(c.gateways[0].conf.secret_key, "");
    assert_true(c.gateways[0].conf.idle_timeout < 0);
    assert_string_equal(c.run_dir, "run");
    assert_string_equal(c.log_file, "log/gwrun.log");
    assert_int_equal(c.log_level, LOG_NOTICE);
    config_free(&c);
}

/* As GatewayWorker's users write them. */
static void takes_protocols_in_any_case(void **state)
{
    static const struct {
        const char *listen;
        const struct client_protocol *protocol;
    } cases[] = {
        {"Websocket://0.0.0.0:8282", &proto_websocket},
        {"WebSocket://0.0.0.0:8282", &proto_websocket},
        {"WS://0.0.0.0:8282", &proto_websocket},
        {"Text://0.0.0.0:8282", &proto_text},
        {"Frame://0.0.0.0:8282", &proto_frame},
        {"TCP://0.0.0.0:8282", &proto_tcp},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config c;
        char text[256];

        snprintf(text, sizeof(text),
            TOP("gateways = { { name = 'A', listen = '%s', "
                "start_port = 2900 } }"),
            cases[i].listen);
        expect_good(&c, text);
        assert_int_equal(
            c.gateways[0].conf.clients.protocol, cases[i].protocol);
        assert_string_equal(c.gateways[0].address, "0.0.0.0:8282");
        config_free(&c);
    }
}

static void takes_public_inner_addresses_with_a_key(void **state)
{
    struct config c;

    expect_good(&c,
        "return { secret_key = 'k', register = { listen = '0.0.0.0:1237' }, "
        "register_address = { '8.8.8.8:1237', '127.0.0.1:1237' }, "
        "gateways = { " GATEWAY("lan_ip = '8.8.8.8'") " } }");
    assert_string_equal(
        c.gateways[0].conf.discovery.registers[1], "127.0.0.1:1237");
    config_free(&c);
}

static void takes_the_same_port_on_different_addresses(void **state)
{
    struct config c;

    expect_good(&c,
        GATEWAYS(GATEWAY("") ", " GATEWAY("name = 'B', start_port = 2910, "
                                          "listen = 'text://127.0.0.2:8283'")));
    config_free(&c);
}

static void takes_ipv6_listeners(void **state)
{
    struct config c;

    expect_good(
        &c, GATEWAYS(
                "{ name = 'A', listen = 'ws://[::]:8283', start_port = 1 }, "
                "{ name = 'B', listen = 'tcp://[::1]:80', start_port = 2 }, "
                "{ name = 'C', listen = 'tcp://0.0.0.0:80', start_port = 3 }"));
    assert_string_equal(c.gateways[0].address, "[::]:8283");
    config_free(&c);
}

static void takes_trusted_proxies(void **state)
{
    struct config c;

    expect_good(
        &c, ONE("listen = 'wss://[::]:443', trusted_proxies = { '10.0.0.0/8', "
                "'fd00::/8', '::1' }, proxy_protocol = true, "
                "tls = { cert = 'cert.pem', key = 'key.pem' }"));
    assert_string_equal(
        c.gateways[0].conf.clients.trusted_proxies[1], "fd00::/8");
    assert_true(c.gateways[0].conf.clients.proxy_protocol);
    config_free(&c);
}

static void lets_the_file_compute_and_ask_the_environment(void **state)
{
    struct config c;

    setenv("GWRUN_TEST_PORT", "2950", 1);
    expect_good(&c,
        "local port = assert(math.tointeger(os.getenv 'GWRUN_TEST_PORT')) "
        "local list = {} for i = 0, 1 do table.insert(list, { "
        "name = ('g%d'):format(i), listen = 'tcp://127.0.0.1:' .. 9000 + i, "
        "start_port = port + i }) end "
        "return { gateways = list, register_address = '127.0.0.1:1237' }");
    assert_int_equal(c.ngateways, 2);
    assert_string_equal(c.gateways[1].address, "127.0.0.1:9001");
    assert_int_equal(c.gateways[1].conf.start_port, 2951);
    config_free(&c);
}

/* The answer of the first gateway's router function, for two workers. */
static int choose(const struct config *c, const char *uid)
{
    static const struct gateway_candidate workers[] = {
        {"127.0.0.1:Chat:0", 3}, {"127.0.0.1:Chat:1", 5}};
    const struct gateway_newcomer client = {.remote_addr = "10.1.2.3",
        .remote_port = 4000,
        .gateway_port = 8283,
        .uid = uid,
        .uid_len = uid ? strlen(uid) : 0};
    const struct gateway_conf *g = &c->gateways[0].conf;

    assert_int_equal(g->router, GATEWAY_ROUTER_FUNCTION);
    assert_non_null(g->choose);
    return g->choose(workers, 2, &client, g->choose_arg);
}

static void takes_a_function_as_router(void **state)
{
    struct config c;

    expect_good(
        &c, "local calls = 0 " ONE(
                "router = function(workers, client) calls = calls + 1 "
                "assert(#workers == 2 and workers[1].key == '127.0.0.1:Chat:0' "
                "and workers[1].clients == 3 and workers[2].clients == 5) "
                "assert(client.remote_addr == '10.1.2.3' and "
                "client.remote_port == 4000 and client.gateway_port == 8283) "
                "if client.uid == 'alice' then return workers[2].key end "
                "assert(client.uid == nil) return calls end"));
    assert_int_equal(choose(&c, NULL), 0);
    assert_int_equal(choose(&c, NULL), 1);
    assert_int_equal(choose(&c, "alice"), 1);
    config_free(&c);
}

static void gives_each_group_its_own_router(void **state)
{
    struct config c;
    const struct gateway_conf *g;

    expect_good(&c,
        GATEWAYS(GATEWAY("router = function() return 2 end") ", " GATEWAY(
            "name = 'B', listen = 'text://127.0.0.1:8284', start_port = 2910, "
            "router = function() return 1 end") ", " GATEWAY("name = 'C', listen = 'text://127.0.0.1:8285', start_port = "
                                                             "2920")));
    g = &c.gateways[1].conf;
    assert_int_equal(choose(&c, NULL), 1);
    assert_int_equal(
        g->choose((const struct gateway_candidate[]){{"w", 0}}, 1,
            &(struct gateway_newcomer){.remote_addr = "::1"}, g->choose_arg),
        0);
    assert_int_equal(c.gateways[2].conf.router, GATEWAY_ROUTER_LEAST);
    assert_null(c.gateways[2].conf.choose);
    config_free(&c);
}

/* The lines of the log are removed. The caller frees them. */
static char *take_log(void)
{
    char *text = xcalloc(1, 8192);
    FILE *file = fopen("log", "re");

    assert_non_null(file);
    text[fread(text, 1, 8191, file)] = '\0';
    fclose(file);
    assert_int_equal(truncate("log", 0), 0);
    return text;
}

static void passes_over_a_router_that_fails(void **state)
{
    static const struct {
        const char *body, *line;
    } rows[] = {
        {"error 'no way'", "count=1 error=\"" FILE_NAME ":1: no way\""},
        {"error({})", "an error that is not a text"},
        {"return 0", "router returns 0; return the key of a worker"},
        {"return 3", "router returns 3; "},
        {"return 1.5", "router returns 1.5; "},
        {"return {}", "router returns a table; "},
        {"return '127.0.0.1:Chat:9'", "Chat:9"},
        {"while true do end", ":1: router still running after 1000000 steps"},
        {"local t = {} for i = 1, 1e5 do t[i] = ('x'):rep(1e6) .. i end",
            "not enough memory"},
        {"return f(function() end)", "global 'f'"},
        /* what a loop could hide behind, or in */
        {"pcall(print)", "global 'pcall'"},
        {"xpcall(print, print)", "global 'xpcall'"},
        {"setmetatable({}, {})", "global 'setmetatable'"},
        {"coroutine.wrap(print)()", "global 'coroutine'"},
    };

    assert_int_equal(log_open("log"), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = xasprintf(ONE("router = function() %s end"), rows[i].body);
        struct config c;
        char *line;

        expect_good(&c, text);
        for (int n = 0; n < 3; n++)
            assert_int_equal(choose(&c, NULL), -1);
        line = take_log();
        if (!strstr(line, rows[i].line))
            fail_msg("%s\n got: %s", rows[i].body, line);
        free(line);
        free(text);
        config_free(&c);
    }
}

static void works_on_after_a_router_has_failed(void **state)
{
    struct config c;
    size_t count = 0;
    char *lines;

    assert_int_equal(log_open("log"), 0);
    expect_good(&c, "local n = 0 " ONE("router = function() n = n + 1 "
                                       "if n == 1 then while true do end end "
                                       "if n == 2 then return nil end "
                                       "if n < 100 then error 'again' end "
                                       "return 2 end"));
    for (int i = 1; i < 100; i++)
        assert_int_equal(choose(&c, NULL), -1);
    assert_int_equal(choose(&c, NULL), 1);
    lines = take_log();
    for (const char *p = lines; *p; p++)
        count += *p == '\n';
    assert_in_range(count, 1, 20); /* one a second */
    free(lines);
    config_free(&c);
}

static void starts_paths_at_the_files_own_folder(void **state)
{
    struct config c;
    char *err;
    char *want = xasprintf("%s/scripts", root);

    put("scripts/gwrun.lua",
        "return { register_address = '127.0.0.1:1237', workers = { "
        "name = 'W', script = 'events.lua' } }",
        0644);
    assert_int_equal(config_load(&c, "scripts/gwrun.lua", NULL, &err), 0);
    assert_string_equal(c.root, want);
    config_free(&c);
    remove("scripts/gwrun.lua");
    free(want);
}

static struct config load_kept(int fd)
{
    struct config c;
    char *err;

    if (config_load_kept(&c, FILE_NAME, fd, &err) < 0)
        fail_msg("%s", err);
    return c;
}

static void gives_other_processes_what_was_checked(void **state)
{
    struct config c, kept;
    char *err;
    int fd;

    put("key2.pem", "", 0600);
    rename("key.pem", "key2.pem");
    rename("secret", "secret2");
    expect_good(&c,
        "return { register = { listen = '127.0.0.1:1237' }, "
        "secret_key_file = 'secret2', gateways = { " GATEWAY(
            "listen = 'wss://127.0.0.1:8283', www = 'www', "
            "tls = { cert = 'cert.pem', key = 'key2.pem' }") " }, "
                                                             "workers = { name = 'W', script = 'scripts/events.lua' } }");
    fd = config_keep(&c);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), -1);
    rename("key2.pem", "key.pem"); /* as it vanishes for them */
    rename("secret2", "secret");
    rename("scripts/events.lua", "scripts/old.lua");
    kept = load_kept(fd);
    rename("scripts/old.lua", "scripts/events.lua");
    assert_string_equal(kept.gateways[0].conf.secret_key, "s3cret");
    assert_string_equal(
        kept.gateways[0].conf.machine, c.gateways[0].conf.machine);
    assert_string_equal(
        kept.workers[0].conf.machine, c.gateways[0].conf.machine);
    assert_string_equal(kept.gateways[0].conf.clients.tls.key,
        c.gateways[0].conf.clients.tls.key);
    config_free(&kept);
    close(fd);
    config_free(&c);
    assert_int_equal(config_load_kept(&c, FILE_NAME, 0, &err), -EINVAL);
    assert_non_null(strstr(err, "only gwrun itself starts child processes"));
    free(err);
}

static void leaves_a_process_the_keys_that_it_serves(void **state)
{
    struct config c;

    expect_good(&c,
        GATEWAYS(GATEWAY(
            "tls = { cert = 'cert.pem', key = 'key.pem' }") ","
                                                            "{ name = 'B', listen = 'text://127.0.0.1:8284', "
                                                            "start_port = 2901, "
                                                            "tls = { cert = 'cert.pem', key = 'key.pem' } }"));
    config_forget_keys(&c, &c.gateways[1]);
    assert_true(c.gateways[0].conf.clients.tls.key[0] != '\0'); /* the same */
    config_forget_keys(&c, NULL);
    assert_string_equal(c.gateways[0].conf.clients.tls.key, "");
    assert_string_equal(c.gateways[1].conf.clients.tls.key, "");
    assert_true(c.gateways[0].conf.clients.tls.cert[0] != '\0');
    config_free(&c);
}

/* The pair in the files pair.cert and pair.key. */
static void put_pair(const struct cert *pair)
{
    put("pair.cert", pair->cert, 0644);
    put("pair.key", pair->key, 0600);
}

static void reads_certificates_again_and_takes_or_leaves_them(void **state)
{
    struct certificates_pem tls;
    struct cert first, second;
    struct config c;
    char *err;

    cert_make(&first, "first", EVP_EC_gen("P-256"), 0, CERT_HOUR);
    cert_make(&second, "second", EVP_EC_gen("P-256"), 0, CERT_HOUR);
    put_pair(&first);
    expect_good(&c, ONE("tls = { cert = 'pair.cert', key = 'pair.key' }"));
    assert_null(config_read_tls(&c));
    assert_false(config_fresh_tls(&c, &c.gateways[0], &tls));
    config_settle_tls(&c, true);
    put_pair(&second);
    for (int take = 0; take < 2; take++) {
        assert_null(config_read_tls(&c));
        assert_true(config_fresh_tls(&c, &c.gateways[0], &tls));
        assert_string_equal(tls.cert, second.cert);
        assert_string_equal(tls.key, second.key);
        assert_string_equal(c.gateways[0].conf.clients.tls.key, first.key);
        config_settle_tls(&c, take);
    }
    assert_string_equal(c.gateways[0].conf.clients.tls.cert, second.cert);
    assert_string_equal(c.gateways[0].conf.clients.tls.key, second.key);
    put("pair.key", first.key, 0600);
    err = config_read_tls(&c);
    assert_string_equal(err,
        "tls of gateway \"A\": pair.key is not the key of the certificate in "
        "pair.cert; give the one that it was made with");
    free(err);
    config_settle_tls(&c, false);
    remove("pair.key");
    err = config_read_tls(&c);
    assert_non_null(strstr(err, "pair.key: No such file or directory"));
    free(err);
    config_settle_tls(&c, false);
    assert_string_equal(c.gateways[0].conf.clients.tls.key, second.key);
    config_free(&c);
}

static void tells_certificates_out_of_their_time_from_bad_ones(void **state)
{
    struct config c;
    struct cert pair;
    char *err;

    cert_make(&pair, "old", EVP_EC_gen("P-256"), -2 * CERT_HOUR, -CERT_HOUR);
    put_pair(&pair);
    expect_good(&c, ONE("tls = { cert = 'pair.cert', key = 'pair.key' }"));
    assert_non_null(strstr(c.expired,
        FILE_NAME ": gateways[1].tls: the certificate in pair.cert expired"));
    assert_null(config_read_tls(&c)); /* it serves already */
    config_settle_tls(&c, true);
    cert_make(&pair, "old", EVP_EC_gen("P-256"), -2 * CERT_HOUR, -CERT_HOUR);
    put_pair(&pair);
    err = config_read_tls(&c);
    assert_non_null(err); /* another one would be no better */
    free(err);
    config_settle_tls(&c, false);
    config_free(&c);
}

static void a_program_needs_only_a_register_and_the_key(void **state)
{
    static const char *const texts[] = {
        "return { secret_key = 'k', register_address = '10.77.0.1:1737' }",
        "return { secret_key = 'k', register = { listen = '10.77.0.1:1737' } }",
        "return { secret_key = 'k', register_address = '10.77.0.1:1737', "
        "user = 'nosuchuser', gateways = { { name = 'A', "
        "listen = 'wss://1.2.3.4:443', start_port = 2900, "
        "tls = { cert = 'none', key = 'none' }, www = 'none' } }, "
        "workers = { name = 'W', script = 'none.lua' } }",
        "return { secret_key = 'k', gateways = { { name = 'A', "
        "listen = 'text://1.2.3.4:80', start_port = 2900, "
        "register_address = '10.77.0.1:1737' } } }",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct config c;
        char *err = NULL;

        put("conf/program.lua", texts[i], 0644);
        if (config_load_program(&c, "conf/program.lua", &err) < 0)
            fail_msg("%s", err);
        assert_string_equal(
            c.program_conf.discovery.registers[0], "10.77.0.1:1737");
        assert_string_equal(c.program_conf.secret_key, "k");
        config_free(&c);
    }
}

static void expect_warning(const char *text, const char *want)
{
    struct config c;

    expect_good(&c, text);
    if (want ? strcmp(c.warnings, want) != 0 : c.warnings[0] != '\0')
        fail_msg("%s", c.warnings);
    config_free(&c);
}

static void warns_of_a_gateway_that_only_its_machine_can_reach(void **state)
{
    const char *want = FILE_NAME
        ": gateways[1].lan_ip: is 127.0.0.1, which workers on other machines "
        "cannot reach, but the register 10.77.0.1:1237 is not for this machine "
        "only; give the address that they reach this machine at\n";

    expect_warning(ONE(""), NULL);
    expect_warning(ONE("register_address = 'localhost:1237'"), NULL);
    expect_warning(ONE("register_address = '10.77.0.1:1237'"), want);
    expect_warning(
        ONE("register_address = '10.77.0.1:1237', lan_ip = '10.77.0.2'"), NULL);
    expect_warning(
        "return { register = { listen = '10.77.0.1:1237' }, "
        "register_address = '127.0.0.1:1237', gateways = { " GATEWAY("") " } }",
        want);
    expect_warning(ONE("register_address = 'register.internal:1237'"),
        FILE_NAME ": gateways[1].lan_ip: is 127.0.0.1, which workers on other "
                  "machines cannot reach, but the register "
                  "register.internal:1237 is not for this machine only; give "
                  "the address that they reach this machine at\n");
}

static void takes_names_of_registers(void **state)
{
    struct config c;

    expect_good(&c, "return { register_address = { 'register.internal:1237', "
                    "'register_2:1' }, workers = { name = 'W', "
                    "script = 'scripts/events.lua' } }");
    assert_string_equal(
        c.workers[0].conf.discovery.registers[0], "register.internal:1237");
    config_free(&c);
}

static void takes_a_list_of_gateways_in_place_of_registers(void **state)
{
    struct config c;
    char *err = NULL;

    expect_good(&c,
        LISTED("'127.0.0.1:2900', '10.0.0.5:2900'",
            "gateways = { " GATEWAY(
                "") " }, "
                    "workers = { name = 'W', script = 'scripts/events.lua' }"));
    assert_string_equal(
        c.workers[0].conf.discovery.gateways[1], "10.0.0.5:2900");
    assert_string_equal(
        c.gateways[0].conf.discovery.gateways[0], "127.0.0.1:2900");
    config_free(&c);
    put("conf/program.lua", LISTED("'10.0.0.5:2900'", ""), 0644);
    if (config_load_program(&c, "conf/program.lua", &err) < 0)
        fail_msg("%s", err);
    assert_string_equal(c.program_conf.discovery.gateways[0], "10.0.0.5:2900");
    config_free(&c);
}

static void looks_lan_ip_up_once_for_all_processes(void **state)
{
    struct config c, kept;
    char *err;
    int fd;

    if (!localhost_is_known())
        skip();
    expect_good(&c, ONE("lan_ip = 'localhost'"));
    assert_string_equal(c.gateways[0].conf.lan_ip, "127.0.0.1");
    assert_string_equal(c.gateways[0].inner_listen, "127.0.0.1");
    fd = config_keep(&c);
    config_free(&c);
    kept = load_kept(fd);
    assert_string_equal(kept.gateways[0].conf.lan_ip, "127.0.0.1");
    config_free(&kept);
    close(fd);
    err = load(&c, ONE("lan_ip = 'name.of.nobody.invalid'"));
    assert_non_null(strstr(err,
        "gateways[1].lan_ip: \"name.of.nobody.invalid\" cannot be looked up: "));
    free(err);
}

/* Lua goes through a table in another order in each state. */
static void comes_to_the_same_in_every_process(void **state)
{
    const char *text =
        "local list, port = {}, 3000 + math.random(1000) "
        "local t = { ann = 1, bob = 1, cid = 1, dan = 1, eve = 1, fay = 1, "
        "[2.5] = 1, [true] = 1, [10] = 1, [9] = 1, gone = 1 } "
        "for k in pairs(t) do t.gone = nil "
        "  list[#list + 1] = { name = tostring(k), start_port = port + #list, "
        "    listen = 'text://127.0.0.1:' .. 5000 + #list } end "
        "return { register_address = '127.0.0.1:1237', gateways = list }";
    static const char *const names[] = {
        "2.5", "9", "10", "ann", "bob", "cid", "dan", "eve", "fay", "true"};
    struct config c, kept;
    int fd;

    expect_good(&c, text);
    fd = config_keep(&c);
    for (int i = 0; i < 5; i++) {
        kept = load_kept(fd);
        assert_int_equal(kept.ngateways, 10);
        for (size_t k = 0; k < kept.ngateways; k++) {
            assert_string_equal(kept.gateways[k].conf.name, names[k]);
            assert_int_equal(kept.gateways[k].conf.start_port,
                c.gateways[k].conf.start_port);
        }
        config_free(&kept);
    }
    close(fd);
    config_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_what_is_wrong_where_and_what_to_do),
        cmocka_unit_test(names_proxies_that_cannot_be),
        cmocka_unit_test(reports_several_mistakes_together),
        cmocka_unit_test(stops_counting_after_fifty_mistakes),
        cmocka_unit_test(says_how_to_name_a_file_that_is_not_there),
        cmocka_unit_test(wants_room_for_the_largest_message),
        cmocka_unit_test(wants_room_for_an_event_in_a_packet),
        cmocka_unit_test(reads_a_whole_configuration),
        cmocka_unit_test(fills_in_the_defaults),
        cmocka_unit_test(takes_protocols_in_any_case),
        cmocka_unit_test(takes_public_inner_addresses_with_a_key),
        cmocka_unit_test(takes_the_same_port_on_different_addresses),
        cmocka_unit_test(takes_ipv6_listeners),
        cmocka_unit_test(takes_trusted_proxies),
        cmocka_unit_test(lets_the_file_compute_and_ask_the_environment),
        cmocka_unit_test(takes_a_function_as_router),
        cmocka_unit_test(gives_each_group_its_own_router),
        cmocka_unit_test(passes_over_a_router_that_fails),
        cmocka_unit_test(works_on_after_a_router_has_failed),
        cmocka_unit_test(starts_paths_at_the_files_own_folder),
        cmocka_unit_test(gives_other_processes_what_was_checked),
        cmocka_unit_test(leaves_a_process_the_keys_that_it_serves),
        cmocka_unit_test(reads_certificates_again_and_takes_or_leaves_them),
        cmocka_unit_test(tells_certificates_out_of_their_time_from_bad_ones),
        cmocka_unit_test(a_program_needs_only_a_register_and_the_key),
        cmocka_unit_test(warns_of_a_gateway_that_only_its_machine_can_reach),
        cmocka_unit_test(takes_names_of_registers),
        cmocka_unit_test(comes_to_the_same_in_every_process),
        cmocka_unit_test(takes_a_list_of_gateways_in_place_of_registers),
        cmocka_unit_test(looks_lan_ip_up_once_for_all_processes),
    };

    setenv("RES_OPTIONS", "timeout:1 attempts:1", 1); /* there may be no DNS */
    return cmocka_run_group_tests_name(
        "config.config", tests, make_project, NULL);
}

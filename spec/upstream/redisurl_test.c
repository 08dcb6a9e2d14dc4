/* redisurl: what each part may be, and what is said where it is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "upstream/redisurl.h"

/* What text means, in one line. */
static const char *show(const char *text)
{
    static char line[512];
    struct redisurl url;
    char err[REDISURL_ERROR_SIZE] = "";
    size_t len;

    if (redisurl_parse(&url, text, err) < 0) {
        snprintf(line, sizeof(line), "!%s", err);
        redisurl_fini(&url);
        return line;
    }
    snprintf(line, sizeof(line), "%s%s%s:%s@", url.tls ? "tls " : "",
        url.cluster ? "cluster " : "", url.user ? url.user : "-",
        url.password ? url.password : "-");
    for (size_t i = 0; i < url.count; i++) {
        len = strlen(line);
        snprintf(line + len, sizeof(line) - len, "%s:%u ", url.hosts[i],
            url.ports[i]);
    }
    len = strlen(line);
    snprintf(line + len, sizeof(line) - len, "%s %d",
        url.master ? url.master : "-", url.db);
    redisurl_fini(&url);
    return line;
}

static void reads_every_part(void **state)
{
    assert_string_equal(show("redis://10.0.0.9"), "-:-@10.0.0.9:6379 - 0");
    assert_string_equal(
        show("redis://:secret@10.0.0.9:7000/3"), "-:secret@10.0.0.9:7000 - 3");
    assert_string_equal(show("rediss://ann:p%40%2F%25@r.example/"),
        "tls ann:p@/%@r.example:6379 - 0");
    assert_string_equal(show("redis://[::1]:7000/0"), "-:-@::1:7000 - 0");
    assert_string_equal(show("redis://[::1]"), "-:-@::1:6379 - 0");
    assert_string_equal(show("redis+sentinel://a,b:1,[::1]:2/mymaster"),
        "-:-@a:26379 b:1 ::1:2 mymaster 0");
    assert_string_equal(show("rediss+sentinel://u:p@a:5/my%20master/9"),
        "tls u:p@a:5 my master 9");
    assert_string_equal(show("redis+cluster://:p@a:7000,b,[::1]:7001"),
        "cluster -:p@a:7000 b:6379 ::1:7001 - 0");
    assert_string_equal(
        show("rediss+cluster://u:p@a/0"), "tls cluster u:p@a:6379 - 0");
    assert_string_equal(
        show("unix:///run/redis.sock"), "-:-@/run/redis.sock:0 - 0");
    assert_string_equal(
        show("unix://u:p@/run/r.sock"), "u:p@/run/r.sock:0 - 0");
}

static void says_what_is_wrong(void **state)
{
    static const char *const texts[][2] = {
        {"", "must begin with redis://"},
        {"http://a", "must begin with redis://"},
        {"redis://", "the host is missing"},
        {"redis://:p@:1", "the host is missing"},
        {"redis://a:0", "the port must be"},
        {"redis://a:65536", "the port must be"},
        {"redis://a:", "the port must be"},
        {"redis://a:1x", "the port must be"},
        {"redis://::1", "brackets"},
        {"redis://[::1", "brackets"},
        {"redis://[::1]x", "brackets"},
        {"redis://a/x", "the database must be"},
        {"redis://a/-1", "the database must be"},
        {"redis://a/99999999999", "the database must be"},
        {"redis://a,b", "a character that no host has"},
        {"redis://:p/q@a", "the database must be"},
        {"redis://ann@a", "a user needs a password"},
        {"redis://:%zz@a", "%25"},
        {"redis://:%00@a", "%25"},
        {"redis+sentinel://a", "the name of the master is missing"},
        {"redis+sentinel://a/", "the name of the master is missing"},
        {"redis+sentinel://a,/m", "the host is missing"},
        {"redis+sentinel://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17/m",
            "more than 16"},
        {"redis+cluster://a/1", "no database but 0"},
        {"redis+cluster://a,,b", "the host is missing"},
        {"redis+cluster://", "the host is missing"},
        {"redis+cluster://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
            "more than 16 hosts"},
        {"unix://run/redis.sock", "must begin with a /"},
        {"unix://", "must begin with a /"},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        const char *said = show(texts[i][0]);

        if (*said != '!' || !strstr(said, texts[i][1]))
            fail_msg("%s: %s", texts[i][0], said);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_part),
        cmocka_unit_test(says_what_is_wrong),
    };

    return cmocka_run_group_tests_name("upstream.redisurl", tests, NULL, NULL);
}

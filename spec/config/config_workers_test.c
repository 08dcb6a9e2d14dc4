/* Kinds of workers in the configuration, and gateways that name them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/tempdir.h"
#include "config/config.h"
#include "util/alloc.h"

#define FILE_NAME "conf/gwrun.lua"

/* The register is this machine's only, so nobody else can join. */
#define HERE "return { register = { listen = '127.0.0.1:1237' }, "
/* Others may. */
#define FAR "return { register_address = '10.77.0.1:1237', "

#define CHAT    "{ name = 'Chat', script = 'events.lua' }"
#define BILLING "{ name = 'Billing', script = 'events.lua', count = 2 }"
#define KINDS   "workers = { " CHAT ", " BILLING " }"
#define GATEWAY(key)                                                         \
    "gateways = { { name = 'A', listen = 'text://127.0.0.1:8283', lan_ip = " \
    "'10.77.0.1', start_port = 2900, " key " } }, "

static int make_project(void **state)
{
    static char root[TEMPDIR_SIZE];
    FILE *file;

    tempdir_make(root);
    assert_int_equal(chdir(root), 0);
    mkdir("conf", 0755);
    file = fopen("events.lua", "we");
    assert_non_null(file);
    fclose(file);
    return 0;
}

/* NULL, or the complaints. */
static char *load(struct config *c, const char *text)
{
    char *err = NULL;

    return config_load(c, FILE_NAME, text, &err) < 0 ? err : NULL;
}

static void expect_good(struct config *c, const char *text)
{
    char *err = load(c, text);

    if (err)
        fail_msg("%s", err);
}

/* The one complaint, or warning. */
static void expect(const char *text, const char *want, bool warning)
{
    struct config c = {.warnings = ""};
    char *err = load(&c, text);
    char *line = want ? xasprintf("%s: %s\n", FILE_NAME, want) : xstrdup("");

    if (!warning)
        assert_string_equal(err ? err : "nothing", line);
    else if (err)
        fail_msg("%s", err);
    else
        assert_string_equal(c.warnings, line);
    if (!err)
        config_free(&c);
    free(err);
    free(line);
}

static void reads_a_list_of_kinds(void **state)
{
    struct config c;

    expect_good(&c, HERE GATEWAY("workers = 'Billing'") KINDS " }");
    assert_int_equal(c.nworkers, 2);
    assert_string_equal(c.workers[0].conf.name, "Chat");
    assert_string_equal(c.workers[1].conf.name, "Billing");
    assert_int_equal(c.workers[0].count, 1);
    assert_int_equal(c.workers[1].count, 2);
    assert_int_equal(config_worker_count(&c), 3);
    assert_string_equal(
        c.workers[1].conf.discovery.registers[0], "127.0.0.1:1237");
    assert_string_equal(c.gateways[0].conf.workers, "Billing");
    assert_true(config_works_for(&c, &c.gateways[0]));
    config_free(&c);
}

static void takes_one_table_as_ever(void **state)
{
    struct config c;

    expect_good(&c, HERE GATEWAY("") "workers = " CHAT " }");
    assert_int_equal(c.nworkers, 1);
    assert_null(c.gateways[0].conf.workers);
    assert_true(config_works_for(&c, &c.gateways[0]));
    config_free(&c);
}

static void says_what_is_wrong_with_a_kind(void **state)
{
    expect(HERE "workers = 7 }",
        "workers: is 7; give a table { name = …, script = … }, or a list of "
        "them",
        false);
    expect(HERE "workers = { " CHAT ", 7 } }",
        "workers[2]: is 7; give a table { name = …, script = … }", false);
    expect(HERE "workers = { " CHAT ", " CHAT " } }",
        "workers[2].name: \"Chat\" is the name of workers[1] too; give each "
        "its own",
        false);
    expect(HERE "workers = { { name = 'a b', script = 'events.lua' } } }",
        "workers[1].name: has characters that a name cannot have; use letters, "
        "digits, \".\", \"_\" and \"-\"",
        false);
    expect(HERE "workers = { " CHAT ", { name = 'Billing' } } }",
        "workers[2].script: is missing; give the path of a Lua file, such as "
        "\"scripts/events.lua\"",
        false);
    expect(HERE "workers = { " CHAT ", { script = 'events.lua' } } }",
        "workers[2].name: is missing; give a string of 1 to 64 bytes", false);
    expect(HERE "workers = { " CHAT ", count = 2 } }",
        "workers: has the key \"count\" beside its list; put it into the "
        "entries",
        false);
}

static void asks_whose_clients_a_gateway_has(void **state)
{
    expect(HERE GATEWAY("") KINDS " }",
        "gateways[1].workers: is missing, and workers is a list; say which of "
        "them get this gateway's clients: \"Chat\" or \"Billing\"",
        false);
    expect(HERE GATEWAY("workers = 'Chta'") KINDS " }",
        "gateways[1].workers: no workers are named \"Chta\"; give \"Chat\" or "
        "\"Billing\", or, where workers of another file or PHP's have that "
        "name, add { name = \"Chta\", count = 0 } to the list workers",
        false);
    expect(HERE GATEWAY("workers = 'Chta'") "workers = " CHAT " }",
        "gateways[1].workers: no workers are named \"Chta\"; give \"Chat\", "
        "or, where workers of another file or PHP's have that name, add { name "
        "= \"Chta\", count = 0 } to the list workers",
        false);
}

static void trusts_a_name_that_others_may_have(void **state)
{
    expect(FAR GATEWAY("workers = 'Chta'") KINDS " }",
        "gateways[1].workers: no workers here are named \"Chta\", only "
        "\"Chat\" or \"Billing\"; its clients wait for workers of another "
        "machine, or PHP's",
        true);
    expect(HERE GATEWAY("workers = 'Chta'") " }", NULL, true);
}

static void knows_kinds_that_run_elsewhere(void **state)
{
    struct config c;

    expect(
        HERE GATEWAY("workers = 'My App: 聊天'") "workers = { " CHAT
                                                 ", { name = 'My App: 聊天', "
                                                 "count = 0 } } }",
        NULL, true);

    expect_good(&c,
        HERE GATEWAY("workers = 'PHP'") "workers = { " CHAT ", { name = 'PHP', "
                                        "count = 0 } } }");
    assert_int_equal(config_worker_count(&c), 1);
    assert_false(config_works_for(&c, &c.gateways[0]));
    assert_string_equal(c.warnings, "");
    config_free(&c);
}

static void reads_programs(void **state)
{
    struct config c;

    expect_good(&c, HERE "workers = " CHAT ", programs = { { name = 'feed', "
                         "file = 'events.lua' }, { name = 'once', file = "
                         "'events.lua', restart = 'never', args = { 'a', '' }, "
                         "memory_limit = 2^20 } } }");
    assert_int_equal(c.nprograms, 2);
    assert_string_equal(c.programs[0].conf.script, "events.lua");
    assert_int_equal(c.programs[0].restart, MASTER_ALWAYS);
    assert_null(c.programs[0].conf.words[0]);
    assert_string_equal(
        c.programs[0].conf.discovery.registers[0], "127.0.0.1:1237");
    assert_int_equal(c.programs[1].restart, MASTER_NEVER);
    assert_string_equal(c.programs[1].conf.words[0], "a");
    assert_string_equal(c.programs[1].conf.words[1], "");
    assert_int_equal(c.programs[1].conf.memory_max, 1 << 20);
    assert_true(config_runs(&c));
    config_free(&c);
}

static void says_what_is_wrong_with_a_program(void **state)
{
    expect(HERE "programs = { name = 'feed', file = 'events.lua' } }",
        "programs: is a table with no or too many entries; give a list of 1 to "
        "64 tables: { { name = …, file = … } }",
        false);
    expect(HERE
        "workers = " CHAT
        ", programs = { { name = 'feed', file = 'events.lua', args = { 'a', b = 'c' } } } }",
        "programs[1].args: is a table; give a string or a list of strings",
        false);
    expect(HERE "programs = { { name = 'feed' } } }",
        "programs[1].file: is missing; give the path of a Lua file, such as "
        "\"scripts/feed.lua\"",
        false);
    expect(HERE "programs = { { name = 'a', file = 'events.lua' }, { name = "
                "'a', file = 'events.lua' } } }",
        "programs[2].name: \"a\" is the name of programs[1] too; give each "
        "its own",
        false);
    expect(HERE "workers = " CHAT
                ", programs = { { name = 'Chat', file = 'events.lua' } } }",
        "programs[1].name: \"Chat\" is the name of workers, too; give each "
        "its own",
        false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_list_of_kinds),
        cmocka_unit_test(takes_one_table_as_ever),
        cmocka_unit_test(says_what_is_wrong_with_a_kind),
        cmocka_unit_test(asks_whose_clients_a_gateway_has),
        cmocka_unit_test(trusts_a_name_that_others_may_have),
        cmocka_unit_test(knows_kinds_that_run_elsewhere),
        cmocka_unit_test(reads_programs),
        cmocka_unit_test(says_what_is_wrong_with_a_program),
    };

    return cmocka_run_group_tests_name(
        "config.config_workers", tests, make_project, NULL);
}

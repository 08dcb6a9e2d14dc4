/* What the configuration says of the cluster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/tempdir.h"
#include "config/config.h"

#define FILE_NAME "conf/gwrun.lua"
#define SYSTEM                                                                \
    "return { register = { listen = '127.0.0.1:1237' }, gateways = { { name " \
    "= 'A', listen = 'text://127.0.0.1:8283', lan_ip = '10.77.0.1', "         \
    "start_port = 2900 } }, workers = { name = 'W', script = 'events.lua' }, "
#define GOOD "engine = 'redis://10.0.0.9', name = 'chat'"

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

static void tells_gateways_and_workers_of_one_run(void **state)
{
    struct config c;
    char *err;

    if (config_load(&c, FILE_NAME,
            SYSTEM "cluster = { " GOOD ", cell = 'pod-1', ca_file = "
                   "'ca.pem' } }",
            &err) < 0)
        fail_msg("%s", err);
    assert_ptr_equal(c.gateways[0].conf.engine, c.workers[0].conf.engine);
    assert_string_equal(c.engine->url, "redis://10.0.0.9");
    assert_string_equal(c.engine->name, "chat");
    assert_string_equal(c.engine->cell, "pod-1");
    assert_int_equal(c.engine->ca_file[0], '/');
    assert_int_equal(strlen(c.engine->run), ENGINE_RUN_SIZE - 1);
    assert_string_equal(c.engine->run, c.workers[0].conf.machine);
    assert_null(c.program_conf.engine);
    config_free(&c);
}

static void names_the_cell_by_host_and_folder(void **state)
{
    struct config c;
    char host[65] = "";
    char *err;

    gethostname(host, 32);
    if (config_load(&c, FILE_NAME, SYSTEM "cluster = { " GOOD " } }", &err) < 0)
        fail_msg("%s", err);
    assert_int_equal(strncmp(c.engine->cell, host, strlen(host)), 0);
    assert_non_null(strstr(c.engine->cell, "/run"));
    assert_true(strlen(c.engine->cell) <= ENGINE_NAME_MAX);
    config_free(&c);
}

static void leaves_a_system_without_it_alone(void **state)
{
    struct config c;
    char *err;

    if (config_load(&c, FILE_NAME, SYSTEM "}", &err) < 0)
        fail_msg("%s", err);
    assert_null(c.engine);
    assert_null(c.gateways[0].conf.engine);
    assert_null(c.workers[0].conf.engine);
    config_free(&c);
}

static void says_what_is_wrong(void **state)
{
    static const char *const cases[][2] = {
        {SYSTEM "cluster = 'redis://a' }",
            "cluster: is \"redis://a\"; give a table"},
        {SYSTEM "cluster = { name = 'chat' } }", "cluster.engine: is missing"},
        {SYSTEM "cluster = { engine = 'redis://a' } }",
            "cluster.name: is missing"},
        {SYSTEM "cluster = { engine = 'nats://a', name = 'chat' } }",
            "cluster.engine: it must begin with redis://"},
        {SYSTEM "cluster = { engine = 'redis+cluster://a', name = 'chat' } }",
            "cluster.engine: a Redis Cluster cannot join cells"},
        {SYSTEM "cluster = { engine = 'redis://a:x', name = 'chat' } }",
            "cluster.engine: the port must be"},
        {SYSTEM "cluster = { " GOOD ", cell = 'a b' } }",
            "cluster.cell: \"a b\" has a blank"},
        {SYSTEM "cluster = { " GOOD ", cel = 'a' } }",
            "did you mean \"cell\"?"},
        {SYSTEM "cluster = { " GOOD " }, register_address = '10.0.0.1:1237' }",
            "asks the register 10.0.0.1:1237, and with cluster all of a cell is "
            "on one machine"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct config c;
        char *err = NULL;

        if (config_load(&c, FILE_NAME, cases[i][0], &err) == 0)
            fail_msg("nothing wrong with %s", cases[i][0]);
        if (!strstr(err, cases[i][1]))
            fail_msg("%s", err);
        free(err);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_gateways_and_workers_of_one_run),
        cmocka_unit_test(names_the_cell_by_host_and_folder),
        cmocka_unit_test(leaves_a_system_without_it_alone),
        cmocka_unit_test(says_what_is_wrong),
    };

    return cmocka_run_group_tests_name(
        "config.cluster", tests, make_project, NULL);
}

/* The sockets that a configuration asks for, on ports that the kernel chose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/tempdir.h"
#include "net/listener.h"
#include "role/plan.h"
#include "role/rundir.h"
#include "role/slots.h"

struct world {
    char dir[TEMPDIR_SIZE];
    char listen[64], run_dir[TEMPDIR_SIZE + 8];
    struct config_gateway gateway;
    struct config config;
    struct config_workers workers[2];
};

/* A loopback address that no other process uses, so that a port stays free. */
static const char *own_ip(void)
{
    static char ip[INET_ADDRSTRLEN];
    unsigned pid = (unsigned)getpid();

    snprintf(ip, sizeof(ip), "127.%u.%u.%u", 1 + pid / 62500 % 254,
        1 + pid / 250 % 250, 1 + pid % 250);
    return ip;
}

/* A free port of it. */
static uint16_t find_port(void)
{
    union addr a;
    socklen_t len = sizeof(a);
    char any[ADDR_TEXT_SIZE];
    int fd;

    snprintf(any, sizeof(any), "%s:0", own_ip());
    assert_int_equal(addr_parse(&a, any), 0);
    fd = listener_bind(&a, false);
    assert_true(fd >= 0);
    assert_int_equal(getsockname(fd, &a.sa, &len), 0);
    close(fd);
    return addr_port(&a);
}

static void setup(struct world *w)
{
    memset(w, 0, sizeof(*w));
    tempdir_make(w->dir);
    snprintf(w->run_dir, sizeof(w->run_dir), "%s/run", w->dir);
    snprintf(w->listen, sizeof(w->listen), "%s:%u", own_ip(), find_port());
    w->gateway.conf.name = "Chat";
    w->gateway.conf.lan_ip = w->gateway.inner_listen = own_ip();
    w->gateway.conf.start_port = find_port();
    w->gateway.listen = w->gateway.address = w->listen;
    w->gateway.count = 1;
    w->config.root = w->dir;
    w->config.run_dir = w->run_dir;
    w->config.gateways = &w->gateway;
    w->config.ngateways = 1;
    assert_int_equal(chdir(w->dir), 0);
}

static uint16_t bound_port(int fd)
{
    union addr a;
    socklen_t len = sizeof(a);

    assert_int_equal(getsockname(fd, &a.sa, &len), 0);
    return addr_port(&a);
}

static void gives_each_process_its_sockets(void **state)
{
    struct stat first, second;
    struct world w;
    struct plan p;
    char err[PLAN_ERR_SIZE] = "";

    setup(&w);
    w.workers[0] = (struct config_workers){.conf = {.name = "W"}, .count = 2};
    w.config.workers = w.workers;
    w.config.nworkers = 1;
    assert_int_equal(plan_make(&p, &w.config, err), 0);
    assert_int_equal(p.nchildren, 3);
    assert_string_equal(p.children[0].role, "worker");
    assert_int_equal(fstat(p.children[0].fds[0], &first), 0);
    assert_int_equal(fstat(p.children[1].fds[0], &second), 0);
    assert_int_equal(first.st_ino, second.st_ino); /* the table they share */
    assert_int_equal(fstat(p.children[0].fds[1], &first), 0);
    assert_int_equal(fstat(p.children[1].fds[1], &second), 0);
    assert_int_not_equal(first.st_ino, second.st_ino); /* each one's script */
    assert_int_equal(fstat(p.children[0].fds[2], &first), 0);
    assert_true(S_ISCHR(first.st_mode)); /* no register: nothing is kept */
    assert_int_equal(p.children[1].slot, 1);
    assert_string_equal(p.children[2].role, "gateway");
    assert_int_equal(
        bound_port(p.children[2].fds[1]), w.gateway.conf.start_port);
    for (int i = 0; i < 3; i++)
        assert_true(fcntl(p.children[2].fds[i], F_GETFD) & FD_CLOEXEC);
    for (int i = 0; i < 4; i++)
        assert_true(fcntl(p.children[i / 2].fds[i % 2], F_GETFD) & FD_CLOEXEC);
    plan_free(&p);
}

/* One file for those who ask the same registers. */
static void opens_a_file_for_the_list_of_registers(void **state)
{
    static const char *const one[] = {"127.0.0.1:1237", NULL};
    static const char *const other[] = {"127.0.0.1:1238", NULL};
    const char *const *asked[] = {one, one, other};
    struct config_workers workers[3];
    struct stat kept[3];
    struct world w;
    struct plan p;
    char err[PLAN_ERR_SIZE] = "";

    setup(&w);
    for (int i = 0; i < 3; i++)
        workers[i] = (struct config_workers){
            .conf = {.name = "W", .discovery = {.registers = asked[i]}},
            .count = 1};
    w.config.workers = workers;
    w.config.nworkers = 3;
    assert_int_equal(plan_make(&p, &w.config, err), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fstat(p.children[i].fds[2], &kept[i]), 0);
        assert_true(S_ISREG(kept[i].st_mode));
    }
    assert_int_equal(kept[0].st_ino, kept[1].st_ino);
    assert_int_not_equal(kept[0].st_ino, kept[2].st_ino);
    plan_free(&p);
}

static void lists_processes_in_the_order_of_their_pages(void **state)
{
    struct admin_process *list;
    struct pages *pages;
    char admin[64];
    struct world w;
    struct plan p;
    char err[PLAN_ERR_SIZE] = "";

    setup(&w);
    snprintf(admin, sizeof(admin), "%s:%u", own_ip(), find_port());
    w.workers[0] = (struct config_workers){.conf = {.name = "W"}, .count = 2};
    w.config.workers = w.workers;
    w.config.nworkers = 1;
    w.config.admin.listen = admin;
    assert_int_equal(plan_make(&p, &w.config, err), 0);
    assert_int_equal(slots_list(&w.config, &list), p.nchildren);
    pages = pages_open(p.pages_fd);
    assert_non_null(pages);
    assert_int_equal(pages_count(pages), p.nchildren);
    assert_string_equal(p.children[0].role, "admin");
    for (size_t i = 0; i < p.nchildren; i++) {
        assert_string_equal(list[i].role, p.children[i].role);
        assert_string_equal(list[i].name, p.children[i].name);
        assert_string_equal(list[i].listen, p.children[i].listen);
        assert_int_equal(list[i].slot, p.children[i].slot);
        assert_ptr_equal(
            slots_page(&w.config, pages, list[i].role, list[i].slot),
            pages_at(pages, i));
    }
    assert_null(slots_page(&w.config, pages, "worker", 2));
    pages_close(pages);
    free(list);
    plan_free(&p);
}

static void binds_a_unix_socket_for_its_owner(void **state)
{
    struct stat st;
    struct world w;
    struct plan p;
    char err[PLAN_ERR_SIZE] = "";

    setup(&w);
    w.config.admin.listen = ADMIN_UNIX "run/admin.sock";
    assert_int_equal(plan_make(&p, &w.config, err), 0);
    assert_int_equal(stat("run/admin.sock", &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    plan_free(&p);
}

static void numbers_each_kind_of_workers_from_0(void **state)
{
    struct stat first, last;
    struct world w;
    struct plan p;
    char err[PLAN_ERR_SIZE] = "";
    unsigned index;

    setup(&w);
    w.workers[0] = (struct config_workers){
        .conf = {.name = "Chat", .shared_keys = 10}, .count = 2};
    w.workers[1] = (struct config_workers){
        .conf = {.name = "Billing", .shared_keys = 20}, .count = 1};
    w.config.workers = w.workers;
    w.config.nworkers = 2;
    assert_int_equal(config_shared_keys(&w.config), 20);
    assert_int_equal(plan_make(&p, &w.config, err), 0);
    assert_int_equal(p.nchildren, 4);
    assert_string_equal(p.children[1].name, "Chat");
    assert_string_equal(p.children[2].name, "Billing");
    assert_int_equal(p.children[2].slot, 2);
    assert_int_equal(fstat(p.children[0].fds[0], &first), 0);
    assert_int_equal(fstat(p.children[2].fds[0], &last), 0);
    assert_int_equal(first.st_ino, last.st_ino); /* the table they share */
    assert_ptr_equal(slots_workers(&w.config, 1, &index), &w.workers[0]);
    assert_int_equal(index, 1);
    assert_ptr_equal(slots_workers(&w.config, 2, &index), &w.workers[1]);
    assert_int_equal(index, 0);
    assert_null(slots_workers(&w.config, 3, &index));
    plan_free(&p);
}

static void gives_processes_of_one_port_a_socket_each(void **state)
{
    struct world w;
    struct plan p;
    char err[PLAN_ERR_SIZE] = "";

    setup(&w);
    w.gateway.count = 2;
    assert_int_equal(plan_make(&p, &w.config, err), 0);
    assert_int_equal(p.nchildren, 2);
    assert_int_not_equal(p.children[0].fds[0], p.children[1].fds[0]);
    assert_int_equal(
        bound_port(p.children[0].fds[0]), bound_port(p.children[1].fds[0]));
    plan_free(&p);
}

static void names_port_setting_and_owner_of_a_port_in_use(void **state)
{
    struct world w;
    struct plan p;
    union addr a;
    char err[PLAN_ERR_SIZE] = "", pid[32];
    int fd;

    setup(&w);
    w.gateway.count = 2; /* sharing must not hide it */
    assert_int_equal(addr_parse(&a, w.listen), 0);
    fd = listener_bind(&a, true);
    assert_true(fd >= 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(plan_make(&p, &w.config, err), -EADDRINUSE);
    snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
    assert_non_null(strstr(err, w.listen));
    assert_non_null(strstr(err, "listen of gateway \"Chat\""));
    assert_non_null(strstr(err, pid));
    close(fd);
}

static void finds_the_group_of_a_gateway(void **state)
{
    struct config_gateway gateways[2] = {{.count = 2}, {.count = 3}};
    struct config c = {.gateways = gateways, .ngateways = 2};
    unsigned index;

    assert_ptr_equal(slots_gateway(&c, 1, &index), &gateways[0]);
    assert_int_equal(index, 1);
    assert_ptr_equal(slots_gateway(&c, 4, &index), &gateways[1]);
    assert_int_equal(index, 2);
    assert_null(slots_gateway(&c, 5, &index));
}

static void shortens_paths_below_the_root_folder(void **state)
{
    struct config c = {.root = "/srv/chat", .run_dir = "/srv/chat/run"};
    char *path = rundir_path(&c, "gwrun.sock");

    assert_string_equal(path, "run/gwrun.sock");
    free(path);
    c.run_dir = "/run/chat";
    path = rundir_path(&c, "gwrun.sock");
    assert_string_equal(path, "/run/chat/gwrun.sock");
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_each_process_its_sockets),
        cmocka_unit_test(opens_a_file_for_the_list_of_registers),
        cmocka_unit_test(lists_processes_in_the_order_of_their_pages),
        cmocka_unit_test(binds_a_unix_socket_for_its_owner),
        cmocka_unit_test(numbers_each_kind_of_workers_from_0),
        cmocka_unit_test(gives_processes_of_one_port_a_socket_each),
        cmocka_unit_test(names_port_setting_and_owner_of_a_port_in_use),
        cmocka_unit_test(finds_the_group_of_a_gateway),
        cmocka_unit_test(shortens_paths_below_the_root_folder),
    };

    return cmocka_run_group_tests_name("role.plan", tests, NULL, NULL);
}

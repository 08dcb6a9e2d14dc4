/* admin: scrapes that nobody reads, and others beside them.
 * SPDX-License-Identifier: MIT */
#include "../net/testloop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "admin/admin.h"
#include "proc/pages.h"
#include "proc/series.h"

#define READERS   16
#define HEAD_SIZE 1024
#define REQUEST   "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"

static struct clock stands_still = {.now = 1000};
static struct testloop t;
static struct sockaddr_un address;
static socklen_t address_len = sizeof(address);
static struct pages *pages;
static struct admin *admin;
static struct admin_conf conf = {.listen = "unix:nowhere"};
static const struct admin_process process = {
    .role = "worker", .name = "Chat", .listen = ""};
static struct admin_system system_ = {.processes = &process};

/* A scrape of some megabytes. */
static void fill(struct series *s)
{
    int family = series_family(s, SERIES_HISTOGRAM, "much", "of it");

    for (int i = 0; i < SERIES_MAX; i++) {
        char labels[SERIES_LABELS_SIZE];

        snprintf(labels, sizeof(labels), "a=\"%0200d\"", i);
        assert_int_equal(
            i, series_row(s, (unsigned)family, labels, strlen(labels)));
    }
}

static int setup(void **state)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int memory = pages_create(1);
    char err[256];

    testloop_open(&t);
    t.loop.data = &stands_still; /* nobody is too slow */
    address.sun_family = AF_UNIX;
    assert_int_equal(
        0, bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)));
    assert_int_equal(
        0, getsockname(fd, (struct sockaddr *)&address, &address_len));
    pages = pages_open(memory);
    close(memory);
    fill(page_series(pages_at(pages, 0)));
    system_.pages = pages;
    admin_port(&conf.port, &conf, NULL);
    assert_int_equal(
        0, admin_new(&admin, &t.loop, &conf, &system_, fd, -1, err));
    return 0;
}

static int teardown(void **state)
{
    admin_free(admin);
    testloop_close(&t);
    pages_close(pages);
    return 0;
}

/* The first bytes of the answer to a scrape over a connection of its own, which
 * is left with the rest. */
static int scrape(char head[HEAD_SIZE])
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t n = 0;

    assert_int_equal(0, connect(fd, (struct sockaddr *)&address, address_len));
    assert_int_equal(strlen(REQUEST), write(fd, REQUEST, strlen(REQUEST)));
    testloop_until(&t,
        (n = recv(fd, head, HEAD_SIZE - 1, MSG_PEEK | MSG_DONTWAIT)) >= 100);
    head[n] = '\0';
    return fd;
}

static void scrapes_that_wait_to_be_read_are_bounded(void **state)
{
    int fds[READERS];
    char head[HEAD_SIZE];
    int n = 0;

    do {
        assert_true(n < READERS);
        fds[n++] = scrape(head);
    } while (strncmp(head, "HTTP/1.1 200 ", 13) == 0);
    assert_true(n >= 2);
    assert_memory_equal(head, "HTTP/1.1 503 ", 13);
    assert_non_null(strstr(head, "\r\nretry-after: 1\r\n"));
    while (n-- > 0)
        close(fds[n]);
    do {
        testloop_turns(&t, 1);
        fds[0] = scrape(head);
        close(fds[0]);
    } while (strncmp(head, "HTTP/1.1 503 ", 13) == 0);
    assert_memory_equal(head, "HTTP/1.1 200 ", 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            scrapes_that_wait_to_be_read_are_bounded, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

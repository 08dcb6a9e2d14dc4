/* What systemd hears, and who may speak. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/notify.h"

/* A socket with this name (a leading '@': an abstract one). */
static int listen_on(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    memcpy(address.sun_path, name, strlen(name));
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    assert_int_equal(
        bind(fd, (struct sockaddr *)&address,
            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
        0);
    return fd;
}

static void tells_the_socket_of_the_environment(void **state)
{
    char name[64];
    char text[32] = "";
    int fd;

    assert_false(notify_is_wanted());
    notify_send("READY=1"); /* nobody wants to know: nothing happens */
    snprintf(name, sizeof(name), "@gwrun-notify-test-%d", (int)getpid());
    fd = listen_on(name);
    setenv("NOTIFY_SOCKET", name, 1);
    notify_keep();
    assert_true(notify_is_wanted());
    assert_null(getenv("NOTIFY_SOCKET")); /* children shall not speak */
    assert_int_equal(recv(fd, text, sizeof(text), 0), -1);
    notify_send("READY=1");
    assert_int_equal(recv(fd, text, sizeof(text), 0), 7);
    assert_string_equal(text, "READY=1");
    close(fd);
    notify_send("STOPPING=1"); /* nobody listens any more: nothing happens */
}

/* WATCHDOG_PID as given; "" leaves it out. Does notify_alive() send? */
static bool lives_for(const char *pid)
{
    char name[64];
    char text[32] = "";
    ssize_t n;
    int fd;

    snprintf(name, sizeof(name), "@gwrun-notify-test-%d", (int)getpid());
    fd = listen_on(name);
    setenv("NOTIFY_SOCKET", name, 1);
    setenv("WATCHDOG_USEC", "30000000", 1);
    if (pid[0])
        setenv("WATCHDOG_PID", pid, 1);
    notify_keep();
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
    notify_alive();
    n = recv(fd, text, sizeof(text), 0);
    close(fd);
    return n > 0 && strcmp(text, "WATCHDOG=1") == 0;
}

static void gives_signs_of_life_where_a_watchdog_wants_them(void **state)
{
    char own[32];

    snprintf(own, sizeof(own), "%d", (int)getpid());
    assert_true(lives_for(own));
    assert_true(lives_for(""));
    assert_false(lives_for("1"));
    notify_keep(); /* nobody wants them any more */
    notify_alive();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_the_socket_of_the_environment),
        cmocka_unit_test(gives_signs_of_life_where_a_watchdog_wants_them),
    };

    return cmocka_run_group_tests_name("proc.notify", tests, NULL, NULL);
}

/* Lines of the log: nothing in them looks like another one, and a full disk
 * or a reader that has stopped costs lines but nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "../support/tempdir.h"
#include "util/log.h"

static char path[TEMPDIR_SIZE + 8];

static int begin(void **state)
{
    char dir[TEMPDIR_SIZE];

    tempdir_make(dir);
    snprintf(path, sizeof(path), "%s/log", dir);
    log_set_name("test");
    return log_open(path);
}

/* The file, with "…" for the time and number in front of each line. */
static const char *logged(void)
{
    static char text[16384];
    char line[8192];
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    text[0] = '\0';
    while (fgets(line, sizeof(line), f)) {
        const char *head = strstr(line, " test] ");

        if (head)
            strcat(text, "…");
        strcat(text, head ? head + 7 : line);
    }
    fclose(f);
    return text;
}

static void quotes_what_came_from_a_peer(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } table[] = {
        {"plain", 5, "\"plain\""},
        {"", 0, "\"\""},
        {"\r\n[ERROR] fake\x1b[2J", 18, "\"\\x0d\\n[ERROR] fake\\x1b[2J\""},
        {"a\0b\t\x7f", 5, "\"a\\x00b\\x09\\x7f\""},
        {"\"\\", 2, "\"\\\"\\\\\""},
        {"\xe4\xbd\xa0\xe5\xa5\xbd", 6, "\"\xe4\xbd\xa0\xe5\xa5\xbd\""},
        {"\xe4\xbd", 2, "\"\\xe4\\xbd\""},
        {"\x9b\xff", 2, "\"\\x9b\\xff\""},
        {"\xc2\x9b\xc2\xa0", 4, "\"\\xc2\\x9b\xc2\xa0\""},
        {"\xe2\x80\xa8", 3, "\"\\xe2\\x80\\xa8\""},
        {"\xe2\x80\xae"
         "exe",
            6, "\"\\xe2\\x80\\xaeexe\""},
        {"\xd8\x9c\xef\xbb\xbf", 5, "\"\\xd8\\x9c\\xef\\xbb\\xbf\""},
    };
    char out[LOG_QUOTE_SIZE];

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        assert_string_equal(
            log_quote(out, table[i].text, table[i].len), table[i].want);
}

static void cuts_what_is_long(void **state)
{
    char text[LOG_QUOTE_MAX + 1], out[LOG_QUOTE_SIZE];

    memset(text, 1, sizeof(text));
    log_quote(out, text, LOG_QUOTE_MAX);
    assert_int_equal(strlen(out), 4 * LOG_QUOTE_MAX + 2);
    log_quote(out, text, sizeof(text));
    assert_string_equal(out + 4 * LOG_QUOTE_MAX + 1, "\"…");
}

static void writes_one_line_for_one_event(void **state)
{
    static const char want[] =
        "…warn log_test: connection refused peer=192.0.2.1:7\n"
        "…error log_test: long 000";

    log_warn("connection refused peer=%s", "192.0.2.1:7");
    log_info("nobody asked for this");
    log_error("long %0*d", 8000, 1);
    assert_memory_equal(logged(), want, strlen(want));
    assert_string_equal(strchr(logged() + strlen(want), '\n'), "\n");
}

static void lets_no_block_command_the_terminal(void **state)
{
    log_block(LOG_ERROR, "first\n\tsecond \x1b[2J\r\x7f\n\xc2\x9b 你好 \xff");
    assert_string_equal(
        logged(), "    first\n    \tsecond ?[2J??\n    ?? 你好 ?\n");
}

static void lets_no_message_look_like_two_lines(void **state)
{
    log_error("callback failed error=%s",
        "no\n2026 [1] fake\x1b[2J\xe2\x80\xa8\xe2\x80\xae 你好\t\xff");
    assert_string_equal(logged(), "…error log_test: callback failed "
                                  "error=no?2026 [1] fake?[2J?????? 你好\t?\n");
}

static void counts_what_a_full_disk_has_cost(void **state)
{
    uint64_t before = log_dropped();

    log_open("/dev/full");
    log_error("lost");
    log_error("lost, too");
    log_block(LOG_ERROR, "and its traceback");
    assert_int_equal(log_dropped() - before, 3);
    log_open(path);
    log_notice("room again");
    log_notice("as before");
    assert_string_equal(logged(),
        "…warn log: lines could not be written lines=3\n"
        "…notice log_test: room again\n"
        "…notice log_test: as before\n");
    assert_int_equal(log_dropped() - before, 3);
}

/* The disk is full in the middle of a line. */
static void ends_a_line_that_was_cut(void **state)
{
    struct rlimit old, low;
    const char *behind;
    struct stat st;

    signal(SIGXFSZ, SIG_IGN);
    log_notice("whole");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)st.st_size + 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    log_notice("cut");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    log_notice("next");
    behind = strchr(strchr(logged(), '\n') + 1, '\n');
    assert_string_equal(behind,
        "\n…warn log: lines could not be written lines=1\n"
        "…notice log_test: next\n");
}

static void on_alarm(int signo)
{
}

/* "gwrun start | less", and nobody scrolls. */
static void does_not_wait_for_a_reader_that_has_stopped(void **state)
{
    uint64_t before = log_dropped();
    char fifo[sizeof(path) + 8], text[4096];
    ssize_t n;
    struct itimerval every = {{0, 20000}, {0, 20000}};
    struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    int fd;

    snprintf(fifo, sizeof(fifo), "%s-fifo", path);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    fd = open(fifo, O_RDONLY | O_NONBLOCK);
    assert_int_equal(log_open(fifo), 0);
    fcntl(fd, F_SETPIPE_SZ, 65536);
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &every, NULL); /* interrupts the wait for room */
    for (int i = 0; i < 100; i++)
        log_error("%0*d", 2000, i);
    memset(&every, 0, sizeof(every));
    setitimer(ITIMER_REAL, &every, NULL);
    assert_in_range(log_dropped() - before, 1, 99);
    while (read(fd, text, sizeof(text)) > 0)
        ;
    log_notice("room again");
    n = read(fd, text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, "log: lines could not be written"));
    assert_non_null(strstr(text, "log_test: room again\n"));
    close(fd);
    log_open(path);
}

static void does_not_wait_for_a_terminal_that_nobody_reads(void **state)
{
    uint64_t before = log_dropped();
    int old = dup(STDERR_FILENO);
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    int terminal;

    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    dup2(terminal, STDERR_FILENO);
    log_to_stderr();
    for (int i = 0; i < 100; i++)
        log_error("%0*d", 2000, i);
    dup2(old, STDERR_FILENO);
    assert_in_range(log_dropped() - before, 1, 99);
    close(terminal);
    close(master);
    close(old);
    log_open(path);
    log_error("room again");
}

/* As the journal's. */
static void does_not_wait_for_a_socket_that_nobody_reads(void **state)
{
    uint64_t before = log_dropped();
    int old = dup(STDERR_FILENO);
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    dup2(pair[0], STDERR_FILENO);
    log_to_stderr();
    for (int i = 0; i < 2000; i++)
        log_error("%0*d", 2000, i);
    dup2(old, STDERR_FILENO);
    assert_in_range(log_dropped() - before, 1, 1999);
    close(pair[0]);
    close(pair[1]);
    close(old);
    log_open(path);
    log_error("room again");
}

static void writes_objects_no_longer_than_lines(void **state)
{
    char text[4000];

    memset(text, '"', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_set_json(true);
    log_say(LOG_ERROR, "script", text, " order=7 client=mine", " client=1");
    log_set_json(false);
    assert_true(strlen(logged()) <= 4096);
    assert_non_null(strstr(
        logged(), "\",\"fields\":{\"order\":\"7\",\"client\":\"mine\"}}\n"));
}

static void leaves_lines_out_and_counts_them(void **state)
{
    struct log_share share = {0};
    int allowed = 0;

    for (int i = 0; i < 10; i++)
        allowed += log_may(&share, "floods", 3, 3600000);
    assert_int_equal(allowed, 3);
    assert_string_equal(logged(), "");
    assert_true(log_may(&share, "floods", 3, 0)); /* a new period */
    assert_string_equal(logged(),
        "…warn log: lines left out about=\"floods\" count=7 since_s=0\n");
    assert_true(log_may(&share, "floods", 3, 0));
    assert_null(strchr(strchr(logged(), '\n') + 1, '\n'));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, begin)
    static const struct CMUnitTest tests[] = {
        TEST(quotes_what_came_from_a_peer),
        TEST(cuts_what_is_long),
        TEST(writes_one_line_for_one_event),
        TEST(lets_no_block_command_the_terminal),
        TEST(lets_no_message_look_like_two_lines),
        TEST(counts_what_a_full_disk_has_cost),
        TEST(ends_a_line_that_was_cut),
        TEST(does_not_wait_for_a_reader_that_has_stopped),
        TEST(does_not_wait_for_a_terminal_that_nobody_reads),
        TEST(does_not_wait_for_a_socket_that_nobody_reads),
        TEST(writes_objects_no_longer_than_lines),
        TEST(leaves_lines_out_and_counts_them),
    };

    return cmocka_run_group_tests_name("util.log", tests, NULL, NULL);
}

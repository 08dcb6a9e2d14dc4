/* claims: of a worker that claims and a gateway that revokes, whatever each of
 * them writes and however close together, every event has one answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/tempdir.h"
#include "proc/claims.h"
#include "wire/frame.h"

static char dir[TEMPDIR_SIZE];
static char prefix[TEMPDIR_SIZE + 8];
static struct claims *gateway, *worker;

static int setup(void **state)
{
    tempdir_make(dir);
    snprintf(prefix, sizeof(prefix), "%s/run", dir);
    gateway = worker = NULL;
    return 0;
}

static int teardown(void **state)
{
    claims_close(worker);
    claims_close(gateway);
    return 0;
}

static const char *file(void)
{
    static char path[4 * TEMPDIR_SIZE];

    snprintf(path, sizeof(path), "%s-%s", prefix, claims_name(gateway));
    return path;
}

static bool is_there(void)
{
    return access(file(), F_OK) == 0;
}

static int join(void)
{
    const char *name = claims_name(gateway);

    return claims_open(&worker, prefix, name, strlen(name));
}

static void open_both(void)
{
    assert_int_equal(claims_create(&gateway, prefix), 0);
    assert_int_equal(join(), 0);
}

static void claims_until_revoked(void **state)
{
    open_both();
    assert_int_equal(claims_begin(worker, 7), 0);
    assert_int_equal(claims_begin(worker, 5), 0);
    assert_int_equal(claims_revoke(gateway), 2);
    assert_int_equal(claims_get(gateway, 0), 7);
    assert_int_equal(claims_get(gateway, 1), 5);
    assert_int_equal(claims_begin(worker, 6), -ECANCELED);
    assert_int_equal(claims_begin(worker, 6), -ECANCELED);
    assert_int_equal(claims_revoke(gateway), 2);
}

static void keeps_the_last_ones_of_many(void **state)
{
    uint32_t many = 3 * CLAIMS_EVENTS + 5;

    open_both();
    for (uint32_t i = 0; i < many; i++)
        assert_int_equal(claims_begin(worker, i * 3), 0);
    assert_int_equal(claims_revoke(gateway), many);
    for (uint32_t i = many - CLAIMS_EVENTS; i < many; i++)
        assert_int_equal(claims_get(gateway, i), i * 3);
}

static void has_a_name_until_the_worker_has_joined(void **state)
{
    struct stat st;

    assert_int_equal(claims_create(&gateway, prefix), 0);
    assert_int_equal(stat(file(), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(join(), 0);
    assert_false(is_there());
    assert_int_equal(claims_begin(worker, 1), 0);
}

static void takes_the_name_of_a_page_away_that_nobody_joined(void **state)
{
    char path[4 * TEMPDIR_SIZE];

    assert_int_equal(claims_create(&gateway, prefix), 0);
    strcpy(path, file());
    claims_close(gateway);
    gateway = NULL;
    assert_int_equal(access(path, F_OK), -1);
}

static void tells_that_nobody_has_joined(void **state)
{
    assert_int_equal(claims_create(&gateway, prefix), 0);
    assert_int_equal(claims_revoke(gateway), -ENOTCONN);
}

/* ---- requests ---- */

static void says_how_many_requests_have_begun(void **state)
{
    open_both();
    claims_join_requests(worker, 5);
    assert_true(claims_begin_request(worker));
    assert_true(claims_begin_request(worker));
    assert_int_equal(claims_begin(worker, 1), 0);
    assert_int_equal(claims_revoke(gateway), 1); /* goes on beside events */
    assert_true(claims_begin_request(worker));
    assert_int_equal(claims_revoke_requests(gateway), 8);
    assert_false(claims_begin_request(worker));
    assert_false(claims_begin_request(worker));
    assert_int_equal(claims_revoke_requests(gateway), 8);
}

static void says_nothing_of_requests_where_nobody_has_joined(void **state)
{
    open_both();
    assert_int_equal(claims_revoke_requests(gateway), -ENOTCONN);
    claims_join_requests(worker, 0);
    assert_false(claims_begin_request(worker));
    assert_int_equal(claims_revoke_requests(gateway), -ENOTCONN);
}

/* ---- what the worker has sent ---- */

static struct receipt sent, confirmed;
static struct claims_sent *shown;

static void send(uint8_t cmd, unsigned times)
{
    while (times-- > 0) {
        receipt_note(&sent, cmd);
        claims_note_sent(shown, &sent, cmd);
    }
}

/* The links came up before the page: two messages were sent by then. */
static void show_sent(void)
{
    sent = confirmed = (struct receipt){0};
    open_both();
    receipt_note(&sent, FRAME_SEND_TO_ALL);
    receipt_note(&sent, FRAME_SEND_TO_ALL);
    shown = claims_show_sent(worker, &sent);
}

static struct receipt run_of(uint32_t sends, uint32_t closes)
{
    return (struct receipt){{0, sends, closes, 0, 0}};
}

static void tells_what_was_sent_and_not_run(void **state)
{
    struct receipt run = run_of(3, 0);
    struct receipt unrun;

    show_sent();
    send(FRAME_SEND_TO_ONE, 3);
    send(FRAME_KICK, 1);
    send(FRAME_IS_ONLINE, 9); /* has its answer */
    claims_close(worker);     /* killed */
    worker = NULL;
    assert_true(claims_shows_sent(gateway));
    assert_int_equal(claims_count_unrun(gateway, &run, &unrun), 0);
    assert_int_equal(unrun.orders[RECEIPT_OTHER], 0);
    assert_int_equal(unrun.orders[RECEIPT_SEND], 2);
    assert_int_equal(unrun.orders[RECEIPT_CLOSE], 1);
    assert_int_equal(unrun.orders[RECEIPT_MEMBER], 0);
}

static void leaves_the_worker_what_it_sends_later(void **state)
{
    struct receipt run = run_of(2, 0);
    struct receipt unrun;

    show_sent();
    send(FRAME_SEND_TO_ONE, 3);
    assert_int_equal(claims_hear_counted(worker, &sent, &confirmed), -EAGAIN);
    assert_int_equal(claims_count_unrun(gateway, &run, &unrun), 0);
    assert_int_equal(unrun.orders[RECEIPT_SEND], 3);
    send(FRAME_SEND_TO_ONE, 4);
    assert_int_equal(claims_hear_counted(worker, &sent, &confirmed), 0);
    assert_int_equal(
        sent.orders[RECEIPT_SEND] - confirmed.orders[RECEIPT_SEND], 4);
    confirmed = (struct receipt){0};
    assert_int_equal(claims_take_account(worker, &sent, &confirmed), 0);
    assert_int_equal(confirmed.orders[RECEIPT_SEND], 5);
}

static void counts_for_one_of_both_only(void **state)
{
    struct receipt run = run_of(0, 0);
    struct receipt unrun;

    show_sent();
    assert_int_equal(claims_take_account(worker, &sent, &confirmed), 0);
    assert_int_equal(confirmed.orders[RECEIPT_SEND], 0);
    assert_int_equal(claims_count_unrun(gateway, &run, &unrun), -EALREADY);
}

static void says_nothing_of_a_worker_that_shows_nothing(void **state)
{
    struct receipt run = run_of(0, 0);
    struct receipt unrun;

    open_both();
    assert_false(claims_shows_sent(gateway));
    assert_int_equal(claims_count_unrun(gateway, &run, &unrun), -ENOTSUP);
}

/* It has run more than was sent, or the worker says that it has sent what no
 * queue holds. */
static void believes_no_gateway_less_and_no_queue_more(void **state)
{
    struct receipt run = run_of(3, 0);
    struct receipt unrun;

    show_sent();
    assert_int_equal(claims_count_unrun(gateway, &run, &unrun), -EPROTO);
    run = run_of(2, 0);
    sent.orders[RECEIPT_SEND] += CLAIMS_UNRUN_MAX;
    send(FRAME_SEND_TO_ONE, 1);
    assert_int_equal(claims_count_unrun(gateway, &run, &unrun), -EPROTO);
}

/* The gateway says to have counted what was never sent. */
static void believes_nothing_that_was_not_sent(void **state)
{
    struct receipt run = run_of(2, 0);
    struct receipt unrun;

    show_sent();
    send(FRAME_SEND_TO_ONE, 5);
    assert_int_equal(claims_count_unrun(gateway, &run, &unrun), 0);
    sent.orders[RECEIPT_SEND] -= 4;
    assert_int_equal(claims_hear_counted(worker, &sent, &confirmed), -EPROTO);
    assert_int_equal(claims_take_account(worker, &sent, &confirmed), -EPROTO);
    assert_int_equal(confirmed.orders[RECEIPT_SEND], 0);
}

/* The worker was stopped before it came to the page. */
static void lets_nobody_join_a_revoked_page(void **state)
{
    assert_int_equal(claims_create(&gateway, prefix), 0);
    assert_int_equal(claims_revoke(gateway), -ENOTCONN);
    assert_int_equal(join(), 0);
    assert_int_equal(claims_begin(worker, 1), -ECANCELED);
    assert_int_equal(claims_revoke(gateway), -ENOTCONN);
}

static void cleans_up_what_its_own_run_has_left(void **state)
{
    char other[TEMPDIR_SIZE + 16];
    struct claims *foreign;
    char path[4 * TEMPDIR_SIZE];

    assert_int_equal(claims_create(&gateway, prefix), 0);
    strcpy(path, file());
    snprintf(other, sizeof(other), "%s2", prefix);
    assert_int_equal(claims_create(&foreign, other), 0);
    claims_clean(prefix);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(join(), -ENOENT);
    snprintf(path, sizeof(path), "%s-%s", other, claims_name(foreign));
    assert_int_equal(access(path, F_OK), 0);
    claims_close(foreign);
    snprintf(other, sizeof(other), "%s/no folder/run", dir);
    claims_clean(other);
}

static void names_the_pages_of_a_run_after_its_folder(void **state)
{
    char a[CLAIMS_PREFIX_SIZE], b[CLAIMS_PREFIX_SIZE];

    claims_prefix(a, "/var/lib/a");
    claims_prefix(b, "/var/lib/b");
    assert_int_equal(strncmp(a, "/dev/shm/gwrun-", 15), 0);
    assert_string_not_equal(a, b);
    claims_prefix(b, "/var/lib/a");
    assert_string_equal(a, b);
}

/* ---- where it does not work ---- */

static void fails_where_no_file_can_be_made(void **state)
{
    char nowhere[4 * TEMPDIR_SIZE];

    snprintf(nowhere, sizeof(nowhere), "%s/no folder/run", dir);
    assert_int_equal(claims_create(&gateway, nowhere), -ENOENT);
    assert_null(gateway);
}

static bool is_empty(const char *path)
{
    return rmdir(path) == 0 && mkdir(path, 0700) == 0;
}

/* As on a full disk: the room is taken at once, so that it is an error of this
 * call and no signal at a later one. */
static void fails_where_there_is_no_room(void **state)
{
    struct rlimit before, none;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = before;
    none.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_int_equal(claims_create(&gateway, prefix), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_null(gateway);
    assert_true(is_empty(dir));
}

static void joins_nothing_but_a_page_of_its_own(void **state)
{
    static const char *const names[] = {"", "a", "../../../etc/passwd",
        "0123456789abcdef0123456789abcdeg", "0123456789abcdef0123456789abcdef0",
        "0123456789abcdef0123456789abcde/"};
    char target[4 * TEMPDIR_SIZE];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(
            claims_open(&worker, prefix, names[i], strlen(names[i])), -EPROTO);
    assert_int_equal(claims_create(&gateway, prefix), 0);
    assert_int_equal(chmod(file(), 0644), 0);
    assert_int_equal(join(), -EPERM);
    assert_int_equal(chmod(file(), 0600), 0);
    assert_int_equal(truncate(file(), 1000), 0);
    assert_int_equal(join(), -EPROTO);
    snprintf(target, sizeof(target), "%s/other", dir);
    assert_int_equal(rename(file(), target), 0);
    assert_int_equal(symlink(target, file()), 0);
    assert_int_equal(join(), -ELOOP);
    assert_null(worker);
}

/* ---- garbage ---- */

/* The page as a third one sees it. */
static uint64_t *map_page(void)
{
    int fd = open(file(), O_RDWR);
    uint64_t *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    assert_true(page != MAP_FAILED);
    close(fd);
    return page;
}

#define WORD 8 /* of 8 bytes, behind a line of memory */

static void refuses_a_page_of_another_layout(void **state)
{
    uint64_t *page;

    assert_int_equal(claims_create(&gateway, prefix), 0);
    page = map_page();
    page[0]++;
    assert_int_equal(join(), -EPROTO);
    munmap(page, 4096);
}

static void believes_no_garbage(void **state)
{
    static const uint64_t words[] = {0, 1, UINT64_MAX, UINT64_C(1) << 40,
        UINT64_C(1) << 62 | 9, UINT64_C(3) << 62 | 9, UINT64_C(1) << 63};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        uint64_t *page;

        assert_int_equal(claims_create(&gateway, prefix), 0);
        page = map_page();
        assert_int_equal(join(), 0);
        assert_int_equal(claims_begin(worker, 1), 0);
        assert_int_equal(claims_begin(worker, 2), 0);
        page[WORD] = words[i];
        assert_int_equal(claims_begin(worker, 3), -EPROTO);
        assert_int_equal(claims_begin(worker, 3), -EPROTO);
        munmap(page, 4096);
        teardown(NULL);
        setup(NULL);
    }
}

static void tells_garbage_from_an_index(void **state)
{
    static const uint64_t words[] = {
        1, UINT64_MAX, UINT64_C(1) << 40, UINT64_C(1) << 63 | 3};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        uint64_t *page;

        assert_int_equal(claims_create(&gateway, prefix), 0);
        page = map_page();
        page[WORD] = words[i];
        assert_int_equal(claims_revoke(gateway), -EPROTO);
        assert_int_equal(join(), 0);
        assert_int_equal(claims_begin(worker, 1), -EPROTO);
        munmap(page, 4096);
        teardown(NULL);
        setup(NULL);
    }
}

/* ---- races ---- */

#define ROUNDS 300

/* Claims 1, 2, … until it may not; how many. */
static uint32_t claim_all(struct claims *c)
{
    uint32_t n = 0;

    while (claims_begin(c, n + 1) == 0)
        n++;
    return n;
}

static void *run_worker(void *arg)
{
    uint32_t *n = arg;

    *n = claim_all(worker);
    return NULL;
}

static void agrees_with_a_thread_that_claims_meanwhile(void **state)
{
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t claimed = UINT32_MAX;
        pthread_t thread;
        int64_t seen;

        open_both();
        assert_int_equal(
            pthread_create(&thread, NULL, run_worker, &claimed), 0);
        for (volatile int spin = i * 50; spin > 0; spin--)
            ;
        seen = claims_revoke(gateway);
        pthread_join(thread, NULL);
        assert_int_equal(seen, claimed);
        for (uint32_t k = 0; k < claimed && k < CLAIMS_EVENTS - 1; k++)
            assert_int_equal(claims_get(gateway, claimed - 1 - k), claimed - k);
        teardown(NULL);
        setup(NULL);
    }
}

/* Another process claims, is killed or thawed at any point, and what it told of
 * each claim is what the page says. */
static void agrees_with_a_process_that_is_frozen(void **state)
{
    for (int i = 0; i < 20; i++) {
        uint32_t claimed = 0, told;
        int ends[2], status;
        int64_t seen;
        pid_t pid;

        assert_int_equal(claims_create(&gateway, prefix), 0);
        assert_int_equal(pipe(ends), 0);
        pid = fork();
        if (pid == 0) {
            close(ends[0]);
            while (join() != 0)
                ;
            for (uint32_t n = 1; claims_begin(worker, n) == 0; n++)
                if (write(ends[1], &n, sizeof(n)) != sizeof(n))
                    _exit(1);
            _exit(0);
        }
        close(ends[1]);
        while (claimed < (uint32_t)i * 7 &&
               read(ends[0], &claimed, sizeof(claimed)) == sizeof(claimed))
            ;
        kill(pid, SIGSTOP);
        assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
        seen = claims_revoke(gateway);
        kill(pid, SIGCONT);
        while (read(ends[0], &told, sizeof(told)) == sizeof(told))
            claimed = told;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        close(ends[0]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(seen < 0 ? 0 : seen, claimed);
        teardown(NULL);
        setup(NULL);
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(claims_until_revoked),
        CASE(keeps_the_last_ones_of_many),
        CASE(has_a_name_until_the_worker_has_joined),
        CASE(takes_the_name_of_a_page_away_that_nobody_joined),
        CASE(tells_that_nobody_has_joined),
        CASE(says_how_many_requests_have_begun),
        CASE(says_nothing_of_requests_where_nobody_has_joined),
        CASE(lets_nobody_join_a_revoked_page),
        CASE(tells_what_was_sent_and_not_run),
        CASE(leaves_the_worker_what_it_sends_later),
        CASE(counts_for_one_of_both_only),
        CASE(says_nothing_of_a_worker_that_shows_nothing),
        CASE(believes_no_gateway_less_and_no_queue_more),
        CASE(believes_nothing_that_was_not_sent),
        CASE(cleans_up_what_its_own_run_has_left),
        CASE(names_the_pages_of_a_run_after_its_folder),
        CASE(fails_where_no_file_can_be_made),
        CASE(fails_where_there_is_no_room),
        CASE(joins_nothing_but_a_page_of_its_own),
        CASE(refuses_a_page_of_another_layout),
        CASE(believes_no_garbage),
        CASE(tells_garbage_from_an_index),
        CASE(agrees_with_a_thread_that_claims_meanwhile),
        CASE(agrees_with_a_process_that_is_frozen),
    };

    return cmocka_run_group_tests_name("proc.claims", tests, NULL, NULL);
}

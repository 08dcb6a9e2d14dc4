/* book: who is there, in a file that outlives the process that writes it. */
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
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/tempdir.h"
#include "proc/book.h"

static char dir[TEMPDIR_SIZE];
static int folder = -1;
static struct book *b;

static int setup(void **state)
{
    tempdir_make(dir);
    folder = book_folder(dir);
    assert_true(folder >= 0);
    assert_int_equal(book_create(&b, folder, "slot"), 0);
    return 0;
}

static int teardown(void **state)
{
    if (b)
        book_close(b);
    b = NULL;
    unsetenv(BOOK_TEST_BOOT);
    close(folder);
    return 0;
}

static union addr peer_of(uint32_t id)
{
    union addr a = {0};

    if (id % 2) {
        a.in.sin_family = AF_INET;
        a.in.sin_addr.s_addr = htonl(0x0a000000 + id);
    } else {
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_addr.s6_addr[0] = 0x20;
        a.in6.sin6_addr.s6_addr[15] = (uint8_t)id;
    }
    addr_set_port(&a, (uint16_t)(1000 + id % 50000));
    return a;
}

static uint32_t enter(uint32_t id)
{
    const union addr peer = peer_of(id);

    return book_enter(b, id, &peer);
}

static int put(
    uint32_t place, const char *session, const char *names, const char *end)
{
    const struct book_record r = {{{session, strlen(session)},
        {names, strlen(names)}, {end, strlen(end)}}};

    return book_write(b, place, &r);
}

static void assert_part(const struct book_entry *e, int part, const char *text)
{
    assert_int_equal(e->record.part[part].len, strlen(text));
    assert_memory_equal(e->record.part[part].data, text, strlen(text));
}

/* The process ends and another one comes; what was the name of its file. */
static int inherit(void)
{
    char name[BOOK_NAME_MAX];
    int err;

    snprintf(name, sizeof(name), "%s", book_name(b));
    book_close(b);
    b = NULL;
    err = book_inherit(&b, folder, name);
    if (err < 0)
        b = NULL;
    return err;
}

static bool exists(const char *name)
{
    return faccessat(folder, name, F_OK, 0) == 0;
}

static void keeps_who_is_there(void **state)
{
    uint32_t first = enter(1), second = enter(2);
    union addr peer = peer_of(2);
    struct book_entry e;

    assert_int_equal(put(first, "session", "names", ""), 0);
    book_bind(b, second, 77);
    assert_int_equal(inherit(), 0);
    assert_int_equal(book_count(b), 2);
    assert_int_equal(book_next(b, 0), first);
    assert_int_equal(book_next(b, first), second);
    assert_int_equal(book_next(b, second), 0);
    book_read(b, first, &e);
    assert_int_equal(e.id, 1);
    assert_part(&e, 0, "session");
    assert_part(&e, 1, "names");
    assert_part(&e, 2, "");
    book_read(b, second, &e);
    assert_int_equal(e.id, 2);
    assert_int_equal(e.worker, 77);
    assert_memory_equal(&e.peer, &peer, sizeof(peer));
    assert_part(&e, 0, "");
}

static void goes_with_its_process_when_nobody_is_in_it(void **state)
{
    uint32_t place = enter(1);

    assert_true(exists(book_name(b)));
    put(place, "a", "b", "c");
    book_leave(b, place);
    assert_int_equal(inherit(), -ENOENT);
}

static void of_a_process_that_lives_is_not_inherited(void **state)
{
    struct book *other;

    enter(1);
    assert_int_equal(book_inherit(&other, folder, book_name(b)), -EAGAIN);
    assert_true(exists(book_name(b)));
}

static void is_found_by_its_slot(void **state)
{
    assert_true(book_is_of(book_name(b), "slot"));
    assert_false(book_is_of(book_name(b), "slo"));
    assert_false(book_is_of(book_name(b), "slot2"));
    assert_false(book_is_of("slot", "slot"));
}

static void of_another_boot_says_so(void **state)
{
    uint32_t place = enter(1);

    put(place, "session", "", "");
    assert_int_equal(inherit(), 0);
    assert_false(book_is_old(b));
    assert_int_equal(setenv(BOOK_TEST_BOOT, "another", 1), 0);
    assert_int_equal(inherit(), 0);
    assert_true(book_is_old(b));
    assert_int_equal(book_next(b, 0), place);
    assert_int_equal(book_garbled(b), 0);
}

static void is_in_a_folder_that_nobody_else_can_enter(void **state)
{
    char path[TEMPDIR_SIZE + 8];
    struct stat st;
    int fd;

    snprintf(path, sizeof(path), "%s/new", dir);
    fd = book_folder(path);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    close(fd);
    assert_int_equal(chmod(path, 0750), 0);
    assert_int_equal(book_folder(path), -EPERM);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink(dir, path), 0);
    assert_true(book_folder(path) < 0);
    snprintf(path, sizeof(path), "%s/no/new", dir);
    assert_int_equal(book_folder(path), -ENOENT);
}

static void keeps_a_record_until_the_next_one_is_whole(void **state)
{
    uint32_t place = enter(1);
    size_t size;
    char *large = calloc(1, BOOK_RECORD_MAX + 1);
    struct book_entry e;

    memset(large, 'x', BOOK_RECORD_MAX);
    put(place, "session", "names", "");
    size = book_size(b);
    for (int i = 0; i < 10000; i++) {
        book_read(b, place, &e);
        e.record.part[2] = (struct book_bytes){i % 2 ? "end" : "other end", 3};
        assert_int_equal(book_write(b, place, &e.record), 0);
    }
    assert_int_equal(book_size(b), size); /* the old ones are used again */
    assert_int_equal(put(place, large, "", ""), -EMSGSIZE);
    free(large);
    book_read(b, place, &e);
    assert_part(&e, 0, "session");
    assert_part(&e, 1, "names");
    assert_part(&e, 2, "end");
}

static void grows_as_it_fills(void **state)
{
    enum { COUNT = 5000 };
    static uint32_t places[COUNT + 1];
    struct bookmarks *m;
    char text[3000];
    struct book_entry e;

    assert_int_equal(bookmarks_open(&m, folder, book_name(b)), 0);
    memset(text, 's', sizeof(text));
    for (uint32_t id = 1; id <= COUNT; id++) {
        places[id] = enter(id);
        assert_true(places[id] > 0);
        text[id % 2999] = '\0';
        assert_int_equal(put(places[id], text, "", "end"), 0);
        text[id % 2999] = 's';
    }
    assert_true(bookmarks_begin(m, places[COUNT], COUNT, BOOKMARK_CLOSED));
    bookmarks_close(m);
    for (uint32_t id = 1; id <= COUNT; id += 2)
        book_leave(b, places[id]);
    assert_int_equal(inherit(), 0);
    assert_int_equal(book_count(b), COUNT / 2);
    for (uint32_t id = 2; id <= COUNT; id += 2) {
        book_read(b, places[id], &e);
        assert_int_equal(e.id, id);
        assert_int_equal(e.record.part[0].len, id % 2999);
        assert_part(&e, 2, "end");
    }
}

/* As when tmpfs is full. */
static void that_cannot_grow_refuses_and_goes_on(void **state)
{
    const struct rlimit small = {128 * 1024, RLIM_INFINITY};
    struct rlimit before;
    uint32_t place = enter(1);
    uint32_t id = 1;
    struct book_entry e;

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(put(place, "session", "", ""), -ENOSPC);
    while (enter(++id) != 0)
        assert_true(id < 100000);
    assert_int_equal(enter(id), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(book_count(b), id - 1);
    assert_true(enter(id) > 0);
    assert_int_equal(put(place, "session", "", ""), 0);
    book_read(b, place, &e);
    assert_part(&e, 0, "session");
}

static void lets_only_one_begin(void **state)
{
    uint32_t place = enter(5);
    struct bookmarks *one, *two;

    assert_int_equal(bookmarks_open(&one, folder, book_name(b)), 0);
    assert_int_equal(bookmarks_open(&two, folder, book_name(b)), 0);
    assert_false(bookmarks_begin(one, place, 6, BOOKMARK_CONNECTED));
    assert_true(bookmarks_begin(one, place, 5, BOOKMARK_CONNECTED));
    assert_false(bookmarks_begin(two, place, 5, BOOKMARK_CONNECTED));
    assert_true(bookmarks_begin(two, place, 5, BOOKMARK_CLOSED));
    assert_false(bookmarks_begin(one, place, 5, BOOKMARK_CLOSED));
    assert_false(bookmarks_begin(one, place, 5, BOOKMARK_CONNECTED));
    book_leave(b, place);
    assert_int_equal(enter(7), place);
    assert_false(bookmarks_begin(one, place, 5, BOOKMARK_CLOSED));
    assert_true(bookmark_revoke(book_mark(b, place), 7));
    assert_false(bookmarks_begin(one, place, 7, BOOKMARK_CONNECTED));
    place = enter(8);
    assert_true(bookmarks_begin(one, place, 8, BOOKMARK_CONNECTED));
    assert_false(bookmark_revoke(book_mark(b, place), 8));
    bookmarks_close(one);
    bookmarks_close(two);
}

static void lets_nobody_begin_elsewhere(void **state)
{
    static const uint32_t strange[] = {
        0, 1, 3, 4096, 4097, 4100, 8191, 8192, 1000000, UINT32_MAX};
    struct bookmarks *m;

    enter(1);
    assert_int_equal(bookmarks_open(&m, folder, book_name(b)), 0);
    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        assert_false(bookmarks_begin(m, strange[i], 1, BOOKMARK_CLOSED));
        assert_false(book_has(b, strange[i], 1));
    }
    bookmarks_close(m);
    assert_int_equal(bookmarks_open(&m, folder, "../x"), -EINVAL);
    assert_int_equal(bookmarks_open(&m, folder, "none"), -ENOENT);
}

/* ---- what is in the file ---- */

#define BLOCK ((size_t)64 * 1024)

/* A copy that nobody has locked, from a mapped file. */
static void write_copy(const char *name, const uint8_t *data, size_t size)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    close(fd);
}

static uint8_t *map_file(size_t *size)
{
    int fd = openat(folder, book_name(b), O_RDONLY);
    struct stat st;
    uint8_t *data;

    assert_int_equal(fstat(fd, &st), 0);
    data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    assert_true(data != MAP_FAILED);
    *size = (size_t)st.st_size;
    return data;
}

#define PEOPLE 40

static const char *end_of(uint32_t id)
{
    return id % 3 ? "" : "end";
}

/* Nobody is there who was not, and of everybody only what was written. */
static void expect_only_who_was(const struct book *inherited)
{
    struct book_entry e;

    for (uint32_t at = 0; (at = book_next(inherited, at)) != 0;) {
        union addr peer;

        book_read(inherited, at, &e);
        assert_in_range(e.id, 1, PEOPLE);
        peer = peer_of(e.id);
        assert_memory_equal(&e.peer, &peer, sizeof(peer));
        if (e.record.part[0].len + e.record.part[1].len == 0)
            continue;
        assert_part(&e, 0, "session of somebody");
        assert_part(&e, 1, "names");
        assert_part(&e, 2, end_of(e.id));
    }
}

static uint32_t draw(void)
{
    static uint32_t random = 1;

    random = random * 1664525 + 1013904223;
    return random >> 8;
}

/* What of it is not as it was. */
static void garble_bits(uint8_t *data, size_t size, int round)
{
    for (int i = 0; i <= round % 20; i++) {
        size_t at = draw() % (round % 2 ? size : 2000);

        if (round % 2 == 0)
            at += BLOCK + (draw() & 1) * BLOCK;
        data[at] ^= (uint8_t)(1u << draw() % 8);
    }
}

/* Words of one place stand in another one. */
static void garble_words(uint8_t *data, size_t size, int round)
{
    for (int i = 0; i <= round % 20; i++) {
        size_t from = BLOCK + draw() % 300 * 8, to = BLOCK + draw() % 300 * 8;

        memcpy(data + to % size, data + from % size, 8);
    }
}

static void garble_all(uint8_t *data, size_t size, int round)
{
    for (size_t i = (size_t)round % 2 * BLOCK; i < size; i++)
        data[i] = (uint8_t)draw();
}

static void that_is_garbled_invents_nobody(void **state)
{
    static void (*const garble[])(uint8_t *, size_t, int) = {
        garble_bits, garble_words, garble_all};
    uint32_t refused = 0, damaged = 0;
    size_t size;
    uint8_t *data, *copy;

    for (uint32_t id = 1; id <= PEOPLE; id++)
        put(enter(id), "session of somebody", "names", end_of(id));
    data = map_file(&size);
    copy = malloc(size);
    for (int round = 0; round < 900; round++) {
        struct book *other;
        int err;

        memcpy(copy, data, size);
        garble[round % 3](copy, size, round / 3);
        write_copy("slot.copy", copy, size);
        err = book_inherit(&other, folder, "slot.copy");
        if (err < 0) {
            refused++;
            assert_int_equal(err, -EPROTO);
            assert_false(exists("slot.copy"));
            continue;
        }
        damaged += book_garbled(other) > 0;
        expect_only_who_was(other);
        book_close(other);
    }
    assert_in_range(refused, 100, 400);
    assert_in_range(damaged, 300, 800);
    free(copy);
    munmap(data, size);
}

/* At any length: who is left was there, and that others are missing is known.
 */
static void that_is_cut_keeps_who_is_left(void **state)
{
    size_t size;
    uint8_t *data;

    for (uint32_t id = 1; id <= PEOPLE; id++)
        put(enter(id), "session of somebody", "names", end_of(id));
    data = map_file(&size);
    for (size_t len = 0; len < size; len += 4096) {
        struct book *other;
        int err;

        write_copy("slot.copy", data, len);
        err = book_inherit(&other, folder, "slot.copy");
        assert_int_equal(err, len < BLOCK ? -EPROTO : 0);
        if (err < 0)
            continue;
        assert_true(book_garbled(other) > 0);
        assert_int_equal(book_count(other), len < 2 * BLOCK ? 0 : PEOPLE);
        expect_only_who_was(other);
        book_close(other);
    }
    munmap(data, size);
}

static void of_which_no_client_is_known_yet_is_nothing(void **state)
{
    struct book *other;
    size_t size;
    uint8_t *data = map_file(&size), *copy = malloc(size);

    memcpy(copy, data, size);
    copy[82] ^= 1; /* killed while it signed */
    write_copy("slot.copy", copy, size);
    assert_int_equal(book_inherit(&other, folder, "slot.copy"), -ENOENT);
    assert_false(exists("slot.copy"));
    free(copy);
    munmap(data, size);
}

static void that_is_no_file_is_refused(void **state)
{
    struct book *other;

    assert_int_equal(mkdirat(folder, "slot.folder", 0700), 0);
    assert_true(book_inherit(&other, folder, "slot.folder") < 0);
    assert_int_equal(mkfifoat(folder, "slot.fifo", 0600), 0);
    assert_int_equal(book_inherit(&other, folder, "slot.fifo"), -EPROTO);
    write_copy("slot.x.new", (const uint8_t *)"", 0);
    assert_int_equal(book_inherit(&other, folder, "slot.x.new"), -ENOENT);
    assert_false(exists("slot.x.new"));
}

/* ---- killed between any two stores ---- */

#define ROOM (1024 * 1024) /* more than the file grows to */

static const char *const sessions[] = {"", "the first session", "another"};

/* What a process may be doing when it is killed. */
static void do_everything(void)
{
    uint32_t place = enter(3);

    put(place, sessions[1], "", "");
    put(place, sessions[2], "names", "");
    put(place, sessions[1], "names", "end");
    book_leave(b, place);
    put(enter(4), sessions[2], "", "");
}

static void assert_whole(const uint8_t *data, size_t size)
{
    struct book *other;
    struct book_entry e;
    uint32_t count = 0;

    write_copy("slot.copy", data, size);
    assert_int_equal(book_inherit(&other, folder, "slot.copy"), 0);
    for (uint32_t at = 0; (at = book_next(other, at)) != 0; count++) {
        const struct book_bytes *session;
        bool known = false;

        book_read(other, at, &e);
        session = &e.record.part[0];
        for (size_t i = 0; i < 3; i++)
            known |= session->len == strlen(sessions[i]) &&
                     (session->len == 0 ||
                         memcmp(session->data, sessions[i], session->len) == 0);
        assert_true(known);
        assert_true(e.record.part[1].len == 0 || e.record.part[1].len == 5);
        assert_in_range(e.id, 1, 4);
    }
    assert_in_range(count, 1, 3);
    while (book_count(other) > 0)
        book_leave(other, book_next(other, 0));
    book_close(other);
}

static bool step(pid_t child)
{
    int status;

    if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) < 0 ||
        waitpid(child, &status, 0) != child)
        return false;
    return WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}

/* Look at the file after each instruction of the child that has changed it. */
static size_t follow(pid_t child)
{
    int fd = openat(folder, book_name(b), O_RDONLY);
    uint8_t *data = mmap(NULL, ROOM, PROT_READ, MAP_SHARED, fd, 0);
    uint8_t *last = calloc(1, ROOM);
    struct stat st;
    size_t seen = 0;

    assert_true(data != MAP_FAILED);
    while (step(child)) {
        assert_int_equal(fstat(fd, &st), 0);
        assert_in_range(st.st_size, 1, ROOM);
        if (memcmp(last, data, (size_t)st.st_size) == 0)
            continue;
        memcpy(last, data, (size_t)st.st_size);
        assert_whole(last, (size_t)st.st_size);
        seen++;
    }
    close(fd);
    free(last);
    munmap(data, ROOM);
    return seen;
}

static void is_whole_between_any_two_stores(void **state)
{
    pid_t child;
    int status;

    put(enter(1), sessions[1], "", "");
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(77);
        raise(SIGSTOP);
        do_everything();
        raise(SIGSTOP);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSTOPPED(status)) {
        print_message("no process may be traced here\n");
        return;
    }
    assert_in_range(follow(child), 20, 100000);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_who_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(
            goes_with_its_process_when_nobody_is_in_it, setup, teardown),
        cmocka_unit_test_setup_teardown(
            of_a_process_that_lives_is_not_inherited, setup, teardown),
        cmocka_unit_test_setup_teardown(is_found_by_its_slot, setup, teardown),
        cmocka_unit_test_setup_teardown(
            of_another_boot_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(
            is_in_a_folder_that_nobody_else_can_enter, setup, teardown),
        cmocka_unit_test_setup_teardown(
            keeps_a_record_until_the_next_one_is_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(grows_as_it_fills, setup, teardown),
        cmocka_unit_test_setup_teardown(
            that_cannot_grow_refuses_and_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(lets_only_one_begin, setup, teardown),
        cmocka_unit_test_setup_teardown(
            lets_nobody_begin_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(
            that_is_garbled_invents_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(
            that_is_cut_keeps_who_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(
            of_which_no_client_is_known_yet_is_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(
            that_is_no_file_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(
            is_whole_between_any_two_stores, setup, teardown),
    };

    return cmocka_run_group_tests_name("proc.book", tests, NULL, NULL);
}

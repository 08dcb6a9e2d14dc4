/* What a process does to itself: mostly tried in a forked one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/tempdir.h"
#include "proc/daemon.h"

struct place {
    char dir[TEMPDIR_SIZE];
    char lock[TEMPDIR_SIZE + 8];
    char other[TEMPDIR_SIZE + 8];
};

static void setup(struct place *p)
{
    tempdir_make(p->dir);
    snprintf(p->lock, sizeof(p->lock), "%s/lock", p->dir);
    snprintf(p->other, sizeof(p->other), "%s/other", p->dir);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void read_file(const char *path, char out[256])
{
    FILE *f = fopen(path, "re");
    size_t n;

    assert_non_null(f);
    n = fread(out, 1, 255, f);
    out[n] = '\0';
    fclose(f);
}

/* Run try(arg) in a process of its own; what it returns. */
static int in_child(int (*try)(void *arg), void *arg)
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(try(arg));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void holds_the_lock_until_it_is_closed(void **state)
{
    struct place p;
    char err[256], text[256];
    struct stat st;
    int fd;

    setup(&p);
    assert_int_equal(daemon_lock_owner(p.lock), 0);
    fd = daemon_lock(p.lock, err);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(stat(p.lock, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600); /* nobody else can hold it */
    assert_int_equal(daemon_lock_owner(p.lock), getpid());
    read_file(p.lock, text);
    assert_int_equal(atoi(text), getpid());
    close(fd);
    assert_int_equal(daemon_lock_owner(p.lock), 0);
}

/* 0 when the lock is refused and err names its holder and its file. */
static int try_second_lock(void *arg)
{
    const struct place *p = arg;
    char err[256], pid[32];

    snprintf(pid, sizeof(pid), "pid %d ", (int)getppid());
    if (daemon_lock(p->lock, err) != -EWOULDBLOCK)
        return 1;
    return strstr(err, pid) && strstr(err, p->lock) ? 0 : 2;
}

static void refuses_a_second_holder_and_names_the_first(void **state)
{
    struct place p;
    char err[256];
    int fd;

    setup(&p);
    fd = daemon_lock(p.lock, err);
    assert_true(fd >= 0);
    assert_int_equal(in_child(try_second_lock, &p), 0);
    assert_int_equal(daemon_lock_owner(p.lock), getpid());
    close(fd);
}

static void takes_a_stale_lock_whatever_number_is_in_it(void **state)
{
    struct place p;
    char err[256];
    int fd;

    setup(&p);
    write_file(p.lock, "1\nand a longer text than any pid\n");
    assert_int_equal(daemon_lock_owner(p.lock), 0);
    fd = daemon_lock(p.lock, err);
    assert_true(fd >= 0);
    assert_int_equal(daemon_lock_owner(p.lock), getpid());
    close(fd);
}

static void refuses_links_and_leaves_their_targets_alone(void **state)
{
    struct place p;
    char err[256], text[256];

    setup(&p);
    write_file(p.other, "precious");
    assert_int_equal(symlink(p.other, p.lock), 0);
    assert_int_equal(daemon_lock(p.lock, err), -ELOOP);
    assert_non_null(strstr(err, "symbolic link"));
    unlink(p.lock);
    assert_int_equal(link(p.other, p.lock), 0);
    assert_int_equal(daemon_lock(p.lock, err), -EMLINK);
    read_file(p.other, text);
    assert_string_equal(text, "precious");
}

static int detach_and_report(void *arg)
{
    int fd = -1;
    int status = daemon_detach(&fd);

    if (status >= 0)
        return status;
    daemon_report(fd, getsid(0) == getpid() ? *(int *)arg : 99);
    _exit(7); /* nobody waits for this one */
}

static int detach_and_die(void *arg)
{
    int fd = -1;
    int status = daemon_detach(&fd);

    if (status >= 0)
        return status;
    _exit(0);
}

static void waits_for_the_daemons_word(void **state)
{
    int good = 0, bad = 42;

    assert_int_equal(in_child(detach_and_report, &good), 0);
    assert_int_equal(in_child(detach_and_report, &bad), 42);
}

static void takes_a_daemon_that_dies_early_for_a_failure(void **state)
{
    assert_int_equal(in_child(detach_and_die, NULL), 1);
}

static int redirect_and_speak(void *arg)
{
    const struct place *p = arg;

    if (daemon_redirect(p->other) < 0)
        return 1;
    printf("to stdout\n");
    fflush(stdout);
    fprintf(stderr, "to stderr\n");
    return read(STDIN_FILENO, (char[1]){0}, 1) == 0 ? 0 : 2;
}

static void sends_all_output_to_the_end_of_a_file(void **state)
{
    struct place p;
    char text[256];

    setup(&p);
    write_file(p.other, "before\n");
    assert_int_equal(in_child(redirect_and_speak, &p), 0);
    read_file(p.other, text);
    assert_string_equal(text, "before\nto stdout\nto stderr\n");
}

static void does_not_follow_a_link_to_a_log(void **state)
{
    struct place p;

    setup(&p);
    write_file(p.other, "precious");
    assert_int_equal(symlink(p.other, p.lock), 0);
    assert_int_equal(daemon_redirect(p.lock), -ELOOP);
}

static void does_not_write_to_what_has_another_name(void **state)
{
    struct place p;

    setup(&p);
    write_file(p.other, "precious");
    assert_int_equal(link(p.other, p.lock), 0);
    assert_int_equal(daemon_redirect(p.lock), -EMLINK);
    unlink(p.lock);
    assert_int_equal(mkfifo(p.lock, 0600), 0);
    assert_int_equal(daemon_redirect(p.lock), -ENXIO); /* without waiting */
}

static int check_as_nobody(void *arg)
{
    char err[256] = "";

    if (setuid(65534) < 0)
        return 99;
    return -daemon_check_folder(arg, 65534, err);
}

static void trusts_no_folder_that_others_write_to(void **state)
{
    struct place p;
    char err[256], inner[TEMPDIR_SIZE + 16];

    setup(&p);
    assert_int_equal(daemon_check_folder(p.lock, getuid(), err), 0); /* none */
    assert_int_equal(daemon_check_folder(p.dir, getuid(), err), 0);
    assert_int_equal(chmod(p.dir, 01777), 0);
    assert_int_equal(daemon_check_folder(p.dir, getuid(), err), -EPERM);
    assert_non_null(strstr(err, "everybody can write to"));
    assert_int_equal(mkdir(p.lock, 0755), 0); /* ours, in it */
    assert_int_equal(daemon_check_folder(p.lock, getuid(), err), 0);
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(p.lock, 4711, 4711), 0); /* planted */
    assert_int_equal(daemon_check_folder(p.lock, getuid(), err), -EPERM);
    assert_non_null(strstr(err, "another user's (uid 4711)"));
    assert_int_equal(daemon_check_folder(p.lock, 4711, err), 0);
    snprintf(inner, sizeof(inner), "%s/inner", p.lock);
    assert_int_equal(mkdir(inner, 0755), 0); /* root's, in a planted one */
    assert_int_equal(daemon_check_folder(inner, getuid(), err), -EPERM);
    assert_int_equal(symlink("/etc", p.other), 0);
    assert_int_equal(lchown(p.other, 4711, 4711), 0);
    assert_int_equal(daemon_check_folder(p.other, getuid(), err), -EPERM);
    /* who may write to the folder above has put it there */
    assert_int_equal(chmod(p.dir, 0755), 0);
    assert_int_equal(daemon_check_folder(p.lock, getuid(), err), 0);
    assert_int_equal(in_child(check_as_nobody, p.lock), 0);
}

static void finds_users_by_name_and_number(void **state)
{
    char err[256];
    uid_t uid;
    gid_t gid;

    assert_int_equal(daemon_find_ids(NULL, NULL, &uid, &gid, err), 0);
    assert_int_equal(uid, getuid());
    assert_int_equal(daemon_find_ids("root", NULL, &uid, &gid, err), 0);
    assert_int_equal(uid, 0);
    assert_int_equal(daemon_find_ids("0", "4711", &uid, &gid, err), 0);
    assert_int_equal(gid, 4711);
    assert_int_equal(
        daemon_find_ids("nobody-like-this", NULL, &uid, &gid, err), -EINVAL);
    assert_non_null(strstr(err, "nobody-like-this"));
    assert_int_equal(daemon_find_ids(NULL, "12x", &uid, &gid, err), -EINVAL);
}

/* The fields of /proc/self/status that say who we are. */
static int drop_and_look(void *arg)
{
    char err[256], line[256];
    FILE *f;
    int found = 0;

    if (daemon_drop_privileges("65534", "65534", err) < 0)
        return 1;
    f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof(line), f)) {
        found += strcmp(line, "Uid:\t65534\t65534\t65534\t65534\n") == 0;
        found += strcmp(line, "Gid:\t65534\t65534\t65534\t65534\n") == 0;
        found += strncmp(line, "Groups:\t65534 \n", 14) == 0;
        found += strcmp(line, "NoNewPrivs:\t1\n") == 0;
    }
    if (f)
        fclose(f);
    return found == 4 && setuid(0) < 0 ? 0 : 2;
}

static int refuse_to_become_root(void *arg)
{
    char err[256];

    if (daemon_drop_privileges("65534", "65534", err) < 0)
        return 1;
    return daemon_drop_privileges("root", NULL, err) == -EPERM ? 0 : 2;
}

/* Nobody but root may, and says so. */
static int ask_as_nobody(void *arg)
{
    char err[256] = "";

    if (geteuid() == 0 && setuid(65534) < 0)
        return 1;
    if (daemon_drop_privileges("root", NULL, err) != -EPERM)
        return 2;
    return strstr(err, "root") != NULL ? 0 : 3;
}

static void lets_only_root_change_the_user(void **state)
{
    assert_int_equal(in_child(ask_as_nobody, NULL), 0);
}

static void drops_privileges_for_good(void **state)
{
    if (geteuid() != 0)
        skip();
    assert_int_equal(in_child(drop_and_look, NULL), 0);
    assert_int_equal(in_child(refuse_to_become_root, NULL), 0);
}

static int close_and_look(void *arg)
{
    daemon_close_inherited();
    return fcntl(*(int *)arg, F_GETFD) < 0 && fcntl(0, F_GETFD) >= 0 ? 0 : 1;
}

static void closes_what_the_caller_left_open(void **state)
{
    int fd = dup(STDERR_FILENO);

    assert_int_equal(in_child(close_and_look, &fd), 0);
    close(fd);
}

static int raise_and_look(void *arg)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1;
    limit.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &limit);
    daemon_raise_fd_limit();
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur == limit.rlim_max ? 0 : 2;
}

static void allows_as_many_descriptors_as_it_may(void **state)
{
    assert_int_equal(in_child(raise_and_look, NULL), 0);
}

static void knows_who_listens_on_a_port(void **state)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char owner[64], pid[32];

    assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    assert_string_equal(daemon_port_owner(ntohs(in.sin_port), owner), "");
    assert_int_equal(listen(fd, 1), 0);
    snprintf(pid, sizeof(pid), "pid %d (", (int)getpid());
    assert_non_null(strstr(daemon_port_owner(ntohs(in.sin_port), owner), pid));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_the_lock_until_it_is_closed),
        cmocka_unit_test(refuses_a_second_holder_and_names_the_first),
        cmocka_unit_test(takes_a_stale_lock_whatever_number_is_in_it),
        cmocka_unit_test(refuses_links_and_leaves_their_targets_alone),
        cmocka_unit_test(waits_for_the_daemons_word),
        cmocka_unit_test(takes_a_daemon_that_dies_early_for_a_failure),
        cmocka_unit_test(sends_all_output_to_the_end_of_a_file),
        cmocka_unit_test(does_not_follow_a_link_to_a_log),
        cmocka_unit_test(does_not_write_to_what_has_another_name),
        cmocka_unit_test(trusts_no_folder_that_others_write_to),
        cmocka_unit_test(finds_users_by_name_and_number),
        cmocka_unit_test(lets_only_root_change_the_user),
        cmocka_unit_test(drops_privileges_for_good),
        cmocka_unit_test(closes_what_the_caller_left_open),
        cmocka_unit_test(allows_as_many_descriptors_as_it_may),
        cmocka_unit_test(knows_who_listens_on_a_port),
    };

    return cmocka_run_group_tests_name("proc.daemon", tests, NULL, NULL);
}

/* Steps that cannot be taken back, each once: a lock that is held until the
 * process ends, a detached child that reports to who started it, privileges
 * that are given up. Owns no memory. Files are opened only on paths that nobody
 * else can change. */
#include "proc/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proc/caps.h"
#include "util/log.h"

#define VICTIM_SCORE  50 /* of 1000, added to oom_score_adj */
#define LOCK_TRIES    5  /* a probing command holds the lock for a moment */
#define LOCK_RETRY_MS 20 /* between two tries */

static bool is_one_of_us(uid_t uid, uid_t also)
{
    return uid == 0 || uid == geteuid() || uid == also;
}

/* Climb from the open folder to the root; closes it. Did everything on the way
 * get there by somebody we trust? */
static int check_way_up(int fd, uid_t also)
{
    struct stat st, above = {0};
    int result = fstat(fd, &st) < 0 ? -errno : 0;

    while (result == 0) {
        int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (up < 0 || fstat(up, &above) < 0)
            result = -errno;
        else if ((above.st_mode & S_IWOTH) && !is_one_of_us(st.st_uid, also))
            result = -EPERM;
        close(fd);
        fd = up;
        if (result < 0 ||
            (above.st_ino == st.st_ino && above.st_dev == st.st_dev))
            break; /* the root is its own parent */
        st = above;
    }
    if (fd >= 0)
        close(fd);
    return result;
}

int daemon_check_folder(const char *path, uid_t also, char err[256])
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat st, link;
    int result;

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &st) < 0 || lstat(path, &link) < 0) {
        result = -errno;
        snprintf(
            err, 256, "cannot look at %.150s: %s", path, strerror(-result));
        if (fd >= 0)
            close(fd);
        return result;
    }
    if (st.st_mode & S_IWOTH) {
        close(fd);
        snprintf(err, 256,
            "everybody can write to the folder %.100s; chmod o-w it, or name "
            "one of its own",
            path);
        return -EPERM;
    }
    result = check_way_up(fd, also);
    if (result == 0 && S_ISLNK(link.st_mode) &&
        !is_one_of_us(link.st_uid, also))
        result = -EPERM;
    if (result < 0)
        snprintf(err, 256,
            "the folder %.100s may be another user's (uid %u): %s; name one "
            "that is not",
            path, (unsigned)st.st_uid, strerror(-result));
    return result;
}

int daemon_open_file(int at, const char *path, int flags)
{
    int fd = openat(
        at, path, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0644);
    struct stat st;
    int result;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        result = -errno;
    else if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
        result = -EINVAL;
    else if (st.st_nlink != 1 && S_ISREG(st.st_mode))
        result = -EMLINK;
    else
        return fd;
    close(fd);
    return result;
}

static int lock_with_patience(int fd)
{
    static const struct timespec pause = {0, LOCK_RETRY_MS * 1000000L};

    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -errno;
        nanosleep(&pause, NULL);
    }
    return -EWOULDBLOCK;
}

/* The number in an open lock file; 0 when there is none. */
static pid_t read_pid(int fd)
{
    char text[16] = "";

    if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
        return 0;
    return (pid_t)strtol(text, NULL, 10);
}

static int write_pid(int fd)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return errno ? -errno : -EIO;
    return 0;
}

int daemon_lock(const char *path, char err[256])
{
    int fd = daemon_open_file(AT_FDCWD, path, O_RDWR | O_CREAT);
    int result;

    if (fd < 0) {
        snprintf(err, 256, "cannot open the lock file %s: %s", path,
            fd == -ELOOP ? "it is a symbolic link" : strerror(-fd));
        return fd;
    }
    fchmod(fd, 0600); /* who can read it could hold it */
    result = lock_with_patience(fd);
    if (result == -EWOULDBLOCK) {
        snprintf(err, 256, "already running as pid %d (lock file %s)",
            (int)read_pid(fd), path);
        goto fail;
    }
    if (result == 0)
        result = write_pid(fd);
    if (result == 0)
        return fd;
    snprintf(err, 256, "cannot lock %s: %s", path, strerror(-result));
fail:
    close(fd);
    return result;
}

pid_t daemon_lock_owner(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    pid_t owner = 0;

    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (flock(fd, LOCK_SH | LOCK_NB) < 0)
        owner = errno == EWOULDBLOCK ? read_pid(fd) : -errno;
    close(fd);
    return owner;
}

/* What the daemon reported; when it said nothing, how it ended. */
static int await_report(int fd, pid_t pid)
{
    unsigned char status;
    ssize_t n;

    do
        n = read(fd, &status, 1);
    while (n < 0 && errno == EINTR);
    close(fd);
    if (n == 1)
        return status;
    waitpid(pid, NULL, 0);
    return 1;
}

int daemon_detach(int *report_fd)
{
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return 1;
    fflush(NULL);
    pid = fork();
    if (pid < 0) {
        close(fds[0]);
        close(fds[1]);
        return 1;
    }
    if (pid > 0) {
        close(fds[1]);
        return await_report(fds[0], pid);
    }
    close(fds[0]);
    setsid();
    umask(umask(0) | 022);
    *report_fd = fds[1];
    return -1;
}

void daemon_report(int report_fd, int status)
{
    unsigned char byte = (unsigned char)status;
    ssize_t n;

    do
        n = write(report_fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    close(report_fd);
}

int daemon_redirect(const char *path)
{
    int out = daemon_open_file(
        AT_FDCWD, path ? path : "/dev/null", O_WRONLY | O_CREAT | O_APPEND);
    int in;
    int err = 0;

    if (out < 0)
        return out;
    in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    fflush(NULL);
    if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(out, STDERR_FILENO) < 0)
        err = -errno;
    log_to_stderr();
    if (in > STDERR_FILENO)
        close(in);
    if (out > STDERR_FILENO)
        close(out);
    return err;
}

/* A name that is a number. */
static bool parse_id(const char *name, unsigned *id)
{
    char *end;
    unsigned long value;

    if (*name < '0' || *name > '9')
        return false;
    errno = 0;
    value = strtoul(name, &end, 10);
    if (*end != '\0' || errno || value >= UINT32_MAX)
        return false;
    *id = (unsigned)value;
    return true;
}

int daemon_find_ids(
    const char *user, const char *group, uid_t *uid, gid_t *gid, char err[256])
{
    unsigned id = 0;

    *uid = getuid();
    *gid = getgid();
    if (user) {
        const struct passwd *pw = getpwnam(user);

        if (!pw && parse_id(user, &id))
            pw = getpwuid(id);
        if (!pw) {
            snprintf(err, 256, "user: there is no user \"%.64s\"", user);
            return -EINVAL;
        }
        *uid = pw->pw_uid;
        *gid = pw->pw_gid;
    }
    if (group) {
        const struct group *gr = getgrnam(group);

        if (!gr && !parse_id(group, &id)) {
            snprintf(err, 256, "group: there is no group \"%.64s\"", group);
            return -EINVAL;
        }
        *gid = gr ? gr->gr_gid : id;
    }
    return 0;
}

int daemon_drop_privileges(const char *user, const char *group, char err[256])
{
    uid_t uid;
    gid_t gid;
    int result = daemon_find_ids(user, group, &uid, &gid, err);

    if (result < 0)
        return result;
    if (uid != geteuid() || gid != getegid()) {
        if (geteuid() != 0) {
            snprintf(
                err, 256, "user, group: only root can become somebody else");
            return -EPERM;
        }
        caps_bound(0);
        if (setgroups(1, &gid) < 0 || setresgid(gid, gid, gid) < 0 ||
            setresuid(uid, uid, uid) < 0) {
            result = -errno;
            snprintf(err, 256, "cannot become uid %u, gid %u: %s",
                (unsigned)uid, (unsigned)gid, strerror(-result));
            return result;
        }
        if (uid != 0 && (setuid(0) == 0 || seteuid(0) == 0)) {
            snprintf(err, 256, "privileges came back after dropping them");
            return -EPERM;
        }
        if (uid != 0)
            caps_limit(0);
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        result = -errno;
        snprintf(err, 256, "no_new_privs: %s", strerror(-result));
    }
    return result;
}

int daemon_keep_masters_privileges(
    const char *user, const char *group, char err[256])
{
    uid_t uid;
    gid_t gid;
    int result = daemon_find_ids(user, group, &uid, &gid, err);

    if (result < 0 || geteuid() != 0 || uid == 0)
        return result;
    result = caps_bound(CAPS_OF_MASTER);
    if (result == 0)
        result = caps_limit(CAPS_OF_MASTER);
    if (result == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        result = -errno;
    if (result < 0)
        snprintf(err, 256, "cannot drop privileges: %s", strerror(-result));
    return result;
}

void daemon_close_inherited(void)
{
    close_range(STDERR_FILENO + 1, UINT_MAX, 0);
}

void daemon_prefer_as_victim(void)
{
    FILE *f = fopen("/proc/self/oom_score_adj", "r+");
    char text[16];
    long score;

    if (!f)
        return;
    if (fgets(text, sizeof(text), f)) {
        score = strtol(text, NULL, 10) + VICTIM_SCORE;
        rewind(f);
        fprintf(f, "%ld", score < 1000 ? score : 1000);
    }
    fclose(f);
}

void daemon_raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Who listens on a port that cannot be bound: from /proc, for the message that
 * names it. Best effort: another user's processes cannot be looked into, and
 * then nobody is named. */
#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proc/daemon.h"

#define TCP_STATE_LISTEN 0x0a /* in /proc/net/tcp, as in the kernel's enum */

/* The inode of the listening socket on port in one of /proc's tables; 0 when
 * there is none. */
static unsigned long find_inode(const char *table, uint16_t port)
{
    FILE *f = fopen(table, "re");
    unsigned long found = 0;
    char line[512];

    if (!f)
        return 0;
    while (!found && fgets(line, sizeof(line), f)) {
        unsigned local, state;
        unsigned long inode;

        /* The kernel wrote these numbers. NOLINTNEXTLINE(cert-err34-c) */
        if (sscanf(line,
                " %*u: %*32[0-9A-Fa-f]:%x %*32[0-9A-Fa-f]:%*x %x %*s %*s %*s "
                "%*u %*u %lu",
                &local, &state, &inode) == 3 &&
            local == port && state == TCP_STATE_LISTEN)
            found = inode;
    }
    fclose(f);
    return found;
}

static bool has_socket(const char *pid, unsigned long inode)
{
    char path[64], want[64], got[64];
    bool found = false;
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
    snprintf(want, sizeof(want), "socket:[%lu]", inode);
    dir = opendir(path);
    if (!dir)
        return false;
    while (!found && (entry = readdir(dir))) {
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, got, sizeof(got) - 1);

        if (n > 0) {
            got[n] = '\0';
            found = strcmp(got, want) == 0;
        }
    }
    closedir(dir);
    return found;
}

static void read_command(const char *pid, char out[32])
{
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
    f = fopen(path, "re");
    if (!f || !fgets(out, 32, f))
        snprintf(out, 32, "?");
    out[strcspn(out, "\n")] = '\0';
    if (f)
        fclose(f);
}

const char *daemon_port_owner(uint16_t port, char out[64])
{
    unsigned long inode = find_inode("/proc/net/tcp", port);
    struct dirent *entry;
    DIR *dir;

    out[0] = '\0';
    if (!inode)
        inode = find_inode("/proc/net/tcp6", port);
    dir = inode ? opendir("/proc") : NULL;
    if (!dir)
        return out;
    while (!out[0] && (entry = readdir(dir))) {
        char command[32];

        if (!isdigit((unsigned char)entry->d_name[0]) ||
            !has_socket(entry->d_name, inode))
            continue;
        read_command(entry->d_name, command);
        snprintf(out, 64, "pid %.16s (%s)", entry->d_name, command);
    }
    closedir(dir);
    return out;
}

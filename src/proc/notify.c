/* The address of systemd's socket is taken out of the environment by
 * notify_keep() and kept here for the life of the process. */
#include "proc/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_len; /* 0: nobody wants to know */
static bool watched;          /* systemd waits for signs of life */

/* The watchdog may be meant for another process than this one. */
static bool keep_watchdog(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    bool ours = usec && (!pid || strtol(pid, NULL, 10) == (long)getpid());

    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return ours;
}

void notify_keep(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path ? strlen(path) : 0;

    if (len > 1 && len < sizeof(address.sun_path) &&
        (path[0] == '/' || path[0] == '@')) {
        memcpy(address.sun_path, path, len);
        if (path[0] == '@') /* an abstract name */
            address.sun_path[0] = '\0';
        address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    }
    unsetenv("NOTIFY_SOCKET");
    watched = keep_watchdog();
}

bool notify_is_wanted(void)
{
    return address_len > 0;
}

void notify_alive(void)
{
    if (watched)
        notify_send("WATCHDOG=1");
}

void notify_send(const char *state)
{
    int fd;

    if (!notify_is_wanted())
        return;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    sendto(fd, state, strlen(state), MSG_NOSIGNAL,
        (const struct sockaddr *)&address, address_len);
    close(fd);
}

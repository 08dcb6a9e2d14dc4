/* What the kernel knows of a TCP peer (tcp(7), TCP_INFO). */
#include "net/reach.h"

#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define REACH_SILENCE 20000 /* ms without an acknowledgement: gone */
#define REACH_PROBES  8     /* without an answer: gone */

/* TCP gives up after a number of tries (tcp_retries2, 15), and by REACH_RESEND
 * not before REACH_SILENCE is over. Headers may be older than the kernel. */
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44
#endif

bool reach_resend_soon(int fd)
{
    const int ms = REACH_RESEND;

    return setsockopt(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, &ms, sizeof(ms)) == 0;
}

bool reach_is_lost(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return false;
    return info.tcpi_probes >= REACH_PROBES ||
           (info.tcpi_unacked > 0 && info.tcpi_last_ack_recv > REACH_SILENCE &&
               info.tcpi_last_data_recv > REACH_SILENCE);
}

uint64_t reach_silence(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
        (info.tcpi_unacked == 0 && info.tcpi_probes == 0))
        return 0;
    return info.tcpi_last_ack_recv < info.tcpi_last_data_recv
               ? info.tcpi_last_ack_recv
               : info.tcpi_last_data_recv;
}

bool reach_is_local(int fd, const union addr *peer)
{
    char ours[ADDR_TEXT_SIZE], theirs[ADDR_TEXT_SIZE];
    union addr own = {0};
    socklen_t len = sizeof(own);

    if (addr_is_loopback(peer))
        return true;
    if (getsockname(fd, &own.sa, &len) < 0)
        return false;
    addr_unmap(&own);
    return strcmp(addr_format_host(ours, &own),
               addr_format_host(theirs, peer)) == 0;
}

/* rundir.h - what lies in run_dir, and what is called after it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ROLE_RUNDIR_H
#define GW_ROLE_RUNDIR_H

#include "config/config.h"
#include "proc/claims.h"

#define RUNDIR_ERR_SIZE 512 /* of a line about what is wrong */

/* run_dir and name, as a path that fits into a unix socket's address when
 * run_dir is in the root folder. The caller frees it. */
char *rundir_path(const struct config *c, const char *name);

/* What the pages of claims of this run are called (proc/claims.h). */
void rundir_claims_prefix(const struct config *c, char out[CLAIMS_PREFIX_SIZE]);

/* The folder of the gateways' books for this process's user: book_dir, or one
 * in /dev/shm that no other run_dir has. NULL: none are kept. The caller frees
 * it. */
char *rundir_books(const struct config *c);

/* May what lies in run_dir be trusted (daemon_check_folder())? 0, or -errno
 * with a line in err. */
int rundir_check(const struct config *c, char err[RUNDIR_ERR_SIZE]);

/* Make run_dir and its folders, where they are not there yet, and see that they
 * may be trusted. The same. */
int rundir_make(const struct config *c, char err[RUNDIR_ERR_SIZE]);

/* Can the files of connection ids that are there be used? The same. */
int rundir_check_ids(const struct config *c, char err[RUNDIR_ERR_SIZE]);

/* Open a gateway's file of connection ids, with O_CREAT in flags make it. The
 * same, and *fd is -1 then. */
int rundir_open_ids(int *fd, const struct config *c,
    const struct config_gateway *g, unsigned index, int flags,
    char err[RUNDIR_ERR_SIZE]);

/* Open the file where those who ask these registers keep their list; those who
 * ask others have a file of their own. Where there is none /dev/null takes its
 * place, with a line in the log. The descriptor, or -errno. */
int rundir_open_kept(const struct config *c, const struct discovery_conf *d);

/* The same file for who only reads it, from any folder: 0, where there is none,
 * or it is not for this user, or cannot be trusted (rundir_check()). */
int rundir_find_kept(const struct config *c, const struct discovery_conf *d);

/* Where workers beside that gateway reach it, a unix socket. The caller frees
 * it. */
char *rundir_link(
    const struct config *c, const struct config_gateway *g, unsigned index);

/* The gateways that are started beside workers of c, with their unix sockets;
 * the last one has port 0. The caller frees it. */
struct worker_neighbour *rundir_neighbours(const struct config *c);

#endif /* GW_ROLE_RUNDIR_H */

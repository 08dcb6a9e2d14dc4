/* daemon.h - what a process does to itself before it serves: one instance
 * only, into the background, fewer privileges, more descriptors.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_PROC_DAEMON_H
#define GW_PROC_DAEMON_H

#include <stdint.h>
#include <sys/types.h>

/* May what lies in this folder be trusted? Not when everybody can write to it,
 * nor when somebody may have put it there who is neither root, nor this user,
 * nor `also`: it, or a folder that it lies in, is another user's entry in one
 * that everybody can write to, such as /tmp. A folder that is not there is
 * harmless. 0, or -errno with a line in err. */
int daemon_check_folder(const char *path, uid_t also, char err[256]);

/* Take the lock file for the life of the process and write our pid into it. It
 * is the lock that counts, never the number in the file, so a stale file is
 * harmless; links are refused. The descriptor, or -errno with a line in err;
 * -EWOULDBLOCK when another process holds it. */
int daemon_lock(const char *path, char err[256]);

/* Who holds the lock file: its pid, 0 for nobody, or -errno. */
pid_t daemon_lock_owner(const char *path);

/* Go on in a child process with a session of its own. Returns -1 in that
 * process, which then calls daemon_report(*report_fd, …) once; in the caller
 * it returns the reported exit status as soon as it is known, or 1 when the
 * daemon died before that. */
int daemon_detach(int *report_fd);
void daemon_report(int report_fd, int status);

/* A file of our own, opened by open() without following a link; -EMLINK when it
 * has a second name, which somebody else may have given it, -EINVAL when it is
 * not a file. path may lie in the folder at (AT_FDCWD: the current one). */
int daemon_open_file(int at, const char *path, int flags);

/* Standard input from /dev/null; output and errors to the end of path, or to
 * /dev/null when path is NULL. 0 or -errno; then nothing has changed. */
int daemon_redirect(const char *path);

/* Become user (name or number; NULL: stay) and group (NULL: the user's own) for
 * good, and never gain privileges again. 0, or -errno with a line in err. */
int daemon_drop_privileges(const char *user, const char *group, char err[256]);

/* For root's master whose children become user and group: keep what that takes
 * and nothing else, for good; ports below 1024 are bound before. Does nothing
 * where they stay what the master is. 0, or -errno with a line in err. */
int daemon_keep_masters_privileges(
    const char *user, const char *group, char err[256]);

/* The ids that daemon_drop_privileges() would take; those of this process where
 * nothing is named. 0, or -EINVAL with a line in err. */
int daemon_find_ids(
    const char *user, const char *group, uid_t *uid, gid_t *gid, char err[256]);

/* Close every descriptor but 0, 1 and 2: what the caller's shell left open is
 * not ours to hold or to hand on. */
void daemon_close_inherited(void);

/* As many descriptors as the hard limit allows. */
void daemon_raise_fd_limit(void);

/* When memory is out the kernel should end this process before one of the same
 * size that did not call this. */
void daemon_prefer_as_victim(void);

/* The process that listens on a TCP port, as "pid 4121 (nginx)", when /proc
 * tells; else "". Returns out. */
const char *daemon_port_owner(uint16_t port, char out[64]);

#endif /* GW_PROC_DAEMON_H */

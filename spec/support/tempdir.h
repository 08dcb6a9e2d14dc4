/* tempdir.h - folders for a test's files, in $TMPDIR or /tmp. All of them go
 * when the program ends, however its tests did.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_SPEC_TEMPDIR_H
#define GW_SPEC_TEMPDIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPDIR_SIZE 64 /* bytes of a path; a unix socket's must be short */

static struct {
    char root[TEMPDIR_SIZE - 8];
    unsigned count;
    pid_t owner; /* not the children that a test forks */
} tempdir;

static int tempdir_remove_entry(
    const char *path, const struct stat *st, int type, struct FTW *at)
{
    return remove(path);
}

static void tempdir_remove_all(void)
{
    if (getpid() == tempdir.owner)
        nftw(tempdir.root, tempdir_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* A new, empty folder; path is absolute and without symbolic links. */
static inline void tempdir_make(char path[TEMPDIR_SIZE])
{
    const char *parent = getenv("TMPDIR");
    char real[4096];
    int len;

    if (tempdir.count == 0) {
        assert_non_null(realpath(parent != NULL ? parent : "/tmp", real));
        len = snprintf(
            tempdir.root, sizeof(tempdir.root), "%s/gwrun-XXXXXX", real);
        assert_in_range(len, 1, sizeof(tempdir.root) - 1);
        assert_non_null(mkdtemp(tempdir.root));
        assert_int_equal(chmod(tempdir.root, 0755), 0);
        tempdir.owner = getpid();
        atexit(tempdir_remove_all);
    }
    snprintf(path, TEMPDIR_SIZE, "%s/%u", tempdir.root, ++tempdir.count);
    assert_int_equal(mkdir(path, 0700), 0);
}

#endif /* GW_SPEC_TEMPDIR_H */

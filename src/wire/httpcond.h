/* httpcond.h - what the conditions of a request for a file come to: all of it,
 * a range, or nothing new.
 *
 * RFC 9110 sections 13 (conditional requests) and 14 (range requests).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_HTTPCOND_H
#define GW_WIRE_HTTPCOND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "wire/httphead.h"

#define HTTPCOND_DATE_SIZE 32 /* of an HTTP date as text */

/* What is there to be sent. */
struct httpcond_file {
    const char *etag; /* with its quotes; neither blanks nor commas in it.
                         "W/" in front: it is weak */
    time_t modified;
    uint64_t size; /* bytes */
    bool ranges;   /* parts of it may be sent */
};

struct httpcond {
    unsigned status;      /* 200, 206, 304, 412 or 416 */
    uint64_t first, size; /* bytes of it to be sent */
};

/* What a GET or HEAD with this head is to get of the file. Conditions that are
 * not understood count as not there, and several ranges as none. */
struct httpcond httpcond_judge(
    const struct httphead *head, const struct httpcond_file *file);

/* A date in one of the forms of RFC 9110 section 5.6.7. */
bool httpcond_read_date(const char *text, time_t *out);
/* "Sun, 06 Nov 1994 08:49:37 GMT". Returns out. */
char *httpcond_date(char out[HTTPCOND_DATE_SIZE], time_t t);

/* Whether the client takes that coding: Accept-Encoding names it, and not with
 * a weight of 0. */
bool httpcond_accepts(const struct httphead *head, const char *coding);

#endif /* GW_WIRE_HTTPCOND_H */

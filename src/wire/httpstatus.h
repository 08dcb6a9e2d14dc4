/* httpstatus.h - the words of HTTP's statuses, and problems: answers that say
 * what is wrong as RFC 9457 has it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_HTTPSTATUS_H
#define GW_WIRE_HTTPSTATUS_H

#include <stddef.h>

#include "util/buf.h"

/* "Not Found" …; for one that is not known "OK" or "Refused". Static. */
const char *httpstatus_phrase(unsigned status);

/* Append an answer (wire/answer.h) with this status, the headers that RFC 9110
 * wants with it, and this body: from 400 on an application/problem+json. */
void httpstatus_put_json(
    struct buf *out, unsigned status, const char *json, size_t len);

/* The same with a body that says what is wrong. detail is a sentence for
 * people, code a word for programs; both are ours, ASCII without quotes. */
void httpstatus_put_problem(
    struct buf *out, unsigned status, const char *code, const char *detail);

#endif /* GW_WIRE_HTTPSTATUS_H */

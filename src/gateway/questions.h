/* questions.h - answers the commands that ask (FRAME_KIND_QUESTION).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_GATEWAY_QUESTIONS_H
#define GW_GATEWAY_QUESTIONS_H

#include <stddef.h>

#include "gateway/picked.h"
#include "gateway/roster.h"
#include "gateway/router.h"
#include "util/buf.h"
#include "wire/frame.h"

/* All borrowed. */
struct question {
    const struct frame *f;
    const struct roster *roster;
    struct picked *picked; /* scratch; empty */
    size_t answer_max;     /* bytes; behind them an answer stops somewhere */
    const struct router_worker *from; /* who asks; NULL: no worker known */
};

/* Append the answer, one serialized value. 0, or -errno: the question is not
 * valid, and what is in answer means nothing. */
int questions_answer(const struct question *q, struct buf *answer);

#endif /* GW_GATEWAY_QUESTIONS_H */

/* finding.h - the question who has some names, as Redis is asked: one EVAL that
 * reads the hashes that directory.h tells of.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_FINDING_H
#define GW_ENGINE_FINDING_H

#include "engine/engine.h"
#include "upstream/redis.h"
#include "util/list.h"

struct finding_question {
    const char *cluster; /* borrowed, as are the names */
    enum engine_name kind;
    const struct cmdjson_names *names; /* at most ENGINE_FIND_MAX */
};

/* Ask for the gateways that have one of the names; found runs on a later turn,
 * until when the question stands in the list. 0 or -ENOBUFS. */
int finding_begin(struct list *findings, struct redis *commands,
    const struct finding_question *question, engine_found_cb found, void *arg);

/* commands is closed: no found will run. */
void finding_end_all(struct list *findings);

#endif /* GW_ENGINE_FINDING_H */

/* finding.h - the question who has some names, as Redis is asked: one EVAL that
 * reads the hashes that directory.h tells of.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_ENGINE_FINDING_H
#define GW_ENGINE_FINDING_H

#include "engine/engine.h"
#include "upstream/redisvalue.h"
#include "util/buf.h"

/* Ask for the gateways that have one of the names. */
void finding_put(struct buf *out, const char *cluster, enum engine_name kind,
    const struct cmdjson_names *names);

/* Read one of the gateways of the reply, which is an array. */
bool finding_read(struct engine_place *place, const struct redisvalue *v);

#endif /* GW_ENGINE_FINDING_H */

/* upgrade.h - may a request become a websocket?
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_CLIENTS_UPGRADE_H
#define GW_CLIENTS_UPGRADE_H

#include <stdbool.h>

#include "clients/port_conf.h"
#include "wire/httphead.h"
#include "wire/httprequest.h"

/* Does it want to? */
bool upgrade_is_wanted(const struct httphead *head);

/* May it, as far as a port can tell: 0, or the status to refuse it with. */
unsigned upgrade_guard(const struct port_conf *conf,
    const struct httphead *head, const struct httprequest *meaning);

#endif /* GW_CLIENTS_UPGRADE_H */

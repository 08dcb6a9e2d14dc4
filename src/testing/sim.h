/* sim.h - a whole system in this process, for gwrun test: real roles, a clock
 * that stands still, and clients at the other end of socket pairs.
 *
 * Nothing happens but inside sim_settle(), which ends when nothing is left to
 * do; so what a test sees next does not depend on the machine's speed. Roles
 * meet over TCP on 127.0.0.1 at ports that the kernel chose.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_TESTING_SIM_H
#define GW_TESTING_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "config/config.h"
#include "net/addr.h"

#define SIM_ERR_SIZE 512
#define SIM_PATIENCE 10000 /* ms of real time in which a settle must end */
#define SIM_SEND_BUF 16384 /* bytes that a socket holds for a client */

struct sim;

/* Bind the ports of the register and of so many gateways. NULL with a line in
 * err. sim_free() ends it. */
struct sim *sim_new(size_t gateways, char err[SIM_ERR_SIZE]);
void sim_free(struct sim *s);

/* The sim that a loop belongs to. */
struct sim *sim_of(const uv_loop_t *loop);
void *sim_arg(const struct sim *s);

/* For the configuration: they must be written in it. */
uint16_t sim_register_port(const struct sim *s);
uint16_t sim_client_port(const struct sim *s, size_t gateway);
uint16_t sim_inner_port(const struct sim *s, size_t gateway);

/* Scripts see this port as the one that the gateway's clients connected to.
 * Before the gateway is opened. */
void sim_show_port(struct sim *s, size_t gateway, uint16_t port);

/* Begin all roles; c becomes the sim's. wall is the time on the wall, in
 * seconds since 1970. arg: see sim_arg(). 0, or -errno with a line in err. */
int sim_start(struct sim *s, struct config *c, double wall, void *arg,
    char err[SIM_ERR_SIZE]);

/* Let the roles do all that they can do without time. 0, or -ETIMEDOUT: they do
 * not come to rest. */
int sim_settle(struct sim *s);

/* Has everybody that runs a link to everybody, and none to who is gone? */
bool sim_is_together(const struct sim *s);

/* One turn of the loop; false when nothing is left to do. */
bool sim_turn(struct sim *s);

/* Move the clock to when the next timer is due, but at most by max_ms; what is
 * due runs in the next sim_settle(). Returns by how much. */
uint64_t sim_step(struct sim *s, uint64_t max_ms);
double sim_wall(const struct sim *s);

/* Roles die at once, as with kill -9, and come back as new ones. The names of
 * those there are: gateways from 0, workers of all kinds from 0. */
size_t sim_gateways(const struct sim *s);
size_t sim_workers(const struct sim *s);
size_t sim_kinds(const struct sim *s);
const struct worker_conf *sim_worker_conf(
    const struct sim *s, size_t i, unsigned *index);
bool sim_has_gateway(const struct sim *s, size_t i);
bool sim_has_worker(const struct sim *s, size_t i);
void sim_kill_gateway(struct sim *s, size_t i);
void sim_kill_worker(struct sim *s, size_t i);
int sim_open_gateway(struct sim *s, size_t i, char err[SIM_ERR_SIZE]);
void sim_open_worker(struct sim *s, size_t i);

/* Begin the programs, once there is somebody to meet. */
void sim_open_programs(struct sim *s);

/* Let all workers end in an orderly way, and programs at once. */
void sim_stop_workers(struct sim *s);

/* Is a worker still loading its script, or ending? */
bool sim_is_busy(const struct sim *s);

/* Why a worker's script could not be loaded; NULL: all could. */
const char *sim_failure(const struct sim *s);

/* Workers of this kind run this text from now on instead of what is in the
 * script's file; NULL: the file. Borrowed. */
void sim_set_script(struct sim *s, size_t kind, const char *text);

/* Prepare the scripts in all workers, or in those of one kind; sim_is_busy()
 * until that has ended. Then sim_verdict() commits, or aborts and returns why,
 * valid until the next reload. */
#define SIM_ALL_KINDS SIZE_MAX
void sim_prepare(struct sim *s, size_t kind);
const char *sim_verdict(struct sim *s);

/* A client's end of a connection that gateway i takes as coming from peer.
 * Or -errno. The caller closes it. Its number is how many there were so far,
 * from 1. */
int sim_connect(struct sim *s, size_t i, const union addr *peer);

/* The next client that gateway i has let in since the last call: its client_id
 * and its number. False: no more. */
#define SIM_ID_SIZE 21
bool sim_newcomer(
    struct sim *s, size_t i, char id[SIM_ID_SIZE], size_t *number);

#endif /* GW_TESTING_SIM_H */

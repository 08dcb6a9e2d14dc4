/* gwrun kick, gwrun ban and gwrun drain: orders of the operator about clients
 * of this machine's gateways, handed to all of them by the master. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/instance.h"
#include "net/addr.h"
#include "wire/client_id.h"
#include "wire/ctlmsg.h"

#define ORDER_TIMEOUT 15.0  /* seconds; more than the master gives gateways */
#define BAN_SECONDS   3600  /* when none are given */
#define BAN_MAX       3.2e8 /* seconds; ten years */

static const char kick_help[] =
    "usage: gwrun kick [--json] [-c FILE] ID | --uid UID | --group GROUP | --ip "
    "NET\n\n"
    "Close the clients of this machine's gateways for which all that is given\n"
    "holds: a client id, a uid, a group, an address or network. They may come\n"
    "back; gwrun ban keeps them out. Exit status 1 when there is none.\n\n"
    "  --uid UID          those with this uid\n"
    "  --group GROUP      those in this group\n"
    "  --ip NET           those from this address or network (10.0.0.0/8)\n"
    "  -j, --json         how many, for programs\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

static const char ban_help[] =
    "usage: gwrun ban [--json] [-c FILE] ID | UID | ADDRESS | --uid UID "
    "[SECONDS]\n\n"
    "Close a uid's clients and refuse the uid for some time (an hour), or an\n"
    "address (of IPv6: its /64), or the address that a client id has now. A uid\n"
    "that looks like one of the others needs --uid. With 0 SECONDS the ban is\n"
    "lifted. It holds on this machine's gateways until gwrun stops.\n\n"
    "  --uid UID          a uid, whatever it looks like\n"
    "  -j, --json         how many were closed, for programs\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

static const char drain_help[] =
    "usage: gwrun drain [--undo] [--json] [-c FILE] NAME\n\n"
    "The gateway of that name takes no new clients, in all its processes; those\n"
    "that are there stay. gwrun status shows it as draining, and how many are\n"
    "left. It lasts until --undo, or until gwrun stops.\n\n"
    "  --undo             take new clients again\n"
    "  -j, --json         the answer, for programs\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

json_t *cli_pick(const struct cli_options *o, const char *client_id)
{
    struct addr_net net;
    json_t *pick;

    if (o->ip && addr_net_parse(&net, o->ip) < 0) {
        cli_error(
            "--ip: \"%s\" is no address and no network such as 10.0.0.0/8",
            o->ip);
        return NULL;
    }
    pick = json_pack("{s:s*,s:s*,s:s*,s:s*}", "client_id", client_id, "uid",
        o->uid, "group", o->group, "ip", o->ip);
    if (!pick)
        cli_error("uid or group is not UTF-8");
    return pick;
}

static bool is_client_id(const char *text)
{
    struct client_id id;

    return client_id_parse(&id, text, strlen(text)) == 0;
}

/* Give an order (takes the reference). The answer, or NULL with the reason on
 * stderr. */
static json_t *give(struct instance *in, json_t *order)
{
    json_t *m = instance_ask(in, order, ORDER_TIMEOUT);
    const char *wrong = m ? ctlmsg_string(m, "message", NULL) : NULL;
    long long unanswered = m ? (long long)ctlmsg_int(m, "unanswered", 0) : 0;

    if (!wrong && unanswered == 0)
        return m;
    if (wrong)
        cli_error("a gateway refused: %s", wrong);
    else
        cli_error("%lld gateways did not answer", unanswered);
    json_decref(m);
    return NULL;
}

static void print_json(const json_t *m)
{
    json_t *shown = json_pack("{s:I,s:I}", "clients",
        (json_int_t)ctlmsg_int(m, "clients", 0), "gateways",
        (json_int_t)ctlmsg_int(m, "gateways", 0));

    cli_print_json(shown, JSON_COMPACT);
    json_decref(shown);
}

static void print_closed(const json_t *m, const struct cli_options *o)
{
    long long n = (long long)ctlmsg_int(m, "clients", 0);

    if (o->json)
        print_json(m);
    else
        printf("%lld client%s closed\n", n, n == 1 ? "" : "s");
}

static int kick(struct instance *in, const struct cli_options *o)
{
    const char *id = o->nwords > 0 ? o->words[0] : NULL;
    json_t *order, *m;
    bool any;

    if (!id && !o->uid && !o->group && !o->ip) {
        cli_error("kick: say whom; gwrun help kick tells more");
        return CLI_WRONG;
    }
    if (id && !is_client_id(id)) {
        cli_error("kick: \"%s\" is no client id; is it a --uid?", id);
        return CLI_WRONG;
    }
    order = cli_pick(o, id);
    if (!order)
        return CLI_WRONG;
    json_object_set_new(order, "type", json_string("order"));
    json_object_set_new(order, "do", json_string("kick"));
    m = give(in, order);
    if (!m)
        return CLI_FAILED;
    any = ctlmsg_int(m, "clients", 0) > 0;
    print_closed(m, o);
    json_decref(m);
    return any ? CLI_DONE : CLI_FAILED;
}

int cmd_kick(int argc, char **argv)
{
    return instance_command(argc, argv, "cjUGI", 1, kick_help, kick);
}

/* The address that a client comes from now. */
static bool find_address(
    struct instance *in, const char *client_id, char host[ADDR_TEXT_SIZE])
{
    json_t *m = instance_ask(in,
        json_pack("{s:s,s:s}", "type", "connections", "client_id", client_id),
        ORDER_TIMEOUT);
    bool found = false;

    while (m && strcmp(ctlmsg_type(m), "connections_end") != 0) {
        const json_t *row = json_array_get(json_object_get(m, "rows"), 0);
        union addr a;

        if (row && addr_parse(&a, ctlmsg_string(row, "peer", "")) == 0) {
            addr_format_host(host, &a);
            found = true;
        }
        json_decref(m);
        m = instance_next(in, ORDER_TIMEOUT);
    }
    if (m && !found)
        cli_error("ban: no client here has the id %s", client_id);
    json_decref(m);
    return found;
}

/* Whole or not, from 0; -1: it is no number of seconds. */
static double read_seconds(const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    return end != text && *end == '\0' && seconds >= 0 && seconds <= BAN_MAX
               ? seconds
               : -1;
}

/* Sets "uid" or "address" of the order. Exit status. */
static int set_target(struct instance *in, const struct cli_options *o,
    const char *target, json_t *order)
{
    char host[ADDR_TEXT_SIZE];
    union addr a;

    if (!target) {
        json_object_set_new(order, "uid", ctlmsg_text(o->uid));
        return CLI_DONE;
    }
    if (addr_parse_host(&a, target) == 0)
        addr_format_host(host, &a);
    else if (!is_client_id(target)) {
        json_object_set_new(order, "uid", ctlmsg_text(target));
        return CLI_DONE;
    } else if (!find_address(in, target, host))
        return CLI_FAILED;
    json_object_set_new(order, "address", json_string(host));
    return CLI_DONE;
}

static void print_ban(
    const json_t *order, const json_t *m, const struct cli_options *o)
{
    double seconds = json_number_value(json_object_get(order, "seconds"));
    const char *uid = ctlmsg_string(order, "uid", NULL);

    if (o->json)
        print_json(m);
    else if (seconds <= 0)
        printf("%s %s is let in again\n", uid ? "uid" : "address",
            uid ? uid : ctlmsg_string(order, "address", ""));
    else
        printf("%s %s is banned for %.0f s; %lld closed\n",
            uid ? "uid" : "address",
            uid ? uid : ctlmsg_string(order, "address", ""), seconds,
            (long long)ctlmsg_int(m, "clients", 0));
}

static int ban(struct instance *in, const struct cli_options *o)
{
    const char *target = !o->uid && o->nwords > 0 ? o->words[0] : NULL;
    const char *time =
        o->nwords > (target ? 1 : 0) ? o->words[target ? 1 : 0] : NULL;
    double seconds = time ? read_seconds(time) : BAN_SECONDS;
    json_t *order, *m;
    int status;

    if ((!target && !o->uid) || (o->uid && o->nwords > 1)) {
        cli_error("ban: say whom; gwrun help ban tells more");
        return CLI_WRONG;
    }
    if (seconds < 0) {
        cli_error("ban: \"%s\" is no number of seconds from 0 to %.0f", time,
            BAN_MAX);
        return CLI_WRONG;
    }
    order = json_pack(
        "{s:s,s:s,s:f}", "type", "order", "do", "ban", "seconds", seconds);
    status = set_target(in, o, target, order);
    m = status == CLI_DONE ? give(in, json_incref(order)) : NULL;
    if (m)
        print_ban(order, m, o);
    else if (status == CLI_DONE)
        status = CLI_FAILED;
    json_decref(m);
    json_decref(order);
    return status;
}

int cmd_ban(int argc, char **argv)
{
    return instance_command(argc, argv, "cjU", 2, ban_help, ban);
}

static int drain(struct instance *in, const struct cli_options *o)
{
    json_t *m;

    if (o->nwords == 0) {
        cli_error("drain: name a gateway; gwrun status lists them");
        return CLI_WRONG;
    }
    m = give(in, json_pack("{s:s,s:s,s:s,s:b}", "type", "order", "do", "drain",
                     "name", o->words[0], "drained", !o->undo));
    if (!m)
        return CLI_FAILED;
    if (o->json)
        print_json(m);
    else
        printf(o->undo ? "%s takes new clients again\n"
                       : "%s takes no new clients; gwrun drain --undo %s ends "
                         "that\n",
            o->words[0], o->words[0]);
    json_decref(m);
    return CLI_DONE;
}

int cmd_drain(int argc, char **argv)
{
    return instance_command(argc, argv, "cju", 1, drain_help, drain);
}

/* gwrun connections: the clients of all gateways, as a table or a JSON object
 * a line. The list comes in parts, each asked for when the one before was
 * printed, so that any number of clients costs neither this process nor a
 * gateway memory for all of them. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/instance.h"
#include "cli/table.h"
#include "wire/ctlmsg.h"

#define LIST_TIMEOUT 15.0 /* seconds between two parts of a long list */

static const char help[] =
    "usage: gwrun connections [--uid UID] [--group GROUP] [--ip NET] [--json] "
    "[-c FILE]\n\n"
    "One line for each client of this machine's gateways, or for those for\n"
    "which all that is given holds.\n\n"
    "  --uid UID          those with this uid\n"
    "  --group GROUP      those in this group\n"
    "  --ip NET           those from this address or network (10.0.0.0/8)\n"
    "  -j, --json         one JSON object a line, for programs\n"
    "  -c, --config FILE  the configuration (" CLI_CONFIG ")\n";

static void add_row(struct table *t, const char *gateway, const json_t *row)
{
    const char *uid = ctlmsg_string(row, "uid", "");

    table_add(t, "%s", ctlmsg_string(row, "client_id", "?"));
    table_add(t, "%s", gateway);
    table_add(t, "%s", ctlmsg_string(row, "peer", "?"));
    table_add(t, "%s", uid[0] ? uid : "-");
    table_add(t, "%lld", (long long)ctlmsg_int(row, "groups", 0));
    table_add(t, "%lld", (long long)ctlmsg_int(row, "bytes_in", 0));
    table_add(t, "%lld", (long long)ctlmsg_int(row, "bytes_out", 0));
    table_add(t, "%lld", (long long)ctlmsg_int(row, "queued", 0));
    table_add(t, "%.1fs", json_number_value(json_object_get(row, "idle")));
    table_add(t, "%.0fs", json_number_value(json_object_get(row, "connected")));
}

static void print_row(json_t *row, const char *gateway)
{
    json_object_set_new(row, "gateway", json_string(gateway));
    cli_print_json(row, JSON_COMPACT | JSON_REAL_PRECISION(10));
}

/* One part of the list. */
static void take_rows(const json_t *m, struct table *t, bool as_json)
{
    char gateway[96];
    json_t *row;
    size_t i;

    snprintf(gateway, sizeof(gateway), "%.64s/%lld",
        ctlmsg_string(m, "name", "?"), (long long)ctlmsg_int(m, "slot", 0));
    json_array_foreach(json_object_get(m, "rows"), i, row)
    {
        if (as_json)
            print_row(row, gateway);
        else
            add_row(t, gateway, row);
    }
}

/* The next part, of whichever gateway; this one's comes for the asking. */
static json_t *ask_for_more(struct instance *in, const json_t *m)
{
    if (!json_is_true(json_object_get(m, "more")))
        return instance_next(in, LIST_TIMEOUT);
    return instance_ask(in,
        json_pack("{s:s,s:I}", "type", "more", "row",
            (json_int_t)ctlmsg_int(m, "row", 0)),
        LIST_TIMEOUT);
}

/* All parts, up to the end. Takes the reference to the question. */
static int collect(
    struct instance *in, json_t *question, struct table *t, bool as_json)
{
    json_t *m = instance_ask(in, question, LIST_TIMEOUT);
    int64_t missing;

    while (m && strcmp(ctlmsg_type(m), "connections_end") != 0) {
        json_t *old = m;

        take_rows(m, t, as_json);
        m = ask_for_more(in, m);
        json_decref(old);
    }
    if (!m)
        return CLI_FAILED;
    missing = ctlmsg_int(m, "unanswered", 0);
    json_decref(m);
    if (missing == 0)
        return CLI_DONE;
    cli_error("the list is not complete: %lld gateways did not answer",
        (long long)missing);
    return CLI_FAILED;
}

static int list(struct instance *in, const struct cli_options *o)
{
    static const char *const heads[] = {"client_id", "gateway", "peer", "uid",
        "groups", "bytes_in", "bytes_out", "queued", "idle", "connected"};
    json_t *question = cli_pick(o, NULL);
    struct table *t;
    int status;

    if (!question)
        return CLI_WRONG;
    json_object_set_new(question, "type", json_string("connections"));
    t = table_new("llllrrrrrr");

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        table_add(t, "%s", heads[i]);
    status = collect(in, question, t, o->json);
    if (!o->json)
        table_print(t, stdout);
    table_free(t);
    return status;
}

int cmd_connections(int argc, char **argv)
{
    return instance_command(argc, argv, "cjUGI", 0, help, list);
}

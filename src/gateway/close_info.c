/* A PHP array of known keys, written in two parts. Both begin with the number
 * of their pairs, one byte, which the head of the array needs. */
#include "gateway/close_info.h"

#include <string.h>

#include "wire/phpser.h"

static void put_text(struct buf *out, const char *text)
{
    phpser_put_string(out, text, strlen(text));
}

/* How many of the groups fit. */
static uint16_t count_fitting(const struct client *c, size_t room)
{
    uint16_t count = 0;

    for (size_t sum = 0; count < c->ngroups; count++) {
        sum += c->groups[count].name->len;
        if (sum > room)
            break;
    }
    return count;
}

void close_info_put_names(struct buf *out, const struct client *c, size_t room)
{
    const struct roster_name *uid = c->uid.name;
    uint16_t count = count_fitting(c, room);

    buf_append_byte(out, 2);
    put_text(out, "uid");
    if (uid)
        phpser_put_string(out, uid->text, uid->len);
    else
        phpser_put_null(out);
    put_text(out, "groups");
    phpser_put_array(out, count);
    for (uint16_t i = 0; i < count; i++) {
        phpser_put_int(out, i);
        phpser_put_string(out, c->groups[i].name->text, c->groups[i].name->len);
    }
    phpser_put_end(out);
}

void close_info_put_end(struct buf *out, const struct client_conn_end *end)
{
    static const struct {
        const char *word, *by;
    } causes[] = {
        [CLIENT_CONN_LEFT] = {"client", "client"},
        [CLIENT_CONN_KICKED] = {"kicked", "script"},
        [CLIENT_CONN_DESTROYED] = {"destroyed", "script"},
        [CLIENT_CONN_TIMEOUT] = {"timeout", "server"},
        [CLIENT_CONN_OVERFLOW] = {"overflow", "server"},
        [CLIENT_CONN_TOO_LARGE] = {"too_large", "server"},
        [CLIENT_CONN_PROTOCOL_ERROR] = {"protocol_error", "server"},
        [CLIENT_CONN_BUSY] = {"busy", "server"},
        [CLIENT_CONN_RESTART] = {"restart", "server"},
        [CLIENT_CONN_EXPELLED] = {"expelled", "operator"},
    };

    buf_append_byte(out, end->reason ? 5 : 4);
    put_text(out, "by");
    put_text(out, causes[end->cause].by);
    put_text(out, "cause");
    put_text(out, causes[end->cause].word);
    put_text(out, "code");
    phpser_put_int(out, end->code);
    put_text(out, "dropped");
    phpser_put_int(out, (int64_t)end->dropped);
    if (end->reason) {
        put_text(out, "reason");
        put_text(out, end->reason);
    }
}

static void put_lost(struct buf *out)
{
    buf_append_byte(out, 2);
    put_text(out, "by");
    put_text(out, "lost");
    put_text(out, "cause");
    put_text(out, "gateway_lost");
}

static void put_nameless(struct buf *out)
{
    buf_append_byte(out, 2);
    put_text(out, "uid");
    phpser_put_null(out);
    put_text(out, "groups");
    phpser_put_array(out, 0);
    phpser_put_end(out);
}

static void put_body(struct buf *out, const struct close_info_part *names,
    const struct close_info_part *end, bool certain)
{
    const uint8_t *a = names->data;
    const uint8_t *b = end->data;

    phpser_put_array(out, (size_t)a[0] + b[0] + (certain ? 0 : 1));
    buf_append(out, a + 1, names->len - 1);
    buf_append(out, b + 1, end->len - 1);
    if (!certain) {
        put_text(out, "certain");
        phpser_put_bool(out, false);
    }
    phpser_put_end(out);
}

void close_info_put(struct buf *out, const struct close_info_part *names,
    const struct close_info_part *end)
{
    put_body(out, names, end, true);
}

bool close_info_put_read(struct buf *out, const struct close_info_part *names,
    const struct close_info_part *end, bool certain)
{
    struct buf nameless = {0}, lost = {0};
    size_t before = out->len;
    bool valid;

    put_nameless(&nameless);
    put_lost(&lost);
    put_body(out,
        names->len > 0 ? names
                       : &(struct close_info_part){nameless.data, nameless.len},
        end->len > 0 ? end : &(struct close_info_part){lost.data, lost.len},
        certain);
    valid = phpser_check(out->data + before, out->len - before) == 0;
    if (!valid)
        out->len = before;
    buf_fini(&nameless);
    buf_fini(&lost);
    return valid;
}

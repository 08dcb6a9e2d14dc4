/* An answer is checked part by part and then as a whole; what is parsed points
 * into the bytes and owns nothing. */
#include "wire/answer.h"

#include <string.h>
#include <strings.h>

#include "wire/bigendian.h"
#include "wire/httphead.h"
#include "wire/phpser.h"

#define STATUS    4 /* bytes of it */
#define PART_HEAD 5 /* bytes in front of a part's own: kind and length */

void answer_put_status(struct buf *out, unsigned status)
{
    put32(buf_extend(out, STATUS), status);
}

static struct answer view(const uint8_t *data, size_t len)
{
    return (struct answer){get32(data), data + STATUS, len - STATUS};
}

struct answer answer_of(const struct buf *bytes)
{
    return view(bytes->data, bytes->len);
}

size_t answer_begin(struct buf *out, enum answer_kind kind)
{
    buf_append_byte(out, (uint8_t)kind);
    put32(buf_extend(out, 4), 0);
    return out->len;
}

size_t answer_end(struct buf *out, size_t start)
{
    size_t len = out->len - start;

    put32(out->data + start - 4, (uint32_t)len);
    return len;
}

void answer_put(
    struct buf *out, enum answer_kind kind, const void *data, size_t len)
{
    size_t start = answer_begin(out, kind);

    buf_append(out, data, len);
    answer_end(out, start);
}

void answer_put_header(struct buf *out, const char *name, size_t name_len,
    const char *value, size_t value_len)
{
    size_t start = answer_begin(out, ANSWER_HEADER);

    buf_append(out, name, name_len);
    buf_append(out, ": ", 2);
    buf_append(out, value, value_len);
    answer_end(out, start);
}

const char *answer_header_fault(const char *name, size_t len)
{
    static const char *const own[] = {"connection", "upgrade", "content-length",
        "transfer-encoding", "trailer", "keep-alive", "proxy-connection"};
    static const char handshake[] = "sec-websocket-";

    if (!httphead_is_token(name, len))
        return "is no name of a header";
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (len == strlen(own[i]) && strncasecmp(name, own[i], len) == 0)
            return "belongs to the connection, which the gateway writes";
    if (len >= strlen(handshake) &&
        strncasecmp(name, handshake, strlen(handshake)) == 0)
        return "belongs to the connection, which the gateway writes";
    return NULL;
}

bool answer_is_value(const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((uint8_t)value[i] < ' ' && value[i] != '\t') || value[i] == 0x7f)
            return false;
    return true;
}

/* Read the part at the front of len bytes. False: the part is not whole. */
static bool read_part(struct answer_part *part, const uint8_t *data, size_t len)
{
    if (len < PART_HEAD || get32(data + 1) > len - PART_HEAD)
        return false;
    *part = (struct answer_part){
        data[0], (const char *)data + PART_HEAD, get32(data + 1)};
    return true;
}

bool answer_next(const struct answer *a, size_t *at, struct answer_part *part)
{
    if (!read_part(part, a->parts + *at, a->len - *at))
        return false;
    *at += PART_HEAD + part->len;
    return true;
}

bool answer_find(
    const struct answer *a, enum answer_kind kind, struct answer_part *part)
{
    for (size_t at = 0; answer_next(a, &at, part);)
        if (part->kind == kind)
            return true;
    return false;
}

size_t answer_count(const struct answer *a, enum answer_kind kind)
{
    struct answer_part part;
    size_t count = 0;

    for (size_t at = 0; answer_next(a, &at, &part);)
        count += part.kind == kind;
    return count;
}

bool answer_is_header(
    const struct answer_part *part, const char *name, struct answer_part *value)
{
    size_t len = strlen(name);

    if (part->kind != ANSWER_HEADER || part->len <= len ||
        part->data[len] != ':' || strncasecmp(part->data, name, len) != 0)
        return false;
    if (value == NULL)
        return true;
    for (len++; len < part->len && part->data[len] == ' ';)
        len++;
    *value =
        (struct answer_part){ANSWER_HEADER, part->data + len, part->len - len};
    return true;
}

bool answer_find_header(
    const struct answer *a, const char *name, struct answer_part *value)
{
    struct answer_part part;

    for (size_t at = 0; answer_next(a, &at, &part);)
        if (answer_is_header(&part, name, value))
            return true;
    return false;
}

bool answer_has_header(const struct answer *a, const char *name)
{
    return answer_find_header(a, name, NULL);
}

static const char *check_header(const struct answer_part *part)
{
    const char *colon =
        part->len > 0 ? memchr(part->data, ':', part->len) : NULL;
    size_t len = colon ? (size_t)(colon - part->data) : 0;

    if (!colon || answer_header_fault(part->data, len))
        return "a header that it may not set";
    if (!answer_is_value(colon, part->len - len))
        return "a header with control characters";
    return NULL;
}

/* Whether part is a name that roster_bind_uid() and roster_join() take. */
static bool is_name(const struct answer_part *part)
{
    return part->len > 0 && part->len <= ANSWER_NAME_MAX &&
           (part->len > 1 || part->data[0] != '0');
}

static bool is_array(const struct answer_part *part)
{
    return part->len > 0 && part->data[0] == 'a' &&
           phpser_check(part->data, part->len) == 0;
}

/* NULL, or what is wrong with this part of an answer. */
static const char *check_part(bool refuses, const struct answer_part *part)
{
    if (part->kind == ANSWER_HEADER)
        return check_header(part);
    if (refuses)
        return part->kind == ANSWER_BODY && part->len <= ANSWER_BODY_MAX
                   ? NULL
                   : "what no refusal has, or too long a body";
    switch (part->kind) {
    case ANSWER_SUBPROTOCOL:
        return httphead_is_token(part->data, part->len)
                   ? NULL
                   : "a subprotocol that is no token";
    case ANSWER_SESSION:
        return is_array(part) ? NULL : "a session that is no array";
    case ANSWER_UID:
    case ANSWER_GROUP:
        return is_name(part) ? NULL : "a uid or group that is no name";
    default:
        return "a part that nobody knows";
    }
}

static const char *check_counts(const struct answer *a)
{
    static const enum answer_kind once[] = {ANSWER_BODY, ANSWER_FILE,
        ANSWER_STREAM, ANSWER_SUBPROTOCOL, ANSWER_SESSION, ANSWER_UID};
    struct answer_part part;
    size_t bytes = 0;

    for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++)
        if (answer_count(a, once[i]) > 1)
            return "twice what there may be once";
    for (size_t at = 0; answer_next(a, &at, &part);)
        if (part.kind == ANSWER_HEADER)
            bytes += part.len;
    if (bytes > ANSWER_HEADERS_LEN_MAX ||
        answer_count(a, ANSWER_HEADER) > ANSWER_HEADERS_MAX)
        return "too many headers";
    return NULL;
}

/* Read the status and walk through the parts. */
static const char *parse(struct answer *a, const uint8_t *data, size_t len,
    const char *(*check)(
        const struct answer *a, const struct answer_part *part))
{
    struct answer_part part;
    size_t at = 0;

    if (len < STATUS)
        return "no status";
    *a = view(data, len);
    while (at < a->len) {
        const char *fault;

        if (!answer_next(a, &at, &part))
            return "a part that is cut off";
        fault = check(a, &part);
        if (fault)
            return fault;
    }
    return check_counts(a);
}

static const char *check_handshake_part(
    const struct answer *a, const struct answer_part *part)
{
    return check_part(a->status != 0, part);
}

const char *answer_parse(struct answer *a, const uint8_t *data, size_t len)
{
    const char *fault = parse(a, data, len, check_handshake_part);

    if (!fault && a->status != 0 &&
        (a->status < ANSWER_STATUS_MIN || a->status > ANSWER_STATUS_MAX))
        return "a status that there is not";
    return fault;
}

static const char *check_reply_part(
    const struct answer *a, const struct answer_part *part)
{
    if (part->kind == ANSWER_BODY || part->kind == ANSWER_STREAM)
        return NULL;
    if (part->kind == ANSWER_FILE)
        return part->len == 0 || memchr(part->data, '\0', part->len)
                   ? "a file without a name"
                   : NULL;
    return part->kind == ANSWER_SUBPROTOCOL ? "what no answer has"
                                            : check_part(false, part);
}

/* NULL, or what keeps it from being an event stream, or from beginning as one.
 */
static const char *check_stream(const struct answer *a)
{
    size_t begins = answer_count(a, ANSWER_SESSION) +
                    answer_count(a, ANSWER_UID) + answer_count(a, ANSWER_GROUP);

    if (answer_count(a, ANSWER_STREAM) == 0)
        return begins > 0 ? "what only a client has" : NULL;
    return a->status != 200 || answer_count(a, ANSWER_BODY) > 0 ||
                   answer_count(a, ANSWER_FILE) > 0
               ? "an event stream with a status, a body or a file"
               : NULL;
}

static const char *check_file(const struct answer *a)
{
    return answer_count(a, ANSWER_FILE) > 0 && answer_count(a, ANSWER_BODY) > 0
               ? "both a file and a body"
               : NULL;
}

const char *answer_parse_reply(
    struct answer *a, const uint8_t *data, size_t len)
{
    const char *fault = parse(a, data, len, check_reply_part);

    if (!fault)
        fault = check_stream(a);
    if (!fault)
        fault = check_file(a);
    if (!fault &&
        (a->status < ANSWER_REPLY_MIN || a->status > ANSWER_STATUS_MAX))
        return "a status that there is not";
    return fault;
}

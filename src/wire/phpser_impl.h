/* phpser_impl.h - what the files of phpser know of each other.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_WIRE_PHPSER_IMPL_H
#define GW_WIRE_PHPSER_IMPL_H

#include "wire/phpser.h"

#define PHPSER_ELEMENT_MIN 6 /* bytes: "i:0;N;" */

/* Tokens to come of each open array or object: a key when even, else its
 * value. Begins as {.begun = false}; the rest need not be set. */
struct phpser_levels {
    bool begun;
    size_t depth;
    uint32_t left[PHPSER_SKIP_MAX];
};

/* What of some texts was copied to where in another. */
struct phpser_copies {
    struct phpser_text {
        const uint8_t *data; /* borrowed; one valid value */
        size_t len;
    } from[2];
    struct buf list; /* owned; struct phpser_copy, in the order of to */
};

#define PHPSER_TEXT_ZERO "s:1:\"0\";" /* a key; see phpser_put_key() */

static inline bool phpser_is_text_zero(const struct phpser_token *key)
{
    return key->type == PHPSER_STRING && key->string.len == 1 &&
           key->string.data[0] == '0';
}

static inline size_t phpser_bytes_left(const struct phpser_reader *r)
{
    return (size_t)(r->end - r->at);
}

/* phpser.c: pass text; 0 or -EPROTO. */
int phpser_expect(struct phpser_reader *r, const char *text);

/* phpser.c: digits up to limit. Leading zeros are allowed, as in PHP. 0 or
 * -EPROTO. */
int phpser_digits(struct phpser_reader *r, uint64_t *out, uint64_t limit);

/* phpser.c: the tag and what follows it; an array's head only, but all of what
 * is opaque. 0 or as phpser_next(). */
int phpser_token(struct phpser_reader *r, struct phpser_token *t);

/* phpser_skip.c: pass one whole value of any kind. 0, -EPROTO or -E2BIG. */
int phpser_skip(struct phpser_reader *r);

/* phpser_skip.c: the next of a value and all those inside it, where *value
 * begins; of an array or object the head is passed only. > 0, 0 at the end, or
 * as phpser_skip(). */
int phpser_walk(struct phpser_reader *r, struct phpser_levels *levels,
    const uint8_t **value);

/* phpser_refs.c: part of c->from[text] was copied to offset to. */
void phpser_copied(struct phpser_copies *c, int text, const uint8_t *part,
    size_t len, size_t to);

/* phpser_refs.c: what was copied so far went so many bytes towards the start.
 */
void phpser_moved_up(struct phpser_copies *c, size_t by);

/* phpser_refs.c: give the references in the text that begins at start of out
 * the numbers that what they mean has there. c holds offsets behind start. 0;
 * -ENOTSUP when that was not copied, or not to before them, or when nobody can
 * know the numbers; -E2BIG. On failure out is as it was. */
int phpser_renumber(
    struct buf *out, size_t start, const struct phpser_copies *c);

#endif /* GW_WIRE_PHPSER_IMPL_H */

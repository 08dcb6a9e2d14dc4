/* handle.h - the end of a libuv handle.
 *
 * A handle that was initialised is libuv's until its close callback has run, on
 * a later turn: what it lies in is freed by then and not before.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef GW_NET_HANDLE_H
#define GW_NET_HANDLE_H

/* Close a handle of any type. No callback of it runs any more; once libuv has
 * let go of it, memory is freed: the handle itself, or what it lies in. The
 * handle's data belongs to this call from now on. */
void handle_close(void *handle, void *memory);

/* The same for memory in which two handles lie. */
void handle_close_both(void *a, void *b, void *memory);

#endif /* GW_NET_HANDLE_H */

/* A job is owned by its state until it is computed; a state that closes leaves
 * running jobs to themselves, because a thread cannot be stopped. Passwords
 * and keys are wiped when a job is freed. */
#include "lualib/lscrypt.h"

#include <errno.h>
#include <lauxlib.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "lualib/lnumber.h"
#include "lualib/lvalue.h"
#include "util/alloc.h"
#include "util/list.h"
#include "worker/coro.h"
#include "worker/vm.h"

#define SALT_MAX 64 /* bytes */
#define KEY_LEN  32
#define N_MAX    (1 << 20) /* these keep the memory below from overflowing … */
#define R_P_MAX  99        /* … and the time within seconds */

/* One per state, a userdata: upvalue 1 of the function. */
struct lscrypt {
    struct vm_hook hook;
    uv_loop_t *loop;     /* borrowed */
    struct list running; /* of jobs, in threads */
    struct list waiting; /* of jobs */
    size_t nrunning;
    size_t nwaiting;
};

struct job {
    uv_work_t work;
    struct list node;      /* in owner's running or waiting */
    struct lscrypt *owner; /* borrowed; NULL once its state is closed */
    struct coro *co;       /* borrowed; NULL when nobody waits any more */
    bool started;
    uint64_t n, r, p;
    char password[LSCRYPT_PASSWORD_MAX];
    size_t password_len;
    unsigned char salt[SALT_MAX];
    size_t salt_len;
    unsigned char key[KEY_LEN];
    bool done;
};

static void free_job(struct job *j)
{
    OPENSSL_cleanse(j, sizeof(*j));
    free(j);
}

/* In a thread of libuv's: touches nothing but the job. */
static void compute(uv_work_t *work)
{
    struct job *j = work->data;

    j->done = EVP_PBE_scrypt(j->password, j->password_len, j->salt, j->salt_len,
                  j->n, j->r, j->p, LSCRYPT_MEMORY_MAX, j->key, KEY_LEN) == 1;
    ERR_clear_error();
}

static void start_waiting(struct lscrypt *ls);

static void on_computed(uv_work_t *work, int status)
{
    struct job *j = work->data;

    if (j->owner) {
        list_remove(&j->node);
        j->owner->nrunning--;
        start_waiting(j->owner);
    }
    if (j->co)
        coro_wake(j->co); /* finish_key() reads the key before this returns */
    free_job(j);
}

static void start_waiting(struct lscrypt *ls)
{
    while (ls->nrunning < LSCRYPT_RUNNING_MAX && !list_empty(&ls->waiting)) {
        struct job *j = LIST_ENTRY(ls->waiting.next, struct job, node);

        list_remove(&j->node);
        ls->nwaiting--;
        list_push_back(&ls->running, &j->node);
        ls->nrunning++;
        j->started = true;
        uv_queue_work(ls->loop, &j->work, compute, on_computed);
    }
}

static void cancel_job(void *op)
{
    struct job *j = op;

    j->co = NULL;
    if (j->started) /* on_computed() frees it */
        return;
    list_remove(&j->node);
    j->owner->nwaiting--;
    free_job(j);
}

/* Runs inside the resume, so what it raises reaches the script. */
static int finish_key(lua_State *L, int status, lua_KContext ctx)
{
    const struct job *j = lua_touserdata(L, -1);

    if (!j->done) {
        lua_pushstring(L, "crypto: the password could not be hashed");
        return lvalue_fail_with(L, -ENOMEM);
    }
    lua_pushlstring(L, (const char *)j->key, KEY_LEN);
    return 1;
}

/* 0, or -errno and what is wrong. */
static int refuse(
    const struct lscrypt *ls, const struct job *j, const char **message)
{
    if (j->password_len > LSCRYPT_PASSWORD_MAX) {
        *message = "crypto: the password has more than 1024 bytes";
        return -EMSGSIZE;
    }
    if (j->salt_len > SALT_MAX || j->n < 2 || j->n > N_MAX || j->r < 1 ||
        j->r > R_P_MAX || j->p < 1 || j->p > R_P_MAX ||
        128 * j->r * (j->n + j->p + 2) > LSCRYPT_MEMORY_MAX) {
        *message = "crypto: salt or costs of the hash are out of range";
        return -EINVAL;
    }
    if (ls->nwaiting >= LSCRYPT_WAITING_MAX) {
        *message = "crypto: too many passwords wait to be hashed";
        return -ENOBUFS;
    }
    return 0;
}

/* scrypt(password, salt, n, r, p) -> 32 bytes | nil, message, code. Yields. */
static int derive_key(lua_State *L)
{
    struct lscrypt *ls = lua_touserdata(L, lua_upvalueindex(1));
    struct job asked = {.owner = ls};
    const char *password = lnumber_checklstring(L, 1, &asked.password_len);
    const char *salt = lnumber_checklstring(L, 2, &asked.salt_len);
    const char *message;
    struct job *j;
    int err;

    asked.n = (uint64_t)luaL_checkinteger(L, 3);
    asked.r = (uint64_t)luaL_checkinteger(L, 4);
    asked.p = (uint64_t)luaL_checkinteger(L, 5);
    asked.co = coro_check(L);
    err = refuse(ls, &asked, &message);
    if (err < 0) {
        lua_pushstring(L, message);
        return lvalue_fail_with(L, err);
    }
    j = xcalloc(1, sizeof(*j));
    *j = asked;
    j->work.data = j;
    memcpy(j->password, password, j->password_len);
    memcpy(j->salt, salt, j->salt_len);
    list_push_back(&ls->waiting, &j->node);
    ls->nwaiting++;
    start_waiting(ls);
    lua_pushlightuserdata(L, j);
    return coro_await(L, j->co, cancel_job, j, finish_key);
}

/* What threads still compute is for nobody. */
static void on_vm_close(struct vm_hook *hook)
{
    struct lscrypt *ls = LIST_ENTRY(hook, struct lscrypt, hook);
    struct list *node, *tmp;

    LIST_FOREACH_SAFE (node, tmp, &ls->running) {
        list_remove(node);
        LIST_ENTRY(node, struct job, node)->owner = NULL;
    }
}

void lscrypt_push(lua_State *L)
{
    struct lscrypt *ls = lua_newuserdatauv(L, sizeof(*ls), 0);

    memset(ls, 0, sizeof(*ls));
    ls->hook.run = on_vm_close;
    ls->loop = turn_loop(vm_turn(vm_of(L)));
    list_init(&ls->running);
    list_init(&ls->waiting);
    lua_pushvalue(L, -1); /* it lives as long as the state */
    lua_rawsetp(L, LUA_REGISTRYINDEX, ls);
    vm_at_close(vm_of(L), &ls->hook);
    lua_pushcclosure(L, derive_key, 1);
}

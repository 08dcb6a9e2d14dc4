/* steady.c - what bench/count loads before gwrun (LD_PRELOAD), so that two runs
 * execute the same instructions.
 *
 * Hash tables are seeded with the same bytes each time: gwrun asks getrandom(),
 * Lua time(). The program itself has no switch for that, which somebody could
 * find. malloc() and free() take the same path whatever the heap looks like:
 * libc's takes a tenth of a message more or less, as the order wants in which
 * things were allocated at the start. And gateway and worker run under
 * callgrind: the master would take them from /proc/self/exe.
 *
 * SPDX-License-Identifier: MIT
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define SECOND   1767225600 /* 2026-01-01 */
#define OWN_ARGS 6          /* what goes in front of a child's arguments */
#define ARGS_MAX 32

/* The heap: blocks of 64 bytes times a power of two or three halves of one,
 * each kind in a list when it is free. What users get begins 16 bytes into its
 * block, so that copying takes the same path, too. */
#define HEAP_SIZE  ((size_t)4 << 30) /* of addresses; pages come with use */
#define BLOCK_UNIT 64
#define BLOCK_HEAD 16
#define KINDS      64

struct block {
    size_t kind;
    struct block *next; /* when free */
};

static char *heap, *heap_end;
static struct block *free_blocks[KINDS];
static char lock; /* libuv and OpenSSL may have threads */

static size_t kind_size(size_t kind)
{
    size_t base = (size_t)BLOCK_UNIT << (kind / 2);

    return kind & 1 ? base + base / 2 : base;
}

static size_t kind_of(size_t size)
{
    size_t units = (size + BLOCK_HEAD + BLOCK_UNIT - 1) / BLOCK_UNIT;
    size_t power = units < 2 ? 0 : 64 - (size_t)__builtin_clzl(units - 1);

    /* half a unit is none */
    return power >= 2 && units <= (size_t)3 << (power - 2) ? 2 * power - 1
                                                           : 2 * power;
}

static struct block *carve(size_t kind)
{
    size_t size = (kind_size(kind) + BLOCK_UNIT - 1) / BLOCK_UNIT * BLOCK_UNIT;
    struct block *b;

    if (!heap) {
        heap = mmap(NULL, HEAP_SIZE, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (heap == MAP_FAILED)
            abort();
        heap_end = heap + HEAP_SIZE;
    }
    if ((size_t)(heap_end - heap) < size)
        abort();
    b = (struct block *)heap;
    heap += size;
    b->kind = kind;
    return b;
}

void *malloc(size_t size)
{
    size_t kind = kind_of(size);
    struct block *b;

    if (size > HEAP_SIZE / 4) {
        errno = ENOMEM;
        return NULL;
    }
    while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE))
        sched_yield();
    b = free_blocks[kind];
    if (b)
        free_blocks[kind] = b->next;
    else
        b = carve(kind);
    __atomic_clear(&lock, __ATOMIC_RELEASE);
    return (char *)b + BLOCK_HEAD;
}

void free(void *ptr)
{
    struct block *b = (struct block *)((char *)ptr - BLOCK_HEAD);

    if (!ptr)
        return;
    while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE))
        sched_yield();
    b->next = free_blocks[b->kind];
    free_blocks[b->kind] = b;
    __atomic_clear(&lock, __ATOMIC_RELEASE);
}

void *calloc(size_t count, size_t size)
{
    size_t all;
    void *ptr;

    if (__builtin_mul_overflow(count, size, &all)) {
        errno = ENOMEM;
        return NULL;
    }
    ptr = malloc(all);
    return ptr ? memset(ptr, 0, all) : NULL;
}

void *realloc(void *ptr, size_t size)
{
    size_t kind = kind_of(size);
    size_t old;
    void *more;

    if (!ptr)
        return malloc(size);
    old = ((struct block *)((char *)ptr - BLOCK_HEAD))->kind;
    if (old == kind)
        return ptr;
    more = malloc(size);
    if (!more)
        return NULL;
    old = kind_size(old) - BLOCK_HEAD;
    memcpy(more, ptr, old < size ? old : size);
    free(ptr);
    return more;
}

/* Nobody here asks for more than malloc() gives anyway: 16 bytes. */
void *aligned_alloc(size_t alignment, size_t size)
{
    return alignment <= BLOCK_HEAD ? malloc(size) : NULL;
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    *out = aligned_alloc(alignment, size);
    return *out ? 0 : ENOMEM;
}

size_t malloc_usable_size(void *ptr)
{
    struct block *b = (struct block *)((char *)ptr - BLOCK_HEAD);

    return ptr ? kind_size(b->kind) - BLOCK_HEAD : 0;
}

ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
    (void)flags;
    memset(buf, 0x5a, len);
    return (ssize_t)len;
}

time_t time(time_t *out)
{
    if (out)
        *out = SECOND;
    return SECOND;
}

/* The role of the child that these arguments start, or NULL. */
static const char *measured_role(char *const argv[])
{
    for (size_t i = 0; argv[i] && argv[i + 1]; i++)
        if (strcmp(argv[i], "child") == 0)
            return strcmp(argv[i + 1], "register") != 0 ? argv[i + 1] : NULL;
    return NULL;
}

int execvp(const char *file, char *const argv[])
{
    int (*real)(const char *, char *const[]) = dlsym(RTLD_NEXT, "execvp");
    const char *role = measured_role(argv);
    char out[512];
    char *args[OWN_ARGS + ARGS_MAX] = {"valgrind", "-q", "--tool=callgrind",
        "--compress-strings=no", out, getenv("COUNT_PROGRAM")};
    size_t n = 0;

    if (!role)
        return real(file, argv);
    snprintf(out, sizeof(out), "--callgrind-out-file=%s/%s",
        getenv("COUNT_OUT"), role);
    while (argv[n + 1] && n < ARGS_MAX - 1) {
        args[OWN_ARGS + n] = argv[n + 1];
        n++;
    }
    return real(args[0], args);
}

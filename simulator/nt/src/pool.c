/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Pool: host memory behind a header with the tag, and guard bytes behind it. A table of live blocks, so that
 * a wrong pointer given to the free is found without being followed. Up to DISPATCH_LEVEL.
 */
#include <stdlib.h>
#include <string.h>

#include "nt.h"

#define NT_POOL_GUARD       0xFD
#define NT_POOL_GUARD_BYTES 16u

struct nt_pool_header {
    _Alignas(16) struct nt_pool_header *next;
    size_t bytes;
    uint32_t tag;
    POOL_TYPE type;
};

static struct nt_pool_header **pool_bucket(struct aero_nt *nt, const void *address)
{
    uintptr_t hash = (uintptr_t)address >> 4;

    return &nt->pool[(hash ^ hash >> 8) % NT_POOL_BUCKETS];
}

static bool guard_intact(const struct nt_pool_header *header)
{
    const unsigned char *guard = (const unsigned char *)(header + 1) + header->bytes;
    uint32_t index;

    for (index = 0; index < NT_POOL_GUARD_BYTES && guard[index] == NT_POOL_GUARD; index++) {
    }
    return index == NT_POOL_GUARD_BYTES;
}

/* "Aero" for 'oreA': the four characters in memory order, as debuggers show them. */
static const char *tag_text(ULONG tag, char text[5])
{
    uint32_t index;

    for (index = 0; index < 4; index++) {
        char character = (char)(tag >> 8 * index & 0x7F);

        text[index] = character >= ' ' && character < 0x7F ? character : '.';
    }
    text[4] = 0;
    return text;
}

PVOID NTAPI ExAllocatePoolWithTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    struct nt_pool_header *header;
    struct nt_pool_header **bucket;

    if (cpu == NULL) {
        return NULL;
    }
    nt_irql_at_most(cpu, PoolType == PagedPool ? APC_LEVEL : DISPATCH_LEVEL, __func__);
    if (Tag == 0) {
        NT_BREACH(cpu, "POOL-TAG", Tag, "the tag is zero");
    }
    if (NumberOfBytes > SIZE_MAX / 2) {
        return NULL;
    }
    header = malloc(sizeof *header + NumberOfBytes + NT_POOL_GUARD_BYTES);
    if (header == NULL) {
        return NULL;
    }
    header->bytes = NumberOfBytes;
    header->tag = Tag;
    header->type = PoolType;
    memset(header + 1, NT_FILL_NEW, NumberOfBytes);
    memset((unsigned char *)(header + 1) + NumberOfBytes, NT_POOL_GUARD, NT_POOL_GUARD_BYTES);

    sim_os_lock_acquire(&cpu->nt->lock);
    if (nt_allocation_begin(cpu->nt)) {
        bucket = pool_bucket(cpu->nt, header + 1);
        header->next = *bucket;
        *bucket = header;
        cpu->nt->live++;
    } else {
        free(header);
        header = NULL;
    }
    sim_os_lock_release(&cpu->nt->lock);
    return header != NULL ? header + 1 : NULL;
}

static struct nt_pool_header *pool_remove(struct aero_nt *nt, const void *address, bool *before_out)
{
    struct nt_pool_header **link;
    struct nt_pool_header *header;

    sim_os_lock_acquire(&nt->lock);
    link = pool_bucket(nt, address);
    while (*link != NULL && (const void *)(*link + 1) != address) {
        link = &(*link)->next;
    }
    header = *link;
    *before_out = nt_freed_before(nt, address);
    if (header != NULL) {
        *link = header->next;
        nt->live--;
        nt_freed_note(nt, address);
    }
    sim_os_lock_release(&nt->lock);
    return header;
}

VOID NTAPI ExFreePoolWithTag(PVOID P, ULONG Tag)
{
    struct nt_cpu *cpu = nt_cpu_current(__func__);
    struct nt_pool_header *header;
    char wanted[5];
    char given[5];
    bool before;

    if (cpu == NULL) {
        return;
    }
    header = pool_remove(cpu->nt, P, &before);
    if (header == NULL) {
        NT_BREACH(cpu, "POOL-FREE", (uintptr_t)P, "%p is %s", P, before ? "freed already" : "no pool block");
        return;
    }
    nt_irql_at_most(cpu, header->type == PagedPool ? APC_LEVEL : DISPATCH_LEVEL, __func__);
    if (header->tag != Tag) {
        NT_BREACH(cpu, "POOL-TAG", Tag, "freed as '%s', allocated as '%s'", tag_text(Tag, given),
                  tag_text(header->tag, wanted));
    }
    if (!guard_intact(header)) {
        NT_BREACH(cpu, "POOL-OVERRUN", header->bytes, "bytes behind a block of %llu ('%s') were written",
                  (unsigned long long)header->bytes, tag_text(header->tag, wanted));
    }
    memset(header + 1, NT_FILL_FREED, header->bytes);
    free(header);
}

void nt_pool_destroy(struct aero_nt *nt)
{
    uint32_t index;

    for (index = 0; index < NT_POOL_BUCKETS; index++) {
        while (nt->pool[index] != NULL) {
            struct nt_pool_header *header = nt->pool[index];
            char tag[5];

            nt->pool[index] = header->next;
            nt_breach(nt, NULL, "LEAK-POOL", "", "ExAllocatePoolWithTag", header->bytes,
                      "%llu bytes of '%s' not freed", (unsigned long long)header->bytes,
                      tag_text(header->tag, tag));
            free(header);
        }
    }
}

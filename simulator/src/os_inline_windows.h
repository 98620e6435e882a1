/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The part of os.h that must be inlined, for Windows. Included by os.h alone. gcc 12 emulates _Thread_local
 * by a call, too slow for the register path, so the pointer lives in a TLS slot of the thread's environment
 * block, as TlsGetValue reads it. windows.h stays out of here: users of this header also see the NT
 * stand-in's types.
 */
#ifndef SIM_OS_INLINE_WINDOWS_H
#define SIM_OS_INLINE_WINDOWS_H

extern unsigned long sim_os_tls_slot; /* below 64, taken before main by os_windows.c */

#ifdef __x86_64__
#define SIM_OS_TEB_TLS_SLOTS 0x1480u
#define SIM_OS_TEB_SEGMENT "%%gs"
#else
#define SIM_OS_TEB_TLS_SLOTS 0xE10u
#define SIM_OS_TEB_SEGMENT "%%fs"
#endif

static inline void *sim_os_tls_get(void)
{
    void *value;
    size_t offset = SIM_OS_TEB_TLS_SLOTS + sim_os_tls_slot * sizeof(void *);

    __asm__ volatile("mov " SIM_OS_TEB_SEGMENT ":(%1), %0" : "=r"(value) : "r"(offset));
    return value;
}

static inline void sim_os_tls_set(void *value)
{
    size_t offset = SIM_OS_TEB_TLS_SLOTS + sim_os_tls_slot * sizeof(void *);

    __asm__ volatile("mov %0, " SIM_OS_TEB_SEGMENT ":(%1)" : : "r"(value), "r"(offset) : "memory");
}

#endif

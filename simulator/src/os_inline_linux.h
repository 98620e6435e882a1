/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The part of os.h that must be inlined, for Linux. Included by os.h alone. */
#ifndef SIM_OS_INLINE_LINUX_H
#define SIM_OS_INLINE_LINUX_H

extern _Thread_local void *sim_os_tls;

static inline void *sim_os_tls_get(void)
{
    return sim_os_tls;
}

static inline void sim_os_tls_set(void *value)
{
    sim_os_tls = value;
}

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Little-endian fields in bytes, which is how requests and device configuration travel, whatever the host's
 * own order and alignment are. For the device models.
 */
#ifndef SIM_BYTES_H
#define SIM_BYTES_H

#include <stdint.h>

static inline uint32_t sim_get_le32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t sim_get_le64(const uint8_t *at)
{
    return sim_get_le32(at) | (uint64_t)sim_get_le32(at + 4) << 32;
}

static inline void sim_put_le32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static inline void sim_put_le64(uint8_t *at, uint64_t value)
{
    sim_put_le32(at, (uint32_t)value);
    sim_put_le32(at + 4, (uint32_t)(value >> 32));
}

#endif

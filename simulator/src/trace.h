/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The trace: a fixed ring of events, taken from any thread without a lock. An event holds no pointer, thread id or time, so
 * that two runs that did the same compare equal.
 */
#ifndef SIM_TRACE_H
#define SIM_TRACE_H

#include "aero_sim.h"

enum sim_trace_kind {
    SIM_TRACE_PCI_READ, /* where = offset, width, value */
    SIM_TRACE_PCI_WRITE,
    SIM_TRACE_BAR_READ,
    SIM_TRACE_BAR_WRITE,
    SIM_TRACE_BUS_RESET, /* the last kind that a replay plays */
    SIM_TRACE_TAKE,    /* where = queue, value = head */
    SIM_TRACE_PUT,     /* where = queue, value = id | length << 32 */
    SIM_TRACE_PUBLISH, /* where = queue, value = used.idx */
    SIM_TRACE_ISR,     /* value = the bits that were set */
    SIM_TRACE_LINE,    /* value = level */
    SIM_TRACE_BREACH,  /* where = queue, value = the offending value */
    SIM_TRACE_KIND_COUNT
};

struct sim_trace;

struct sim_trace *sim_trace_create(uint32_t events); /* a power of two; NULL: no memory */
void sim_trace_destroy(struct sim_trace *trace);
void sim_trace_add(struct sim_trace *trace, enum sim_trace_kind kind, uint32_t where, uint32_t width, uint64_t value);
enum aero_sim_status sim_trace_write(const struct sim_trace *trace, const char *model, FILE *stream);

/*
 * The next bus access of a trace text into *kind_out and the rest; 1 where there is one, 0 at the end, -1 at a line that
 * is no trace line. *line is the number of the line last read.
 */
int sim_trace_read_access(FILE *stream, uint32_t *line, enum sim_trace_kind *kind_out, uint32_t *where_out,
                          uint32_t *width_out, uint64_t *value_out);

#endif

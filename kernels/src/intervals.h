#ifndef DRIFTLINE_INTERVALS_H
#define DRIFTLINE_INTERVALS_H

#include "ledger.h"

/* As in driftline_combiner/intervals.py, whose ENOUGH this is. */
#define ENOUGH_SCORED 100
#define SHARES {0.05, 0.1, 1.0 - 0.9, 1.0 - 0.95}
#define TAU {0.05, 0.1, 0.5, 0.9, 0.95}
#define FIRST_TAIL 2.0
#define URGENCY 40.0
#define URGENT 0.6
#define MISS_MEMORY (1.0 / 300.0)
#define QUICK_MEMORY 0.1
#define AGREEMENT 0.3
#define STEADY 0.5
#define FURTHEST 10.0
#define BOUND 4.0
#define RARE 1e-4
#define RARE_RATE 0.2
#define LEAST_EXTREME 6.0
#define GLITCH 10.0
#define COVERAGE_MEMORY 0.002

/* A forecast of this tick comes: between it and the one before there was no interval. */
void intervals_arrive(const stream_rules *stream, const intervals_table *intervals, int64_t slot, int64_t before,
                      int64_t tick);

/* intervals.judge of one horizon's published error; the first horizon comes first. first_size: the first horizon's.
   anomalous, size: what was found of it. */
void intervals_judge(const horizon_of *of, const intervals_table *intervals, int64_t tick, double error,
                     double first_size, bool *anomalous, double *size);

/* intervals.widths of one horizon. spread: how far what is published is from persistence. around: [levels]. */
void intervals_widths(const horizon_of *of, const intervals_table *intervals, int64_t tick, double published,
                      double spread, double *around);

#endif

#ifndef DRIFTLINE_INPUTS_H
#define DRIFTLINE_INPUTS_H

#include "history.h"
#include <stdbool.h>

/* As in driftline/streams/features.py, layout.py and calendar.py; a test compares them. */
#define BIAS 0.1
#define RLS_LAGS 5
#define FILTER_HOURS 4
#define FILTER_NEIGHBOURS 4
#define CLIP 30.0
#define DAYS 7
#define YEAR_START 13
#define YEAR_STOP 15

/* The arrays of driftline.streams.features.Inputs, in its order. */
typedef struct {
  float *net;
  double *rls, *last, *scale;
  bool *ready;
  double *daily, *weekly, *newest;
} inputs_table;

/* clock: terms of the calendar. nearby: what the neighbours say. days, weeks: how many are looked back on. width, terms:
   of the networks' inputs, and of the filters'. */
typedef struct {
  int64_t lags, columns, horizons, clock, nearby, days, weeks, angles, levels, other_angles, width, terms;
} inputs_sizes;

/* Some of the columns. */
typedef struct {
  const int64_t *angles, *levels, *other_angles;
} inputs_columns;

/* `inputs_of` of features.py without futures: all but `newest` is written. clock: [count, horizons, clock]. */
void inputs_of(const history_snapshot *seen, const inputs_sizes *sizes, const inputs_columns *columns,
               const double *clock, int64_t count, const inputs_table *inputs);

#endif

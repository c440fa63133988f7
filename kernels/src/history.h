#ifndef DRIFTLINE_HISTORY_H
#define DRIFTLINE_HISTORY_H

#include <stdint.h>

/* As in driftline/streams/history.py, layout.py and grid.py; a test compares them. */
#define GLITCH 10.0
#define GLITCH_AFTER 50
#define MEMORIES 5
#define UNKNOWN (-1)

/* The arrays of driftline.streams.history.History, in its order. */
typedef struct {
  int64_t *count, *tick, *start, *phase;
  double *recent;
  float *season;
  double *steady, *before, *offset, *moving, *usual;
} history_table;

/* The arrays of driftline.streams.snapshots.Snapshot, in its order. */
typedef struct {
  int64_t *t, *tick, *count, *age;
  double *recent, *moving, *days, *weeks, *nearby, *usual;
  float *ahead;
} history_snapshot;

/* times: those that are looked back from, which are now and the horizons. days, weeks: how many of each are looked back
   on from each time, or 0. */
typedef struct {
  int64_t lags, columns, remembered, times, days, weeks;
} history_sizes;


/* The ticks of the times `t`; a first record gives the phase of its series. slots, t, tick: [count]. */
void history_ticks(const history_table *history, int64_t period, int64_t count, const int64_t *slots, const int64_t *t,
                   int64_t *tick);

/* Takes in records without neighbours and futures one after the other, and tells of each what its series says then: of
   the snapshot all but t, nearby, usual and ahead is written, and its tick is read. slots: [count]; a slot may come
   several times. values: [count, columns], NaN where missing. memories: [moving]. */
void history_see(const history_table *history, const history_sizes *sizes, const double *memories, int64_t count,
                 const int64_t *slots, const double *values, const int64_t *days_ago, int64_t days_stride,
                 const int64_t *weeks_ago, int64_t weeks_stride, const history_snapshot *seen);

#endif

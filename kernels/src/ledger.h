#ifndef DRIFTLINE_LEDGER_H
#define DRIFTLINE_LEDGER_H

#include "combiner.h"
#include "grid.h"

/* As in driftline_combiner/ledger.py, prequential.py, prior.py and guard.py; a test compares them. */
#define ONLINE 2
#define WINDOW 1
#define STATIC 0
#define REFIT_EVERY 10
#define REFIT_FROM 100
#define LONG_MEMORY 0.0002
#define RECENT 0.01
#define SCALE_MEMORY 0.002
#define GUARD_MARGIN 1.1
#define GUARD_AFTER 50
#define HELD_OUT 20.0
#define PRIOR_RECORDS 500.0
#define MOST_EVIDENCE 60.0
#define SHARED 0.3
#define YOUNG 20.0
#define SMALLEST 1e-4
#define FAINT (-50.0)
#define CUT 5.0
#define WILD 100.0
/* Of each member what the online weights begin from. */
#define PRIOR {0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0}

/* One horizon of one series. */
typedef struct {
  const stream_rules *stream;
  const ledger_table *ledger;
  /* h: which horizon; at: its place in arrays of [slots, horizons]. */
  int64_t slot, h, at;
} horizon_of;

/* Where what was forecast at a tick waits for its truth among the places of all slots, [slots, places]; see
   driftline/streams/horizon_rings.py. */
static inline int64_t waiting_place(const stream_rules *stream, int64_t slot, int64_t h, int64_t tick) {
  return slot * stream->places + stream->begins[h] + ring_place(tick, stream->steps[h] + stream->patience);
}

/* How many ticks between these two are to be cleared in the ring of a horizon. */
static inline int64_t waiting_skipped(const stream_rules *stream, int64_t h, int64_t before, int64_t tick) {
  return skipped(before, tick, stream->steps[h] + stream->patience);
}

/* A forecast of this tick comes: between it and the one before nothing was forecast. */
void ledger_arrive(const stream_rules *stream, const ledger_table *ledger, int64_t slot, int64_t tick);

/* ledger.score: the error of each row, [rows]; returns the usual square before it. */
double ledger_score(const horizon_of *of, int64_t tick, double truth, double *error);

/* ledger.weigh of forecasts, [members]: the published weights, [members], and the blends, [blends], which are
   remembered until their truth comes. `ledger_count` counts the record, once all horizons are weighed. */
void ledger_weigh(const horizon_of *of, const double *forecasts, double *weights, double *blends);
void ledger_count(const ledger_table *ledger, int64_t slot);

#endif

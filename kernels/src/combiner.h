#ifndef DRIFTLINE_COMBINER_H
#define DRIFTLINE_COMBINER_H

#include "expected_truths.h"
#include <stdbool.h>
#include <stdint.h>

/* How many there are, as in driftline.members and driftline.scoring; a test compares them. */
#define MEMBERS 7
#define MODELS 2
#define STRATEGIES 3
#define LEVELS 5
/* What every strategy made of it, and what was published. */
#define BLENDS (STRATEGIES + 1)
/* Members, strategies, and what was published. */
#define ROWS (MEMBERS + BLENDS)
/* The quantiles, and the half width of the extreme interval. */
#define WIDTHS (LEVELS + 1)
#define TAILS 4

/* As driftline_combiner.kernel_blending.StreamRules: what a definition says, the same for all series. */
typedef struct {
  int64_t horizons, places, patience, active, ranged;
  double memory, lowest, highest;
  /* [horizons]: periods ahead, and where the ring of each begins among the places of all. */
  const int64_t *steps, *begins;
  /* fixed: [members]; guard, aim, median, wider, usual: [horizons]; rates: [horizons, TAILS]. */
  const double *fixed, *guard, *aim, *rates, *median, *wider, *usual;
} stream_rules;

/* Each in the order of its dataclass, where the shapes are. */
typedef struct {
  int64_t *count, *since, *tick;
  double *members, *blends, *window, *remote, *fitted, *first, *trust, *regret, *second, *bound, *skills, *reported,
      *successive, *scale, *rivals;
  int64_t *compared;
  bool *guarded;
  double *scored, *squared, *absolute, *naive, *recent;
} ledger_table;

typedef struct {
  double *usual, *spread, *tails, *median, *wider, *excess, *extreme, *widths, *scored, *covered, *recent, *pinball,
      *loss;
} intervals_table;

/* The arrays of driftline_combiner.rounds.ForecastRows, in its order. */
typedef struct {
  const int64_t *slots, *t, *tick;
  const bool *missing;
  const double *observed, *members;
} forecast_rows;

/* As driftline_combiner.rounds.ScoredRound and WeighedRound. */
typedef struct {
  double *error, *scale;
  bool *anomalous;
  double *size, *rivals;
  bool *fallen;
} scored_round;

typedef struct {
  double *weights, *blends, *around, *usual;
  bool *guarded;
} weighed_round;

/* Compares truths, NaN where there is none, with what was forecast of their ticks, and learns from it. slots, tick,
   truth: [count]. The same series may come again: rows are worked off one after the other. */
void combiner_score(const stream_rules *stream, const ledger_table *ledger, const intervals_table *intervals,
                    int64_t count, const int64_t *slots, const int64_t *tick, const double *truth,
                    const scored_round *scored);

/* Blends what was forecast now, whose ticks have arrived. tick: [count]; members: [count, horizons, members]. */
void combiner_weigh(const stream_rules *stream, const ledger_table *ledger, const intervals_table *intervals,
                    int64_t count, const int64_t *slots, const int64_t *tick, const double *members,
                    const weighed_round *weighed);

/* Of each of `count` forecasts: its tick arrives, its truth is scored, and it is blended. */
void combiner_work(const stream_rules *stream, const ledger_table *ledger, const intervals_table *intervals,
                   const truths_table *late, int64_t count, const forecast_rows *rows, const scored_round *scored,
                   const weighed_round *weighed);

#endif

/* The combiner's step over the rows of a batch; see driftline_combiner/blending.py. */

#include "combiner.h"
#include "intervals.h"
#include "ledger.h"
#include "numbers.h"

static horizon_of first_horizon(const stream_rules *stream, const ledger_table *ledger, int64_t slot) {
  return (horizon_of){stream, ledger, slot, 0, slot * stream->horizons};
}

/* out: the place of the row's first horizon in arrays of [rows, horizons]. */
static void score_one(const stream_rules *stream, const ledger_table *ledger, const intervals_table *intervals,
                      int64_t slot, int64_t tick, double truth, const scored_round *scored, int64_t out) {
  horizon_of of = first_horizon(stream, ledger, slot);
  const double *first_error = scored->error + out * ROWS + ROWS - 1;
  for (; of.h < stream->horizons; of.h++, of.at++, out++) {
    bool guarded = ledger->guarded[of.at];
    double *error = scored->error + out * ROWS;
    scored->scale[out] = ledger_score(&of, tick, truth, error);
    intervals_judge(&of, intervals, tick, error[ROWS - 1], fabs(*first_error), scored->anomalous + out,
                    scored->size + out);
    scored->rivals[out * 2] = ledger->rivals[of.at * 2];
    scored->rivals[out * 2 + 1] = ledger->rivals[of.at * 2 + 1];
    scored->fallen[out] = ledger->guarded[of.at] && !guarded;
  }
}

static void weigh_one(const stream_rules *stream, const ledger_table *ledger, const intervals_table *intervals,
                      int64_t slot, int64_t tick, const double *members, const weighed_round *weighed, int64_t out) {
  horizon_of of = first_horizon(stream, ledger, slot);
  for (; of.h < stream->horizons; of.h++, of.at++, out++) {
    const double *forecasts = members + of.h * MEMBERS;
    double *blends = weighed->blends + out * BLENDS;
    ledger_weigh(&of, forecasts, weighed->weights + out * MEMBERS, blends);
    double published = blends[STRATEGIES];
    intervals_widths(&of, intervals, tick, published, fabs(published - forecasts[0]), weighed->around + out * LEVELS);
    weighed->usual[out] = intervals->usual[of.at * 3];
    weighed->guarded[out] = ledger->guarded[of.at];
  }
  ledger_count(ledger, slot);
}

void combiner_score(const stream_rules *stream, const ledger_table *ledger, const intervals_table *intervals,
                    int64_t count, const int64_t *slots, const int64_t *tick, const double *truth,
                    const scored_round *scored) {
  for (int64_t row = 0; row < count; row++)
    score_one(stream, ledger, intervals, slots[row], tick[row], truth[row], scored, row * stream->horizons);
}

void combiner_weigh(const stream_rules *stream, const ledger_table *ledger, const intervals_table *intervals,
                    int64_t count, const int64_t *slots, const int64_t *tick, const double *members,
                    const weighed_round *weighed) {
  for (int64_t row = 0; row < count; row++) {
    int64_t out = row * stream->horizons;
    weigh_one(stream, ledger, intervals, slots[row], tick[row], members + out * MEMBERS, weighed, out);
  }
}

void combiner_work(const stream_rules *stream, const ledger_table *ledger, const intervals_table *intervals,
                   const truths_table *late, int64_t count, const forecast_rows *rows, const scored_round *scored,
                   const weighed_round *weighed) {
  for (int64_t row = 0; row < count; row++) {
    int64_t slot = rows->slots[row], tick = rows->tick[row], out = row * stream->horizons;
    intervals_arrive(stream, intervals, slot, ledger->tick[slot], tick);
    ledger_arrive(stream, ledger, slot, tick);
    bool first;
    truths_expect(late, stream->patience, 1, &slot, &tick, rows->t + row, rows->missing + row, &first);
    score_one(stream, ledger, intervals, slot, tick, first ? rows->observed[row] : NAN, scored, out);
    weigh_one(stream, ledger, intervals, slot, tick, rows->members + out * MEMBERS, weighed, out);
  }
}

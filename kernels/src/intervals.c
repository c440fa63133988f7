/* Intervals that keep their coverage; see driftline_combiner/intervals.py. */

#include "intervals.h"
#include "grid.h"
#include "numbers.h"

static const double shares[TAILS] = SHARES, tau[LEVELS] = TAU;

static double *widths_at(const horizon_of *of, const intervals_table *intervals, int64_t tick) {
  return intervals->widths + waiting_place(of->stream, of->slot, of->h, tick) * WIDTHS;
}

void intervals_arrive(const stream_rules *stream, const intervals_table *intervals, int64_t slot, int64_t before,
                      int64_t tick) {
  for (int64_t h = 0; h < stream->horizons; h++)
    for (int64_t step = 1, last = waiting_skipped(stream, h, before, tick); step <= last; step++) {
      double *widths = intervals->widths + waiting_place(stream, slot, h, before + step) * WIDTHS;
      for (int i = 0; i < WIDTHS; i++) widths[i] = NAN;
    }
}

static bool any_but_nothing(const double *above) {
  for (int i = 0; i < LEVELS; i++)
    if (above[i] != 0.0) return true;
  return false;
}

static void learn_quantiles(const horizon_of *of, const intervals_table *intervals, const double *above, bool missed) {
  double *wider = intervals->wider + of->at, *excess = intervals->excess + of->at, *median = intervals->median + of->at;
  double share = missed - of->stream->aim[of->h], *tails = intervals->tails + of->at * TAILS;
  const double *rates = of->stream->rates + of->h * TAILS;
  const bool beyond[TAILS] = {above[0] > 0.0, above[1] > 0.0, above[LEVELS - 2] < 0.0, above[LEVELS - 1] < 0.0};
  *wider = clipped(*wider + of->stream->wider[of->h] * share, -BOUND, BOUND);
  *excess += MISS_MEMORY * (share - *excess);
  for (int i = 0; i < TAILS; i++)
    tails[i] = clipped(tails[i] * exp(rates[i] * (beyond[i] - shares[i])), exp(-BOUND), exp(BOUND));
  double move = of->stream->median[of->h] * (0.5 * (above[2] < 0.0) - 0.5 * (above[2] > 0.0));
  *median = clipped(*median + move, -FIRST_TAIL, FIRST_TAIL);
}

static double pinball(const double *above) {
  double total = 0.0;
  for (int i = 0; i < LEVELS; i++) total += greater((1.0 - tau[i]) * above[i], -tau[i] * above[i]);
  return total / LEVELS;
}

static void score(const horizon_of *of, const intervals_table *intervals, const double *above) {
  double now = pinball(above), *loss = intervals->loss + of->at;
  intervals->pinball[of->at] += now;
  *loss = isnan(*loss) ? now : *loss + COVERAGE_MEMORY * (now - *loss);
}

static void tally(const horizon_of *of, const intervals_table *intervals, bool missed) {
  double *recent = intervals->recent + of->at;
  intervals->scored[of->at] += 1.0;
  intervals->covered[of->at] += !missed;
  *recent += COVERAGE_MEMORY * (!missed - *recent);
}

/* The moving mean with one more size; NaN of it changes nothing. */
static double followed(double mean, double size, double memory) {
  if (!isfinite(size)) return mean;
  double mild = mean > 0.0 ? lesser(size, GLITCH * mean) : size;
  return isnan(mean) ? mild : mean + memory * (mild - mean);
}

static void learn_usual(const horizon_of *of, const intervals_table *intervals, double size, double first_size) {
  double *usual = intervals->usual + of->at * 3, paced = of->stream->usual[of->h];
  double young = 1.0 / (intervals->scored[of->at] + 2.0);
  double first_young = 1.0 / (intervals->scored[of->at - of->h] + 2.0);
  usual[0] = followed(usual[0], size, greater(paced, young));
  usual[1] = followed(usual[1], first_size, greater(paced, first_young));
  usual[2] = followed(usual[2], first_size, greater(QUICK_MEMORY, first_young));
}

/* Learns from a truth that met an interval; whether it was beyond the extreme one. */
static bool learn(const horizon_of *of, const intervals_table *intervals, const double *widths, double error) {
  double above[LEVELS];
  for (int i = 0; i < LEVELS; i++) above[i] = widths[i] + error;
  bool missed = above[0] > 0.0 || above[LEVELS - 1] < 0.0;
  /* Where errors and interval are nothing at all, there is nothing to learn. */
  if (any_but_nothing(above)) learn_quantiles(of, intervals, above, missed);
  score(of, intervals, above);
  tally(of, intervals, missed);
  bool beyond = fabs(error) > widths[LEVELS];
  double *extreme = intervals->extreme + of->at;
  *extreme = greater(*extreme * exp(RARE_RATE * (beyond - RARE)), LEAST_EXTREME);
  return beyond;
}

void intervals_judge(const horizon_of *of, const intervals_table *intervals, int64_t tick, double error,
                     double first_size, bool *anomalous, double *size) {
  const double *widths = widths_at(of, intervals, tick - of->stream->steps[of->h]);
  bool known = isfinite(error) && isfinite(widths[0]);
  bool beyond = known && learn(of, intervals, widths, error);
  *anomalous = beyond && intervals->scored[of->at] >= ENOUGH_SCORED;
  *size = fabs(error) / intervals->usual[of->at * 3];
  learn_usual(of, intervals, fabs(error), first_size);
}

/* Within FURTHEST; 1 where it is not known. */
static double ratio(double part, double whole) {
  return whole > TINY && isfinite(part) ? clipped(part / whole, 1.0 / FURTHEST, FURTHEST) : 1.0;
}

/* The size of the errors that are to be expected now; learns what spread is usual. */
static double expected_size(const horizon_of *of, const intervals_table *intervals, double spread) {
  double scored = intervals->scored[of->at], steps = (double)of->stream->steps[of->h];
  double *usual = intervals->spread + of->at;
  *usual = followed(*usual, spread, greater(of->stream->usual[of->h], 1.0 / (scored + 2.0)));
  const double *errors = intervals->usual + of->at * 3;
  double apart = (ratio(spread, *usual) + STEADY) / (1.0 + STEADY);
  /* The first errors far ahead overlap: what is usual is not known well yet. */
  double young = 1.0 + (steps - 1.0) / (scored + steps);
  /* A root, for LIVELINESS is a half. */
  return young * errors[0] * sqrt(ratio(errors[2], errors[1])) * pow(apart, AGREEMENT);
}

static void quantiles(const horizon_of *of, const intervals_table *intervals, double size, double *around) {
  const double *tails = intervals->tails + of->at * TAILS;
  double factor = exp(intervals->wider[of->at] + lesser(URGENCY * intervals->excess[of->at], URGENT));
  double lowest = tails[0] * factor, highest = tails[3] * factor;
  double low = lesser(tails[1] * factor, lowest), high = lesser(tails[2] * factor, highest);
  double median = clipped(intervals->median[of->at], -low, high);
  const double distances[LEVELS] = {-lowest, -low, 0.0, high, highest};
  for (int i = 0; i < LEVELS; i++) around[i] = size * (median + distances[i]);
}

void intervals_widths(const horizon_of *of, const intervals_table *intervals, int64_t tick, double published,
                      double spread, double *around) {
  const stream_rules *stream = of->stream;
  quantiles(of, intervals, expected_size(of, intervals, spread), around);
  double *widths = widths_at(of, intervals, tick);
  for (int i = 0; i < LEVELS; i++) {
    if (stream->ranged) around[i] = clipped(around[i], stream->lowest - published, stream->highest - published);
    widths[i] = around[i];
  }
  widths[LEVELS] = intervals->extreme[of->at] * intervals->usual[of->at * 3];
}

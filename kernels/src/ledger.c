/* How wrong the members were, and what is learned from it; see driftline_combiner/prequential.py,
   prior.py, guard.py and weighing.py. */

#include "ledger.h"
#include "grid.h"
#include "numbers.h"
#include "weights.h"
#include <float.h>
#include <string.h>

#define ONLINE_ROW (MEMBERS + ONLINE)

static double finite_or(double x, double other) { return isfinite(x) ? x : other; }

static int64_t age_since(const horizon_of *of, const int64_t *began) {
  return of->ledger->count[of->slot] - began[of->at];
}

/* The products and counts of one horizon in [slots, 2, horizons, members, members]. */
static grams grams_of(const horizon_of *of, double *table) {
  int64_t horizons = of->stream->horizons, place = of->slot * 2 * horizons + of->h;
  return (grams){table + place * PAIRS, table + (place + horizons) * PAIRS};
}

static void learn_window(const horizon_of *of, const double *error) {
  grams window = grams_of(of, of->ledger->window), remote = grams_of(of, of->ledger->remote);
  grams_learn(window, error, of->stream->memory);
  grams_learn(remote, error, LONG_MEMORY);
  int64_t count = of->ledger->count[of->slot];
  if (count % REFIT_EVERY == 0 && count > 0) weights_fit_window(window, remote, of->ledger->fitted + of->at * MEMBERS);
}

/* weights.online_learn; the truth cancels out in how far the blend was from each member. */
static void learn_online(const horizon_of *of, const double *error, double limit) {
  double *regret = of->ledger->regret + of->at * MEMBERS, *second = of->ledger->second + of->at * MEMBERS;
  double published = error[ONLINE_ROW], gradient = clipped(published, -limit, limit), squares[MEMBERS];
  for (int i = 0; i < MEMBERS; i++) {
    double distance = clipped(published - error[i], -limit, limit);
    double instant = isfinite(distance) ? gradient * distance : 0.0;
    squares[i] = square(instant);
    regret[i] += instant;
    second[i] += squares[i];
  }
  double *bound = of->ledger->bound + of->at;
  *bound = greater(*bound, greatest(squares, MEMBERS));
}

static void learn_overlap(const horizon_of *of, double error) {
  double *successive = of->ledger->successive + of->at * 3;
  double news = finite_or(error, 0.0);
  successive[1] += news * successive[0];
  successive[2] += square(news);
  successive[0] = finite_or(error, successive[0]);
}

/* How many independent records the scored ones are worth, by how alike successive errors are. */
static double effective_sample_size(const horizon_of *of) {
  double steps = (double)of->stream->steps[of->h], scored = of->ledger->scored[of->at * ROWS + ONLINE_ROW];
  const double *successive = of->ledger->successive + of->at * 3;
  double seen = scored / (scored + YOUNG);
  double alike = seen * successive[1] / greater(successive[2], TINY) + (1.0 - seen) * (1.0 - 1.0 / steps);
  /* Squares are alike as the square of what errors are. */
  double share = 1.0 / (1.0 + SHARED * (steps - 1.0) * square(clipped(alike, 0.0, 1.0)));
  return lesser(scored, 1.0 + greater(scored - 1.0, 0.0) * share);
}

static double log_size(double share) { return log(clipped(share, SMALLEST, 1.0 / SMALLEST)); }

/* Raw weights by the sizes of the members' errors, and by what hold-outs reported, as if errors were normal. */
static void first_weights(const horizon_of *of, double records, double *first) {
  static const double prior[MEMBERS] = PRIOR;
  const double *reported = of->ledger->reported + of->at * MEMBERS;
  grams remote = grams_of(of, of->ledger->remote);
  double mean[MEMBERS], counts[MEMBERS], sizes[MEMBERS], both[MEMBERS], likely[MEMBERS];
  for (int i = 0; i < MEMBERS; i++) {
    counts[i] = remote.counts[i * MEMBERS + i];
    mean[i] = remote.products[i * MEMBERS + i] / greater(counts[i], TINY);
  }
  double most = greater(greatest(counts, MEMBERS), TINY);
  for (int i = 0; i < MEMBERS; i++) {
    double size = counts[i] > 0.0 && mean[0] > 0.0 ? mean[i] / greater(mean[0], TINY) : 1.0;
    double own = lesser(records, MOST_EVIDENCE) * counts[i] / most;
    bool held = isfinite(reported[i]);
    sizes[i] = own * log_size(size) + (held ? HELD_OUT * log_size(reported[i]) : 0.0);
    both[i] = (held ? HELD_OUT : 0.0) + own;
  }
  double evidence = -0.5 * greatest(both, MEMBERS);
  for (int i = 0; i < MEMBERS; i++) likely[i] = evidence * sizes[i] / greater(both[i], TINY);
  double likeliest = greatest(likely, MEMBERS);
  for (int i = 0; i < MEMBERS; i++) first[i] = prior[i] * exp(greater(likely[i] - likeliest, FAINT));
}

static void update_prior(const horizon_of *of) {
  int64_t count = of->ledger->count[of->slot];
  if (count % REFIT_EVERY != 0 && count >= REFIT_FROM) return;
  double records = effective_sample_size(of);
  first_weights(of, records, of->ledger->first + of->at * MEMBERS);
  of->ledger->trust[of->at] = records / (records + PRIOR_RECORDS);
}

static void learn_scale(const horizon_of *of, double published) {
  double *scale = of->ledger->scale + of->at, now = square(published);
  if (!isfinite(published)) return;
  /* Once settled, one glitch raises the scale by a fifth at most; errors that stay large are soon usual. */
  if (*scale > 0.0) now = lesser(now, square(2.0 * CUT) * *scale);
  double memory = greater(SCALE_MEMORY, 1.0 / ((double)age_since(of, of->ledger->since) + 1.0));
  *scale = isnan(*scale) ? now : *scale + memory * (now - *scale);
}

static void guard(const horizon_of *of, const double *error) {
  double active = square(error[MEMBERS + of->stream->active]), persistence = square(error[0]);
  if (!isfinite(active) || !isfinite(persistence)) return;
  double *rivals = of->ledger->rivals + of->at * 2;
  int64_t age = age_since(of, of->ledger->compared);
  double memory = greater(of->stream->guard[of->h], 1.0 / ((double)age + 1.0));
  rivals[0] += memory * (active - rivals[0]);
  rivals[1] += memory * (persistence - rivals[1]);
  /* Hysteresis: on at the margin, off at equality. */
  bool *guarded = of->ledger->guarded + of->at;
  double margin = *guarded ? 1.0 : GUARD_MARGIN;
  *guarded = age >= GUARD_AFTER * of->stream->steps[of->h] && rivals[0] > margin * rivals[1];
}

static void tally(const horizon_of *of, const double *error) {
  const ledger_table *ledger = of->ledger;
  if (!isfinite(error[0])) return;
  for (int64_t row = 0, at = of->at * ROWS; row < ROWS; row++, at++) {
    if (!isfinite(error[row])) continue;
    double now = square(error[row]), *recent = ledger->recent + at;
    double started = isnan(*recent) ? now : *recent;
    ledger->scored[at] += 1.0;
    ledger->squared[at] += now;
    ledger->absolute[at] += fabs(error[row]);
    ledger->naive[at] += square(error[0]);
    *recent = started + RECENT * (now - started);
  }
}

static void errors_of(const horizon_of *of, int64_t tick, double truth, double *error) {
  int64_t then = tick - of->stream->steps[of->h];
  int64_t place = waiting_place(of->stream, of->slot, of->h, then);
  const double *members = of->ledger->members + place * MEMBERS, *blends = of->ledger->blends + place * BLENDS;
  for (int i = 0; i < MEMBERS; i++) error[i] = members[i] - truth;
  for (int i = 0; i < BLENDS; i++) error[MEMBERS + i] = blends[i] - truth;
}

/* The errors in their proportions, made smaller where even the blend's is wild. */
static void make_mild(const double *error, double limit, double *mild) {
  double wild = fabs(error[ONLINE_ROW]), furthest = WILD / CUT * limit;
  double factor = wild > limit ? limit / greater(wild, TINY) : 1.0;
  for (int i = 0; i < ROWS; i++) mild[i] = clipped(error[i] * factor, -furthest, furthest);
}

double ledger_score(const horizon_of *of, int64_t tick, double truth, double *error) {
  double scale = of->ledger->scale[of->at], mild[ROWS];
  double limit = CUT * sqrt(isnan(scale) ? INFINITY : scale);
  errors_of(of, tick, truth, error);
  make_mild(error, limit, mild);
  learn_window(of, mild);
  learn_online(of, error, limit);
  learn_overlap(of, clipped(error[ONLINE_ROW], -limit, limit));
  update_prior(of);
  learn_scale(of, error[ONLINE_ROW]);
  guard(of, mild);
  tally(of, error);
  return scale;
}

static void clear(double *row, int64_t width) {
  for (int64_t i = 0; i < width; i++) row[i] = NAN;
}

void ledger_arrive(const stream_rules *stream, const ledger_table *ledger, int64_t slot, int64_t tick) {
  int64_t before = ledger->tick[slot];
  for (int64_t h = 0; h < stream->horizons; h++)
    for (int64_t step = 1, last = waiting_skipped(stream, h, before, tick); step <= last; step++) {
      int64_t place = waiting_place(stream, slot, h, before + step);
      clear(ledger->members + place * MEMBERS, MEMBERS);
      clear(ledger->blends + place * BLENDS, BLENDS);
    }
  ledger->tick[slot] = tick;
}

/* What ML-Poly has learned, mixed with what was known first, by trust: weights.online_weights. */
static void online_weights(const horizon_of *of, const bool *present, double *weights) {
  const ledger_table *ledger = of->ledger;
  int64_t at = of->at * MEMBERS;
  double first[MEMBERS], share = 1.0;
  for (int i = 0; i < MEMBERS; i++) {
    double rate = 1.0 / greater(ledger->bound[of->at] + ledger->second[at + i], DBL_MIN);
    weights[i] = greater(ledger->regret[at + i], 0.0) * rate;
    first[i] = ledger->first[at + i];
    if (present[i] && first[i] > 0.0) share = ledger->trust[of->at];
  }
  weights_normalise(weights, present);
  weights_normalise(first, present);
  for (int i = 0; i < MEMBERS; i++) weights[i] = share * weights[i] + (1.0 - share) * first[i];
}

/* ledger.current_weights: [blends, members]. */
static void current_weights(const horizon_of *of, const bool *present, double weights[BLENDS][MEMBERS]) {
  memcpy(weights[STATIC], of->stream->fixed, sizeof weights[STATIC]);
  memcpy(weights[WINDOW], of->ledger->fitted + of->at * MEMBERS, sizeof weights[WINDOW]);
  weights_normalise(weights[STATIC], present);
  weights_normalise(weights[WINDOW], present);
  online_weights(of, present, weights[ONLINE]);
  /* Without a forecast of persistence there is nothing to fall back on. */
  bool falls_back = of->ledger->guarded[of->at] && present[0];
  for (int i = 0; i < MEMBERS; i++)
    weights[STRATEGIES][i] = falls_back ? (double)(i == 0) : weights[of->stream->active][i];
}

void ledger_weigh(const horizon_of *of, const double *forecasts, double *weights, double *blends) {
  bool present[MEMBERS];
  double every[BLENDS][MEMBERS];
  for (int i = 0; i < MEMBERS; i++) present[i] = isfinite(forecasts[i]);
  current_weights(of, present, every);
  for (int i = 0; i < BLENDS; i++) blends[i] = weights_blend(every[i], forecasts, present);
  memcpy(weights, every[STRATEGIES], sizeof every[STRATEGIES]);
  int64_t place = waiting_place(of->stream, of->slot, of->h, of->ledger->tick[of->slot]);
  memcpy(of->ledger->members + place * MEMBERS, forecasts, MEMBERS * sizeof *forecasts);
  memcpy(of->ledger->blends + place * BLENDS, blends, BLENDS * sizeof *blends);
}

void ledger_count(const ledger_table *ledger, int64_t slot) { ledger->count[slot]++; }

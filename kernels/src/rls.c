/* Recursive least squares with forgetting; see driftline_inference/rls.py. */

#include "rls.h"
#include "grid.h"
#include "numbers.h"
#include <string.h>

static int all_finite(const double *x, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (!isfinite(x[i])) return 0;
  return 1;
}

/* Numbers in the upper half of a symmetric matrix, its diagonal among them. */
static int64_t half_of(int64_t terms) { return terms * (terms + 1) / 2; }

/* P x for a symmetric P of which the upper half is given, row by row. */
static void times(const double *half, const double *x, double *product, int64_t terms) {
  memset(product, 0, (size_t)terms * sizeof *product);
  const double *p = half;
  for (int64_t i = 0; i < terms; i++) {
    product[i] += *p++ * x[i];
    for (int64_t j = i + 1; j < terms; j++, p++) {
      product[i] += *p * x[j];
      product[j] += *p * x[i];
    }
  }
}

static double dot(const double *a, const double *b, int64_t count) {
  double total = 0.0;
  for (int64_t i = 0; i < count; i++) total += a[i] * b[i];
  return total;
}

/* P = (P - k x' P) / f, where k x' P is spread spread' / certainty. Gives the trace. */
static double explain(double *variance, const double *spread, double certainty, int64_t terms) {
  double trace = 0.0, *p = variance;
  for (int64_t i = 0; i < terms; i++) {
    double *diagonal = p;
    for (int64_t j = i; j < terms; j++, p++) *p = (*p - spread[i] * spread[j] / certainty) / RLS_FORGETTING;
    trace += *diagonal;
  }
  return trace;
}

static void learn_one(double *weights, double *variance, double *noise, const double *x, double target, int64_t terms,
                      double *spread) {
  double innovation = target - dot(weights, x, terms), limit = RLS_CUT * sqrt(*noise);
  double cut = clipped(innovation, -limit, limit);
  /* With forgetting f: k = P x / (f + x' P x), w += k e. */
  times(variance, x, spread, terms);
  double certainty = RLS_FORGETTING + dot(x, spread, terms);
  for (int64_t i = 0; i < terms; i++) weights[i] += spread[i] / certainty * cut;
  double trace = explain(variance, spread, certainty, terms);
  double shrink = lesser(1.0, RLS_TRACE_CAP * (double)terms / trace);
  if (shrink != 1.0)
    for (int64_t i = 0; i < half_of(terms); i++) variance[i] *= shrink;
  *noise = greater(*noise + RLS_NOISE_MEMORY * (cut * cut - *noise), RLS_NOISE_FLOOR);
}

/* The filter of one series and horizon, which is `place` of all, learns where everything is known. */
static void learn_known(const rls_filters *filters, int64_t place, const double *x, double target, int64_t terms,
                        double *scratch) {
  if (!isfinite(target) || !all_finite(x, terms)) return;
  double *weights = filters->weights + place * terms, *variance = filters->variance + place * half_of(terms);
  learn_one(weights, variance, filters->noise + place, x, target, terms, scratch);
}

void rls_learn(const rls_filters *filters, int64_t horizons, int64_t terms, int64_t count, const int64_t *slots,
               const double *x, int64_t stride, const double *target, double *scratch) {
  for (int64_t row = 0; row < count; row++)
    for (int64_t h = 0; h < horizons; h++) {
      int64_t lesson = row * horizons + h;
      learn_known(filters, slots[row] * horizons + h, x + lesson * stride, target[lesson], terms, scratch);
    }
}

/* Between this tick and the one before nothing was forecast from. */
static void arrive(const rls_waiting *waiting, int64_t ring, int64_t slot, int64_t tick) {
  int64_t before = waiting->tick[slot];
  for (int64_t step = 1, steps = skipped(before, tick, ring); step <= steps; step++)
    waiting->last[slot * ring + ring_place(before + step, ring)] = NAN;
  waiting->tick[slot] = tick;
}

/* Both filters of a horizon learn from what was forecast from `then`, a place of all rings, with the terms that were
   kept of it: the truth is there. */
static void learn_both(const rls_waiting *waiting, const rls_filters *plain, const rls_filters *stack,
                       const rls_sizes *sizes, int64_t place, int64_t then, const float *kept, double truth,
                       double *scratch) {
  double target = (truth - waiting->last[then]) / waiting->scale[then];
  /* A target that has never moved has a usual step of 0: nothing can be learned in units of it. */
  if (!isfinite(target)) return;
  double *x = scratch + sizes->all_terms;
  for (int64_t i = 0; i < sizes->all_terms; i++) x[i] = kept[i];
  learn_known(plain, place, x, target, sizes->terms, scratch);
  learn_known(stack, place, x, target, sizes->all_terms, scratch);
}

/* Places of the rings of all horizons of a series; see driftline/streams/horizon_rings.py. */
static int64_t places_of(const int64_t *steps, int64_t horizons, int64_t patience) {
  int64_t places = horizons * patience;
  for (int64_t h = 0; h < horizons; h++) places += steps[h];
  return places;
}

void rls_follow(const rls_waiting *waiting, const rls_filters *plain, const rls_filters *stack, const rls_sizes *sizes,
                const int64_t *steps, int64_t count, const int64_t *slots, const int64_t *tick, const double *truth,
                const double *terms, const double *last, const double *scale, double *alone, double *over_models,
                double *scratch) {
  int64_t ring = sizes->ring, horizons = sizes->horizons, all_terms = sizes->all_terms;
  int64_t patience = ring - steps[horizons - 1], places = places_of(steps, horizons, patience);
  for (int64_t row = 0; row < count; row++) {
    int64_t slot = slots[row];
    float *kept = waiting->terms + slot * places * all_terms;
    double unit = isnan(scale[row]) ? 0.0 : scale[row];
    arrive(waiting, ring, slot, tick[row]);
    for (int64_t h = 0; h < horizons; h++) {
      int64_t place = slot * horizons + h, out = row * horizons + h, length = steps[h] + patience;
      int64_t then = slot * ring + ring_place(tick[row] - steps[h], ring);
      const double *x = terms + out * all_terms;
      const float *former = kept + ring_place(tick[row] - steps[h], length) * all_terms;
      learn_both(waiting, plain, stack, sizes, place, then, former, truth[row], scratch);
      alone[out] = last[row] + unit * dot(plain->weights + place * sizes->terms, x, sizes->terms);
      over_models[out] = last[row] + unit * dot(stack->weights + place * all_terms, x, all_terms);
      float *now = kept + ring_place(tick[row], length) * all_terms;
      for (int64_t i = 0; i < all_terms; i++) now[i] = (float)x[i];
      kept += length * all_terms;
    }
    int64_t newest = slot * ring + ring_place(tick[row], ring);
    waiting->last[newest] = last[row];
    waiting->scale[newest] = scale[row];
  }
}

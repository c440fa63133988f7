/* Recursive least squares with forgetting; see driftline_inference/rls.py. */

#include "rls.h"
#include <math.h>
#include <string.h>

static int all_finite(const double *x, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (!isfinite(x[i])) return 0;
  return 1;
}

/* The place in the upper half, row by row, of row i and column j >= i of a matrix of `size`. */
static int64_t half_place(int64_t size, int64_t i, int64_t j) { return i * size - i * (i - 1) / 2 + j - i; }

/* P x for a symmetric P of which the upper half is given. */
static void times(const double *half, const double *x, double *product, int64_t size) {
  memset(product, 0, (size_t)size * sizeof *product);
  const double *p = half;
  for (int64_t i = 0; i < size; i++) {
    product[i] += *p++ * x[i];
    for (int64_t j = i + 1; j < size; j++, p++) {
      product[i] += *p * x[j];
      product[j] += *p * x[i];
    }
  }
}

static double dot(const double *a, const double *b, int64_t count) {
  double sum = 0.0;
  for (int64_t i = 0; i < count; i++) sum += a[i] * b[i];
  return sum;
}

static void learn_one(double *weights, double *variance, double *noise, const double *x, double target, int64_t terms) {
  double spread[KERNELS_MOST_TERMS];
  double innovation = target - dot(weights, x, terms);
  double limit = RLS_CUT * sqrt(*noise);
  double cut = fmin(fmax(innovation, -limit), limit);
  /* With forgetting f: k = P x / (f + x' P x), w += k e, P = (P - k x' P) / f. */
  times(variance, x, spread, terms);
  double certainty = RLS_FORGETTING + dot(x, spread, terms);
  for (int64_t i = 0; i < terms; i++) weights[i] += spread[i] / certainty * cut;
  double trace = 0.0, *p = variance;
  for (int64_t i = 0; i < terms; i++)
    for (int64_t j = i; j < terms; j++, p++) {
      *p = (*p - spread[i] * spread[j] / certainty) / RLS_FORGETTING;
      if (i == j) trace += *p;
    }
  double shrink = fmin(1.0, RLS_TRACE_CAP * (double)terms / trace);
  for (int64_t i = 0, half = half_place(terms, terms, terms); i < half; i++) variance[i] *= shrink;
  *noise = fmax(*noise + RLS_NOISE_MEMORY * (cut * cut - *noise), RLS_NOISE_FLOOR);
}

void rls_learn(const rls_filters *filters, int64_t horizons, int64_t terms, int64_t count, const int64_t *slots,
               const double *x, int64_t stride, const double *target) {
  int64_t half = half_place(terms, terms, terms);
  for (int64_t row = 0; row < count; row++)
    for (int64_t h = 0; h < horizons; h++) {
      int64_t lesson = row * horizons + h, place = slots[row] * horizons + h;
      const double *inputs = x + lesson * stride;
      if (!isfinite(target[lesson]) || !all_finite(inputs, terms)) continue;
      learn_one(filters->weights + place * terms, filters->variance + place * half, filters->noise + place, inputs,
                target[lesson], terms);
    }
}

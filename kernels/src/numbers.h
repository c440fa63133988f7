#ifndef DRIFTLINE_NUMBERS_H
#define DRIFTLINE_NUMBERS_H

#include <math.h>
#include <stdint.h>

/* As driftline.arrays.TINY. */
#define TINY 1e-12

/* As np.minimum and np.maximum: NaN where one of them is, which fmin and fmax are not. */
static inline double lesser(double a, double b) { return a < b || isnan(a) ? a : b; }
static inline double greater(double a, double b) { return a > b || isnan(a) ? a : b; }
static inline double clipped(double x, double lowest, double highest) { return lesser(greater(x, lowest), highest); }

static inline double square(double x) { return x * x; }

static inline double greatest(const double *x, int64_t count) {
  double most = x[0];
  for (int64_t i = 1; i < count; i++) most = greater(most, x[i]);
  return most;
}

static inline double sum(const double *x, int64_t count) {
  double total = 0.0;
  for (int64_t i = 0; i < count; i++) total += x[i];
  return total;
}

#endif

#ifndef DRIFTLINE_WEIGHTS_H
#define DRIFTLINE_WEIGHTS_H

#include "combiner.h"

/* As in driftline_combiner/weights.py. */
#define RIDGE 1e-3
#define ENOUGH 0.5
#define SHRINKAGE 4000.0
#define HOPELESS 1e8

#define PAIRS (MEMBERS * MEMBERS)

/* One memory of errors, `weights.Grams`: of each pair of members, on how many records a product rests. */
typedef struct {
  double *products, *counts;
} grams;

/* One more record. error: [members], NaN for who sat out. */
void grams_learn(grams memory, const double *error, double forgetting);

/* weights.fit_window: [members]. */
void weights_fit_window(grams window, grams remote, double *weights);

/* weights.normalised of [members], in place. */
void weights_normalise(double *raw, const bool *present);

/* weights.blend: of the forecasts of those present. */
double weights_blend(const double *weights, const double *forecasts, const bool *present);

#endif

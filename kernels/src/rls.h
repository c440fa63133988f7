#ifndef DRIFTLINE_RLS_H
#define DRIFTLINE_RLS_H

#include <stdint.h>

/* As in driftline_inference/rls.py; a test compares them. */
#define RLS_FORGETTING 0.9998
#define RLS_TRACE_CAP 100.0
#define RLS_CUT 3.0
#define RLS_NOISE_MEMORY 0.01
#define RLS_NOISE_FLOOR 0.01

/* The arrays of driftline_inference.rls.Waiting, in its order. */
typedef struct {
  int64_t *tick;
  float *terms;
  double *last, *scale;
} rls_waiting;

/* The arrays of driftline_inference.rls.Filters, in its order. */
typedef struct {
  double *weights, *variance, *noise;
} rls_filters;

/* terms: of the filters that see fewest of them; all_terms: of the others, and of what waits. */
typedef struct {
  int64_t ring, horizons, terms, all_terms;
} rls_sizes;

/* `learn` of rls.py. slots: [count]. x: [count, horizons, stride], of which the first terms are looked at, NaN where one
   was not there. target: [count, horizons], NaN where nothing is known. scratch: [terms]. */
void rls_learn(const rls_filters *filters, int64_t horizons, int64_t terms, int64_t count, const int64_t *slots,
               const double *x, int64_t stride, const double *target, double *scratch);

/* What `forecast_built_in` does for the filters, record after record: arrive, recall, learn, forecast, remember.

   steps: [horizons]. slots, tick, truth, last, scale: [count]; a slot may come several times. terms: [count, horizons,
   all_terms]. alone, over_models: [count, horizons], what the two filters forecast. scratch: [2 all_terms]. */
void rls_follow(const rls_waiting *waiting, const rls_filters *plain, const rls_filters *stack, const rls_sizes *sizes,
                const int64_t *steps, int64_t count, const int64_t *slots, const int64_t *tick, const double *truth,
                const double *terms, const double *last, const double *scale, double *alone, double *over_models,
                double *scratch);

#endif

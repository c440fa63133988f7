#ifndef DRIFTLINE_RLS_H
#define DRIFTLINE_RLS_H

#include <stdint.h>

/* As in driftline_inference/rls.py; a test compares them. */
#define RLS_FORGETTING 0.9998
#define RLS_TRACE_CAP 100.0
#define RLS_CUT 3.0
#define RLS_NOISE_MEMORY 0.01
#define RLS_NOISE_FLOOR 0.01
#define KERNELS_MOST_TERMS 512

/* The arrays of driftline_inference.rls.Filters, in its order. */
typedef struct {
  double *weights, *variance, *noise;
} rls_filters;

/* slots: [count], each at most once. x: [count, horizons, stride], of which the first terms are looked at, NaN where one
   was not there. target: [count, horizons], NaN where nothing is known. */
void rls_learn(const rls_filters *filters, int64_t horizons, int64_t terms, int64_t count, const int64_t *slots,
               const double *x, int64_t stride, const double *target);

#endif

#ifndef DRIFTLINE_PLAUSIBILITY_H
#define DRIFTLINE_PLAUSIBILITY_H

#include <stdint.h>

/* As in driftline_inference/plausibility.py; a test compares them. */
#define ABSURD 100.0
#define FURTHER 3.0
#define KNOWN 1000
#define MEMORY 0.002
#define FORGETTING 1e-4

/* What is kept of a column, as Usual.kept of plausibility.py. */
typedef struct {
  double seen, level, square, furthest, absurd_run;
} plausibility_usual;

/* `judge` of plausibility.py, record after record. kept: [slots, columns]. slots: [count]; a slot may come several times.
   values: [count, columns], NaN where missing. trained: [3, columns] level, square and furthest of what a model has
   learned from, or null. deviations, level: [count, columns]. */
void plausibility_judge(plausibility_usual *kept, int64_t columns, int64_t count, const int64_t *slots,
                        const double *values, const double *trained, double *deviations, double *level);

#endif

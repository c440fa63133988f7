#ifndef DRIFTLINE_EXPECTED_TRUTHS_H
#define DRIFTLINE_EXPECTED_TRUTHS_H

#include <stdbool.h>
#include <stdint.h>

/* As in driftline/worker/late_truths.py; a test compares them. */
#define NOTHING (-1)
#define SKIPPED (-2)

/* The arrays of driftline.worker.late_truths.LateTruths, in its order. */
typedef struct {
  int64_t *tick, *t;
} truths_table;

/* LateTruths.expect, record after record. slots, tick, t, missing, first: [count]; a slot may come several times. */
void truths_expect(const truths_table *late, int64_t patience, int64_t count, const int64_t *slots, const int64_t *tick,
                   const int64_t *t, const bool *missing, bool *first);

#endif

#ifndef DRIFTLINE_LATE_TRUTHS_H
#define DRIFTLINE_LATE_TRUTHS_H

#include "combiner.h"

/* As in driftline/worker/late_truths.py. */
#define NOTHING (-1)
#define SKIPPED (-2)

/* LateTruths.expect of one record: whether it is the first of its tick that has its truth. */
bool late_expect(const late_table *late, int64_t patience, int64_t slot, int64_t tick, int64_t t, bool missing);

#endif

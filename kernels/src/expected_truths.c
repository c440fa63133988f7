/* Which of a series' newest ticks lack their truth; see driftline/worker/late_truths.py. */

#include "expected_truths.h"
#include "grid.h"

static bool expect(int64_t *newest, int64_t *times, int64_t patience, int64_t tick, int64_t t, bool missing) {
  int64_t before = *newest, place = ring_place(tick, patience);
  /* A truth that came before stays known, whatever comes in the same tick. */
  bool open = tick != before || times[place] != NOTHING;
  for (int64_t step = 1, steps = skipped(before, tick, patience); step <= steps; step++)
    times[ring_place(before + step, patience)] = SKIPPED;
  times[place] = missing && open ? t : NOTHING;
  *newest = tick;
  return !missing && open;
}

void truths_expect(const truths_table *late, int64_t patience, int64_t count, const int64_t *slots, const int64_t *tick,
                   const int64_t *t, const bool *missing, bool *first) {
  for (int64_t row = 0; row < count; row++)
    first[row] = expect(late->tick + slots[row], late->t + slots[row] * patience, patience, tick[row], t[row],
                        missing[row]);
}

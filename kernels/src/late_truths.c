/* Which of a series' newest ticks lack their truth; see driftline/worker/late_truths.py. */

#include "late_truths.h"
#include "grid.h"

bool late_expect(const late_table *late, int64_t patience, int64_t slot, int64_t tick, int64_t t, bool missing) {
  int64_t *times = late->t + slot * patience, before = late->tick[slot], place = ring_place(tick, patience);
  /* A truth that came before stays known, whatever comes in the same tick. */
  bool open = tick != before || times[place] != NOTHING;
  for (int64_t step = 1, last = skipped(before, tick, patience); step <= last; step++)
    times[ring_place(before + step, patience)] = SKIPPED;
  times[place] = missing && open ? t : NOTHING;
  late->tick[slot] = tick;
  return !missing && open;
}

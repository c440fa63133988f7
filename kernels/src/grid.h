#ifndef DRIFTLINE_GRID_H
#define DRIFTLINE_GRID_H

#include <stdint.h>

/* See driftline/streams/grid.py. */
#define NEVER (-(INT64_C(1) << 62))

/* Where what is of a tick lies in a ring; ticks before the epoch count on below 0, where C's % would, too. */
static inline int64_t ring_place(int64_t tick, int64_t ring) {
  int64_t place = tick % ring;
  return place < 0 ? place + ring : place;
}

/* How many ticks between these two are to be cleared in a ring, which are before + 1 and so on: beyond a whole turn of
   it every place is one that was skipped. */
static inline int64_t skipped(int64_t before, int64_t tick, int64_t ring) {
  if (before == NEVER || tick - before <= 1) return 0;
  return tick - before - 1 < ring ? tick - before - 1 : ring;
}

#endif

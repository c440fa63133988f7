/* Which columns are far from their usual values; see driftline_inference/plausibility.py. */

#include "plausibility.h"
#include "health.h"
#include "numbers.h"

/* What a value is compared with. */
typedef struct {
  double level, square, furthest;
} yardstick;

static yardstick yardstick_of(const plausibility_usual *usual, const double *trained, int64_t columns) {
  if (usual->seen >= KNOWN) return (yardstick){usual->level, usual->square, usual->furthest};
  if (!trained) return (yardstick){usual->level, 0.0, usual->furthest};
  return (yardstick){trained[0], trained[columns], greater(usual->furthest, trained[2 * columns])};
}

/* Without any deviation so far nothing is usual: a rain gauge may have been dry since it was put up. */
static bool is_absurd(double distance, yardstick by) {
  return distance > FURTHER * by.furthest && square(distance) > ABSURD * ABSURD * by.square && by.square > 0;
}

/* Whether a stretch of absurd values is long enough. A missing value neither ends it nor makes it longer. */
static bool alerts(plausibility_usual *usual, double value, bool absurd) {
  double run = absurd ? usual->absurd_run + 1 : isnan(value) ? usual->absurd_run : 0.0;
  bool alerting = absurd && run >= STAYS;
  usual->absurd_run = alerting ? 0.0 : run;
  return alerting;
}

/* own: how far the value is from what was usual; reached: how far a value may be from now on. */
static void learn(plausibility_usual *usual, double value, double own, double reached) {
  double memory = greater(MEMORY, 1.0 / (usual->seen + 1.0));
  usual->level += memory * (value - usual->level);
  usual->square += memory * (own * own - usual->square);
  usual->furthest = greater(usual->furthest * (1 - FORGETTING), reached);
  usual->seen += 1;
}

/* How many usual deviations a value is away where that is worth an alert, otherwise 0. */
static double judge(plausibility_usual *usual, double value, yardstick by) {
  double own = usual->seen == 0 ? 0.0 : lesser(fabs(value - usual->level), HUGE);
  double distance = lesser(fabs(value - by.level), HUGE);
  bool absurd = is_absurd(distance, by), alerting = alerts(usual, value, absurd);
  if (isfinite(value) && (!absurd || alerting)) learn(usual, value, own, alerting ? distance : own);
  else if (alerting) usual->furthest = greater(usual->furthest, distance);
  return alerting ? distance / sqrt(by.square) : 0.0;
}

void plausibility_judge(plausibility_usual *kept, int64_t columns, int64_t count, const int64_t *slots,
                        const double *values, const double *trained, double *deviations, double *level) {
  for (int64_t row = 0; row < count; row++)
    for (int64_t column = 0; column < columns; column++) {
      int64_t out = row * columns + column;
      plausibility_usual *usual = kept + slots[row] * columns + column;
      yardstick by = yardstick_of(usual, trained ? trained + column : trained, columns);
      level[out] = by.level;
      deviations[out] = judge(usual, values[out], by);
    }
}

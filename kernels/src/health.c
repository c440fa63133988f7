/* What condition the columns of every series are in; see driftline_inference/sensor_health.py. */

#include "health.h"
#include "numbers.h"

/* A quantile by small steps: up by RARE_RATE at each excess, otherwise down by RARE times that. */
static double quantile_moved(double quantile, bool exceeded) {
  return quantile * exp(RARE_RATE * ((exceeded ? 1.0 : 0.0) - RARE));
}

/* Moves both averages of a column by a value that is there. */
static void average(double averages[2], double value, double quick) {
  static const double memories[2] = {FAST_MEMORY, SLOW_MEMORY};
  for (int i = 0; i < 2; i++) {
    double started = isnan(averages[i]) ? value : averages[i];
    averages[i] = started + greater(memories[i], quick) * (value - started);
  }
}

/* The distance between the averages compared with what is usual for the column; `moved` is the distance itself. */
static double shift(const health_table *health, int64_t place, double value, double *moved) {
  double *averages = health->averages + 2 * place, *usual = health->usual + place, *extreme = health->extreme + place;
  double quick = 1.0 / ((double)health->count[place] + 1.0);
  bool young = health->count[place] < WARM_UP, known = isfinite(value);
  if (known) average(averages, value, quick);
  *moved = averages[0] - averages[1];
  if (!known) return 0.0;
  double distance = lesser(fabs(*moved), HUGE), size = square(distance);
  /* From before this record: a shift is not judged by itself. */
  double whole = greater(greater(FAR * sqrt(*usual), BEYOND * *extreme), TINY);
  double part = lesser(distance / whole, 1.0);
  double learned = young ? size : lesser(size, LEARNED * LEARNED * *usual);
  *usual += greater(USUAL_MEMORY, quick) * (learned - *usual);
  *extreme = young ? greater(*extreme, distance) : quantile_moved(*extreme, distance > *extreme);
  return !young && part >= QUIET ? part : 0.0;
}

/* Whether a candidate is taken back by half, which a missing value does not decide. */
static bool taken_back(double jump, double base, double value) {
  double sign = jump > 0 ? 1.0 : jump < 0 ? -1.0 : 0.0;
  return isfinite(value) && sign * (value - base) < 0.5 * fabs(jump);
}

/* A step far beyond any other that is not taken back: by how much, otherwise 0. */
static double jumped(const health_table *health, int64_t place, double value) {
  double *jump = health->jump + place, *base = health->base + place, *leap = health->leap + place;
  bool young = health->count[place] < WARM_UP;
  double candidate = *jump, step = clipped(value - health->value[place], -HUGE, HUGE), size = fabs(step);
  int64_t held = ++health->held[place];
  bool gone = taken_back(candidate, *base, value), stays = candidate != 0 && !gone && held >= STAYS;
  if (gone || stays) *jump = 0.0;
  /* The way back from a glitch is no jump either. */
  if ((candidate == 0 || stays) && !young && size > LEAP * *leap && *leap > 0) {
    *jump = step;
    *base = health->value[place];
    health->held[place] = 0;
  }
  if (isfinite(step)) {
    double learned = young ? greater(*leap, size) : quantile_moved(*leap, size > *leap);
    /* What has raised an alert once is no news the next time. */
    *leap = stays ? greater(learned, fabs(candidate)) : learned;
  }
  return stays ? candidate : 0.0;
}

/* A run of the same value, or of none, counts once, when it reaches the length: as many records, otherwise 0. */
static int64_t run(const health_table *health, int64_t place, double value) {
  double before = health->value[place];
  int64_t longest = health->longest[place], *now = health->run + place;
  if (value == before || (isnan(value) && isnan(before))) {
    ++*now;
  } else {
    if (*now > longest) health->longest[place] = *now;
    *now = 1;
  }
  return *now == LONGER * longest ? *now : 0;
}

/* A gap that is worth an alert, otherwise 0. An outage of the same length is news only once. */
static int64_t gap(const health_table *health, int64_t slot, int64_t since) {
  int64_t longest = health->gap[slot];
  if (since > longest) health->gap[slot] = since;
  return since >= LONGER * longest ? since : 0;
}

static void assess_columns(const health_table *health, int64_t columns, int64_t slot, int64_t row, const double *values,
                           const health_condition *condition) {
  for (int64_t column = 0; column < columns; column++) {
    int64_t place = slot * columns + column, out = row * columns + column;
    double value = values[column];
    condition->shift[out] = shift(health, place, value, condition->moved + out);
    condition->jumped[out] = jumped(health, place, value);
    condition->run[out] = run(health, place, value);
    condition->missing[out] = isnan(value);
    health->value[place] = value;
    health->count[place]++;
  }
}

void health_assess(const health_table *health, int64_t columns, int64_t count, const int64_t *slots, const int64_t *t,
                   const double *values, const health_condition *condition) {
  for (int64_t row = 0; row < count; row++) {
    int64_t slot = slots[row];
    /* The first column is the target, which is there from the first record on. */
    int64_t since = health->count[slot * columns] > 0 ? t[row] - health->t[slot] : 0;
    condition->since[row] = since;
    condition->gap[row] = gap(health, slot, since);
    health->t[slot] = t[row];
    assess_columns(health, columns, slot, row, values + row * columns, condition);
  }
}

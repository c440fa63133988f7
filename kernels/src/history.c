/* What is remembered of every series; see driftline/streams/history.py, seasons.py and snapshots.py. */

#include "history.h"
#include "grid.h"
#include "numbers.h"
#include <stdbool.h>
#include <string.h>

/* Down to the next whole number, as Python's //. */
static int64_t floor_divided(int64_t a, int64_t b) { return (a - ring_place(a, b)) / b; }

/* `phase_of` of grid.py. */
static int64_t phase_of(int64_t t, int64_t period) {
  int64_t late = ring_place(t + period / 2, period) - period / 2;
  return -(period / 4) <= late && late <= period / 4 ? 0 : ring_place(late, period);
}

void history_ticks(const history_table *history, int64_t period, int64_t count, const int64_t *slots, const int64_t *t,
                   int64_t *tick) {
  for (int64_t row = 0; row < count; row++) {
    int64_t *phase = history->phase + slots[row];
    if (*phase == UNKNOWN) *phase = phase_of(t[row], period);
    tick[row] = floor_divided(t[row] - *phase + period / 2, period);
  }
}

/* The tick becomes the newest; what lies between is missing. */
static void arrive(const history_table *history, const history_sizes *sizes, int64_t slot, int64_t tick) {
  int64_t before = history->tick[slot], lags = sizes->lags, remembered = sizes->remembered;
  for (int64_t step = 1, steps = skipped(before, tick, lags); step <= steps; step++) {
    double *values = history->recent + (slot * lags + ring_place(before + step, lags)) * sizes->columns;
    for (int64_t column = 0; column < sizes->columns; column++) values[column] = NAN;
  }
  for (int64_t step = 1, steps = skipped(before, tick, remembered); step <= steps; step++)
    history->season[slot * remembered + ring_place(before + step, remembered)] = NAN;
  /* Also at the first record: NEVER is further away than any lag. */
  if (tick - before > lags) history->start[slot] = tick;
  history->tick[slot] = tick;
}

/* The target with wild moves cut, and its step; NaN where it, or what was before it, is missing. */
typedef struct {
  double steady, step;
} followed;

static followed follow(double before, double former, double target, double square, int64_t count) {
  /* After a gap the target is followed from where it is: the step over the gap is unknown, not zero. */
  if (!isfinite(former) || !isfinite(before)) return (followed){target, NAN};
  double limit = count >= GLITCH_AFTER && square > 0 ? GLITCH * sqrt(square) : INFINITY;
  double step = clipped(target - before, -limit, limit);
  return (followed){before + step, step};
}

/* A moving average learns from what is new. NaN in `old`: its first value. */
static void move(double *old, double news, double memory, double quick) {
  if (isnan(news)) return;
  double started = isnan(*old) ? news : *old;
  *old = started + greater(memory, quick) * (news - started);
}

static void move_averages(double *moving, const double *memories, const double *values, int64_t columns,
                          followed target, int64_t count) {
  /* A young series follows its first records quickly, then settles into its slow memories. */
  double quick = 1.0 / ((double)count + 1.0), *means = moving + MEMORIES + 1, *squares = means + columns;
  const double *slow = memories + MEMORIES;
  for (int64_t i = 0; i < MEMORIES; i++) move(moving + i, target.steady, memories[i], quick);
  move(moving + MEMORIES, square(target.step), *slow++, quick);
  /* Measured from the mean before this record; with the new mean a jump would look smaller than it is. */
  for (int64_t i = 0; i < columns; i++) move(squares + i, square(values[i] - means[i]), slow[columns + i], quick);
  for (int64_t i = 0; i < columns; i++) move(means + i, values[i], slow[i], quick);
}

/* Writes the record into the rings and moves the averages; those have learned from a tick that comes again. */
static void take_in(const history_table *history, const history_sizes *sizes, const double *memories, int64_t slot,
                    int64_t tick, const double *values) {
  int64_t lags = sizes->lags, columns = sizes->columns, remembered = sizes->remembered;
  double *ring = history->recent + slot * lags * columns, *now = ring + ring_place(tick, lags) * columns;
  double *moving = history->moving + slot * (MEMORIES + 1 + 2 * columns);
  bool again = tick == history->tick[slot];
  arrive(history, sizes, slot, tick);
  double former = ring[ring_place(tick - 1, lags) * columns];
  for (int64_t i = 0; i < columns; i++)
    if (!again || !isnan(values[i])) now[i] = values[i];
  followed target = follow(history->steady[slot], former, now[0], moving[MEMORIES], history->count[slot]);
  if (!isnan(target.steady)) history->steady[slot] = target.steady;
  if (!again) move_averages(moving, memories, now, columns, target, history->count[slot]++);
  if (!remembered) return;
  float *season = history->season + slot * remembered + ring_place(tick, remembered);
  /* Kept, since the next line overwrites it, and what was a whole ring ago is looked back on. */
  if (!again) history->before[slot] = *season;
  *season = isnan(now[0]) ? NAN : (float)history->steady[slot];
}

/* What was so many periods before the newest record. */
static void look_back(const history_table *history, int64_t ring, int64_t slot, const int64_t *ago, int64_t count,
                      double *values) {
  const float *season = history->season + slot * ring;
  int64_t newest = history->tick[slot];
  /* A whole ring ago was what the newest record has replaced. */
  for (int64_t i = 0; i < count; i++)
    values[i] = ago[i] == ring ? history->before[slot] : season[ring_place(newest - ago[i], ring)];
}

/* The newest values, the newest first. */
static void unroll(const double *ring, int64_t lags, int64_t columns, int64_t newest, double *recent) {
  for (int64_t lag = 0, place = ring_place(newest, lags); lag < lags; lag++, place = place ? place - 1 : lags - 1)
    memcpy(recent + lag * columns, ring + place * columns, (size_t)columns * sizeof *recent);
}

static void tell(const history_table *history, const history_sizes *sizes, int64_t slot, int64_t row,
                 const history_snapshot *seen) {
  int64_t ring = sizes->lags * sizes->columns, averages = MEMORIES + 1 + 2 * sizes->columns;
  seen->count[row] = history->count[slot];
  seen->age[row] = history->tick[slot] - history->start[slot];
  unroll(history->recent + slot * ring, sizes->lags, sizes->columns, history->tick[slot], seen->recent + row * ring);
  memcpy(seen->moving + row * averages, history->moving + slot * averages, (size_t)averages * sizeof(double));
}

void history_see(const history_table *history, const history_sizes *sizes, const double *memories, int64_t count,
                 const int64_t *slots, const double *values, const int64_t *days_ago, int64_t days_stride,
                 const int64_t *weeks_ago, int64_t weeks_stride, const history_snapshot *seen) {
  int64_t days = sizes->times * sizes->days, weeks = sizes->times * sizes->weeks;
  for (int64_t row = 0; row < count; row++) {
    int64_t slot = slots[row], ring = sizes->remembered;
    take_in(history, sizes, memories, slot, seen->tick[row], values + row * sizes->columns);
    tell(history, sizes, slot, row, seen);
    look_back(history, ring, slot, days_ago + row * days_stride, days, seen->days + row * days);
    look_back(history, ring, slot, weeks_ago + row * weeks_stride, weeks, seen->weeks + row * weeks);
  }
}

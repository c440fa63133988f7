/* What members are fed with; see driftline/streams/features.py and seasons.py. */

#include "inputs.h"
#include "numbers.h"
#include <string.h>

#define RADIANS (3.14159265358979323846 / 180.0)
#define MOVES 3

/* What a snapshot and the calendar say of one record. */
typedef struct {
  const double *recent, *moving, *days, *weeks, *nearby, *clock;
  double target, unit;
} record;

/* Networks and filters take no NaN: a missing input says nothing. */
static double known(double x) { return isnan(x) ? 0.0 : x; }

/* An input of a filter; wild ones are cut. */
static double term(double x) { return clipped(known(x), -CLIP, CLIP); }

static bool is_among(int64_t column, const int64_t *columns, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (columns[i] == column) return true;
  return false;
}

/* The shorter way round, in [-180, 180). */
static double turned(double degrees) {
  double rest = fmod(degrees + 180.0, 360.0);
  return (rest < 0 ? rest + 360.0 : rest) - 180.0;
}

/* How far a former value is from the newest. */
static double difference(const record *of, const inputs_sizes *sizes, const inputs_columns *columns, int64_t lag,
                         int64_t column) {
  double moved = of->recent[lag * sizes->columns + column] - of->recent[column];
  return is_among(column, columns->angles, sizes->angles) ? turned(moved) : moved;
}

/* Where a column is in what it has been of late, in its own deviations. */
static double level(const record *of, const inputs_sizes *sizes, int64_t column) {
  const double *means = of->moving + MEMORIES + 1, *squares = means + sizes->columns;
  double spread = sqrt(greater(squares[column], TINY));
  return clipped((of->recent[column] - means[column]) / spread, -CLIP, CLIP);
}

static double radians(const record *of, int64_t column) { return of->recent[column] * RADIANS; }

/* Over some days, of what is known; NaN where nothing is. */
static double mean_of_known(const double *days) {
  double total = 0.0, count = 0.0;
  for (int64_t i = 0; i < DAYS; i++)
    if (isfinite(days[i])) total += days[i], count += 1.0;
  return total / count;
}

/* How it went on from former seasons until a horizon. Gives how many moves there are. */
static int64_t season_moves(const record *of, const inputs_sizes *sizes, int64_t h, double moves[MOVES]) {
  int64_t count = 0;
  if (sizes->days) {
    const double *then = of->days + (1 + h) * DAYS;
    moves[count++] = then[0] - of->days[0];
    moves[count++] = mean_of_known(then) - mean_of_known(of->days);
  }
  if (sizes->weeks) moves[count++] = of->weeks[1 + h] - of->weeks[0];
  return count;
}

/* How far former seasons were from now, the shortest first. Gives how many there are. */
static int64_t season_distances(const record *of, const inputs_sizes *sizes, double distances[2]) {
  int64_t count = 0;
  if (sizes->days) distances[count++] = of->days[0] - of->target;
  if (sizes->weeks) distances[count++] = of->weeks[0] - of->target;
  return count;
}

static float *put(float *net, const double *x, int64_t count) {
  for (int64_t i = 0; i < count; i++) net[i] = (float)known(x[i]);
  return net + count;
}

static float *put_one(float *net, double x) { return put(net, &x, 1); }

/* The calendar of the times that are forecast: the day of the year once, for it hardly moves. */
static float *put_clock(float *net, const record *of, const inputs_sizes *sizes) {
  int64_t clock = sizes->clock;
  for (int64_t h = 0; h < sizes->horizons; h++) net = put(net, of->clock + h * clock, YEAR_START);
  for (int64_t h = 0; h < sizes->horizons; h++) net = put(net, of->clock + h * clock + YEAR_STOP, clock - YEAR_STOP);
  return put(net, of->clock + YEAR_START, YEAR_STOP - YEAR_START);
}

static void put_net(float *net, const record *of, const inputs_sizes *sizes, const inputs_columns *columns) {
  double moves[MOVES], distances[2];
  for (int64_t lag = 1; lag < sizes->lags; lag++)
    for (int64_t column = 0; column < sizes->columns; column++)
      net = put_one(net, difference(of, sizes, columns, lag, column));
  for (int64_t i = 0; i < MEMORIES; i++) net = put_one(net, of->moving[i] - of->target);
  if (season_distances(of, sizes, distances)) net = put(net, distances, 1);
  for (int64_t h = 0; h < sizes->horizons; h++) net = put(net, moves, season_moves(of, sizes, h, moves));
  net = put_clock(net, of, sizes);
  for (int64_t i = 0; i < sizes->levels; i++) net = put_one(net, level(of, sizes, columns->levels[i]));
  for (int64_t i = 0; i < sizes->angles; i++) net = put_one(net, sin(radians(of, columns->angles[i])));
  for (int64_t i = 0; i < sizes->angles; i++) net = put_one(net, cos(radians(of, columns->angles[i])));
  put(net, of->nearby, sizes->nearby);
}

/* The filters' terms that are the same for all horizons. Gives where the others begin. */
static double *put_alike(double *terms, const record *of, const inputs_sizes *sizes, const inputs_columns *columns) {
  double distances[2];
  int64_t seasons = season_distances(of, sizes, distances);
  int64_t lags = sizes->lags - 1 < RLS_LAGS ? sizes->lags - 1 : RLS_LAGS;
  *terms++ = BIAS;
  for (int64_t lag = 1; lag <= lags; lag++) *terms++ = term(difference(of, sizes, columns, lag, 0) / of->unit);
  for (int64_t i = 0; i < MEMORIES; i++) *terms++ = term((of->moving[i] - of->target) / of->unit);
  for (int64_t i = 0; i < seasons; i++) *terms++ = term(distances[i] / of->unit);
  for (int64_t i = 1; i < sizes->nearby && i <= FILTER_NEIGHBOURS; i++) *terms++ = term(of->nearby[i] / of->unit);
  for (int64_t i = 0; i < sizes->levels; i++) *terms++ = term(level(of, sizes, columns->levels[i]));
  for (int64_t i = 0; i < sizes->other_angles; i++) *terms++ = term(sin(radians(of, columns->other_angles[i])));
  for (int64_t i = 0; i < sizes->other_angles; i++) *terms++ = term(cos(radians(of, columns->other_angles[i])));
  return terms;
}

static void put_filters(double *terms, const record *of, const inputs_sizes *sizes, const inputs_columns *columns) {
  int64_t alike = put_alike(terms, of, sizes, columns) - terms;
  for (int64_t h = 0; h < sizes->horizons; h++) {
    double *own = terms + h * sizes->terms, moves[MOVES];
    if (h) memcpy(own, terms, (size_t)alike * sizeof *own);
    own += alike;
    for (int64_t i = 0; i < FILTER_HOURS; i++) *own++ = term(of->clock[h * sizes->clock + i]);
    for (int64_t i = 0, count = season_moves(of, sizes, h, moves); i < count; i++) *own++ = term(moves[i] / of->unit);
  }
}

static record record_of(const history_snapshot *seen, const inputs_sizes *sizes, const double *clock, int64_t row) {
  const double *recent = seen->recent + row * sizes->lags * sizes->columns;
  const double *moving = seen->moving + row * (MEMORIES + 1 + 2 * sizes->columns);
  int64_t times = 1 + sizes->horizons;
  return (record){
      .recent = recent,
      .moving = moving,
      .days = seen->days + row * times * sizes->days,
      .weeks = seen->weeks + row * times * sizes->weeks,
      .nearby = seen->nearby + row * sizes->nearby,
      .clock = clock + row * sizes->horizons * sizes->clock,
      .target = recent[0],
      .unit = greater(sqrt(moving[MEMORIES]), TINY),
  };
}

void inputs_of(const history_snapshot *seen, const inputs_sizes *sizes, const inputs_columns *columns,
               const double *clock, int64_t count, const inputs_table *inputs) {
  int64_t horizons = sizes->horizons;
  for (int64_t row = 0; row < count; row++) {
    record of = record_of(seen, sizes, clock, row);
    put_net(inputs->net + row * sizes->width, &of, sizes, columns);
    put_filters(inputs->rls + row * horizons * sizes->terms, &of, sizes, columns);
    inputs->last[row] = of.target;
    inputs->scale[row] = sqrt(of.moving[MEMORIES]);
    inputs->ready[row] = seen->age[row] + 1 >= sizes->lags && isfinite(of.target);
    for (int64_t h = 0; h < horizons; h++) {
      inputs->daily[row * horizons + h] = sizes->days ? of.days[(1 + h) * DAYS] : NAN;
      inputs->weekly[row * horizons + h] = sizes->weeks ? of.weeks[1 + h] : NAN;
    }
  }
}

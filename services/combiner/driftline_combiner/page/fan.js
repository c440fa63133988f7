// What one blend says of all horizons at once, and which blends were issued when. Pure: no page, no clock.

const OUTER = [["0.05", "lower"], ["0.95", "upper"]];

// Times of blends and of what they forecast are milliseconds since the epoch, on the series' grid.
export const issuedAt = (blend) => blend.grid_t ?? blend.t;

// The score of a level in a standard normal distribution: Abramowitz and Stegun, 26.2.23, within 0.0005.
export function score(level) {
  if (level > 0.5) return -score(1 - level);
  const t = Math.sqrt(-2 * Math.log(level));
  return (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
}

function knownQuantiles(blend, h) {
  const rows = { ...blend.quantiles };
  for (const [level, name] of OUTER) rows[level] ??= blend[name];
  return Object.entries(rows).map(([level, values]) => [Number(level), values?.[h]])
    .filter(([, value]) => value != null).sort(([a], [b]) => a - b);
}

// The value below which the truth lies with a probability, or null. Between two published quantiles it is
// interpolated in normal scores; without a published median there is too little to tell.
export function quantile(blend, h, level) {
  const exact = blend.quantiles?.[level]?.[h];
  if (exact != null) return exact;
  const known = knownQuantiles(blend, h);
  if (!known.some(([at]) => at === 0.5)) return known.find(([at]) => at === level)?.[1] ?? null;
  const upper = known.findIndex(([at]) => at >= level);
  if (upper <= 0) return null;
  const [[a, low], [b, high]] = [known[upper - 1], known[upper]];
  return low + (high - low) * (score(level) - score(a)) / (score(b) - score(a));
}

// The times that a blend's forecasts are for, by horizon.
export const timesOf = (blend, period) => blend.horizon.map((steps, h) => blend.times?.[h] ?? issuedAt(blend) + 1000 * steps * period);

// By horizon: steps, seconds ahead, the time that it is for, the published value and the ends of both bands. halves: of the
// 50 % band, by horizon.
export function fan(blend, period, halves) {
  const times = timesOf(blend, period);
  return blend.horizon.map((steps, h) => ({
    h, steps, ahead: steps * period, t: times[h], value: blend.value[h] ?? null,
    median: quantile(blend, h, 0.5) ?? blend.value[h] ?? null,
    low: blend.lower?.[h] ?? null, high: blend.upper?.[h] ?? null,
    lowHalf: halves[h].low, highHalf: halves[h].high,
  }));
}

// How many of the blends, in order of time, are for a record until then.
export function countUntil(blends, t) {
  let from = 0, to = blends.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (issuedAt(blends[middle]) <= t) from = middle + 1; else to = middle;
  }
  return from;
}

// The newest blend that was issued until then; undefined before the first.
export const issuedUntil = (blends, t) => blends[countUntil(blends, t) - 1];

// The truth of a time, or null.
export function truthAt(blends, t) {
  const blend = issuedUntil(blends, t);
  return blend && issuedAt(blend) === t ? blend.observed : null;
}

// The lowest and the highest value that fans of these moments reach, but for the widest tenth of them.
export function reach(blends, samples = 200) {
  const every = Math.max(1, Math.floor(blends.length / samples));
  const picked = blends.filter((_, n) => n % every === 0);
  const ends = (name, pick) => picked.flatMap((blend) => { const row = (blend[name] ?? blend.value).filter((value) => value != null); return row.length ? [pick(...row)] : []; });
  const sorted = (values) => values.sort((a, b) => a - b);
  const lows = sorted(ends("lower", Math.min)), highs = sorted(ends("upper", Math.max));
  return lows.length && highs.length ? [lows[Math.floor(0.05 * lows.length)], highs[Math.ceil(0.95 * highs.length) - 1]] : [];
}

// How far a chart goes for wide bands: so many times the range of what matters, beyond each end of it.
const BEYOND = 1.5;

// The lowest and the highest value to show; none for nothing. certain: values that must fit, as truths and medians. bands:
// ends of bands, which are cut off where they would make all the rest flat; the table has them.
export function framed(certain, bands) {
  const known = certain.filter(Number.isFinite), ends = bands.filter(Number.isFinite);
  if (!known.length) return ends;
  const low = Math.min(...known), high = Math.max(...known), room = high > low ? BEYOND * (high - low) : Infinity;
  return [Math.max(Math.min(low, ...ends), low - room), Math.min(Math.max(high, ...ends), high + room)];
}

// What the charts are made of, computed from blends. Pure: no page, no clock.

export const ROLLING = 50;
const ENOUGH = 10, MEMORY = 0.01, GAP = 1.5;

const ROWS = ["value", "lower", "upper", "times", "guarded"], BY_NAME = ["members", "weights", "strategies", "quantiles"];

// A blend with its rows in order of these horizons, null where it has none of one: a definition may have had others before.
export function onHorizons(blend, horizon) {
  if (blend.horizon.join() === horizon.join()) return blend;
  const places = horizon.map((steps) => blend.horizon.indexOf(steps));
  const row = (values) => values && places.map((place) => values[place] ?? null);
  const byName = (rows) => rows && Object.fromEntries(Object.entries(rows).map(([name, values]) => [name, row(values)]));
  const rows = ROWS.map((name) => [name, row(blend[name])]), named = BY_NAME.map((name) => [name, byName(blend[name])]);
  return { ...blend, ...Object.fromEntries([...rows, ...named]), horizon };
}

// What was forecast for each time, beside what came: forecasts are moved to the time that they are for.
export function aligned(blends, h, ahead, period) {
  const shift = ahead * period;
  const issued = blends.map((blend) => (blend.grid_t ?? blend.t) / 1000);
  // Behind a record that others are missing after, a time of no value: no line is drawn over a gap.
  const [times, observed] = broken(issued, blends.map((blend) => blend.observed), period);
  const future = [...new Set(issued.map((time) => time + shift).filter((time) => time > issued.at(-1)))];
  // What was forecast for a gap has no place.
  const places = new Map([...times, ...future].map((time, place) => [time, place]));
  const targets = issued.map((time) => places.get(time + shift) ?? -1);
  const row = (pick) => {
    const values = new Array(times.length + future.length).fill(null);
    for (const [place, blend] of blends.entries()) {
      const value = pick(blend)?.[h];
      if (targets[place] >= 0 && value !== undefined) values[targets[place]] = value;
    }
    return values;
  };
  // count: of what came, behind which the times to come are.
  return { count: times.length, axis: [...times, ...future], truth: [...observed, ...future.map(() => null)], row };
}

function broken(times, values, period) {
  const out = [[], []];
  times.forEach((time, n) => {
    if (n && time - times[n - 1] > GAP * period) { out[0].push(times[n - 1] + period / 2); out[1].push(null); }
    out[0].push(time); out[1].push(values[n]);
  });
  return out;
}

// Root mean square error over the newest ROLLING truths, at each of them.
export function rolling(forecast, truth) {
  const out = new Array(truth.length).fill(null), squares = [];
  let sum = 0;
  for (let n = 0; n < truth.length; n++) {
    if (forecast[n] == null || truth[n] == null) continue;
    squares.push((forecast[n] - truth[n]) ** 2);
    sum += squares.at(-1) - (squares.length > ROLLING ? squares[squares.length - 1 - ROLLING] : 0);
    if (squares.length >= ENOUGH) out[n] = Math.sqrt(Math.max(sum, 0) / Math.min(squares.length, ROLLING));
  }
  return out;
}

// Root mean square error over about the newest 100 truths, older ones fading: as the combiner's own scores are, which the
// overview goes by, and like them only where persistence forecast, too.
export function recent(forecast, naive, truth) {
  let square = null, count = 0;
  for (const [n, value] of truth.entries()) {
    if (value == null || forecast[n] == null || (naive && naive[n] == null)) continue;
    const now = (forecast[n] - value) ** 2;
    square = square == null ? now : square + MEMORY * (now - square);
    count++;
  }
  return count >= ENOUGH ? Math.sqrt(square) : null;
}

// 1 - error / error of persistence, where both are known.
export const skill = (error, naive) =>
  error.map((value, n) => (value == null || !naive?.[n] ? null : 1 - value / naive[n]));

// Of the newest truths that met an interval: how many they are, and the share that lay in it.
export function covered(lower, upper, truth, most = 500) {
  const judged = truth.map((value, n) => (value == null || lower[n] == null || upper[n] == null ? null : lower[n] <= value && value <= upper[n]))
    .filter((held) => held != null).slice(-most);
  return { count: judged.length, share: judged.length ? judged.filter(Boolean).length / judged.length : null };
}

export const newest = (row) => row.findLast((value) => value != null) ?? null;

// The members that took part of late, in their order.
export function present(blends, order) {
  const found = new Set(blends.slice(-200).flatMap((blend) => Object.keys(blend.members)));
  return order.filter((name) => found.has(name));
}

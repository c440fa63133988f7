// What the charts are made of, computed from blends. Pure: no page, no clock.

export const ROLLING = 50;
const ENOUGH = 10;

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
  const times = blends.map((blend) => (blend.grid_t ?? blend.t) / 1000);
  const future = [...new Set(times.map((time) => time + shift).filter((time) => time > times.at(-1)))];
  // What was forecast for a gap has no place.
  const places = new Map([...times, ...future].map((time, place) => [time, place]));
  const targets = times.map((time) => places.get(time + shift) ?? -1);
  const row = (pick) => {
    const values = new Array(times.length + future.length).fill(null);
    for (const [place, blend] of blends.entries()) {
      const value = pick(blend)?.[h];
      if (targets[place] >= 0 && value !== undefined) values[targets[place]] = value;
    }
    return values;
  };
  // count: of the records, behind which the times to come are.
  return { count: times.length, axis: [...times, ...future], truth: [...blends.map((blend) => blend.observed), ...future.map(() => null)], row };
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

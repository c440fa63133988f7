// How far the 50 % band reaches: no quantile of it is published, so the newest truths say it, as in split conformal
// prediction (Papadopoulos et al., "Inductive confidence machines for regression", ECML 2002). A truth's ratio is its
// distance from the median as a share of the distance to the quantile 0.1 or 0.9 on its side; half of the newest truths had
// a lower one than the median of their ratios. Pure: no page, no clock.

import { issuedAt, quantile, score, timesOf } from "./fan.js";

const NEWEST = 500, ENOUGH = 50;
// Of a normal distribution, until there are enough truths.
const NORMAL = score(0.75) / score(0.9);

// Of the newest ratios the middle one.
class RunningMedian {
  #inOrder = [];
  #sorted = [];

  add(ratio) {
    this.#inOrder.push(ratio);
    this.#sorted.splice(placeOf(this.#sorted, ratio), 0, ratio);
    if (this.#inOrder.length > NEWEST) this.#sorted.splice(placeOf(this.#sorted, this.#inOrder.shift()), 1);
  }

  get value() {
    const count = this.#sorted.length;
    return count < ENOUGH ? NORMAL : this.#sorted[count >> 1];
  }
}

// The first place with a value that is not less.
function placeOf(sorted, value) {
  let from = 0, to = sorted.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (sorted[middle] < value) from = middle + 1; else to = middle;
  }
  return from;
}

// Of one series, by steps ahead. A blend's band is of the truths that had come when it was issued: later ones are no help
// to whoever reads it, and would make it look better than it was.
export class HalfBands {
  #period;
  #horizons = new Map();
  #shares = new WeakMap();

  constructor(period) { this.#period = period; }

  // Blends in order of time.
  add(blend) {
    const times = timesOf(blend, this.#period);
    this.#shares.set(blend, blend.horizon.map((steps, h) => {
      const { waiting, ratios } = this.#of(steps);
      settle(waiting, issuedAt(blend), blend.observed, ratios);
      waiting.set(times[h], inner(blend, h));
      return ratios.value;
    }));
  }

  #of(steps) {
    if (!this.#horizons.has(steps)) this.#horizons.set(steps, { waiting: new Map(), ratios: new RunningMedian() });
    return this.#horizons.get(steps);
  }

  // {low, high}, null each where no median is published. h: the place among the blend's horizons.
  at(blend, h) { return ends(blend, h, this.#shares.get(blend)?.[h] ?? NORMAL); }

  // By horizon.
  of(blend) { return blend.horizon.map((_, h) => this.at(blend, h)); }
}

// waiting: quantiles by the time that they are for, ascending. Whatever is older than the truth has none.
function settle(waiting, t, truth, ratios) {
  for (const [at, quantiles] of waiting) {
    if (at > t) return;
    waiting.delete(at);
    const ratio = at === t ? ratioOf(truth, quantiles) : null;
    if (ratio != null) ratios.add(ratio);
  }
}

// The ends of the band that takes this share of the distances, within the 90 % band.
function ends(blend, h, share) {
  const [low, median, high] = inner(blend, h);
  if (low == null || median == null || high == null) return { low: null, high: null };
  // A quantile that lies on the median stays there, however far off the truths were.
  const reach = (distance) => (distance > 0 ? share * distance : 0);
  return {
    low: Math.max(median - reach(median - low), blend.lower?.[h] ?? -Infinity),
    high: Math.min(median + reach(high - median), blend.upper?.[h] ?? Infinity),
  };
}

const inner = (blend, h) => [0.1, 0.5, 0.9].map((level) => quantile(blend, h, level));

function ratioOf(truth, [low, median, high]) {
  if (truth == null || low == null || median == null || high == null) return null;
  const off = Math.abs(truth - median), reach = truth < median ? median - low : high - median;
  return off === 0 ? 0 : off / Math.max(reach, 0);
}

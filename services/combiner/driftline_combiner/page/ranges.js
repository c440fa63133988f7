// Which stretch of time the charts show. Pure. A range is {min, max} in seconds since the epoch.

const HOUR = 3600, DAY = 24 * HOUR;
const LENGTHS = [6 * HOUR, DAY, 3 * DAY, 7 * DAY, 30 * DAY, 365 * DAY];
const LEAST = 4, PAST = 24, FUTURES = 2;
export const ALL = "all";

// The lengths of past that are offered: such as have enough records to see something.
export const lengths = (period) => LENGTHS.filter((length) => length >= 2 * LEAST * period);

// Everything: from the first record to the farthest horizon after the newest. times: of records, ascending.
export const limits = (times, far) => ({ min: times[0], max: times.at(-1) + far });

// A length of past and the whole future; by default twice as much past as future.
export function stretch(length, times, far, period) {
  const all = limits(times, far), past = length === ALL ? Infinity : length || Math.max(FUTURES * far, PAST * period);
  return { min: Math.max(all.min, times.at(-1) - past), max: all.max };
}

// The same width, moved as little as is needed to lie within; all of it where it is wider.
function within({ min, max }, all) {
  const width = Math.min(max - min, all.max - all.min);
  const begin = Math.min(Math.max(min, all.min), all.max - width);
  return { min: begin, max: begin + width };
}

// factor: below 1 is closer. centre: what stays where it is.
export function zoomed({ min, max }, factor, centre, all, period) {
  const least = Math.min(LEAST * period, all.max - all.min) / (max - min);
  const by = Math.max(factor, least);
  return within({ min: centre - by * (centre - min), max: centre + by * (max - centre) }, all);
}

// share: of the width, later if positive.
export function moved({ min, max }, share, all) {
  const by = share * (max - min);
  return within({ min: min + by, max: max + by }, all);
}

// Small pictures of a series, as SVG: truths of late, and the fan of what comes. Pure but for the elements that it makes.

const SVG = "http://www.w3.org/2000/svg";
const LEAST = 24, MOST = 48;

export function drawn(kind, attributes = {}, text = "") {
  const element = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  return element;
}

// What is drawn of a row of the overview: times in milliseconds. The past is twice as long as the future, within limits.
export function points(series) {
  const period = 1000 * series.period, farthest = series.ahead.at(-1)?.horizon ?? 0;
  const count = Math.min(MOST, Math.max(LEAST, 2 * farthest));
  const truth = series.truth.slice(-count);
  const past = truth.map((value, n) => ({ t: series.truth_t - (truth.length - 1 - n) * period, value }));
  return { past, future: series.ahead.filter(({ value }) => value != null) };
}

function range(values) {
  const known = values.filter((value) => value != null), low = Math.min(...known), high = Math.max(...known);
  if (!known.length) return [0, 1];
  const room = (high - low) * 0.06 || Math.abs(high) * 0.05 || 1;
  return [low - room, high + room];
}

// Where times and values are in a box {left, top, width, height}.
export function scales({ past, future }, box) {
  const times = [...past, ...future].map(({ t }) => t), first = Math.min(...times), last = Math.max(...times);
  const [low, high] = range([...past.map(({ value }) => value), ...future.flatMap(({ value, lower, upper }) => [value, lower, upper])]);
  return {
    first, last, low, high,
    x: (t) => box.left + (last > first ? (t - first) / (last - first) : 0.5) * box.width,
    y: (value) => box.top + (1 - (value - low) / (high - low)) * box.height,
  };
}

const at = ({ x, y }, t, value) => `${x(t).toFixed(1)},${y(value).toFixed(1)}`;

// A line with a gap where nothing is known.
export function line(scale, row) {
  let path = "", pen = "M";
  for (const { t, value } of row) {
    if (value == null) { pen = "M"; continue; }
    path += pen + at(scale, t, value);
    pen = "L";
  }
  return path;
}

// The band of the 90 % interval; it opens at the newest truth.
export function band(scale, begin, future) {
  const known = future.filter(({ lower, upper }) => lower != null && upper != null);
  if (!known.length) return "";
  const start = begin ? [at(scale, begin.t, begin.value)] : [];
  return `M${[...start, ...known.map(({ t, upper }) => at(scale, t, upper)), ...known.toReversed().map(({ t, lower }) => at(scale, t, lower))].join("L")}Z`;
}

export function shapes(scale, { past, future }) {
  const begin = past.findLast(({ value }) => value != null);
  return [
    drawn("path", { class: "band", d: band(scale, begin, future) }),
    drawn("path", { class: "truth", d: line(scale, past) }),
    drawn("path", { class: "ahead", d: line(scale, begin ? [begin, ...future] : future) }),
  ];
}

export function sparkline(series, width = 176, height = 44) {
  const svg = drawn("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const shown = points(series);
  if (shown.past.length + shown.future.length > 1)
    svg.append(...shapes(scales(shown, { left: 2, top: 2, width: width - 4, height: height - 4 }), shown));
  return svg;
}

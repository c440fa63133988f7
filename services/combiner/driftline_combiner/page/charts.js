// The charts, by uPlot, and the marks on them.

import { MARKS, moment, number, ticks } from "./words.js";

const HEIGHT = 260, SMALL = 210, CROWDED = 28;
const LEAST_DRAG = 8;
const charts = {};
// Seconds since the epoch that all charts show alone, or null; `listen` hears of each change.
let zoom = null, listen = () => {};

export function onZoom(heard) { listen = heard; }

export function zoomTo(range) {
  zoom = range;
  for (const chart of Object.values(charts)) range ? chart.setScale("x", range) : chart.setData(chart.data);
  listen(zoom);
}

export const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function washed(colour, share) {
  const [red, green, blue] = [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, ${share})`;
}

// The colour as it looks on a card with this share of it, but opaque: areas lie on each other.
function tinted(colour, share) {
  const parts = (hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
  const under = parts(ink("card"));
  return `rgb(${parts(colour).map((part, n) => Math.round(share * part + (1 - share) * under[n])).join()})`;
}

function marks(events) {
  return {
    hooks: {
      draw: (chart) => {
        const { ctx, bbox } = chart, last = {}, size = 14 * devicePixelRatio;
        ctx.save();
        ctx.lineWidth = devicePixelRatio;
        ctx.font = `600 ${10 * devicePixelRatio}px system-ui, sans-serif`;
        ctx.textAlign = "center"; ctx.textBaseline = "middle";
        // Swaps are many and lie below what is rare.
        const rarest = events().toSorted((a, b) => (b.kind === "swap") - (a.kind === "swap"));
        for (const event of rarest) {
          const x = chart.valToPos(event.t / 1000, "x", true);
          if (!MARKS[event.kind] || x < bbox.left || x > bbox.left + bbox.width) continue;
          const colour = ink(event.kind === "swap" ? "accent" : "bad");
          ctx.strokeStyle = washed(colour, event.kind === "swap" ? 0.45 : 0.9);
          ctx.setLineDash(event.kind === "swap" ? [3 * devicePixelRatio, 3 * devicePixelRatio] : []);
          ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
          if (x - (last[event.kind] ?? -Infinity) < CROWDED * devicePixelRatio) continue;
          last[event.kind] = x;
          ctx.fillStyle = colour; ctx.fillRect(x - size / 2, bbox.top, size, size);
          ctx.fillStyle = ink("card"); ctx.fillText(MARKS[event.kind], x, bbox.top + size / 2 + devicePixelRatio);
        }
        ctx.restore();
      },
    },
  };
}

function refill(chart, data) {
  chart.setData(data, !zoom);
  if (zoom) chart.setScale("x", zoom);
}

// Whoever drags over a chart sees all charts from there to there.
function dragged(chart) {
  const { left, width } = chart.select;
  if (width < LEAST_DRAG) return;
  const [min, max] = [left, left + width].map((at) => chart.posToVal(at, "x"));
  chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  zoomTo({ min, max });
}

const MOVES = new Set(["mousemove", "mouseleave"]);
const cursor = {
  sync: { key: "driftline", filters: { pub: (kind) => MOVES.has(kind) } },
  drag: { x: true, y: false, setScale: false, dist: LEAST_DRAG },
  bind: { dblclick: () => () => zoomTo(null) },
};

// lines: {label, colour, fill, width, value}; more: scales and bands as uPlot has them.
function draw(id, data, lines, events, more = {}) {
  const place = document.getElementById(id), signature = lines.map((line) => line.label).join();
  const chart = charts[id];
  if (chart?.signature === signature) return refill(chart, data);
  chart?.destroy();
  const axis = { stroke: ink("quiet"), grid: { stroke: ink("grid"), width: 1 }, ticks: { stroke: ink("line"), width: 1 } };
  const series = lines.map((line) => ({
    label: line.label, stroke: line.colour, fill: line.fill, width: line.width ?? 1.5, points: { show: false },
    value: line.value ?? ((_, value) => number(value)),
  }));
  charts[id] = new uPlot({
    width: place.clientWidth, height: more.height ?? SMALL, plugins: [marks(events)],
    cursor, hooks: { setSelect: [dragged] },
    axes: [{ ...axis, space: 80, values: (_, times, __, ___, apart) => ticks(times, apart) }, { ...axis, size: 56, values: more.values }], scales: more.scales ?? {}, bands: more.bands ?? [],
    series: [{ label: "At", value: (_, time) => (time == null ? "–" : moment(time * 1000)) }, ...series],
  }, data, place);
  charts[id].signature = signature;
  if (zoom) charts[id].setScale("x", zoom);
}

export function drawForecast(found, shown, events) {
  const blend = ink("blend");
  const lines = [
    { label: "upper 90 %", colour: washed(blend, 0.35), width: 1 },
    { label: "lower 90 %", colour: washed(blend, 0.35), width: 1 },
    ...shown.map((name) => ({ label: name, colour: ink(name), width: 1 })),
    { label: "truth", colour: tinted(ink("truth"), 0.45), width: 4 },
    { label: "blend", colour: blend, width: 1.5 },
  ];
  const rows = [found.row((each) => each.upper), found.row((each) => each.lower),
    ...shown.map((name) => found.row((each) => each.members[name])), found.truth, found.row((each) => each.value)];
  draw("forecast", [found.axis, ...rows], lines, events, { height: HEIGHT, bands: [{ series: [1, 2], fill: washed(blend, 0.2) }] });
}

export function drawWeights(blends, h, members, events) {
  const own = members.map((name) => blends.map((blend) => blend.weights[name]?.[h] ?? 0));
  const sums = blends.map(() => 0);
  const stacked = own.map((row) => row.map((weight, place) => (sums[place] += weight)));
  const lines = members.map((name, which) => ({
    label: name, colour: ink(name), fill: tinted(ink(name), 0.7), width: 1,
    // What is drawn is a sum; what is said is the member's own share.
    value: (chart, _, __, place) => (place == null ? "–" : `${(100 * (chart.own[which][place] ?? 0)).toFixed(0)} %`),
  }));
  draw("weights", [blends.map((blend) => blend.t / 1000), ...stacked.toReversed()], lines.toReversed(), events,
    { scales: { y: { range: [0, 1] } }, values: (_, ticks) => ticks.map((tick) => `${Math.round(100 * tick)} %`) });
  charts.weights.own = own;
}

const line = (name) => ({ label: name, colour: ink(name), width: name === "blend" ? 2 : 1.25 });

export function drawErrors(axis, errors, names, events) {
  draw("errors", [axis, ...names.map((name) => errors[name])], names.map(line), events);
}

export function drawSkills(axis, skills, names, events) {
  const share = (value) => (value == null ? "–" : `${Math.round(100 * value)} %`);
  draw("skills", [axis, ...names.map((name) => skills[name])], names.map((name) => ({ ...line(name), value: (_, value) => share(value) })), events, {
    // One hour in which persistence was perfect must not flatten all the others.
    scales: { y: { range: (_, low, high) => [1.1 * Math.min(0, Math.max(low ?? 0, -1)), 1.1 * Math.max(high ?? 0, 0.1)] } },
    values: (_, ticks) => ticks.map(share),
  });
}

export function forget() {
  for (const [id, chart] of Object.entries(charts)) { chart.destroy(); delete charts[id]; }
}

export function fit() {
  for (const [id, chart] of Object.entries(charts)) chart.setSize({ width: document.getElementById(id).clientWidth, height: chart.height });
}

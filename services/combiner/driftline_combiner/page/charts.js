// The charts, by uPlot, and the marks on them.

import { clear, drawFans } from "./fan_drawing.js";
import { gestures } from "./gestures.js";
import { ink, tinted, washed } from "./ink.js";
import { MARKS, levels, moment, number, ticks } from "./words.js";

const HEIGHT = innerWidth < 512 ? 250 : 320, SMALL = 210, CROWDED = 28, LEFT = 56;
const LEAST_DRAG = 8;
const charts = {};
// Seconds since the epoch that the forecast's chart shows, and the others: null for all that they have.
let windows = { forecast: null, others: null };
// What a person asks of the charts: `range` hears which stretch was dragged over, null for a double click.
let wishes = {};

export function onWish(heard) { wishes = heard; }

export function look(forecast, others) {
  windows = { forecast, others };
  for (const [id, chart] of Object.entries(charts)) turn(id, chart);
}

// Draws the fans again and nothing that takes long.
export function redrawFans() { charts.forecast?.drawFans(); }

function turn(id, chart) {
  const range = id === "forecast" ? windows.forecast : windows.others;
  if (!range && chart.whole) return;
  chart.whole = !range;
  if (!range) return chart.setData(chart.data);
  if (chart.scales.x.min !== range.min || chart.scales.x.max !== range.max) chart.setScale("x", range);
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

function refill(id, chart, data) {
  const range = id === "forecast" ? windows.forecast : windows.others;
  chart.batch(() => {
    chart.whole = !range;
    chart.setData(data, !range);
    if (range) chart.setScale("x", range);
  });
}

// Whoever drags over a chart sees all charts from there to there.
function dragged(chart) {
  const { left, width } = chart.select;
  if (width < LEAST_DRAG) return;
  const [min, max] = [left, left + width].map((at) => chart.posToVal(at, "x"));
  chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  wishes.range({ min, max });
}

const MOVES = new Set(["mousemove", "mouseleave"]);
const cursor = {
  sync: { key: "driftline", filters: { pub: (kind) => MOVES.has(kind) } },
  drag: { x: true, y: false, setScale: false, dist: LEAST_DRAG },
  bind: {
    dblclick: () => () => wishes.range(null),
    // With Shift it is moved.
    mousedown: (_, __, begin) => (event) => { if (!event.shiftKey) begin(event); },
  },
};

// Of an axis of values: its longest label fits.
function room(chart, labels, which, cycle) {
  const axis = chart.axes[which];
  if (cycle > 1) return axis._size;
  chart.ctx.font = axis.font[0];
  const longest = Math.max(0, ...(labels ?? []).map((label) => chart.ctx.measureText(label).width)) / devicePixelRatio;
  return Math.max(LEFT, Math.ceil(longest + axis.ticks.size + axis.gap));
}

// lines: {label, colour, fill, width, value, auto: whether the scale is to fit it}; more: scales and bands as uPlot has them.
function draw(id, data, lines, events, more = {}) {
  const place = document.getElementById(id), signature = lines.map((line) => line.label).join();
  const chart = charts[id];
  if (chart?.signature === signature) return refill(id, chart, data);
  chart?.destroy();
  const axis = { stroke: ink("quiet"), grid: { stroke: ink("grid"), width: 1 }, ticks: { stroke: ink("line"), width: 1 } };
  const series = lines.map((line) => ({
    label: line.label, stroke: line.colour, fill: line.fill, width: line.width ?? 1.5, auto: line.auto ?? true, points: { show: false },
    value: line.value ?? ((_, value) => number(value)),
  }));
  charts[id] = new uPlot({
    width: place.clientWidth, height: more.height ?? SMALL, plugins: [...(more.plugins ?? []), marks(events)],
    cursor, hooks: { setSelect: [dragged] },
    axes: [{ ...axis, space: 80, values: (_, times, __, ___, apart) => ticks(times, apart) }, { ...axis, size: room, values: more.values ?? ((_, values) => levels(values)) }], scales: more.scales ?? {}, bands: more.bands ?? [],
    series: [{ label: "At", value: (_, time) => (time == null ? "–" : moment(time * 1000)) }, ...series],
  }, data, place);
  charts[id].signature = signature;
  turn(id, charts[id]);
}

const touched = { hooks: { ready: (chart) => gestures(chart.over, {
  touch: (share) => wishes.touch(share == null ? null : timeAt(chart, share)),
  pin: (share) => wishes.pin(timeAt(chart, share)),
  zoom: (factor, share) => wishes.zoom(factor, share),
  pan: (share) => wishes.pan(share),
}) } };

// With each drawing of the chart, and between them where only the moment is another.
const withFans = (fans) => {
  const canvas = document.getElementById("fan");
  return { hooks: {
    init: (chart) => { chart.drawFans = () => drawFans(chart, canvas, fans()); },
    draw: (chart) => chart.drawFans(),
    destroy: () => clear(canvas),
  } };
};

// By the chart's own box: asking the page for it would lay the page out in the middle of a frame.
const timeAt = (chart, share) => chart.posToVal((share * chart.bbox.width) / devicePixelRatio, "x");

// fans: () => what is drawn over it, see fan_drawing.js; reach: (low, high) => what is to be
// shown where the lines in sight but the band's go so far.
export function drawForecast(found, shown, events, said, { fans, reach }) {
  const blend = ink("blend");
  const lines = [
    { label: "90 % from", colour: washed(blend, 0.25), width: 1, auto: false },
    { label: "90 % to", colour: washed(blend, 0.25), width: 1, auto: false },
    ...shown.map((name) => ({ label: name, colour: ink(name), width: 1 })),
    { label: said, colour: blend, width: 1.5 },
    { label: "truth", colour: ink("truth"), width: 2 },
  ];
  // Of what is to come the fan tells more.
  const past = (pick) => found.row(pick).fill(null, found.count);
  const rows = [past((each) => each.lower), past((each) => each.upper),
    ...shown.map((name) => found.row((each) => each.members[name])), past((each) => each.value), found.truth];
  draw("forecast", [found.axis, ...rows], lines, events, {
    height: HEIGHT, bands: [{ series: [2, 1], fill: washed(blend, 0.1) }], plugins: [touched, withFans(fans)],
    scales: { y: { range: (_, low, high) => fitting(reach(low, high)) } },
  });
}

function fitting(values) {
  const known = values.filter((value) => value != null && Number.isFinite(value));
  return known.length ? uPlot.rangeNum(Math.min(...known), Math.max(...known), 0.06, true) : [0, 1];
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

// Draws fans into the forecast's chart: bands below the lines, the median and the moment above them.

import { ink, washed } from "./ink.js";

const DOTS = 16, LABEL = 11;

// Fans is {now, fans: [{issued, observed, points, faint, chosen}]}, points as fan.js gives them; times in milliseconds.
export function fanDrawing(current) {
  return {
    hooks: {
      drawAxes: (chart) => inside(chart, () => current().fans.forEach((drawn) => bands(chart, drawn))),
      draw: (chart) => {
        inside(chart, () => { const { now, fans } = current(); today(chart, now); fans.forEach((drawn) => line(chart, drawn)); });
      },
    },
  };
}

function inside(chart, draw) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
  draw();
  ctx.restore();
}

const x = (chart, t) => chart.valToPos(t / 1000, "x", true);
const y = (chart, value) => chart.valToPos(value, "y", true);

// From the truth of its moment, where there is one, over all horizons that have both ends.
function bands(chart, { issued, observed, points, faint }) {
  for (const [low, high, share] of [["low", "high", 0.16], ["lowHalf", "highHalf", 0.26]]) {
    const known = points.filter((point) => point[low] != null && point[high] != null);
    const ends = [...(observed == null ? [] : [[issued, observed, observed]]), ...known.map((point) => [point.t, point[low], point[high]])];
    if (ends.length < 2) { known.forEach((point) => whisker(chart, point.t, point[low], point[high], share)); continue; }
    chart.ctx.fillStyle = washed(ink("blend"), faint ? share / 2 : share);
    trace(chart, [...ends.map(([t, , top]) => [t, top]), ...ends.toReversed().map(([t, bottom]) => [t, bottom])]);
    chart.ctx.fill();
  }
}

// A band of one time alone.
function whisker(chart, t, low, high, share) {
  const { ctx } = chart;
  ctx.strokeStyle = washed(ink("blend"), share); ctx.lineWidth = 8 * devicePixelRatio;
  trace(chart, [[t, low], [t, high]]);
  ctx.stroke();
}

function trace(chart, places) {
  const { ctx } = chart;
  ctx.beginPath();
  for (const [n, [t, value]] of places.entries()) n ? ctx.lineTo(x(chart, t), y(chart, value)) : ctx.moveTo(x(chart, t), y(chart, value));
}

function line(chart, { issued, observed, points, faint, chosen }) {
  const { ctx } = chart, known = points.filter((point) => point.median != null);
  ctx.strokeStyle = ctx.fillStyle = washed(ink("blend"), faint ? 0.45 : 1);
  ctx.lineWidth = 2.5 * devicePixelRatio; ctx.lineJoin = "round";
  trace(chart, [...(observed == null ? [] : [[issued, observed]]), ...known.map((point) => [point.t, point.median])]);
  ctx.stroke();
  if (known.length <= DOTS) for (const point of known) dot(chart, point.t, point.median, 3.5);
  if (!chosen) return;
  upright(chart, issued, ink("accent"), [], chosen);
  if (observed != null) dot(chart, issued, observed, 5);
}

function dot(chart, t, value, radius) {
  const { ctx } = chart, fill = ctx.fillStyle;
  ctx.beginPath(); ctx.arc(x(chart, t), y(chart, value), radius * devicePixelRatio, 0, 2 * Math.PI);
  ctx.fill();
  ctx.fillStyle = fill;
}

const today = (chart, now) => upright(chart, now, ink("quiet"), [4, 4], "now");

function upright(chart, t, colour, dash, text) {
  const { ctx, bbox } = chart, at = x(chart, t), room = 6 * devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour; ctx.lineWidth = 1.5 * devicePixelRatio; ctx.setLineDash(dash.map((length) => length * devicePixelRatio));
  ctx.beginPath(); ctx.moveTo(at, bbox.top); ctx.lineTo(at, bbox.top + bbox.height); ctx.stroke();
  ctx.font = `600 ${LABEL * devicePixelRatio}px system-ui, sans-serif`; ctx.textBaseline = "bottom";
  // On the side that has room.
  const left = at - ctx.measureText(text).width - room > bbox.left;
  ctx.textAlign = left ? "right" : "left";
  ctx.fillText(text, at + (left ? -room : room), bbox.top + bbox.height - room);
  ctx.restore();
}

// Draws fans over the forecast's chart, on a canvas of their own: whoever touches a moment has only that one drawn again, and
// none of the chart's thousands of points.

import { ink, washed } from "./ink.js";

const DOTS = 16, LABEL = 11;

// Fans are {now, fans: [{issued, observed, points, faint, chosen}]}, points as fan.js gives them; times in milliseconds.
export function drawFans(chart, canvas, { now, fans }) {
  const surface = { ctx: canvas.getContext("2d"), bbox: chart.bbox,
    x: (t) => chart.valToPos(t / 1000, "x", true), y: (value) => chart.valToPos(value, "y", true) };
  fit(chart, canvas);
  inside(surface, () => {
    fans.forEach((drawn) => bands(surface, drawn));
    today(surface, now);
    fans.forEach((drawn) => line(surface, drawn));
  });
}

export function clear(canvas) { canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height); }

// Point for point over the chart's own canvas.
function fit({ ctx, width, height }, canvas) {
  if (canvas.width !== ctx.canvas.width) canvas.width = ctx.canvas.width;
  if (canvas.height !== ctx.canvas.height) canvas.height = ctx.canvas.height;
  if (canvas.style.width !== `${width}px`) canvas.style.width = `${width}px`;
  if (canvas.style.height !== `${height}px`) canvas.style.height = `${height}px`;
  clear(canvas);
}

function inside({ ctx, bbox }, draw) {
  ctx.save();
  ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
  draw();
  ctx.restore();
}

// From the truth of its moment, where there is one, over all horizons that have both ends.
function bands(surface, { issued, observed, points, faint }) {
  for (const [low, high, share] of [["low", "high", 0.16], ["lowHalf", "highHalf", 0.26]]) {
    const known = points.filter((point) => point[low] != null && point[high] != null);
    const ends = [...(observed == null ? [] : [[issued, observed, observed]]), ...known.map((point) => [point.t, point[low], point[high]])];
    if (ends.length < 2) { known.forEach((point) => whisker(surface, point.t, point[low], point[high], share)); continue; }
    surface.ctx.fillStyle = washed(ink("blend"), faint ? share / 2 : share);
    trace(surface, [...ends.map(([t, , top]) => [t, top]), ...ends.toReversed().map(([t, bottom]) => [t, bottom])]);
    surface.ctx.fill();
  }
}

// A band of one time alone.
function whisker(surface, t, low, high, share) {
  const { ctx } = surface;
  ctx.strokeStyle = washed(ink("blend"), share); ctx.lineWidth = 8 * devicePixelRatio;
  trace(surface, [[t, low], [t, high]]);
  ctx.stroke();
}

function trace(surface, places) {
  const { ctx } = surface;
  ctx.beginPath();
  for (const [n, [t, value]] of places.entries()) n ? ctx.lineTo(surface.x(t), surface.y(value)) : ctx.moveTo(surface.x(t), surface.y(value));
}

function line(surface, { issued, observed, points, faint, chosen }) {
  const { ctx } = surface, known = points.filter((point) => point.median != null);
  ctx.strokeStyle = ctx.fillStyle = washed(ink("blend"), faint ? 0.45 : 1);
  ctx.lineWidth = 2.5 * devicePixelRatio; ctx.lineJoin = "round";
  trace(surface, [...(observed == null ? [] : [[issued, observed]]), ...known.map((point) => [point.t, point.median])]);
  ctx.stroke();
  if (known.length <= DOTS) for (const point of known) dot(surface, point.t, point.median, 3.5);
  if (!chosen) return;
  upright(surface, issued, ink("accent"), [], chosen);
  if (observed != null) dot(surface, issued, observed, 5);
}

function dot(surface, t, value, radius) {
  const { ctx } = surface, fill = ctx.fillStyle;
  ctx.beginPath(); ctx.arc(surface.x(t), surface.y(value), radius * devicePixelRatio, 0, 2 * Math.PI);
  ctx.fill();
  ctx.fillStyle = fill;
}

const today = (surface, now) => upright(surface, now, ink("quiet"), [4, 4], "now");

function upright(surface, t, colour, dash, text) {
  const { ctx, bbox } = surface, at = surface.x(t), room = 6 * devicePixelRatio;
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

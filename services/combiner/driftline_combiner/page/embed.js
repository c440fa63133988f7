// A small picture of one series for a frame in another page. It asks again by itself, and only while it can be seen.

import { ask } from "./session.js";
import { drawn, points, scales, shapes } from "./small_chart.js";
import { age, alike, amounts, inWords, measured, moment, ticks } from "./words.js";

const POLL_MS = 10000, LEFT = 44, LETTER = 6.6, BOTTOM = 30, ROOM = 8;
const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const [stream, ...rest] = location.pathname.split("/embed/").slice(1).join("/embed/").split("/").map(decodeURIComponent);
const key = rest.join("/"), horizon = query.get("horizon");
const state = { series: null };

if (["light", "dark"].includes(query.get("theme"))) document.documentElement.dataset.theme = query.get("theme");
$("name").textContent = `${key}, ${stream}`;
document.title = `${key}: forecast`;

async function look() {
  if (document.hidden) return;
  const asked = new URLSearchParams({ stream, key, limit: 1 });
  if (/^\d+$/.test(horizon ?? "")) asked.set("horizon", horizon);
  try {
    const answer = await ask(`v1/overview/series?${asked}`);
    if (answer.status === 404) return missing(`There is no stream ${stream} here.`);
    if (answer.status === 401) return missing("Sign in at the dashboard to see this.");
    if (!answer.ok) throw new Error(answer.status);
    const { series: [series] } = await answer.json();
    if (!series) return missing(`No forecast of ${key} yet.`);
    show(series);
  } catch { lost(); }
}

function missing(words) {
  $("next").textContent = words;
  $("chart").replaceChildren();
  $("age").textContent = "";
}

function lost() {
  $("age").className = "lost";
  $("age").textContent = `The combiner does not answer. ${state.series ? `What is shown is from ${moment(state.series.t)}.` : ""}`;
}

function show(series) {
  state.series = series;
  const ahead = series.ahead.find((one) => one.horizon === series.horizon), bold = document.createElement("b");
  if (ahead?.value == null) return missing(`No forecast of ${key} yet.`);
  const [value, lower, upper] = amounts([ahead.value, ahead.lower, ahead.upper]);
  bold.textContent = `In ${inWords(ahead.horizon * series.period)} ${measured(value, series.unit)}`;
  $("next").replaceChildren(bold, ahead.lower == null ? "" : `90 % interval ${lower} to ${measured(upper, series.unit)}`);
  $("age").className = "";
  $("age").textContent = `Newest record ${moment(series.t)}, ${age((Date.now() - series.t) / 1000)} ago.`;
  draw();
}

function draw() {
  const { clientWidth: width, clientHeight: height } = $("chart");
  if (!state.series || width < 2 * LEFT || height < 2 * BOTTOM) return;
  const shown = points(state.series), down = { top: ROOM, height: height - BOTTOM - ROOM };
  const { low, high } = scales(shown, { left: 0, width, ...down }), values = [low, (low + high) / 2, high], labels = alike(values);
  const left = Math.max(LEFT, LETTER * Math.max(...labels.map((label) => label.length)) + ROOM);
  const scale = scales(shown, { left, width: width - left - ROOM, ...down }), svg = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
  for (const [n, value] of values.entries())
    svg.append(drawn("path", { class: "grid", d: `M${left},${scale.y(value)}H${width - ROOM}` }),
      drawn("text", { x: left - 6, y: scale.y(value) + 4, "text-anchor": "end" }, labels[n]));
  const now = state.series.truth_t ?? state.series.t;
  svg.append(drawn("path", { class: "now", d: `M${scale.x(now)},${ROOM}V${height - BOTTOM}` }), ...shapes(scale, shown));
  const times = [[scale.first, "start"], [now, "middle"], [scale.last, "end"]].filter(([t], n) => n !== 1 || Math.min(scale.x(t) - left, width - scale.x(t)) > 60);
  for (const [t, anchor] of times)
    ticks([t / 1000], 3600)[0].split("\n").forEach((part, n) =>
      svg.append(drawn("text", { x: scale.x(t), y: height - BOTTOM + 13 + 12 * n, "text-anchor": anchor }, part)));
  $("chart").replaceChildren(svg);
}

addEventListener("resize", draw);
document.addEventListener("visibilitychange", look);
setInterval(look, POLL_MS);
await look();

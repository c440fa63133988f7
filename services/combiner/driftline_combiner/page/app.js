// The dashboard: follows the series that the address names, and keeps the view in the address.

import { iso, keepView, time, view } from "./address.js";
import { fit, forget, onWish } from "./charts.js";
import { arrange, current, far, loadStreams, streams } from "./choice.js";
import { connected, say } from "./connection.js";
import { $ } from "./elements.js";
import { issuedAt } from "./fan.js";
import { handleMoment, pin, pinned, touch } from "./issued.js";
import { isCut, isFollowed, listen, live, onNews, stop } from "./live.js";
import { closeOverview, isOverview, openOverview } from "./overview.js";
import { paint, recolour, repaint, retouch, touched } from "./painting.js";
import { loadStatus } from "./status.js";
import { handleZoom, panBy, recallZoom, unzoom, zoom, zoomBy, zoomTo } from "./zoom.js";

const POLL_MS = 5000, KEEP_MS = 400;
let keeping = 0, lost = false;

function keepAll() {
  clearTimeout(keeping);
  keeping = 0;
  if (!$("key").value || document.body.classList.contains("all")) return;
  const [from, to] = zoom() ? [zoom().min, zoom().max].map((at) => iso(Math.round(at) * 1000)) : [];
  const chosen = { range: $("range").value, from, to, at: pinned() == null ? undefined : iso(pinned()) };
  keepView({ stream: $("stream").value, key: $("key").value, horizon: $("horizon").value, ...Object.fromEntries(Object.entries(chosen).filter(([, text]) => text)) });
}

// After a gesture. Browsers limit how often the address may change.
function changed() {
  retouch();
  keeping ||= setTimeout(keepAll, KEEP_MS);
}

// What the address says of range and moment.
function recall() {
  recallZoom();
  pin(time(view().at));
}

// Shows what the address says, and goes on with what is shown already.
function follow() {
  document.body.classList.toggle("many", streams().reduce((sum, { keys }) => sum + keys.length, 0) > 1);
  if (isOverview(view(), streams())) return followAll();
  closeOverview();
  if (!arrange(isFollowed)) return leave();
  const stream = current(), key = $("key").value;
  keepAll();
  repaint();
  if (isFollowed(stream, key)) {
    if (isCut()) listen(stream, key);
    return;
  }
  leave();
  say("", "");
  listen(stream, key);
}

function leave() {
  stop();
  forget();
}

function followAll() {
  if (view().view !== "all") keepView({ view: "all" });
  leave();
  document.body.classList.remove("empty");
  openOverview(view(), streams(), connected);
}

// Asks again by itself. While nothing is new and nothing broke off, nothing is to be painted.
async function begin() {
  try {
    const isNew = await loadStreams();
    if (isNew || lost || isCut()) follow();
    lost = false;
  } catch {
    lost = true;
    connected(false);
  }
}

// Another series has another time and other moments.
function choose(wanted) {
  unzoom();
  pin(null);
  keepView(wanted);
  follow();
}

function handleSeries() {
  $("stream").onchange = () => choose({ stream: $("stream").value, horizon: $("horizon").value });
  $("key").onchange = () => choose({ stream: $("stream").value, key: $("key").value, horizon: $("horizon").value });
  $("horizon").onchange = () => { keepAll(); follow(); };
  addEventListener("hashchange", () => { recall(); if (streams().length) follow(); });
}

function handleChart() {
  onWish({
    range: zoomTo, zoom: zoomBy, pan: panBy,
    touch: (at) => { touch(at == null ? null : at * 1000); touched(); },
    pin: (at) => { pin(at * 1000 >= issuedAt(live.blends.at(-1)) ? null : Math.round(at * 1000)); changed(); },
  });
  handleMoment(() => live.blends, far, changed);
  handleZoom(changed);
  addEventListener("resize", fit);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
}

onNews(repaint);
handleSeries();
handleChart();
recall();
await begin();
await loadStatus();
setInterval(begin, POLL_MS);
setInterval(loadStatus, POLL_MS);
requestAnimationFrame(paint);

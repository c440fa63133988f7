// The dashboard: history first, then live by server-sent events, which go on after a lost connection from the last event's id.

import { drawErrors, drawForecast, drawSkills, drawWeights, fit, forget, ink } from "./charts.js";
import { aligned, covered, newest, present, rolling, skill } from "./series.js";
import { MARKS, MEMBERS, age, best, drift, moment, number, percent, trust, versions } from "./words.js";

const POINTS = 10000, EVENTS = 200, LISTED = 50;
const POLL_MS = 5000, PAINT_MS = 250;
const $ = (id) => document.getElementById(id);
const state = { streams: [], blends: [], events: [], models: [], source: null, shown: new Set(), dirty: false, next: 0, picture: null, lost: null };

async function getJson(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function element(kind, text, className = "") {
  const made = document.createElement(kind);
  made.textContent = text; made.className = className;
  return made;
}

// parts: text, and commands as [text].
function say(kind, ...parts) {
  const box = $("message"), said = parts.map((part) => (Array.isArray(part) ? part[0] : part)).join("");
  if (box.textContent === said && !box.hidden) return;
  box.hidden = !said; box.className = `message ${kind}`;
  box.replaceChildren(...parts.map((part) => (Array.isArray(part) ? element("code", part[0]) : part)));
}

function options(select, values, chosen, name = String) {
  if ([...select.options].map((option) => option.value).join("\n") === values.join("\n")) return;
  select.replaceChildren(...values.map((value) => new Option(name(value), value, false, String(value) === String(chosen))));
}

const current = () => state.streams.find((found) => found.stream === $("stream").value);
const ahead = () => Number($("horizon").value || current().horizon[0]);
const step = () => current().horizon.indexOf(ahead());

async function loadSeries() {
  state.streams = await getJson("v1/series");
  const wanted = new URLSearchParams(location.hash.slice(1));
  const withKeys = state.streams.find((found) => found.keys.length) ?? state.streams[0];
  options($("stream"), state.streams.map((found) => found.stream), $("stream").value || wanted.get("stream") || withKeys?.stream);
  const stream = current();
  if (!stream) return say("", "No stream is defined. Put a definition into the folder that ", ["DRIFTLINE_STREAMS"], " names.");
  options($("horizon"), stream.horizon, $("horizon").value, (h) => `${h} (${age(h * stream.period)})`);
  if (stream.keys.length || !state.blends.length) options($("key"), stream.keys, $("key").value || wanted.get("key"));
  document.body.classList.toggle("empty", !$("key").value);
  if (!$("key").value) {
    $("connection").textContent = "waiting for records";
    say("", `No blend of ${stream.stream} yet. What ingest takes appears here by itself; this sends a file: `,
      [`driftline replay --stream streams/${stream.stream}.yaml --data YOUR.csv`]);
  }
}

function follow() {
  Object.assign(state, { blends: [], events: [], picture: null });
  $("events").replaceChildren();
  forget();
  listen();
}

function listen() {
  state.source?.close();
  const stream = $("stream").value, key = $("key").value;
  if (!key) return;
  history.replaceState(null, "", `#${new URLSearchParams({ stream, key })}`);
  const after = state.blends.at(-1)?.t ?? -1;
  const source = new EventSource(`v1/live?${new URLSearchParams({ stream, key, after })}`);
  state.source = source;
  source.onopen = () => connected(true);
  source.onerror = () => connected(false);
  source.addEventListener("blend", (event) => takeBlend(JSON.parse(event.data)));
  source.addEventListener("alert", (event) => takeAlert(JSON.parse(event.data)));
}

function connected(is) {
  if (is && state.source) say("", "");
  state.lost = is ? null : (state.lost ?? Date.now());
  $("connection").textContent = is ? "live" : "the combiner does not answer";
  $("connection").className = is ? "ready" : "lost";
  if (!is)
    say("wrong", `The combiner does not answer since ${moment(state.lost)}. What is shown is from before; it goes on by itself. `,
      ["driftline status"], " says which service is away.");
}

function takeBlend(blend) {
  const last = state.blends.at(-1);
  if (last && blend.t <= last.t) return;
  for (const [member, version] of Object.entries(blend.versions))
    if (last && last.versions[member] && last.versions[member] !== version)
      happened({ t: blend.t, kind: "swap", text: `${member} is now ${version}` });
  state.blends.push(blend);
  if (state.blends.length > POINTS) state.blends.splice(0, state.blends.length - POINTS);
  state.dirty = true;
}

function takeAlert(alert) {
  happened({ t: alert.t, kind: alert.kind, text: alert.detail.startsWith(alert.subject) ? alert.detail : `${alert.subject}: ${alert.detail}` });
}

function happened(event) {
  if (state.events.some((known) => known.t === event.t && known.kind === event.kind && known.text === event.text)) return;
  state.events = [...state.events, event].sort((a, b) => a.t - b.t).slice(-EVENTS);
  $("events").replaceChildren(...state.events.slice(-LISTED).reverse().map((each) => {
    const item = element("li", "");
    item.append(element("b", MARKS[each.kind] ?? "!", `mark ${each.kind}`), element("time", moment(each.t)), element("span", `${each.kind}: ${each.text}`));
    return item;
  }));
  state.dirty = true;
}

function answer(id, [what, rest, feeling = ""]) {
  if ($(id).textContent === `${what} ${rest}`) return;
  $(id).replaceChildren(element("b", what, feeling), ` ${rest}`);
}

function chooseMembers(members) {
  const there = [...$("members").querySelectorAll("input")].map((box) => box.value);
  if (there.join() === members.join()) return;
  $("members").replaceChildren($("members").querySelector("legend"), ...members.map((name) => {
    const label = element("label", ""), box = element("input", "");
    box.type = "checkbox"; box.value = name; box.checked = state.shown.has(name);
    box.onchange = () => { box.checked ? state.shown.add(name) : state.shown.delete(name); state.dirty = true; };
    label.append(box, swatch(name), name);
    return label;
  }));
}

function swatch(name) {
  const made = element("span", "", "swatch");
  made.style.color = ink(name);
  return made;
}

function who(members, errors, skills, h) {
  const weights = state.blends.at(-1).weights;
  const rows = members.toSorted((a, b) => (errors[a] ?? Infinity) - (errors[b] ?? Infinity)).map((name) => {
    const row = element("tr", ""), head = element("th", "");
    head.scope = "row"; head.append(swatch(name), name, element("small", MEMBERS[name]));
    row.append(head, ...[percent(weights[name]?.[h] ?? 0), number(errors[name]),
      name === "persistence" ? "–" : percent(skills[name])].map((text) => element("td", text, "number")));
    return row;
  });
  $("who").tBodies[0].replaceChildren(...rows);
}

// One picture of what is there, in steps of which each fits into a frame.
function* show() {
  const h = step(), blends = state.blends.slice(-Number($("range").value)), events = () => state.events;
  const members = present(blends, Object.keys(MEMBERS));
  chooseMembers(members);
  const found = aligned(blends, h, ahead(), current().period);
  const shown = members.filter((name) => state.shown.has(name));
  yield;
  drawForecast(found, shown, events);
  yield;
  drawWeights(blends, h, members, events);
  yield;
  const errors = { blend: rolling(found.row((blend) => blend.value), found.truth) };
  for (const name of members) errors[name] = rolling(found.row((blend) => blend.members[name]), found.truth);
  yield;
  const skills = mapped(errors, (error) => skill(error, errors.persistence));
  const lately = mapped(errors, newest), skilled = mapped(skills, newest);
  const said = best(members, lately, skilled);
  const lines = [...new Set(["persistence", said[0], ...shown, "blend"])].filter((name) => errors[name]);
  drawErrors(found.axis, errors, lines, events);
  yield;
  drawSkills(found.axis, skills, lines.filter((name) => name !== "persistence"), events);
  yield;
  const last = state.blends.at(-1);
  answer("best", said);
  answer("skill", trust(lately, skilled, last.guarded?.[h], covered(found.row((blend) => blend.lower), found.row((blend) => blend.upper), found.truth)));
  answer("drift", drift(state.events, state.blends));
  tellVersions();
  who(members, lately, skilled, h);
  $("forecast-said").textContent = `Truth, blend and its 90 % interval over time. Newest truth ${number(newest(found.truth))}; newest blend ${number(last.value[h])}.`;
}

const mapped = (rows, change) => Object.fromEntries(Object.entries(rows).map(([name, row]) => [name, change(row)]));

function tellVersions() {
  answer("versions", versions(state.models.filter((model) => model.stream === $("stream").value), state.blends.at(-1), Date.now()));
}

function paint(now) {
  requestAnimationFrame(paint);
  if (!state.picture && state.dirty && state.blends.length && !document.hidden && now >= state.next)
    Object.assign(state, { picture: show(), dirty: false, next: now + PAINT_MS });
  if (state.picture?.next().done) state.picture = null;
}

async function overview() {
  try {
    const { services, models, edge } = await getJson("v1/overview");
    state.models = models;
    if (edge) $("edge").textContent = edgeText(edge);
    if (state.blends.length) tellVersions();
    $("services").replaceChildren(...services.map((service) =>
      element("li", `${service.name}: ${service.state}${service.detail ? ` (${service.detail})` : ""}`, service.state === "ready" ? "ready" : "away")));
    const rows = models.filter((model) => model.version).map((model) => {
      const row = element("tr", "");
      const until = model.trained_to ? moment(model.trained_to) : "–";
      const texts = [model.stream, model.member, model.version, model.pinned ? "pinned" : model.state, age(Date.now() / 1000 - model.swapped), until];
      row.append(...texts.map((text) => element("td", text)));
      return row;
    });
    $("models").tBodies[0].replaceChildren(...(rows.length ? rows : [noModels(models)]));
  } catch { /* the connection's own state says it */ }
}

function edgeText({ name, id, labels, rivals }) {
  const sorted = Object.entries(labels ?? {}).map(([label, value]) => `, ${label}=${value}`).join("");
  const copied = rivals?.length ? ` Its card was copied: another device runs under the same id (${rivals.join(", ")}).` : "";
  return `Edge ${name} (${id ?? "no id yet"}${sorted}).${copied}`;
}

function noModels(models) {
  const row = element("tr", ""), cell = element("td", models.length
    ? "No trained model serves yet; the built-in members do. `driftline train` makes one."
    : "Inference does not answer, so its models are not known here.");
  cell.colSpan = 6;
  row.append(cell);
  return row;
}

async function begin() {
  try {
    await loadSeries();
    if (!state.source) listen();
    else if (state.source.readyState === EventSource.CLOSED) listen(); // a proxy's error page ends it for good
  } catch {
    connected(false);
  }
}

$("stream").onchange = async () => { state.blends = []; $("key").replaceChildren(); $("horizon").replaceChildren(); await begin(); follow(); };
$("key").onchange = follow;
for (const id of ["horizon", "range"]) $(id).onchange = () => { state.dirty = true; };
addEventListener("resize", fit);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forget(); $("members").querySelectorAll("label").forEach((label) => label.remove()); state.dirty = true; });
await begin();
await overview();
setInterval(begin, POLL_MS);
setInterval(overview, POLL_MS);
requestAnimationFrame(paint);

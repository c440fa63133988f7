// The dashboard: history first, then live by server-sent events, which go on after a lost connection from the last event's id.

import { drawErrors, drawForecast, drawSkills, drawWeights, fit, forget, ink, onZoom, zoomTo } from "./charts.js";
import { closeOverview, isOpen, isOverview, openOverview } from "./overview.js";
import { aligned, covered, newest, present, rolling, skill } from "./series.js";
import { MARKS, MEMBERS, age, best, drift, moment, next, number, percent, trust, versions } from "./words.js";

const POINTS = 10000, EVENTS = 200, LISTED = 50;
const POLL_MS = 5000, PAINT_MS = 250;
const $ = (id) => document.getElementById(id);
const state = { streams: [], blends: [], events: [], models: [], source: null, followed: "", shown: new Set(), dirty: false, next: 0, picture: null, lost: null };

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

// The view is what the address says after `#`: stream, key and horizon.
const view = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
function keepView(changed) {
  const hash = `#${new URLSearchParams(changed)}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

// Where none of the values is the wanted one, none is chosen.
function options(select, values, wanted, name = String) {
  if ([...select.options].map((option) => option.text).join("\n") !== values.map(name).join("\n"))
    select.replaceChildren(...values.map((value) => new Option(name(value), value)));
  if (select.value !== String(wanted)) select.value = String(wanted);
}

const current = () => state.streams.find((found) => found.stream === $("stream").value);
const ahead = () => Number($("horizon").value || current().horizon[0]);
const step = () => current().horizon.indexOf(ahead());

async function loadSeries() {
  state.streams = await getJson("v1/series");
}

// Chooses what the address says, and says so where there is no such thing.
function arrange() {
  const wanted = view(), names = state.streams.map((found) => found.stream);
  options($("stream"), names, wanted.stream ?? (state.streams.find((found) => found.keys.length) ?? state.streams[0])?.stream);
  const stream = current();
  const steps = stream?.horizon ?? [];
  options($("horizon"), steps, steps.includes(Number(wanted.horizon)) ? wanted.horizon : steps[0], (h) => `${h} (${age(h * stream.period)})`);
  // A combiner that has just begun knows no key, nor that of what is shown already.
  const shown = stream && wanted.key && state.followed === series(stream.stream, wanted.key) ? [wanted.key] : [];
  const keys = [...new Set([...(stream?.keys ?? []), ...shown])].sort();
  options($("key"), keys, wanted.key ?? keys[0]);
  document.body.classList.toggle("empty", !stream || !$("key").value);
  if (!stream || !$("key").value) lacking(stream, wanted, names);
  return Boolean(stream && $("key").value);
}

function lacking(stream, wanted, names) {
  stop();
  $("connection").className = "";
  $("connection").textContent = stream ? "waiting for records" : "nothing chosen";
  if (!names.length) return say("", "No stream is defined. Put a definition into the folder that ", ["DRIFTLINE_STREAMS"], " names.");
  if (!stream) return say("wrong", `There is no stream `, [wanted.stream], ` here. Choose one of: ${names.join(", ")}.`);
  if (stream.keys.length)
    return say("wrong", `No blend of the key `, [wanted.key], ` of ${stream.stream} is known here. It appears by itself; choose another key meanwhile.`);
  say("", `No blend of ${stream.stream} yet. What ingest takes appears here by itself; this sends a file: `,
    [`driftline replay --stream streams/${stream.stream}.yaml --data YOUR.csv`]);
}

const series = (stream, key) => JSON.stringify([stream, key]);

function stop() {
  state.source?.close();
  Object.assign(state, { source: null, followed: "", blends: [], events: [], picture: null });
}

// Shows what the address says, and goes on with what is shown already.
function follow() {
  document.body.classList.toggle("many", state.streams.reduce((sum, { keys }) => sum + keys.length, 0) > 1);
  if (isOverview(view(), state.streams)) return followAll();
  closeOverview();
  if (!arrange()) return;
  const stream = $("stream").value, key = $("key").value;
  keepView({ stream, key, horizon: $("horizon").value });
  state.dirty = true;
  if (state.followed !== series(stream, key)) {
    stop();
    $("events").replaceChildren();
    forget();
    zoomTo(null);
    say("", "");
    listen();
  } else if (!state.source || state.source.readyState === EventSource.CLOSED) listen(); // a proxy's error page ends it for good
}

function followAll() {
  if (view().view !== "all") keepView({ view: "all" });
  stop();
  document.body.classList.remove("empty");
  openOverview(view(), state.streams, connected);
}

function listen() {
  state.source?.close();
  const stream = $("stream").value, key = $("key").value;
  state.followed = series(stream, key);
  const after = state.blends.at(-1)?.t ?? -1;
  const source = new EventSource(`v1/live?${new URLSearchParams({ stream, key, after })}`);
  state.source = source;
  source.onopen = () => connected(true);
  source.onerror = () => connected(false);
  source.addEventListener("blend", (event) => takeBlend(JSON.parse(event.data)));
  source.addEventListener("alert", (event) => takeAlert(JSON.parse(event.data)));
}

function connected(is) {
  if (is && (state.source || isOpen())) say("", "");
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
  if ($(id).textContent === `${what} ${rest}` && $(id).firstElementChild.className === feeling) return;
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
    head.scope = "row"; head.append(swatch(name), name, element("small", MEMBERS[name].replace(/^is /, "")));
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
  answer("next", next(last, h, ahead(), current().period, current().unit));
  answer("best", said);
  answer("skill", trust(members, lately, skilled, last.guarded?.[h], covered(found.row((blend) => blend.lower), found.row((blend) => blend.upper), found.truth)));
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
    follow();
  } catch {
    connected(false);
  }
}

$("stream").onchange = () => { keepView({ stream: $("stream").value, horizon: $("horizon").value }); follow(); };
$("key").onchange = $("horizon").onchange = () => { keepView({ stream: $("stream").value, key: $("key").value, horizon: $("horizon").value }); follow(); };
$("range").onchange = () => { zoomTo(null); state.dirty = true; };
$("unzoom").onclick = () => zoomTo(null);
addEventListener("hashchange", () => { if (state.streams.length) follow(); });
onZoom((range) => {
  $("zoomed").hidden = !range;
  if (range) $("zoomed").firstElementChild.textContent = `Shown is ${moment(range.min * 1000)} to ${moment(range.max * 1000)}.`;
});
addEventListener("resize", fit);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forget(); $("members").querySelectorAll("label").forEach((label) => label.remove()); state.dirty = true; });
await begin();
await overview();
setInterval(begin, POLL_MS);
setInterval(overview, POLL_MS);
requestAnimationFrame(paint);

// The dashboard: history first, then live by server-sent events, which go on after a lost connection from the last event's id.

import { drawErrors, drawForecast, drawSkills, drawWeights, fit, forget, look, onWish, redrawFans } from "./charts.js";
import { countUntil, fan, issuedAt, quantile, reach } from "./fan.js";
import { ink } from "./ink.js";
import { fansOf, handleMoment, pin, pinned, shownBlend, tellIssued, touch } from "./issued.js";
import { ALL, lengths, limits, moved, stretch, zoomed } from "./ranges.js";
import { closeOverview, isOpen, isOverview, openOverview } from "./overview.js";
import { aligned, covered, newest, present, rolling, skill } from "./series.js";
import { MARKS, MEMBERS, age, bandsHeld, best, drift, inWords, moment, next, number, percent, trust, versions } from "./words.js";

const POINTS = 10000, EVENTS = 200, LISTED = 50, JUDGED = 500;
const POLL_MS = 5000, PAINT_MS = 250, KEEP_MS = 400;
const $ = (id) => document.getElementById(id);
const state = { streams: [], blends: [], events: [], models: [], source: null, followed: "", shown: new Set(), dirty: false, next: 0, picture: null, lost: null, zoom: null, turned: false, keep: Infinity };

async function getJson(path) {
  const answer = await fetch(path);
  if (answer.status === 401) location.assign(`login?next=${encodeURIComponent(location.search + location.hash)}`); // the session is over
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

// The view is what the address says after `#`: stream, key and horizon, and where they are chosen the range, or a
// stretch `from` and `to`, and the moment `at`.
const view = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
function keepView(changed) {
  const hash = `#${new URLSearchParams(changed).toString().replaceAll("%3A", ":")}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

const iso = (ms) => new Date(ms).toISOString().replace(".000Z", "Z");
const time = (text) => { const ms = Date.parse(text ?? ""); return Number.isNaN(ms) ? null : ms; };

function keepAll() {
  const [from, to] = state.zoom ? [state.zoom.min, state.zoom.max].map((at) => iso(Math.round(at) * 1000)) : [];
  const chosen = { range: $("range").value, from, to, at: pinned() == null ? undefined : iso(pinned()) };
  keepView({ stream: $("stream").value, key: $("key").value, horizon: $("horizon").value, ...Object.fromEntries(Object.entries(chosen).filter(([, text]) => text)) });
  state.keep = Infinity;
}

// What the address says of range and moment.
function recall() {
  const { range, from, to, at } = view(), [min, max] = [from, to].map(time);
  if (range && ![...$("range").options].some((option) => option.value === range)) $("range").append(new Option(range, range));
  $("range").value = range ?? "";
  state.zoom = min != null && max != null && min < max ? { min: min / 1000, max: max / 1000 } : null;
  pin(time(at));
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
  options($("horizon"), steps, steps.includes(Number(wanted.horizon)) ? wanted.horizon : steps[0], (h) => `${h} (${inWords(h * stream.period)})`);
  if (stream) arrangeRanges(stream);
  // A combiner that has just begun knows no key, nor that of what is shown already.
  const shown = stream && wanted.key && state.followed === series(stream.stream, wanted.key) ? [wanted.key] : [];
  const keys = [...new Set([...(stream?.keys ?? []), ...shown])].sort();
  options($("key"), keys, wanted.key ?? keys[0]);
  document.body.classList.toggle("empty", !stream || !$("key").value);
  if (!stream || !$("key").value) lacking(stream, wanted, names);
  return Boolean(stream && $("key").value);
}

function arrangeRanges(stream) {
  const values = ["", ...lengths(stream.period).map(String), ALL], names = { "": "what comes", [ALL]: "all there is" };
  options($("range"), values, values.includes($("range").value) ? $("range").value : "", (value) => names[value] ?? `last ${inWords(Number(value))}`);
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
  keepAll();
  state.dirty = true;
  if (state.followed !== series(stream, key)) {
    stop();
    $("events").replaceChildren();
    forget();
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

const far = () => current().horizon.at(-1) * current().period;
const ends = () => [state.blends[0], state.blends.at(-1)].map((blend) => issuedAt(blend) / 1000);

// What the forecast's chart shows.
const stretched = () => state.zoom ?? stretch($("range").value === ALL ? ALL : Number($("range").value), ends(), far(), current().period);

function turn() {
  const forecast = stretched(), chosen = state.zoom || !["", ALL].includes($("range").value);
  look(forecast, chosen ? forecast : null);
  $("zoomed").hidden = !state.zoom;
  if (state.zoom) $("zoomed").firstElementChild.textContent = `Shown is ${moment(state.zoom.min * 1000)} to ${moment(state.zoom.max * 1000)}.`;
}

// The values that the fans of what is shown reach, and those of the moment for certain.
function reached() {
  const { min, max } = stretched(), [from, to] = [min, max].map((at) => countUntil(state.blends, 1000 * at));
  const certain = [state.blends.at(-1), shownBlend(state.blends)].filter(Boolean).flatMap((blend) => fan(blend, current().period));
  return [...reach(state.blends.slice(from, to)), ...certain.flatMap(({ low, high, median }) => [low, high, median])];
}

const tell = () => tellIssued(state.blends, current(), step(), stretched());

// How much the newest truths of this horizon were within the half band, from as many blends as that takes.
function halfHeld(h) {
  const part = aligned(state.blends.slice(-JUDGED - ahead()), h, ahead(), current().period);
  const end = (level) => part.row((blend) => ({ [h]: quantile(blend, h, level) ?? undefined }));
  return covered(end(0.25), end(0.75), part.truth, JUDGED);
}

// One picture of what is there, in steps of which each fits into a frame.
function* show() {
  const h = step(), blends = state.blends, events = () => state.events;
  turn();
  const members = present(blends, Object.keys(MEMBERS));
  chooseMembers(members);
  const found = aligned(blends, h, ahead(), current().period);
  const shown = members.filter((name) => state.shown.has(name));
  yield;
  drawForecast(found, shown, events, `forecast ${inWords(ahead() * current().period)} ahead`,
    { fans: () => fansOf(state.blends, current().period), reach: reached });
  yield;
  tell();
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
  const held = covered(found.row((blend) => blend.lower), found.row((blend) => blend.upper), found.truth, JUDGED);
  answer("skill", trust(members, lately, skilled, last.guarded?.[h], held));
  $("held").textContent = bandsHeld(held, halfHeld(h));
  answer("drift", drift(state.events, state.blends));
  tellVersions();
  who(members, lately, skilled, h);
  $("forecast-said").textContent = `Truth and forecast over time, and the fan of all next values with its 50 % and 90 % bands. Newest truth ${number(newest(found.truth))}; newest forecast ${number(last.value[h])}. The table has the next values.`;
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
  if (state.turned && state.blends.length) retold();
  if (now >= state.keep) keepAll();
}

// After a gesture: what is cheap, at once. A touch leaves the range as it is.
function retold() {
  if (state.turned !== "touched") turn();
  state.turned = false;
  redrawFans();
  tell();
}

function changed() {
  state.turned = true;
  state.keep = Math.min(state.keep, performance.now() + KEEP_MS);
}

// A stretch of time, or null for what the list says. All there is has a name in the list.
function zoomTo(range) {
  const all = limits(ends(), far()), whole = range && range.min <= all.min && range.max >= all.max;
  state.zoom = whole ? null : range;
  if (whole) $("range").value = ALL;
  changed();
}

function zoomBy(factor, centre) {
  if (state.blends.length) zoomTo(zoomed(stretched(), factor, centre ?? middle(), limits(ends(), far()), current().period));
}

function panBy(share) {
  if (state.blends.length) zoomTo(moved(stretched(), share, limits(ends(), far())));
}

// The moment that is looked at, where it is in sight.
function middle() {
  const { min, max } = stretched(), at = issuedAt(shownBlend(state.blends) ?? state.blends.at(-1)) / 1000;
  return at >= min && at <= max ? at : (min + max) / 2;
}

const KEYS = { "+": () => zoomBy(0.5), "-": () => zoomBy(2), 0: () => zoomTo(null), ",": () => panBy(-0.25), ".": () => panBy(0.25) };

function handleView() {
  onWish({
    range: zoomTo, zoom: zoomBy, pan: panBy,
    touch: (at) => { touch(at == null ? null : at * 1000); state.turned ||= "touched"; },
    pin: (at) => { pin(at * 1000 >= issuedAt(state.blends.at(-1)) ? null : Math.round(at * 1000)); changed(); },
  });
  handleMoment(() => state.blends, far, changed);
  $("closer").onclick = KEYS["+"]; $("wider").onclick = KEYS["-"];
  $("earlier").onclick = KEYS[","]; $("later").onclick = KEYS["."];
  $("unzoom").onclick = KEYS[0];
  $("ahead").addEventListener("keydown", (event) => {
    if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    event.preventDefault();
    KEYS[event.key]();
  });
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

// Another series has another time and other moments.
function choose(changed) {
  state.zoom = null;
  pin(null);
  keepView(changed);
  follow();
}

$("stream").onchange = () => choose({ stream: $("stream").value, horizon: $("horizon").value });
$("key").onchange = () => choose({ stream: $("stream").value, key: $("key").value, horizon: $("horizon").value });
$("horizon").onchange = () => { keepAll(); follow(); };
$("range").onchange = () => { state.zoom = null; changed(); };
addEventListener("hashchange", () => { recall(); if (state.streams.length) follow(); });
handleView();
recall();
addEventListener("resize", fit);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forget(); $("members").querySelectorAll("label").forEach((label) => label.remove()); state.dirty = true; });
await begin();
await overview();
setInterval(begin, POLL_MS);
setInterval(overview, POLL_MS);
requestAnimationFrame(paint);

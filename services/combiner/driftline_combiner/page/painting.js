// Paints what is there of a series: its charts, answers and tables, in steps of which each fits into a frame.

import { drawErrors, drawForecast, drawSkills, drawWeights, forget, redrawFans } from "./charts.js";
import { ahead, current, step } from "./choice.js";
import { $, answer, element, swatch } from "./elements.js";
import { countUntil, fan, framed, reach } from "./fan.js";
import { forgetColours } from "./ink.js";
import { fansOf, shownBlend, tellIssued } from "./issued.js";
import { followed, live } from "./live.js";
import { aligned, covered, newest, present, recent, rolling, skill } from "./series.js";
import { tellVersions } from "./status.js";
import { MEMBERS, bandsHeld, best, drift, inWords, next, number, percent, trust } from "./words.js";
import { stretched, turn } from "./zoom.js";

const JUDGED = 500, PAINT_MS = 250;
// stale: whether all is to be painted again. turned: "touched" where only the moment is another, "moved" where the range is.
const state = { steps: null, of: "", stale: false, turned: "", next: 0, shown: new Set() };

export function repaint() { state.stale = true; }
export function touched() { state.turned ||= "touched"; }
export function retouch() { state.turned = "moved"; }

// After a change of colours.
export function recolour() {
  forgetColours();
  forget();
  $("members").querySelectorAll("label").forEach((label) => label.remove());
  repaint();
}

export function paint(now) {
  requestAnimationFrame(paint);
  if (state.of !== followed()) state.steps = null;
  if (!live.blends.length) return;
  if (!state.steps && state.stale && !document.hidden && now >= state.next)
    Object.assign(state, { steps: show(), of: followed(), stale: false, next: now + PAINT_MS });
  if (state.steps?.next().done) state.steps = null;
  if (state.turned) retold();
}

// After a gesture: what is cheap, at once. A touch leaves the range as it is.
function retold() {
  if (state.turned === "moved") turn();
  state.turned = "";
  redrawFans();
  tell();
}

const tell = () => tellIssued(live, current(), step(), stretched());
const mapped = (rows, change) => Object.fromEntries(Object.entries(rows).map(([name, row]) => [name, change(row)]));

function* show() {
  const h = step(), { blends } = live, events = () => live.events;
  turn();
  const members = present(blends, Object.keys(MEMBERS));
  chooseMembers(members);
  const found = aligned(blends, h, ahead(), current().period);
  const shown = members.filter((name) => state.shown.has(name));
  yield;
  drawForecast(found, shown, events, `forecast ${inWords(ahead() * current().period)} ahead`,
    { fans: () => fansOf(live, current().period), reach: reached });
  yield;
  tell();
  yield;
  drawWeights(blends, h, members, events);
  yield;
  const forecasts = { blend: found.row((blend) => blend.value) };
  for (const name of members) forecasts[name] = found.row((blend) => blend.members[name]);
  const errors = mapped(forecasts, (row) => rolling(row, found.truth));
  yield;
  const skills = mapped(errors, (error) => skill(error, errors.persistence));
  const late = judged(forecasts, found.truth, members, h), winner = best(late.present, late.errors, late.skills, current().unit);
  const lines = [...new Set(["persistence", winner[0], ...shown, "blend"])].filter((name) => errors[name]);
  drawErrors(found.axis, errors, lines, events);
  yield;
  drawSkills(found.axis, skills, lines.filter((name) => name !== "persistence"), events);
  yield;
  answer("best", winner);
  tellAnswers(found, h, late);
  tellMembers(late, h);
}

// How all did of late. present: the members that forecast with the newest record.
function judged(forecasts, truth, members, h) {
  const errors = mapped(forecasts, (row) => recent(row, forecasts.persistence, truth));
  const skills = mapped(errors, (error) => skill([error], [errors.persistence])[0]);
  return { members, present: members.filter((name) => live.blends.at(-1).members[name]?.[h] != null), errors, skills };
}

// The lowest and the highest value to show. low, high: of the lines in sight, without the ends of the 90 % band.
function reached(low, high) {
  const { min, max } = stretched(), { blends } = live, [from, to] = [min, max].map((at) => countUntil(blends, 1000 * at));
  const fans = [blends.at(-1), shownBlend(blends)].filter(Boolean).flatMap((blend) => fan(blend, current().period, live.halves.of(blend)));
  const bands = [...reach(blends.slice(from, to)), ...fans.flatMap((point) => [point.low, point.high])];
  return framed([low, high, ...fans.map(({ median }) => median)], bands);
}

function chooseMembers(members) {
  const offered = [...$("members").querySelectorAll("input")].map((box) => box.value);
  if (offered.join() === members.join()) return;
  $("members").replaceChildren($("members").querySelector("legend"), ...members.map(memberBox));
}

function memberBox(name) {
  const label = element("label", ""), box = element("input", "");
  Object.assign(box, { type: "checkbox", value: name, checked: state.shown.has(name) });
  box.onchange = () => { state.shown[box.checked ? "add" : "delete"](name); repaint(); };
  label.append(box, swatch(name), name);
  return label;
}

// How much the newest truths of this horizon were within the half band, from as many blends as that takes.
function halfHeld(h) {
  const part = aligned(live.blends.slice(-JUDGED - ahead()), h, ahead(), current().period);
  const end = (name) => part.row((blend) => ({ [h]: live.halves.at(blend, h)[name] }));
  return covered(end("low"), end("high"), part.truth, JUDGED);
}

function tellAnswers(found, h, { present, errors, skills }) {
  const last = live.blends.at(-1);
  answer("next", next(last, h, ahead(), current().period, current().unit));
  const held = covered(found.row((blend) => blend.lower), found.row((blend) => blend.upper), found.truth, JUDGED);
  answer("skill", trust(present, errors, skills, last.guarded?.[h], held, current().unit));
  $("held").textContent = bandsHeld(held, halfHeld(h));
  answer("drift", drift(live.events, live.blends));
  tellVersions();
  $("forecast-said").textContent = `Truth and forecast over time, and the fan of all next values with its 50 % and 90 % bands. Newest truth ${number(newest(found.truth))}; newest forecast ${number(last.value[h])}. The table has the next values.`;
}

function tellMembers({ members, errors, skills }, h) {
  const { weights } = live.blends.at(-1);
  const rows = members.toSorted((a, b) => (errors[a] ?? Infinity) - (errors[b] ?? Infinity)).map((name) => {
    const row = element("tr", ""), head = element("th", "");
    head.scope = "row"; head.append(swatch(name), name, element("small", MEMBERS[name].replace(/^is /, "")));
    row.append(head, ...[percent(weights[name]?.[h] ?? 0), number(errors[name]),
      name === "persistence" ? "–" : percent(skills[name])].map((text) => element("td", text, "number")));
    return row;
  });
  $("who").tBodies[0].replaceChildren(...rows);
}

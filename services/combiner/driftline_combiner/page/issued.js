// The moment whose forecast is looked at: the newest, one that is pinned, or the one that the pointer touches; with its
// slider, its sentence and its table.

import { $, element } from "./elements.js";
import { countUntil, fan, issuedAt, issuedUntil, truthAt } from "./fan.js";
import { hindsight, inWords, moment, rowsOfTable } from "./words.js";

const chosen = { pinned: null, touched: null };

// Milliseconds since the epoch, or null for the newest.
export const pinned = () => chosen.pinned;
export function pin(t) { Object.assign(chosen, { pinned: t, touched: null }); }
export function touch(t) { chosen.touched = t; }

const at = () => chosen.touched ?? chosen.pinned;

// undefined where nothing from then is remembered.
export const shownBlend = (blends) => (at() == null ? blends.at(-1) : issuedUntil(blends, at()));

const drawn = (blend, period, halves) => ({ issued: issuedAt(blend), observed: blend.observed, points: fan(blend, period, halves.of(blend)) });

// As fan_drawing.js takes them: the newest, and the one of the moment where that is another.
export function fansOf({ blends, halves }, period) {
  const newest = blends.at(-1), shown = shownBlend(blends) ?? newest, past = shown !== newest;
  const fans = [{ ...drawn(newest, period, halves), faint: past }];
  if (past) fans.push({ ...drawn(shown, period, halves), chosen: "issued" });
  return { now: issuedAt(newest), fans };
}

// visible: {min, max} in seconds; the slider goes over the records of it.
export function tellIssued({ blends, halves }, stream, h, visible) {
  const newest = blends.at(-1), shown = shownBlend(blends), far = stream.horizon.at(-1) * stream.period;
  const last = Math.max(1, countUntil(blends, 1000 * visible.max)) - 1;
  set($("moment"), {
    min: Math.min(last, countUntil(blends, 1000 * visible.min - 1)), max: last,
    value: Math.max(0, countUntil(blends, issuedAt(shown ?? newest)) - 1),
  });
  const when = shown ? moment(issuedAt(shown)) : `before ${moment(issuedAt(blends[0]))}`;
  $("moment").setAttribute("aria-valuetext", when);
  write($("issued-at"), shown === newest ? `${when}, the newest` : when);
  write($("ago"), `${inWords(far)} earlier`);
  $("newest").disabled = at() == null;
  const points = shown ? fan(shown, stream.period, halves.of(shown)) : [];
  write($("issued"), shown === newest ? "" : hindsight(shown, points[h], shown && truthAt(blends, points[h].t), stream.unit, issuedAt(blends[0])));
  fill(rowsOfTable(points, (t) => truthAt(blends, t)), stream.unit, shown === newest, h);
}

function set(slider, { min, max, value }) {
  if (slider.min !== String(min)) slider.min = min;
  if (slider.max !== String(max)) slider.max = max;
  if (slider.value !== String(value)) slider.value = value;
}

function write(box, text) { if (box.textContent !== text) box.textContent = text; }

function fill(rows, unit, newest, h) {
  const table = $("values"), [body] = table.tBodies;
  write($("values-unit"), unit ? `Value (${unit})` : "Value");
  if (table.classList.contains("newest") !== newest) table.classList.toggle("newest", newest);
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  rows.forEach((row, n) => refill(body.rows[n] ?? body.appendChild(emptyRow()), row, n === h));
}

function emptyRow() {
  const row = element("tr", ""), head = element("th", "");
  head.scope = "row";
  head.append("", element("small", ""), element("small", ""));
  row.append(head, ...["number", "number", "number truth"].map((name) => element("td", "", name)));
  return row;
}

// The cells stay the same elements: with each frame other ones would be styled and laid out.
function refill(row, { day, time, ahead, value, interval, truth, missed }, isChosen) {
  const [head, ...cells] = row.cells, [clock, date, distance] = head.childNodes;
  if (clock.data !== time) clock.data = time;
  date.hidden = !day;
  [[date, day], [distance, ahead], [cells[0], value], [cells[1], interval], [cells[2], truth]].forEach(([box, text]) => write(box, text));
  row.classList.toggle("chosen", isChosen);
  cells[2].classList.toggle("missed", missed);
}

// The newest is followed from then on where the last one is chosen.
const take = (blends, place, changed) => { pin(place >= blends.length - 1 ? null : issuedAt(blends[place])); changed(); };

// blends: () => those of the series; far: () => seconds to its farthest horizon.
export function handleMoment(blends, far, changed) {
  $("moment").oninput = () => take(blends(), Number($("moment").value), changed);
  $("newest").onclick = () => { pin(null); changed(); $("moment").focus(); };
  $("ago").onclick = () => {
    const known = blends(), from = issuedAt(shownBlend(known) ?? known.at(-1));
    pin(Math.max(issuedAt(known[0]), from - 1000 * far()));
    changed();
  };
}

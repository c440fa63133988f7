// The stretch of time that the charts show, and the buttons, keys and gestures that change it.

import { time, view } from "./address.js";
import { look } from "./charts.js";
import { current, far } from "./choice.js";
import { $ } from "./elements.js";
import { issuedAt } from "./fan.js";
import { shownBlend } from "./issued.js";
import { live } from "./live.js";
import { ALL, limits, moved, stretch, zoomed } from "./ranges.js";
import { moment } from "./words.js";

const state = { zoom: null, changed: () => {} };

const ends = () => [live.blends[0], live.blends.at(-1)].map((blend) => issuedAt(blend) / 1000);

// {min, max} in seconds, or null where the list of ranges says it.
export const zoom = () => state.zoom;
export function unzoom() { state.zoom = null; }

// What the forecast's chart shows.
export const stretched = () => state.zoom ?? stretch($("range").value === ALL ? ALL : Number($("range").value), ends(), far(), current().period);

// What the address says of the range.
export function recallZoom() {
  const { range, from, to } = view(), [min, max] = [from, to].map(time);
  if (range && ![...$("range").options].some((option) => option.value === range)) $("range").append(new Option(range, range));
  $("range").value = range ?? "";
  state.zoom = min != null && max != null && min < max ? { min: min / 1000, max: max / 1000 } : null;
}

export function turn() {
  const forecast = stretched(), chosen = state.zoom || !["", ALL].includes($("range").value);
  look(forecast, chosen ? forecast : null);
  $("zoomed").hidden = !state.zoom;
  if (state.zoom) $("zoomed").firstElementChild.textContent = `Shown is ${moment(state.zoom.min * 1000)} to ${moment(state.zoom.max * 1000)}.`;
}

// A stretch of time, or null for what the list says. All there is has a name in the list.
export function zoomTo(range) {
  if (!live.blends.length) return;
  const all = limits(ends(), far()), whole = range && range.min <= all.min && range.max >= all.max;
  state.zoom = whole ? null : range;
  if (whole) $("range").value = ALL;
  state.changed();
}

// share: where of the width stays where it is, by default the moment that is looked at. It is of what is wanted, which the
// chart shows only with its next frame: two fingers move in one.
export function zoomBy(factor, share) {
  if (!live.blends.length) return;
  const shown = stretched(), centre = share == null ? middle() : shown.min + share * (shown.max - shown.min);
  zoomTo(zoomed(shown, factor, centre, limits(ends(), far()), current().period));
}

export function panBy(share) {
  if (live.blends.length) zoomTo(moved(stretched(), share, limits(ends(), far())));
}

// The moment that is looked at, where it is in sight.
function middle() {
  const { min, max } = stretched(), at = issuedAt(shownBlend(live.blends) ?? live.blends.at(-1)) / 1000;
  return at >= min && at <= max ? at : (min + max) / 2;
}

const KEYS = { "+": () => zoomBy(0.5), "-": () => zoomBy(2), 0: () => zoomTo(null), ",": () => panBy(-0.25), ".": () => panBy(0.25) };

export function handleZoom(changed) {
  state.changed = changed;
  $("closer").onclick = KEYS["+"]; $("wider").onclick = KEYS["-"];
  $("earlier").onclick = KEYS[","]; $("later").onclick = KEYS["."];
  $("unzoom").onclick = KEYS[0];
  $("range").onchange = () => { unzoom(); changed(); };
  $("ahead").addEventListener("keydown", (event) => {
    if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    event.preventDefault();
    KEYS[event.key]();
  });
}

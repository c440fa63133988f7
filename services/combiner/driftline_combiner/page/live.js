// The blends and events of the series that is shown: its history first, then live by server-sent events, which go on after a
// lost connection from the last event's id.

import { connected } from "./connection.js";
import { $, element } from "./elements.js";
import { HalfBands } from "./half_band.js";
import { onHorizons } from "./series.js";
import { MARKS, moment } from "./words.js";

const POINTS = 10000, EVENTS = 200, LISTED = 50;
const state = { source: null, followed: "", heard: () => {} };
// halves: the 50 % bands of the blends, see half_band.js.
export const live = { blends: [], events: [], halves: null };

// With other horizons it is another series.
const named = ({ stream, period, horizon }, key) => JSON.stringify([stream, key, period, horizon]);

export const followed = () => state.followed;
// stream: as the combiner knows it.
export const isFollowed = (stream, key) => state.followed === named(stream, key);

// A proxy's error page ends the connection for good.
export const isCut = () => state.source?.readyState === EventSource.CLOSED;

// heard: is called after each blend and event.
export function onNews(heard) { state.heard = heard; }

export function stop() {
  state.source?.close();
  Object.assign(state, { source: null, followed: "" });
  Object.assign(live, { blends: [], events: [], halves: null });
  $("events").replaceChildren();
}

// shown: the stream as the combiner knows it. It goes on where this series was followed already.
export function listen(shown, key) {
  const { stream, period, horizon } = shown;
  state.source?.close();
  state.followed = named(shown, key);
  live.halves ??= new HalfBands(period);
  const after = live.blends.at(-1)?.t ?? -1;
  const source = new EventSource(`v1/live?${new URLSearchParams({ stream, key, after })}`);
  state.source = source;
  source.onopen = () => connected(true);
  source.onerror = () => connected(false);
  source.addEventListener("blend", (event) => takeBlend(onHorizons(JSON.parse(event.data), horizon)));
  source.addEventListener("alert", (event) => takeAlert(JSON.parse(event.data)));
}

function takeBlend(blend) {
  const last = live.blends.at(-1);
  if (last && blend.t <= last.t) return;
  for (const [member, version] of Object.entries(blend.versions))
    if (last?.versions[member] && last.versions[member] !== version)
      happened({ t: blend.t, kind: "swap", text: `${member} is now ${version}` });
  live.blends.push(blend);
  live.halves.add(blend);
  if (live.blends.length > POINTS) live.blends.splice(0, live.blends.length - POINTS);
  state.heard();
}

function takeAlert({ t, kind, subject, detail }) {
  happened({ t, kind, text: kind === "gap" || detail.includes(subject) ? detail : `${subject}: ${detail}` });
}

function happened(event) {
  if (live.events.some((known) => known.t === event.t && known.kind === event.kind && known.text === event.text)) return;
  live.events = [...live.events, event].sort((a, b) => a.t - b.t).slice(-EVENTS);
  $("events").replaceChildren(...live.events.slice(-LISTED).reverse().map(listed));
  state.heard();
}

function listed({ t, kind, text }) {
  const item = element("li", "");
  item.append(element("b", MARKS[kind] ?? "!", `mark ${kind}`), element("time", moment(t)), element("span", `${kind}: ${text}`));
  return item;
}

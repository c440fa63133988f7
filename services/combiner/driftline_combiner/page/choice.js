// Which stream, key and horizon are chosen among those that the combiner knows.

import { view } from "./address.js";
import { say, tellConnection } from "./connection.js";
import { $, options } from "./elements.js";
import { ALL, lengths } from "./ranges.js";
import { getText } from "./session.js";
import { inWords } from "./words.js";

const known = { said: "", streams: [] };

// Whether there is anything new.
export async function loadStreams() {
  const said = await getText("v1/series"), isNew = said !== known.said;
  if (isNew) Object.assign(known, { said, streams: JSON.parse(said) });
  return isNew;
}

export const streams = () => known.streams;
export const current = () => known.streams.find((one) => one.stream === $("stream").value);
// In steps.
export const ahead = () => Number($("horizon").value || current().horizon[0]);
// Its place among the stream's horizons.
export const step = () => current().horizon.indexOf(ahead());
// Seconds to the farthest horizon.
export const far = () => current().horizon.at(-1) * current().period;

// Chooses what the address says, and says so where there is no such thing. isFollowed: whether a series is shown already.
export function arrange(isFollowed) {
  const wanted = view(), names = known.streams.map(({ stream }) => stream);
  options($("stream"), names, wanted.stream ?? (known.streams.find(({ keys }) => keys.length) ?? known.streams[0])?.stream);
  const stream = current();
  arrangeHorizons(stream, Number(wanted.horizon));
  if (stream) arrangeRanges(stream);
  // A combiner that has just begun knows no key, nor that of what is shown already.
  const shown = stream && wanted.key && isFollowed(stream, wanted.key) ? [wanted.key] : [];
  const keys = [...new Set([...(stream?.keys ?? []), ...shown])].sort();
  options($("key"), keys, wanted.key ?? keys[0]);
  const chosen = Boolean(stream && $("key").value);
  document.body.classList.toggle("empty", !chosen);
  if (!chosen) lacking(stream, wanted, names);
  return chosen;
}

function arrangeHorizons(stream, wanted) {
  const steps = stream?.horizon ?? [];
  options($("horizon"), steps, steps.includes(wanted) ? wanted : steps[0], (h) => `${h} (${inWords(h * stream.period)})`);
}

function arrangeRanges(stream) {
  const values = ["", ...lengths(stream.period).map(String), ALL], names = { "": "what comes", [ALL]: "all there is" };
  options($("range"), values, values.includes($("range").value) ? $("range").value : "", (value) => names[value] ?? `last ${inWords(Number(value))}`);
}

function lacking(stream, wanted, names) {
  tellConnection(stream ? "waiting for records" : "nothing chosen");
  if (!names.length) return say("", "No stream is defined. Put a definition into the folder that ", ["DRIFTLINE_STREAMS"], " names.");
  if (!stream) return say("wrong", `There is no stream `, [wanted.stream], ` here. Choose one of: ${names.join(", ")}.`);
  if (stream.keys.length)
    return say("wrong", `No blend of the key `, [wanted.key], ` of ${stream.stream} is known here. It appears by itself; choose another key meanwhile.`);
  say("", `No blend of ${stream.stream} yet. What ingest takes appears here by itself; this sends a file: `,
    [`driftline replay --stream streams/${stream.stream}.yaml --data YOUR.csv`]);
}

// The story of a model: which version since when, why swapped, why refused, and its test against the one before as a curve.

import { drawn, line } from "./small_chart.js";
import { age, moment } from "./words.js";

const WIDTH = 520, HEIGHT = 150, BOX = { left: 46, top: 12, width: 350, height: 108 };
const E10 = Math.LN10;

function element(kind, text, ...parts) {
  const one = document.createElement(kind);
  one.append(text, ...parts);
  return one;
}

const short = (version) => version.split("-")[0];

// model: {member, status, comparisons}. Nothing to tell where no version ever came.
export function storyOf({ member, status, comparisons }) {
  const refused = Object.entries(status.refused ?? {});
  if (!status.version && !status.latest?.length && !refused.length) return null;
  const serves = status.version
    ? `${status.version} serves since ${moment(1000 * status.swapped)} (for ${age(Date.now() / 1000 - status.swapped)})${status.pinned ? ", pinned" : ""}: ${status.note}.`
    : `No version serves: ${status.note}.`;
  const parts = [element("h3", member), element("p", serves)];
  const test = comparisons.at(-1);
  if (test?.course.length) parts.push(curve(test), element("p", verdict(test)));
  if (status.latest?.length) parts.push(listed("Swaps", status.latest.map(({ version, at, why }) => element("li", element("time", moment(1000 * at)), element("b", short(version)), ` ${why}`))));
  if (refused.length) {
    const list = listed("Refused", refused.map(([version, why]) => element("li", element("b", short(version)), ` ${why}`)));
    list.className = "refused";
    parts.push(list);
  }
  const box = document.createElement("div");
  box.append(...parts);
  return box;
}

function listed(title, items) {
  const list = document.createElement("ol"), box = document.createElement("div");
  list.tabIndex = 0;
  list.setAttribute("aria-label", title);
  list.append(...items);
  box.append(element("p", element("b", title)), list);
  return box;
}

export function verdict({ new: now, old, truths, worse, not_worse, limit, over }) {
  const compared = `${short(now)} against ${short(old)} over ${truths.toLocaleString()} truths`;
  if (worse >= limit) return `${compared}: it is worse, and was left.`;
  if (not_worse >= limit) return `${compared}: it is not worse.`;
  return `${compared}: ${over ? "undecided, the comparison has ended" : "undecided so far; both forecast until one line reaches the limit"}.`;
}

// The evidence for both sides over the truths, as powers of ten. Numbers of the test are natural logarithms.
export function curve({ course, limit }) {
  const powers = (row, name) => row.map((point) => ({ t: point.truths, value: Math.max(-2, point[name] / E10) }));
  const rows = { worse: powers(course, "worse"), "not-worse": powers(course, "not_worse") }, top = limit / E10;
  const values = Object.values(rows).flat().map(({ value }) => value), last = course.at(-1).truths, first = 0;
  const low = Math.min(-1, ...values), high = Math.max(top + 0.5, ...values);
  const scale = { x: (t) => BOX.left + ((t - first) / Math.max(1, last - first)) * BOX.width, y: (value) => BOX.top + (1 - (value - low) / (high - low)) * BOX.height };
  const svg = drawn("svg", { class: "small-chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Evidence over the truths that both versions met; the words below say how it stands" });
  const level = (value, text, kind) => [
    drawn("path", { class: kind, d: `M${BOX.left},${scale.y(value)}H${BOX.left + BOX.width}` }),
    drawn("text", { x: BOX.left - 6, y: scale.y(value) + 4, "text-anchor": "end" }, text)];
  svg.append(...level(0, "1", "grid"), ...level(top, `${Math.round(10 ** top).toLocaleString()}`, "limit"));
  for (const [name, row] of Object.entries(rows)) svg.append(drawn("path", { class: name, d: line(scale, row) }));
  const [worse, not] = Object.values(rows).map((row) => scale.y(row.at(-1).value)), apart = Math.abs(worse - not) < 14 ? 7 : 0, up = worse <= not ? -apart : apart;
  svg.append(
    drawn("text", { class: "worse", x: BOX.left + BOX.width + 6, y: worse + 4 + up }, "it is worse"),
    drawn("text", { class: "not-worse", x: BOX.left + BOX.width + 6, y: not + 4 - up }, "it is not worse"),
    drawn("text", { x: BOX.left, y: HEIGHT - 8 }, "0"),
    drawn("text", { x: BOX.left + BOX.width, y: HEIGHT - 8, "text-anchor": "end" }, `${last.toLocaleString()} truths`));
  return svg;
}

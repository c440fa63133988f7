// What the page says, and which edges it shows in which order. Pure.

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const minute = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

// seconds: since the epoch. Of the last day the time alone.
export function moment(seconds, now) {
  if (seconds == null) return "–";
  return (Math.abs(now - seconds) < 64800 ? minute : day).format(seconds * 1000);
}

export function percent(share) {
  if (share == null) return "–";
  if (share < -10) return "below −1,000 %";
  return `${Math.round(100 * share) || 0} %`.replace("-", "−");
}

export function bytes(count) {
  if (count == null) return "–";
  return count < 1e9 ? `${(count / 1e6).toFixed(0)} MB` : `${(count / 1e9).toFixed(1)} GB`;
}

export const short = (version) => (version ? version.split("-")[0] : "none");
export const labelled = (labels) => Object.entries(labels).map(([name, value]) => `${name}=${value}`);

// Skill and coverage over streams: means.
export function coverage(edge) {
  const known = Object.values(edge.streams).map((stream) => stream.coverage).filter((value) => value != null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

export function stateWords(edge, now) {
  if (edge.heard == null) return [edge.state, "never heard"];
  if (edge.state === "live") return ["live", edge.since == null ? "" : `since ${moment(edge.since, now)}`];
  return [edge.state, `heard last ${moment(edge.since, now)}`];
}

const BAD = new Set(["cloned", "clock", "signature", "registration", "revoked", "order", "edge", "form", "numbers", "size", "rolled_back"]);
export const isBad = (problem) => BAD.has(problem.kind);
const NAMES = { cloned: "cloned card", clock: "clock", waits: "waits for", gap: "gap", rolled_back: "rolled back", not_heard: "not heard", revoked: "shut out" };
export const problemName = (problem) => NAMES[problem.kind] ?? "heartbeat not believed";

// By kind: an edge with many of one kind says so in a few words.
export function problemWords(edge) {
  const kinds = Map.groupBy ? Map.groupBy(edge.problems, problemName) : grouped(edge.problems);
  return [...kinds].map(([name, list]) => [name, list.length > 1 ? `${list[0].detail} (and ${list.length - 1} more)` : list[0].detail, list.some(isBad)]);
}

function grouped(problems) {
  const kinds = new Map();
  for (const problem of problems) kinds.set(problemName(problem), [...(kinds.get(problemName(problem)) ?? []), problem]);
  return kinds;
}

export function summaryWords(summary) {
  const missing = summary.late + summary.silent;
  return {
    live: [`${summary.live.toLocaleString()} of ${summary.edges.toLocaleString()}`, "heard within two of their intervals", ""],
    missing: [missing.toLocaleString(), missing ? `${summary.late} late, ${summary.silent} silent` : "none is missing", summary.silent ? "bad" : missing ? "" : "good"],
    problems: [summary.problems.toLocaleString(), summary.problems ? "see their rows" : "none has one", summary.problems ? "bad" : "good"],
    skill: [percent(summary.skill), "less error than repeating the last value, mean of the live edges", summary.skill == null ? "" : summary.skill > 0 ? "good" : "bad"],
  };
}

// One text by which an edge is searched.
export function searched(edge) {
  const models = Object.values(edge.models).map((model) => model.version ?? "");
  return [edge.name, edge.id, edge.software ?? "", ...labelled(edge.labels), ...models].join("\n").toLowerCase();
}

export function matches(edge, text, { search, state, label }) {
  if (state === "problem" ? !edge.problems.length : state && edge.state !== state) return false;
  if (label && !labelled(edge.labels).includes(label)) return false;
  return search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

const RANK = { silent: 0, late: 1, live: 2 };
const names = new Intl.Collator(undefined, { numeric: true });
const byName = (a, b) => names.compare(a.name, b.name) || names.compare(a.id, b.id);
const least = (value) => (a, b) => (value(a) ?? Infinity) - (value(b) ?? Infinity) || byName(a, b);
const look = (edge) => (edge.problems.some(isBad) ? 0 : 1 + RANK[edge.state] + (edge.state === "live" && !edge.problems.length ? 1 : 0));

export const ORDERS = {
  state: (a, b) => look(a) - look(b) || byName(a, b),
  name: byName,
  skill: least((edge) => edge.skill),
  coverage: least(coverage),
  heard: (a, b) => (a.heard ?? 0) - (b.heard ?? 0) || byName(a, b),
};

export const VERDICTS = { better: "no worse", worse: "worse", open: "not known yet" };

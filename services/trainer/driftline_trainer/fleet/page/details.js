// All about one edge, and one version across edges.

import { edgeHash, element, link, list, part, sparkline, table, versionHash } from "./elements.js";
import { VERDICTS, bytes, labelled, moment, percent, problemName, short, stateWords } from "./words.js";

export function edgeDetail({ edge, heartbeat, history, events, joined, boots, clock_offset: offset }, now) {
  const [state, since] = stateWords(edge, now);
  const facts = [
    `${state}, ${since}`,
    edge.software ? `Driftline ${edge.software}` : "",
    edge.registered ? `joined ${moment(joined, now)}, its notes are signed` : "not registered: anybody may write in its name",
    heartbeat ? `free disk ${bytes(heartbeat.disk_free)} of ${bytes(heartbeat.disk_total)}, memory ${bytes(heartbeat.memory)}` : "",
    heartbeat?.lag == null ? "" : `${heartbeat.lag.toLocaleString()} records not forecast yet`,
    offset == null ? "" : `clock ${offset.toFixed(offset < 10 && offset > -10 ? 2 : 0)} s ahead of the store's`,
    boots.length > 1 ? `boots, the newest last: ${boots.join(", ")}` : "",
  ];
  const pieces = [element("p", [edge.id, ...labelled(edge.labels)].join(" · "), "note"), list(facts.filter(Boolean))];
  if (edge.problems.length)
    pieces.push(part("Problems", list(edge.problems.map((problem) => [element("b", problemName(problem), "bad"), ` ${problem.detail}`, problem.since ? ` (since ${moment(problem.since, now)})` : ""]))));
  if (heartbeat) pieces.push(streams(heartbeat, now), models(heartbeat, now));
  pieces.push(part("Skill over the newest heartbeats", sparkline(history.map((point) => point.skill), `Skill, now ${percent(edge.skill)}`)));
  if (events.length) pieces.push(part("What happened", list(events.toReversed().map((event) => `${moment(event.at, now)} ${event.detail}`))));
  if (heartbeat?.alerts?.length)
    pieces.push(part("Alerts", list(heartbeat.alerts.toReversed().map((alert) => `${moment(alert.t / 1000, now)} ${alert.stream}/${alert.key}: ${alert.kind}: ${alert.detail}`))));
  return pieces;
}

const byHorizon = (shares = {}) => Object.entries(shares).map(([horizon, share]) => `${horizon}: ${percent(share)}`).join(", ") || "–";

function streams(heartbeat, now) {
  const rows = Object.entries(heartbeat.streams ?? {}).map(([name, health]) => [
    name, (health.keys ?? 0).toLocaleString(), (health.scored ?? 0).toLocaleString(), byHorizon(health.skill), byHorizon(health.coverage),
    health.newest == null ? "–" : moment(health.newest / 1000, now)]);
  return part("Streams", table("Streams", ["Stream", "#Keys", "#Truths", "Skill by steps ahead", "Coverage", "Newest record"], rows));
}

function models(heartbeat, now) {
  const rows = Object.entries(heartbeat.models ?? {}).map(([name, model]) => [
    name, model.version ? link(model.version, versionHash(name, model.version)) : "none", moment(model.since, now),
    [model.pinned ? "pinned" : "", model.named && model.named !== model.version ? `should run ${short(model.named)}` : "", model.why ?? ""].filter(Boolean).join("; ") || "–",
    model.former ? link(model.former, versionHash(name, model.former)) : "–",
    Object.entries({ ...model.refused, ...model.rolled_back }).map(([version, why]) => `${short(version)}: ${why}`).join("; ") || "–"]);
  return part("Models", table("Models", ["Model", "Version", "Since", "Note", "Former", "Rolled back or refused"], rows));
}

export function versionDetail(version, others, now) {
  const facts = [
    `serves on ${version.edges.toLocaleString()}; compared on ${version.compared.toLocaleString()} with the version before`,
    `no worse on ${version.better.toLocaleString()}, worse on ${version.worse.toLocaleString()}, rolled back on ${version.rolled_back.toLocaleString()}, refused on ${version.refused.toLocaleString()}`,
    version.log_worse == null ? "no edge has compared it yet" : `of all edges together: odds of ${odds(version.log_worse)} that it is worse, of ${odds(version.log_not_worse)} that it is not`,
  ];
  const worst = version.by_edge.toSorted((a, b) => RANK.indexOf(a.verdict) - RANK.indexOf(b.verdict));
  const rows = worst.map((row) => [
    link(row.name, edgeHash(row.id)), row.serves ? `since ${moment(row.since, now)}` : "no", row.former ? short(row.former) : "–",
    row.truths.toLocaleString(), row.verdict ? verdict(row.verdict) : "–",
    [row.rolled_back && `rolled back: ${row.rolled_back}`, row.refused && `refused: ${row.refused}`].filter(Boolean).join("; ") || "–"]);
  const pieces = [element("p", version.sentence, "sentence"), list(facts)];
  if (others.length > 1)
    pieces.push(part("Versions of this model", list(others.map((other) => [link(short(other.version), versionHash(version.model, other.version)), ` ${other.sentence.split(": ")[1]}`]))));
  pieces.push(part("By edge", table("By edge", ["Edge", "Serves", "Compared with", "#Truths", "Than that", "Why not"], rows)));
  return pieces;
}

const RANK = ["worse", "open", "better", null];
const verdict = (word) => element("span", VERDICTS[word], word === "worse" ? "bad" : word === "better" ? "good" : "");
const odds = (log) => (log > 14 ? "more than a million to 1" : log < 0 ? "less than 1 to 1" : `${Math.round(Math.exp(log)).toLocaleString()} to 1`);

// The fleet's page: all edges at first, then only what has changed.

import { edgeDetail, versionDetail } from "./details.js";
import { element } from "./elements.js";
import { Rows } from "./rows.js";
import { labelled, moment, summaryWords } from "./words.js";

const POLL_MS = 5000, TYPING_MS = 120;
const $ = (id) => document.getElementById(id);
const rows = new Rows($("table").tBodies[0]);
const state = { revision: 0, now: Date.now() / 1000, lost: null, labels: "", detail: "", typing: null, leaving: false };

async function getJson(path) {
  const answer = await fetch(path);
  if (answer.status === 401) signIn();
  if (!answer.ok) throw Object.assign(new Error((await answer.json().catch(() => ({}))).detail ?? `${path}: ${answer.status}`), { status: answer.status });
  return answer.json();
}

// The browser's session has ended: to the login, and after that back to this view. Once, as a second navigation would break
// the first off.
function signIn() {
  if (state.leaving) return;
  state.leaving = true;
  const root = new URL(".", document.baseURI).href, wanted = location.href.slice(root.length);
  location.replace(`login?${new URLSearchParams({ next: wanted })}`);
}

function say(text) {
  if ($("message").textContent === text) return;
  $("message").textContent = text;
  $("message").hidden = !text;
  $("message").className = "message wrong";
}

function answer(id, [what, rest, feeling]) {
  if ($(id).textContent !== `${what} ${rest}`) $(id).replaceChildren(element("b", what, feeling), ` ${rest}`);
}

async function load() {
  let fleet = await getJson(`v1/fleet?after=${state.revision}`);
  take(fleet);
  // Some are no more, or the trainer is another one.
  if (fleet.summary.edges !== rows.rows.size) take((fleet = await getJson("v1/fleet")));
  for (const [id, words] of Object.entries(summaryWords(fleet.summary))) answer(id, words);
  if (fleet.edges.length) {
    offerLabels();
    arrange();
  }
  say(fleet.summary.edges ? "" : "No edge has left a heartbeat in the store yet. An edge leaves one each minute once it reaches the store.");
}

function take(fleet) {
  Object.assign(state, { revision: fleet.revision, now: fleet.now });
  for (const edge of fleet.edges) rows.put(edge, fleet.now);
  if (fleet.whole) rows.keep(new Set(fleet.edges.map((edge) => edge.id)));
}

function offerLabels() {
  const labels = [...new Set(rows.edges.flatMap((edge) => labelled(edge.labels)))].sort();
  if (labels.join("\n") === state.labels) return;
  state.labels = labels.join("\n");
  const chosen = $("label").value;
  $("label").replaceChildren(new Option("any", ""), ...labels.map((label) => new Option(label, label, false, label === chosen)));
}

function arrange() {
  const wanted = { search: $("search").value.trim(), state: $("state").value, label: $("label").value, sort: $("sort").value };
  const shown = rows.arrange(wanted), all = rows.rows.size;
  const said = shown === all ? `(${all.toLocaleString()})` : `(${shown.toLocaleString()} of ${all.toLocaleString()})`;
  if ($("count").textContent !== said) $("count").textContent = said;
  $("none").hidden = shown > 0 || !all;
}

// What the address asks for: an edge, a version, or nothing.
const asked = () => new URLSearchParams(location.hash.slice(1));

async function detail() {
  const wanted = asked(), edge = wanted.get("edge"), model = wanted.get("model"), version = wanted.get("version");
  if (!edge && !model) return hide();
  try {
    const [title, body, pieces] = edge ? await oneEdge(edge) : await oneVersion(model, version);
    if (asked().toString() !== wanted.toString()) return;
    show(title, JSON.stringify(body), pieces);
  } catch (error) {
    if (error.status) show(edge ?? version, error.message, () => [element("p", error.message)]);
    else throw error;
  }
}

async function oneEdge(id) {
  const body = await getJson(`v1/fleet/edges/${encodeURIComponent(id)}`);
  return [body.edge.name, body, () => edgeDetail(body, state.now)];
}

async function oneVersion(model, version) {
  const path = `v1/fleet/versions/${encodeURIComponent(model)}`;
  const [body, others] = await Promise.all([getJson(`${path}/${encodeURIComponent(version)}`), getJson(path)]);
  return [`${model} ${body.version}`, [body, others], () => versionDetail(body, others, state.now)];
}

function show(title, said, pieces) {
  $("detail").hidden = false;
  if (state.detail === said) return;
  state.detail = said;
  $("h-detail").textContent = title;
  $("detail-body").replaceChildren(...pieces());
}

function hide() {
  state.detail = "";
  $("detail").hidden = true;
}

async function refresh() {
  if (document.hidden) return;
  try {
    await load();
    await detail();
    connected(true);
  } catch {
    connected(false);
  }
}

function connected(is) {
  state.lost = is ? null : (state.lost ?? Date.now() / 1000);
  $("connection").textContent = is ? `as of ${moment(state.now, state.now)}` : "the trainer does not answer";
  $("connection").className = is ? "ready" : "lost";
  if (!is) say(`The trainer does not answer since ${moment(state.lost, state.lost)}. What is shown is from before; it goes on by itself.`);
}

addEventListener("hashchange", async () => {
  await detail().catch(() => connected(false));
  if (!$("detail").hidden) {
    $("detail").scrollIntoView({ block: "start" });
    $("detail").focus({ preventScroll: true });
  }
});
$("search").oninput = () => {
  clearTimeout(state.typing);
  state.typing = setTimeout(arrange, TYPING_MS);
};
for (const id of ["state", "label", "sort"]) $(id).onchange = arrange;
document.addEventListener("visibilitychange", refresh);
await refresh();
setInterval(refresh, POLL_MS);

// All series at a glance: of thousands, only those in view are asked for and drawn.

import { $, element } from "./elements.js";
import { ask } from "./session.js";
import { sparkline } from "./small_chart.js";
import { age, amounts, briefly, measured, moment } from "./words.js";

const CHUNK = 50, POLL_MS = 5000, TYPING_MS = 200, BEYOND = "600px 0px";
const VERDICTS = { good: "can be trusted", care: "with care", bad: "not to be trusted", unknown: "not known yet" };
const state = { asked: null, total: 0, chunks: [], inSight: new Set(), scroll: 0, typing: 0, heard: () => {} };
const observer = new IntersectionObserver(sighted, { rootMargin: BEYOND });

// The page begins with all series where the address names none, if there are several.
export function isOverview(view, streams) {
  if (view.view === "all") return true;
  return !view.stream && streams.reduce((sum, stream) => sum + stream.keys.length, 0) > 1;
}

export const isOpen = () => state.asked !== null;

// view: what the address says. heard: gets whether the combiner answers.
export function openOverview(view, streams, heard) {
  state.heard = heard;
  document.body.classList.add("all");
  arrange(streams, view.of);
  const asked = JSON.stringify([view.of ?? "", view.search ?? "", view.sort ?? "name", view.order ?? "usual"]);
  if (asked === state.asked) return;
  const again = state.asked === null;
  if (document.activeElement !== $("search")) $("search").value = view.search ?? "";
  $("sort").value = view.sort ?? "name";
  $("reverse").setAttribute("aria-pressed", view.order === "reverse");
  begin(asked, again ? state.scroll : 0);
}

export function closeOverview() {
  if (!isOpen()) return;
  state.scroll = scrollY;
  state.asked = null;
  observer.disconnect();
  state.inSight.clear();
  document.body.classList.remove("all");
  scrollTo(0, 0);
}

function arrange(streams, wanted = "") {
  const names = ["", ...streams.map(({ stream }) => stream)];
  if ([...$("of").options].map(({ value }) => value).join("\n") !== names.join("\n"))
    $("of").replaceChildren(...names.map((name) => new Option(name || "all streams", name)));
  $("of").value = wanted;
  $("of").parentElement.hidden = streams.length < 2;
}

// Its length is that of before until the first answer.
async function begin(asked, scroll) {
  state.asked = asked;
  observer.disconnect();
  state.inSight.clear();
  state.chunks = [];
  $("all-list").replaceChildren();
  resize(scroll ? state.total : Math.min(state.total || CHUNK, CHUNK));
  if (scroll) scrollTo(0, scroll);
  else if (scrollY > 0) scrollTo(0, 0);
}

// As many chunks as it takes for so many series.
function resize(total) {
  state.total = total;
  const count = Math.ceil(total / CHUNK);
  for (const chunk of state.chunks.splice(count)) { observer.unobserve(chunk); state.inSight.delete(chunk); chunk.remove(); }
  while (state.chunks.length < count) {
    const chunk = document.createElement("ul");
    chunk.number = state.chunks.length;
    state.chunks.push(chunk);
    $("all-list").append(chunk);
    observer.observe(chunk);
  }
  for (const chunk of state.chunks) {
    const rows = Math.min(CHUNK, total - CHUNK * chunk.number);
    if (chunk.rows === rows) continue;
    chunk.rows = rows;
    chunk.style.setProperty("--rows", rows);
    chunk.setAttribute("aria-label", `Series ${CHUNK * chunk.number + 1} to ${CHUNK * chunk.number + rows}`);
  }
}

function sighted(entries) {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) { state.inSight.add(target); fetchChunk(target); continue; }
    state.inSight.delete(target);
    if (!target.contains(document.activeElement)) { target.replaceChildren(); target.said = ""; }
  }
}

async function fetchChunk(chunk) {
  const { asked } = state, [of, search, sort, order] = JSON.parse(asked);
  const query = new URLSearchParams({ sort, order, offset: CHUNK * chunk.number, limit: CHUNK });
  if (of) query.set("stream", of);
  if (search) query.set("search", search);
  let answer, said;
  try {
    answer = await ask(`v1/overview/series?${query}`);
    said = await answer.text();
  } catch { if (asked === state.asked) state.heard(false); return; }
  // Meanwhile something else may have been asked for.
  if (asked !== state.asked || !state.inSight.has(chunk)) return;
  if (!answer.ok) return tellRefused(answer.status, of);
  state.heard(true);
  if (said !== chunk.said) take(chunk, JSON.parse(said));
  chunk.said = said;
}

function take(chunk, page) {
  resize(page.total);
  tell(page);
  while (chunk.children.length > page.series.length) chunk.lastElementChild.remove();
  for (const [place, series] of page.series.entries()) {
    const item = chunk.children[place] ?? chunk.appendChild(emptyRow());
    item.setAttribute("aria-posinset", CHUNK * chunk.number + place + 1);
    item.setAttribute("aria-setsize", page.total);
    fill(item.firstElementChild, series);
  }
}

function tell({ total, counts }) {
  const verdicts = Object.entries(VERDICTS).filter(([name]) => counts[name])
    .map(([name, words]) => element("span", `${counts[name].toLocaleString()} ${words}`, `count ${name}`));
  const alerts = counts.alerts ? [element("span", `${counts.alerts.toLocaleString()} with a new alert`, "count bad")] : [];
  const none = isSearched() ? "Nothing has such a name." : "No series yet: they appear here by themselves.";
  const parts = [element("b", total ? `${total.toLocaleString()} series` : none), ...verdicts, ...alerts];
  if (parts.map((part) => part.textContent).join() === [...$("counts").children].map((part) => part.textContent).join()) return;
  $("counts").replaceChildren(...parts);
}

function tellRefused(status, of) {
  $("counts").replaceChildren(element("b", status === 404 ? `There is no stream ${of} here.` : `The combiner refuses this: ${status}.`));
  resize(0);
}

const isSearched = () => Boolean(JSON.parse(state.asked ?? "[]")[1]);

function emptyRow() {
  const item = document.createElement("li");
  item.append(document.createElement("a"));
  return item;
}

// The link stays the same element, so that it keeps the focus.
function fill(link, series) {
  const said = JSON.stringify(series);
  if (link.said !== said) {
    link.said = said;
    link.href = `#${new URLSearchParams({ stream: series.stream, key: series.key })}`;
    link.replaceChildren(named(series), sparkline(series), next(series), trust(series), alert(series), element("span", "", "age"));
  }
  link.lastElementChild.replaceChildren(...aged(series));
}

function cell(className, first, second, title = "") {
  const cell = element("span", "", className);
  cell.append(element("b", first), element("small", second));
  if (title) cell.title = title;
  return cell;
}

const named = ({ stream, key }) => cell("name", key || "(no key)", stream, `${stream}/${key}`);

function next(series) {
  const ahead = series.ahead.find(({ horizon }) => horizon === series.horizon);
  if (ahead?.value == null) return cell("next", "–", "no forecast yet");
  const [value, lower, upper] = amounts([ahead.value, ahead.lower, ahead.upper]);
  const between = ahead.lower == null || ahead.upper == null ? "" : `, ${lower} – ${upper}`;
  return cell("next", measured(value, series.unit), `in ${briefly(ahead.horizon * series.period)}${between}`);
}

const trust = ({ trust: { verdict, answer, why } }) => cell(`trust ${verdict}`, answer, why, why);

function alert({ alert: newest, t }) {
  if (!newest) return element("span", "", "alert");
  return cell("alert bad", newest.kind, t > newest.t ? `${age((t - newest.t) / 1000)} before` : "just now", newest.detail);
}

function aged({ t, behind, period }) {
  if (t == null) return [element("small", "no record since the start")];
  const late = behind > 3 * period ? [element("small", `${age(behind)} behind`, "bad")] : [];
  const time = element("span", `${age((Date.now() - t) / 1000)} ago`);
  time.title = moment(t);
  return [time, ...late];
}

// The view is in the address, as that of a series is.
function keep() {
  const view = { view: "all", of: $("of").value, search: $("search").value.trim(), sort: $("sort").value };
  const said = Object.entries({ ...view, order: $("reverse").getAttribute("aria-pressed") === "true" ? "reverse" : "" })
    .filter(([name, value]) => value && !(name === "sort" && value === "name"));
  history.replaceState(null, "", `#${new URLSearchParams(said)}`);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

$("search").oninput = () => { clearTimeout(state.typing); state.typing = setTimeout(keep, TYPING_MS); };
$("of").onchange = $("sort").onchange = keep;
$("reverse").onclick = () => { $("reverse").setAttribute("aria-pressed", $("reverse").getAttribute("aria-pressed") !== "true"); keep(); };
setInterval(() => { if (isOpen() && !document.hidden) for (const chunk of state.inSight) fetchChunk(chunk); }, POLL_MS);

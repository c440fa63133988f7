// The dashboard: history first, then live by server-sent events; the browser reconnects by itself with the last event's id.

const POINTS = 10000;
const ROLLING = 50;
const MEMBERS = ["persistence", "seasonal", "rls", "stack", "batch", "speed"];
const COLOURS = {
  truth: "#7a8790", blend: getComputedStyle(document.documentElement).getPropertyValue("--accent").trim(), persistence: "#8d6e63", seasonal: "#9e9d24", rls: "#00897b", stack: "#c2571a",
  batch: "#7b4fc9", speed: "#c2185b",
};
const $ = (id) => document.getElementById(id);
const state = { streams: [], blends: [], events: [], source: null, charts: {}, shown: new Set(), dirty: false, opened: false };

async function getJson(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function say(text) {
  $("message").hidden = !text;
  $("message").textContent = text;
}

function options(select, values, chosen) {
  const before = [...select.options].map((option) => option.value).join("\n");
  if (before === values.join("\n")) return;
  select.replaceChildren(...values.map((value) => new Option(value, value, false, value === chosen)));
}

const current = () => state.streams.find((found) => found.stream === $("stream").value);
const ahead = () => Number($("horizon").value || 0);
const step = () => current().horizon.indexOf(ahead());

async function loadSeries() {
  state.streams = await getJson("v1/series");
  const wanted = new URLSearchParams(location.hash.slice(1));
  const withKeys = state.streams.find((found) => found.keys.length) ?? state.streams[0];
  options($("stream"), state.streams.map((found) => found.stream), $("stream").value || wanted.get("stream") || withKeys?.stream);
  const stream = current();
  options($("key"), stream.keys, $("key").value || wanted.get("key"));
  options($("horizon"), stream.horizon.map(String), $("horizon").value);
  if (!stream.keys.length) say(`No blend of ${stream.stream} yet. Send records to ingest: driftline replay --help shows how.`);
  return stream.keys.length > 0;
}

function follow() {
  state.source?.close();
  Object.assign(state, { blends: [], events: [], opened: false });
  for (const chart of Object.values(state.charts)) chart.destroy();
  state.charts = {};
  const stream = $("stream").value, key = $("key").value;
  if (!key) return;
  location.hash = new URLSearchParams({ stream, key });
  const source = new EventSource(`v1/live?${new URLSearchParams({ stream, key })}`);
  state.source = source;
  source.onopen = () => { connected(true); };
  source.onerror = () => { connected(false); };
  source.addEventListener("blend", (event) => takeBlend(JSON.parse(event.data)));
  source.addEventListener("alert", (event) => takeAlert(JSON.parse(event.data)));
}

function connected(is) {
  $("connection").textContent = is ? "live" : "the combiner does not answer; trying again …";
  $("connection").className = is ? "ready" : "lost";
  if (is) say("");
}

function takeBlend(blend) {
  const last = state.blends.at(-1);
  if (last && blend.t <= last.t) return;
  for (const [member, version] of Object.entries(blend.versions))
    if (last && last.versions[member] && last.versions[member] !== version)
      happened({ t: blend.t, kind: "swap", text: `${member} is now ${version}` });
  state.blends.push(blend);
  if (state.blends.length > POINTS) state.blends.splice(0, state.blends.length - POINTS);
  state.dirty = true;
}

function takeAlert(alert) {
  happened({ t: alert.t, kind: alert.kind, text: `${alert.subject}: ${alert.detail}` });
}

function happened(event) {
  if (state.events.some((known) => known.t === event.t && known.kind === event.kind && known.text === event.text)) return;
  state.events.push(event);
  state.events = state.events.slice(-200);
  state.dirty = true;
}

// What was forecast for each time, beside what came: forecasts are moved to the time that they are for.
function series() {
  const h = step(), shift = ahead() * current().period;
  const times = state.blends.map((blend) => blend.t / 1000);
  const truth = state.blends.map((blend) => blend.observed);
  const places = new Map(times.map((time, place) => [time, place]));
  const future = times.slice(-ahead()).map((time) => time + shift);
  const axis = [...times, ...future];
  const row = (pick) => {
    const values = new Array(axis.length).fill(null);
    for (const [place, blend] of state.blends.entries()) {
      const time = times[place] + shift;
      const target = places.get(time) ?? (place >= times.length - future.length ? place + future.length : undefined);
      const value = pick(blend)?.[h];
      if (target !== undefined && value !== undefined) values[target] = value;
    }
    return values;
  };
  return { axis, truth: [...truth, ...future.map(() => null)], row, count: times.length };
}

function rolling(forecast, truth) {
  const out = [], recent = [];
  let sum = 0;
  for (let n = 0; n < truth.length; n++) {
    if (forecast[n] != null && truth[n] != null) {
      const square = (forecast[n] - truth[n]) ** 2;
      recent.push(square); sum += square;
      if (recent.length > ROLLING) sum -= recent.shift();
    }
    out.push(recent.length >= 10 && truth[n] != null ? Math.sqrt(Math.max(sum, 0) / recent.length) : null);
  }
  return out;
}

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const marks = {
  hooks: {
    draw: (chart) => {
      const { ctx, bbox } = chart;
      ctx.save();
      ctx.lineWidth = devicePixelRatio;
      for (const event of state.events) {
        if (!["swap", "drift", "rollback", "negative-skill"].includes(event.kind)) continue;
        const x = chart.valToPos(event.t / 1000, "x", true);
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.strokeStyle = event.kind === "swap" ? COLOURS.speed : ink("--bad");
        ctx.setLineDash(event.kind === "swap" ? [2, 4] : []);
        ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
      }
      ctx.restore();
    },
  },
};

function draw(id, data, lines, more = {}) {
  const signature = lines.map((line) => line.label).join();
  const chart = state.charts[id];
  if (chart && chart.signature === signature) return chart.setData(data);
  chart?.destroy();
  const axis = { stroke: ink("--quiet"), grid: { stroke: ink("--line") }, ticks: { stroke: ink("--line") } };
  const made = new uPlot({
    width: $(id).clientWidth, height: 260, plugins: [marks], cursor: { sync: { key: "driftline" } },
    axes: [axis, { ...axis, size: 60 }], scales: more.scales ?? {}, bands: more.bands ?? [],
    series: [{}, ...lines.map((line) => ({ spanGaps: false, width: 1.5, points: { show: false }, ...line }))],
  }, data, $(id));
  made.signature = signature;
  state.charts[id] = made;
}

function drawForecast(found, members) {
  const lines = [
    { label: "truth", stroke: COLOURS.truth, width: 2 },
    { label: "blend", stroke: COLOURS.blend, width: 2 },
    { label: "upper", stroke: "transparent" }, { label: "lower", stroke: "transparent" },
    ...members.filter((name) => state.shown.has(name)).map((name) => ({ label: name, stroke: COLOURS[name], width: 1 })),
  ];
  const rows = [found.truth, found.row((blend) => blend.value), found.row((blend) => blend.upper), found.row((blend) => blend.lower),
    ...members.filter((name) => state.shown.has(name)).map((name) => found.row((blend) => blend.members[name]))];
  draw("forecast", [found.axis, ...rows], lines, { bands: [{ series: [3, 4], fill: "rgba(11, 98, 196, 0.18)" }] });
}

function drawWeights(members) {
  const times = state.blends.map((blend) => blend.t / 1000), h = step();
  const sums = times.map(() => 0);
  const rows = members.map((name) => state.blends.map((blend, place) => (sums[place] += blend.weights[name]?.[h] ?? 0)));
  const lines = members.map((name) => ({ label: name, stroke: COLOURS[name], fill: COLOURS[name] }));
  draw("weights", [times, ...rows.reverse()], lines.reverse(), { scales: { y: { range: [0, 1] } } });
}

function drawErrors(found, members) {
  const rows = { blend: rolling(found.row((blend) => blend.value), found.truth) };
  for (const name of members) rows[name] = rolling(found.row((blend) => blend.members[name]), found.truth);
  const last = Object.fromEntries(Object.entries(rows).map(([name, row]) => [name, row.findLast((value) => value != null)]));
  const best = members.filter((name) => last[name] != null).sort((a, b) => last[a] - last[b])[0];
  const shown = [...new Set(["blend", "persistence", best].filter((name) => rows[name]))];
  draw("errors", [found.axis, ...shown.map((name) => rows[name])], shown.map((name) => ({ label: name, stroke: COLOURS[name] })));
  return { best, last };
}

function answer({ best, last }) {
  const number = (value) => (value == null ? "–" : value.toPrecision(3));
  $("best").textContent = best ? `${best}: RMSE ${number(last[best])} over the last ${ROLLING}` : "–";
  const skill = last.persistence ? 100 * (1 - last.blend / last.persistence) : null;
  $("skill").textContent = skill == null ? "–" : `RMSE ${number(last.blend)}, ${Math.abs(skill).toFixed(1)} % ${skill >= 0 ? "better" : "worse"} than persistence`;
  const drift = state.events.findLast((event) => event.kind === "drift");
  $("drift").textContent = drift ? `${new Date(drift.t).toLocaleString()}: ${drift.text}` : "none in what is shown";
  const versions = Object.entries(state.blends.at(-1)?.versions ?? {});
  $("versions").textContent = versions.map(([member, version]) => `${member} ${version.split("-")[0]}`).join(", ") || "built-in members only";
  $("events").replaceChildren(...state.events.toSorted((a, b) => b.t - a.t).slice(0, 50).map((event) => {
    const item = document.createElement("li");
    item.textContent = `${new Date(event.t).toLocaleString()} ${event.kind}: ${event.text}`;
    return item;
  }));
}

function chooseMembers(members) {
  if ($("members").querySelectorAll("input").length === members.length) return;
  $("members").replaceChildren($("members").querySelector("legend"), ...members.map((name) => {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox"; box.value = name; box.checked = state.shown.has(name);
    box.onchange = () => { box.checked ? state.shown.add(name) : state.shown.delete(name); state.dirty = true; };
    label.append(box, ` ${name}`);
    return label;
  }));
}

function paint() {
  requestAnimationFrame(paint);
  if (!state.dirty || !state.blends.length || document.hidden) return;
  const now = performance.now();
  if (now - (state.painted ?? 0) < 250) return;
  Object.assign(state, { dirty: false, painted: now });
  const present = new Set(state.blends.slice(-200).flatMap((blend) => Object.keys(blend.members)));
  const members = MEMBERS.filter((name) => present.has(name));
  chooseMembers(members);
  const found = series();
  drawForecast(found, members);
  drawWeights(members);
  answer(drawErrors(found, members));
}

async function overview() {
  try {
    const { services, models } = await getJson("v1/overview");
    $("services").replaceChildren(...services.map((service) => {
      const item = document.createElement("li");
      item.className = service.state === "ready" ? "ready" : "away";
      item.textContent = `${service.name}: ${service.state}${service.detail ? ` (${service.detail})` : ""}`;
      return item;
    }));
    const rows = models.filter((model) => model.version).map((model) => {
      const row = document.createElement("tr"), minutes = Math.max(0, Date.now() / 1000 - model.swapped) / 60;
      const age = minutes < 120 ? `${minutes.toFixed(0)} min` : `${(minutes / 60).toFixed(1)} h`;
      for (const text of [model.stream, model.member, model.version, model.pinned ? "pinned" : model.state, age]) row.insertCell().textContent = text;
      return row;
    });
    if (!rows.length) {
      const row = document.createElement("tr"), cell = row.insertCell();
      cell.colSpan = 5; cell.textContent = models.length
        ? "No trained model serves yet; the built-in members do."
        : "Inference does not answer, so its models are not known here.";
      rows.push(row);
    }
    $("models").tBodies[0].replaceChildren(...rows);
  } catch { /* the connection's own state says it */ }
}

async function begin() {
  try {
    const found = await loadSeries();
    if (found && !state.source) follow();
  } catch {
    connected(false);
    say("The combiner does not answer. Is it running? `driftline status` tells.");
  }
}

$("stream").onchange = async () => { $("key").replaceChildren(); await loadSeries(); follow(); };
$("key").onchange = follow;
$("horizon").onchange = () => { state.dirty = true; };
addEventListener("resize", () => { for (const [id, chart] of Object.entries(state.charts)) chart.setSize({ width: $(id).clientWidth, height: 260 }); });
await begin();
await overview();
setInterval(begin, 5000);
setInterval(overview, 5000);
paint();

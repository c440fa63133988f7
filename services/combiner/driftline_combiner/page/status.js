// How the services and their models do, asked again by itself.

import { $, answer, element } from "./elements.js";
import { live } from "./live.js";
import { getJson } from "./session.js";
import { age, moment, versions } from "./words.js";

const state = { models: [] };

export async function loadStatus() {
  try {
    const { services, models, edge } = await getJson("v1/overview");
    state.models = models;
    if (edge) $("edge").textContent = edgeText(edge);
    if (live.blends.length) tellVersions();
    $("services").replaceChildren(...services.map(serviceItem));
    const serving = models.filter((model) => model.version);
    $("models").tBodies[0].replaceChildren(...(serving.length ? serving.map(modelRow) : [noModels(models)]));
  } catch { /* the connection's own state says it */ }
}

export function tellVersions() {
  answer("versions", versions(state.models.filter((model) => model.stream === $("stream").value), live.blends.at(-1), Date.now()));
}

function serviceItem({ name, state: how, detail }) {
  return element("li", `${name}: ${how}${detail ? ` (${detail})` : ""}`, how === "ready" ? "ready" : "away");
}

function modelRow(model) {
  const row = element("tr", ""), until = model.trained_to ? moment(model.trained_to) : "–";
  const texts = [model.stream, model.member, model.version, model.pinned ? "pinned" : model.state, age(Date.now() / 1000 - model.swapped), until];
  row.append(...texts.map((text) => element("td", text)));
  return row;
}

function noModels(models) {
  const row = element("tr", ""), cell = element("td", "");
  cell.append(...(models.length
    ? ["No trained model serves yet; the built-in members do. ", element("code", "driftline train"), " makes one."]
    : ["Inference does not answer, so its models are not known here."]));
  cell.colSpan = 6;
  row.append(cell);
  return row;
}

function edgeText({ name, id, labels, rivals }) {
  const sorted = Object.entries(labels ?? {}).map(([label, value]) => `, ${label}=${value}`).join("");
  const copied = rivals?.length ? ` Its card was copied: another device runs under the same id (${rivals.join(", ")}).` : "";
  return `Edge ${name} (${id ?? "no id yet"}${sorted}).${copied}`;
}

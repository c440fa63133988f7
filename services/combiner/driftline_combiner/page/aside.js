// What is beside the charts of a series: its files to take along, and the story of its models.

import { view } from "./address.js";
import { $ } from "./elements.js";
import { savePicture } from "./picture.js";
import { ask } from "./session.js";
import { storyOf } from "./story.js";

const POLL_MS = 15000;
const shown = { series: "", story: "" };

const path = ({ stream, key }) => [stream, key].map(encodeURIComponent).join("/");

// The address says what is shown; it changes without an event when the page itself writes it.
function follow() {
  const { stream, key, horizon } = view(), series = stream && key !== undefined ? JSON.stringify([stream, key, horizon]) : "";
  if (series === shown.series) return;
  if (JSON.parse(series || "[]")[0] !== JSON.parse(shown.series || "[]")[0]) tell();
  shown.series = series;
  if (!series) return;
  const here = path({ stream, key }), ahead = horizon ? `?horizon=${encodeURIComponent(horizon)}` : "";
  $("past-csv").href = `v1/csv/past/${here}`;
  $("next-csv").href = `v1/csv/next/${here}`;
  $("embedded").href = `embed/${here}${ahead}`;
  $("frame").textContent = `<iframe src="${$("embedded").href}" title="${key.replaceAll('"', "")}" width="480" height="260"></iframe>`;
}

async function tell() {
  const { stream } = view();
  if (!stream || document.hidden) return;
  try {
    const answer = await ask(`v1/overview/models/${encodeURIComponent(stream)}`);
    if (!answer.ok || stream !== view().stream) return;
    const said = await answer.text();
    if (said === shown.story) return;
    shown.story = said;
    const stories = JSON.parse(said).models.map(storyOf).filter(Boolean);
    $("story").hidden = !stories.length;
    $("stories").replaceChildren(...stories);
  } catch { /* the connection's own state says it */ }
}

$("as-png").onclick = () => {
  const { stream, key } = view(), layers = [...document.querySelectorAll("#forecast canvas, #fan")];
  if (layers.length > 1) savePicture(layers, `${key}, ${stream}`, $("next").textContent, `${stream}-${key}.png`);
};
setInterval(follow, 500);
setInterval(tell, POLL_MS);
follow();

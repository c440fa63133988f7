// A chart as a PNG file, with its title and its words above it. Its layers are canvases of one size, the lowest first.

import { ink } from "./ink.js";

const MARGIN = 16, TITLE = 20, WORDS = 14, GAP = 8;

// Words in lines that fit.
function lines(context, words, width) {
  const out = [""];
  for (const word of words.split(/\s+/)) {
    const longer = out.at(-1) ? `${out.at(-1)} ${word}` : word;
    if (out.at(-1) && context.measureText(longer).width > width) out.push(word);
    else out[out.length - 1] = longer;
  }
  return out;
}

export function picture(layers, title, words) {
  const [chart] = layers, ratio = devicePixelRatio, canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  const fonts = [`600 ${TITLE * ratio}px system-ui, sans-serif`, `${WORDS * ratio}px system-ui, sans-serif`];
  context.font = fonts[1];
  const said = lines(context, words, chart.width), top = ratio * (MARGIN + TITLE + GAP + said.length * WORDS * 1.4 + GAP);
  canvas.width = chart.width + 2 * MARGIN * ratio;
  canvas.height = chart.height + top + MARGIN * ratio;
  context.fillStyle = ink("card");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.textBaseline = "top";
  context.font = fonts[0]; context.fillStyle = ink("ink");
  context.fillText(title, MARGIN * ratio, MARGIN * ratio, chart.width);
  context.font = fonts[1]; context.fillStyle = ink("quiet");
  said.forEach((line, n) => context.fillText(line, MARGIN * ratio, ratio * (MARGIN + TITLE + GAP + n * WORDS * 1.4)));
  for (const layer of layers) context.drawImage(layer, MARGIN * ratio, top);
  return canvas;
}

export function savePicture(layers, title, words, name) {
  picture(layers, title, words).toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name.replace(/[^\p{L}\p{N}._-]+/gu, "_");
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }, "image/png");
}

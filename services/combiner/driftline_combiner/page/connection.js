// What the page says of itself: whether the combiner answers, and what is lacking.

import { $, element } from "./elements.js";
import { moment } from "./words.js";

const state = { lost: null };

// parts: text, and commands as [text].
export function say(kind, ...parts) {
  const box = $("message"), said = parts.map((part) => (Array.isArray(part) ? part[0] : part)).join("");
  if (box.textContent === said && !box.hidden) return;
  box.hidden = !said; box.className = `message ${kind}`;
  box.replaceChildren(...parts.map((part) => (Array.isArray(part) ? element("code", part[0]) : part)));
}

export function tellConnection(text, kind = "") {
  $("connection").textContent = text;
  $("connection").className = kind;
}

export function connected(is) {
  state.lost = is ? null : (state.lost ?? Date.now());
  if (is) {
    say("", "");
    return tellConnection("live", "ready");
  }
  tellConnection("the combiner does not answer", "lost");
  say("wrong", `The combiner does not answer since ${moment(state.lost)}. What is shown is from before; it goes on by itself. `,
    ["driftline status"], " says which service is away.");
}

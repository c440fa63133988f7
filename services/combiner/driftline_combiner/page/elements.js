// Small pieces that the page is put together of.

import { ink } from "./ink.js";

export const $ = (id) => document.getElementById(id);

export function element(kind, text, className = "") {
  const made = document.createElement(kind);
  made.textContent = text; made.className = className;
  return made;
}

// The colour of a member.
export function swatch(name) {
  const made = element("span", "", "swatch");
  made.style.color = ink(name);
  return made;
}

// Where none of the values is the wanted one, none is chosen.
export function options(select, values, wanted, name = String) {
  if ([...select.options].map((option) => option.text).join("\n") !== values.map(name).join("\n"))
    select.replaceChildren(...values.map((value) => new Option(name(value), value)));
  if (select.value !== String(wanted)) select.value = String(wanted);
}

export function answer(id, [what, rest, feeling = ""]) {
  if ($(id).textContent === `${what} ${rest}` && $(id).firstElementChild.className === feeling) return;
  $(id).replaceChildren(element("b", what, feeling), ` ${rest}`);
}

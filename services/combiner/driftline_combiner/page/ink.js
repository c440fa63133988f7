// Colours, as the style names them. All are written as #rrggbb.

// Fans are drawn with each frame, and a computed style is slow to ask for.
const colours = new Map();

export function ink(name) {
  if (!colours.has(name)) colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return colours.get(name);
}

// After a change of style.
export function forgetColours() { colours.clear(); }

export function washed(colour, share) {
  const [red, green, blue] = [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, ${share})`;
}

// The colour as it looks on a card with this share of it, but opaque: areas lie on each other.
export function tinted(colour, share) {
  const parts = (hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
  const under = parts(ink("card"));
  return `rgb(${parts(colour).map((part, n) => Math.round(share * part + (1 - share) * under[n])).join()})`;
}

// Small pieces of the page. Texts are set as texts: what an edge says of itself is never read as HTML.

export function element(kind, text = "", className = "") {
  const piece = document.createElement(kind);
  piece.textContent = text;
  if (className) piece.className = className;
  return piece;
}

export function link(text, hash) {
  const piece = element("a", text);
  piece.href = hash;
  return piece;
}

export const edgeHash = (id) => `#${new URLSearchParams({ edge: id })}`;
export const versionHash = (model, version) => `#${new URLSearchParams({ model, version })}`;

// head: names of columns; a name with a leading "#" is of numbers. cells: texts or elements.
export function table(caption, head, rows) {
  const box = element("div", "", "scroll"), piece = element("table"), top = element("tr"), body = element("tbody");
  box.tabIndex = 0; box.role = "region"; box.ariaLabel = caption;
  const numbers = head.map((name) => name.startsWith("#"));
  top.append(...head.map((name, n) => Object.assign(element("th", name.replace("#", ""), numbers[n] ? "number" : ""), { scope: "col" })));
  body.append(...rows.map((cells) => {
    const row = element("tr");
    row.append(...cells.map((cell, n) => {
      const piece = element("td", cell instanceof Node ? "" : cell, numbers[n] ? "number" : "");
      if (cell instanceof Node) piece.append(cell);
      return piece;
    }));
    return row;
  }));
  const thead = element("thead");
  thead.append(top);
  piece.append(thead, body);
  box.append(piece);
  return box;
}

export function part(title, ...content) {
  const piece = element("div", "", "part");
  piece.append(element("h3", title), ...content);
  return piece;
}

export function list(items, className = "") {
  const piece = element("ul", "", className);
  piece.append(...items.map((item) => {
    const line = element("li", typeof item === "string" ? item : "");
    if (Array.isArray(item)) line.append(...item);
    return line;
  }));
  return piece;
}

const SVG = "http://www.w3.org/2000/svg";

// A line of values over their positions, as wide as its box.
export function sparkline(values, caption) {
  const known = values.map((value, n) => [n, value]).filter(([, value]) => value != null);
  if (known.length < 2) return element("p", "Too few heartbeats yet.", "note");
  const low = Math.min(0, ...known.map(([, value]) => value)), high = Math.max(0.01, ...known.map(([, value]) => value));
  const y = (value) => (40 - (38 * (value - low)) / (high - low) - 1).toFixed(1);
  const picture = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 200 40", preserveAspectRatio: "none", class: "spark", role: "img", "aria-label": caption })) picture.setAttribute(name, value);
  const zero = document.createElementNS(SVG, "path"), line = document.createElementNS(SVG, "polyline");
  zero.setAttribute("d", `M0 ${y(0)}H200`); zero.setAttribute("class", "zero");
  line.setAttribute("points", known.map(([n, value]) => `${((200 * n) / (values.length - 1)).toFixed(1)},${y(value)}`).join(" "));
  picture.append(zero, line);
  return picture;
}

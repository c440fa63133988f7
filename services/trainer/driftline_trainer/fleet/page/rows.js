// The table of edges: a row for each, made once; afterwards only cells that say something new are touched.

import { edgeHash, element, link, versionHash } from "./elements.js";
import { ORDERS, coverage, labelled, matches, percent, problemWords, searched, short, stateWords } from "./words.js";

const HEADS = ["Edge", "State", "Skill", "Coverage", "Models", "Problems and alerts"];

export class Rows {
  constructor(body) {
    this.body = body;
    this.rows = new Map();
    this.order = [];
  }

  get edges() {
    return [...this.rows.values()].map((row) => row.edge);
  }

  put(edge, now) {
    let row = this.rows.get(edge.id);
    if (!row) {
      row = { line: newLine(), said: [] };
      this.rows.set(edge.id, row);
    }
    Object.assign(row, { edge, text: searched(edge) });
    cellsOf(edge, now).forEach(([said, fill], n) => {
      if (row.said[n] === said) return;
      row.said[n] = said;
      row.line.cells[n].replaceChildren(...fill());
    });
    if (row.line.className !== edge.state) row.line.className = edge.state;
  }

  keep(ids) {
    for (const [id, row] of this.rows)
      if (!ids.has(id)) {
        row.line.remove();
        this.rows.delete(id);
      }
  }

  // Shows what is asked for in its order, and returns how many that are.
  arrange(wanted) {
    const shown = [...this.rows.values()].filter((row) => matches(row.edge, row.text, wanted));
    shown.sort((a, b) => ORDERS[wanted.sort](a.edge, b.edge));
    const lines = shown.map((row) => row.line), keep = new Set(lines);
    for (const line of [...this.body.children]) if (!keep.has(line)) line.remove();
    let next = this.body.firstElementChild;
    for (const line of lines) {
      if (line === next) next = next.nextElementSibling;
      else this.body.insertBefore(line, next);
    }
    return lines.length;
  }
}

function newLine() {
  const line = element("tr");
  line.setAttribute("role", "row");
  line.append(...HEADS.map((head, n) => {
    const cell = element(n ? "td" : "th", "", n === 2 || n === 3 ? "number" : "");
    cell.setAttribute("role", n ? "cell" : "rowheader");
    if (!n) cell.scope = "row";
    cell.dataset.head = head;
    return cell;
  }));
  return line;
}

// By cell what it says, and how to fill it: only what says something new is filled.
function cellsOf(edge, now) {
  const [state, since] = stateWords(edge, now), labels = labelled(edge.labels);
  const problems = problemWords(edge), alerts = edge.alerts ? `${edge.alerts} ${edge.alerts === 1 ? "alert" : "alerts"}` : "";
  // Of streams without a trained model there are many; only what an edge runs, or should, has a line.
  const models = Object.entries(edge.models).map(([name, model]) => [name, model.version, model.pinned, model.named])
    .filter(([, version, , named]) => version || named);
  return [
    [`${edge.name}\n${edge.id}\n${labels}\n${edge.software}`, () => [
      link(edge.name, edgeHash(edge.id)), element("small", [edge.id, edge.software ?? ""].filter(Boolean).join(" · ")),
      ...labels.map((label) => element("span", label, "tag"))]],
    [`${state}\n${since}`, () => [element("span", state, `pill ${state}`), element("small", since)]],
    [percent(edge.skill), () => [element("span", percent(edge.skill), edge.skill < 0 ? "bad" : "")]],
    [percent(coverage(edge)), () => [element("span", percent(coverage(edge)))]],
    [JSON.stringify(models), () => (models.length ? models.map(modelLine) : [element("small", "no trained model")])],
    [JSON.stringify([problems, alerts]), () => [
      ...problems.map(([name, detail, bad]) => problemLine(name, detail, bad)), ...(alerts ? [element("small", alerts)] : [])]],
  ];
}

function modelLine([name, version, pinned, named]) {
  const line = element("span", "", "model");
  line.append(version ? link(short(version), versionHash(name, version)) : element("span", "none"), ` ${name}`);
  if (pinned) line.append(" (pinned)");
  if (named && named !== version) line.append(` (should run ${short(named)})`);
  return line;
}

function problemLine(name, detail, bad) {
  const line = element("span", "", "problem");
  line.append(element("b", name, bad ? "bad" : ""), ` ${detail}`);
  return line;
}

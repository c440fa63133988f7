// What the page says: short sentences for people who have never seen it. Pure.

export const MEMBERS = {
  persistence: "repeats the last value",
  seasonal: "repeats the same time of the day before",
  weekly: "repeats the same time of the week before",
  rls: "a linear filter that learns with every record",
  stack: "a linear filter over the models' forecasts and the same data, learning with every record",
  batch: "a model trained once on history",
  speed: "a model retrained on the newest records",
};
export const MARKS = { swap: "S", drift: "D", rollback: "R", "negative-skill": "N" };
const RECENT = 250;

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
export const moment = (ms) => clock.format(ms);
export function number(value) {
  if (value == null) return "–";
  return Math.abs(value) < 1000 ? value.toPrecision(3) : Math.round(value).toLocaleString();
}
export const percent = (share) => (share == null ? "–" : `${(100 * share).toFixed(Math.abs(share) < 0.1 ? 1 : 0)} %`);

export function age(seconds) {
  const minutes = Math.max(0, seconds) / 60;
  if (minutes < 1) return "less than a minute";
  if (minutes < 120) return `${minutes.toFixed(0)} min`;
  return minutes < 48 * 60 ? `${(minutes / 60).toFixed(0)} h` : `${(minutes / 1440).toFixed(0)} days`;
}

const against = (skill) =>
  skill == null ? "" : `, ${percent(Math.abs(skill))} ${skill >= 0 ? "less" : "more"} than repeating the last value`;

// Each answer is [what counts, the rest, good or bad].
export function best(members, errors, skills) {
  const known = members.filter((name) => errors[name] != null).sort((a, b) => errors[a] - errors[b]);
  if (!known.length) return ["Not known yet", "Too few truths have come to compare the members."];
  const [name] = known;
  if (name === "persistence") return ["None", `Repeating the last value is as good as any (error ${number(errors[name])}).`];
  return [name, `It is ${MEMBERS[name]}. Its error is ${number(errors[name])}${against(skills[name])}.`];
}

export function trust(errors, skills, guarded, covered) {
  if (errors.blend == null) return ["Not known yet", "Too few truths have come to say how well the blend does."];
  if (guarded) return ["Only as persistence", "The blend has fallen behind, so the last value is published until it is better again.", "bad"];
  const held = covered == null ? "" : ` Its 90 % interval held ${percent(covered)} of the newest truths.`;
  const said = `The blend, which is what is published, has an error of ${number(errors.blend)}${against(skills.blend)}.${held}`;
  return skills.blend > 0 ? ["Yes", said, "good"] : ["Not more than the last value", said, "bad"];
}

export function drift(events, blends) {
  const last = events.filter((event) => event.kind === "drift").sort((a, b) => a.t - b.t).at(-1);
  if (!last) return ["No", `None was found in the ${blends.length.toLocaleString()} records that are here.`, "good"];
  const since = blends.filter((blend) => blend.t > last.t).length;
  if (since <= RECENT) return ["Yes", `Since ${moment(last.t)}: ${last.text}.`, "bad"];
  return ["Not now", `The last was ${since.toLocaleString()} records ago, ${moment(last.t)}: ${last.text}.`, "good"];
}

export function versions(models, blend, now) {
  const live = models.filter((model) => model.version);
  const told = live.length
    ? live.map((model) => [model.member, model.version, `for ${age(now / 1000 - model.swapped)}${model.pinned ? ", pinned" : ""}`])
    : Object.entries(blend?.versions ?? {}).map(([member, version]) => [member, version]);
  if (!told.length) return ["None", "No trained model is live; the built-in members forecast."];
  const short = told.map(([member, version]) => `${member} ${version.split("-")[0]}`).join(", ");
  return [short, live.length ? `${told.map(([member, , since]) => `${member} ${since}`).join("; ")}.` : "They made the newest forecast."];
}

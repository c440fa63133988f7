// What the page says: short sentences for people who have never seen it. Pure.

// Each goes on after the member's name.
export const MEMBERS = {
  persistence: "repeats the last value",
  seasonal: "repeats the same time of the day before",
  weekly: "repeats the same time of the week before",
  rls: "is a linear filter that learns with every record",
  stack: "is a linear filter over the models' forecasts and the same data, learning with every record",
  batch: "is a model trained once on history",
  speed: "is a model retrained on the newest records",
};
export const MARKS = { swap: "S", drift: "D", rollback: "R", "negative-skill": "N" };
const RECENT = 250;
const INTERVAL = 0.9, TRUTHS = 50, SHORT = 0.05, CERTAIN = 2, AS_GOOD = 1.1, FAR_WORSE = 1.5;
const EVEN = 0.0005, YEAR_MIN = 1440 * 365.25, DECIMALS = 9;

// Times are local, and as the browser's language writes them.
const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const hour = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const precise = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const month = new Intl.DateTimeFormat(undefined, { month: "short", year: "numeric" });
export const moment = (ms) => clock.format(ms);

// The labels of an axis: seconds since the epoch, that far apart. The day is below the first time of each.
export function ticks(times, apart) {
  if (apart >= 28 * 86400) return times.map((time) => month.format(time * 1000));
  if (apart >= 86400) return times.map((time) => date.format(time * 1000));
  const clockface = apart < 60 ? precise : hour;
  const days = times.map((time) => date.format(time * 1000));
  return times.map((time, n) => clockface.format(time * 1000) + (n && days[n] === days[n - 1] ? "" : `\n${days[n]}`));
}

const significant = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 }), whole = new Intl.NumberFormat();

export function number(value) {
  if (value == null) return "–";
  return Math.abs(value) < 1000 ? significant.format(value) : whole.format(Math.round(value));
}

// Decimals that show two digits of the narrowest of some widths; undefined without any.
function decimalsOf(widths) {
  return widths.length ? Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(Math.min(...widths))))) : undefined;
}

// Forms are slow to make.
const forms = new Map();

function formOf(decimals, least) {
  const name = `${least} ${decimals}`;
  if (!forms.has(name)) forms.set(name, new Intl.NumberFormat(undefined, { minimumFractionDigits: least, maximumFractionDigits: decimals }));
  return forms.get(name);
}

function rounded(decimals, least = 0) {
  const form = formOf(decimals, least);
  return (value) => form.format(Number(value.toFixed(decimals)) + 0);
}

// A value and its ends, with as many decimals as the interval's width has two digits for.
export function amounts(values) {
  const [, lower, upper] = values, width = upper - lower;
  if (lower == null || upper == null || !(width > 0)) return values.map(number);
  return values.map(rounded(decimalsOf([width])));
}

// The labels of an axis of values: neighbours are told apart, and all have as many decimals as their step.
export function levels(values) {
  const steps = values.slice(1).map((value, n) => Math.abs(value - values[n])).filter((step) => step > 0);
  if (!steps.length) return values.map(number);
  const step = Number(Math.min(...steps).toPrecision(3)), [digits, power] = step.toExponential().split("e");
  const decimals = Math.min(DECIMALS, Math.max(0, (digits.split(".")[1] ?? "").length - Number(power)));
  return values.map(rounded(decimals, decimals));
}

// Values in one number of decimals, which shows two digits of the stretch that they span.
export function alike(values) {
  const width = Math.max(...values) - Math.min(...values);
  return width > 0 ? values.map(rounded(decimalsOf([width]))) : values.map(number);
}

// A degree of arc follows its number at once.
export const measured = (amount, unit) => (unit ? `${amount}${/^[°′″]$/.test(unit) ? "" : " "}${unit}` : amount);

export function percent(share) {
  if (share == null) return "–";
  const decimals = Math.abs(share) < 0.1 ? 1 : 0;
  return `${rounded(decimals, decimals)(100 * share)} %`;
}

export function age(seconds) {
  const minutes = Math.max(0, seconds) / 60;
  if (minutes < 1) return "less than a minute";
  if (minutes < 120) return `${minutes.toFixed(0)} min`;
  if (minutes < 48 * 60) return `${(minutes / 60).toFixed(0)} h`;
  return minutes < 2 * YEAR_MIN ? `${(minutes / 1440).toFixed(0)} days` : `${number(minutes / YEAR_MIN)} years`;
}

// The rows of the table of next values, in one number of decimals. truth: the one of a time, or null.
export function rowsOfTable(points, truth) {
  const decimals = decimalsOf(points.map(({ low, high }) => high - low).filter((width) => width > 0));
  const form = decimals == null ? number : rounded(decimals, decimals);
  const times = labels(points.map(({ t }) => t));
  return points.map(({ t, ahead, value, low, high }, n) => {
    const came = truth(t), known = low != null && high != null;
    return {
      ...times[n], ahead: `in ${inWords(ahead)}`, value: written(form, value), interval: known ? `${form(low)} to ${form(high)}` : "–",
      truth: written(form, came), missed: came != null && known && (came < low || came > high),
    };
  });
}

const written = (form, value) => (value == null ? "–" : form(value));

// Of each time its clock, and its day where that is another than the one before.
function labels(times) {
  const clockface = times.some((t) => t % 60000) ? precise : hour, days = times.map((t) => weekday.format(t));
  return times.map((t, n) => ({ time: clockface.format(t), day: n && days[n] === days[n - 1] ? "" : days[n] }));
}

// What the forecast of a moment said for one horizon, and what came. point: as fan.js gives it; first: of the oldest.
export function hindsight(blend, point, truth, unit, first) {
  if (!blend) return `No forecast from then is remembered here: the oldest is of ${moment(first)}.`;
  if (point.value == null) return "It said nothing for the chosen horizon.";
  const [amount, least, most] = amounts([point.value, point.low, point.high]);
  const interval = point.low == null || point.high == null ? "" : `, between ${least} and ${most}`;
  const said = `It said ${measured(amount, unit)} for ${moment(point.t)}${interval}.`;
  if (truth == null) return `${said} That truth is still to come.`;
  const form = interval ? rounded(decimalsOf([point.high - point.low]) ?? 2) : number;
  if (!interval) return `${said} The truth was ${measured(form(truth), unit)}.`;
  const place = truth < point.low ? "below" : truth > point.high ? "above" : "inside";
  return `${said} The truth was ${measured(form(truth), unit)}, ${place} the interval.`;
}

// How many of the newest truths both bands held. Each is {count, share}.
export function bandsHeld(wide, half) {
  if (!wide.count) return "";
  const narrow = half.count ? ` and the 50 % band ${percent(half.share)}` : "";
  return `Of the newest ${wide.count.toLocaleString()} truths at this horizon the 90 % band held ${percent(wide.share)}${narrow}.`;
}

// A length of time in whole words.
export function inWords(seconds) {
  const [name, size] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].find(([, size]) => seconds % size === 0) ?? ["second", 1];
  const count = Math.round(seconds / size);
  return `${count.toLocaleString()} ${name}${count === 1 ? "" : "s"}`;
}

// The same in few letters.
const BRIEF = { minute: "min", hour: "h", second: "s" };
export const briefly = (seconds) => inWords(seconds).replace(/(minute|hour|second)s?$/, (_, name) => BRIEF[name]);

function against(skill) {
  if (skill == null) return "";
  if (Math.abs(skill) < EVEN) return ", as large as that of repeating the last value";
  return `, ${percent(Math.abs(skill))} ${skill >= 0 ? "less" : "more"} than repeating the last value`;
}

// The forecast itself, in a sentence. blend: the newest.
export function next(blend, h, steps, period, unit) {
  const ahead = `In ${inWords(steps * period)}`, value = blend.value[h];
  if (value == null) return ["Not known yet", `No member forecasts ${ahead.toLowerCase()} yet.`];
  const lower = blend.lower?.[h], upper = blend.upper?.[h], [amount, least, most] = amounts([value, lower, upper]);
  const times = `That is ${moment(blend.times?.[h] ?? (blend.grid_t ?? blend.t) + 1000 * steps * period)}, forecast with the record of ${moment(blend.t)}.`;
  const said = `${ahead} ${measured(amount, unit)}`;
  if (lower == null || upper == null) return [said, `Its 90 % interval is not known yet. ${times}`];
  return [`${said}, between ${least} and ${most}`, `Nine of ten truths should lie between these. ${times}`];
}

// Each answer is [what counts, the rest, good or bad].
export function best(members, errors, skills, unit) {
  const known = members.filter((name) => errors[name] != null).sort((a, b) => errors[a] - errors[b]);
  if (!known.length) return ["Not known yet", "Too few truths have come to compare the members."];
  const [name] = known;
  if (name === "persistence") return ["None", `Repeating the last value is as good as any (error ${measured(number(errors[name]), unit)}).`];
  return [name, `It ${MEMBERS[name]}. Its error is ${measured(number(errors[name]), unit)}${against(skills[name])}.`];
}

// errors, skills: by member and of the blend, of late. held: {share, count} of the truths that the 90 % interval held.
export function trust(members, errors, skills, guarded, held, unit) {
  if (errors.blend == null || held.count < TRUTHS)
    return ["Not known yet", `${held.count ? `Only ${held.count.toLocaleString()}` : "None"} of the ${TRUTHS} truths that it takes to judge the forecast and its interval ${held.count === 1 ? "has" : "have"} come.`];
  if (guarded) return ["Only as persistence", "The blend has fallen behind, so the last value is published until it is better again.", "bad"];
  const rival = members.filter((name) => errors[name] != null).sort((a, b) => errors[a] - errors[b])[0];
  const ratio = rival ? errors.blend / errors[rival] : 1;
  const narrow = INTERVAL - held.share > Math.max(SHORT, CERTAIN * Math.sqrt(INTERVAL * (1 - INTERVAL) / held.count));
  const said = [`The blend, which is what is published, has an error of ${measured(number(errors.blend), unit)}${against(skills.blend)}.`,
    ratio > AS_GOOD ? `That is ${number(ratio)} times the error of ${rival}, the best member.` : "",
    `Its 90 % interval held ${percent(held.share)} of the newest ${held.count.toLocaleString()} truths${narrow ? ", which is too few: it is too narrow" : ""}.`].filter(Boolean).join(" ");
  if (ratio >= FAR_WORSE) return [`No, ${rival} is far better`, said, "bad"];
  if (!(skills.blend > 0)) return ["Not more than the last value", said, "bad"];
  if (narrow && held.share < INTERVAL / 2) return ["No, its interval misses most", said, "bad"];
  if (narrow) return ["The value, but not the interval", said, "care"];
  return ratio > AS_GOOD ? [`Mostly, but ${rival} is better`, said, "care"] : ["Yes", said, "good"];
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

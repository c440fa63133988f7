// The view is what the address says after `#`: stream, key and horizon, and where they are chosen the range, or a stretch
// `from` and `to`, and the moment `at`.

export const view = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

export function keepView(changed) {
  const hash = `#${new URLSearchParams(changed).toString().replaceAll("%3A", ":")}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

export const iso = (ms) => new Date(ms).toISOString().replace(".000Z", "Z");

// Milliseconds since the epoch, or null for what is no time.
export const time = (text) => { const ms = Date.parse(text ?? ""); return Number.isNaN(ms) ? null : ms; };

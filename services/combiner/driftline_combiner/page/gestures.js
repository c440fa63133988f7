// Pointer, wheel and touch on a chart, as wishes: {touch, pin, zoom, pan}. Places are shares of its width, from 0 to 1.
//
// One finger or the mouse touches a moment, and a click or the finger's end pins it. Two fingers zoom and pan, so does the
// wheel with Ctrl and sideways; so does dragging with Shift. Dragging alone is the chart's own.

const CLICK = 6, WHEEL = 0.002;

export function gestures(over, wish) {
  const down = new Map();
  let began = null, pair = null;
  const share = (event) => { const box = over.getBoundingClientRect(); return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)); };

  function spread() {
    const [a, b] = [...down.values()];
    return { centre: (a + b) / 2, width: Math.max(0.02, Math.abs(a - b)) };
  }

  function pinch() {
    const next = spread();
    if (pair) {
      wish.zoom(pair.width / next.width, pair.centre);
      wish.pan(pair.centre - next.centre);
    }
    pair = next;
  }

  over.addEventListener("pointerdown", (event) => {
    down.set(event.pointerId, share(event));
    if (event.pointerType !== "mouse") over.setPointerCapture(event.pointerId);
    began = down.size === 1 && event.button === 0 ? { x: event.clientX, at: share(event), shift: event.shiftKey } : null;
    pair = down.size === 2 ? spread() : null;
    if (pair) wish.touch(null); else if (event.pointerType !== "mouse") wish.touch(share(event));
  });

  over.addEventListener("pointermove", (event) => {
    const at = share(event);
    if (down.has(event.pointerId)) down.set(event.pointerId, at);
    if (down.size === 2) return pinch();
    if (down.size > 2) return;
    if (began?.shift) { wish.pan(began.at - at); began.at = at; return; }
    if (event.pointerType !== "mouse" || !event.buttons) wish.touch(at);
  });

  over.addEventListener("pointerup", (event) => {
    const alone = down.size === 1 && began && !began.shift;
    down.delete(event.pointerId);
    pair = null;
    const still = alone && Math.abs(event.clientX - began.x) < CLICK;
    if (alone && (still || event.pointerType !== "mouse")) wish.pin(share(event));
    began = null;
  });

  // The browser scrolls with this finger instead.
  over.addEventListener("pointercancel", (event) => { down.delete(event.pointerId); began = pair = null; wish.touch(null); });
  over.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") { down.delete(event.pointerId); began = null; } wish.touch(null); });

  over.addEventListener("wheel", (event) => {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!event.ctrlKey && !event.metaKey && !sideways) return; // the page scrolls
    event.preventDefault();
    if (sideways) wish.pan(event.deltaX / over.clientWidth); else wish.zoom(Math.exp(WHEEL * event.deltaY * (event.deltaMode ? 20 : 1)), share(event));
  }, { passive: false });
}

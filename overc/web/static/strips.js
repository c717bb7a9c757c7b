// Strips of ticks: their times in local time, and in words what the pointer or the arrow keys are at.

import { announce } from "./news.js";
import { dayText, hourText } from "./times.js";
import { hideTip, showTip } from "./tip.js";

const DAY_S = 86_400;

const day = (date) =>
  date.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" });
const dateOf = (at) => new Date(at * 1000);

/** @param {number} at @param {number} until in epoch seconds */
export function spanText(at, until) {
  const [from, to] = [dateOf(at), dateOf(until)];
  const ends = from.toDateString() === to.toDateString() ? hourText(to) : `${dayText(to)}, ${hourText(to)}`;
  // A day of UTC is no day here, unless the zone is the same: at both ends, as clocks go forward.
  if (until - at >= DAY_S && hourText(from) === "00:00" && hourText(to) === "00:00") {
    return until - at === DAY_S ? day(from) : `${dayText(from)} – ${dayText(to)}`;
  }
  return `${day(from)}, ${hourText(from)} – ${ends}`;
}

/** @param {Element} strip @returns {{at: number, until: number, words: string}[]} */
function ticksOf(strip) {
  if (strip.dataset.words !== undefined) {
    const [from, length] = [Number(strip.dataset.from), Number(strip.dataset.tick)];
    return JSON.parse(strip.dataset.words).map((words, place) => {
      const at = from + place * length;
      return { at, until: at + length, words };
    });
  }
  return [...strip.querySelectorAll("rect[data-at]")].map((rect) => ({
    at: Number(rect.dataset.at),
    until: Number(rect.dataset.until),
    words: rect.querySelector("title").textContent.split(" UTC: ", 2)[1],
  }));
}

const isStrip = (target) =>
  target instanceof Element ? target.closest(".strip svg, svg.short-strip[data-words]") : null;

function mark(strip, place) {
  for (const rect of strip.querySelectorAll("rect.at")) rect.classList.remove("at");
  strip.querySelectorAll("rect[data-at]")[place]?.classList.add("at");
}

function tell(svg, place) {
  const holder = svg.closest(".strip") ?? svg;
  const ticks = ticksOf(holder);
  const tick = ticks[place];
  if (tick === undefined) return null;
  const box = svg.getBoundingClientRect();
  const x = box.left + ((place + 0.5) / ticks.length) * box.width;
  showTip(x, box.top, spanText(tick.at, tick.until), tick.words);
  mark(svg, place);
  return tick;
}

function onMove(event) {
  const svg = isStrip(event.target);
  if (svg === null) {
    leave();
    return;
  }
  const box = svg.getBoundingClientRect();
  const count = ticksOf(svg.closest(".strip") ?? svg).length;
  const place = Math.floor(((event.clientX - box.left) / box.width) * count);
  if (shown !== svg) leave();
  shown = svg;
  tell(svg, Math.max(0, Math.min(count - 1, place)));
}

let shown = null;

function leave() {
  if (shown === null) return;
  mark(shown, -1);
  shown = null;
  hideTip();
}

let place = null;

function onKey(event) {
  const strip = event.target instanceof Element ? event.target.closest(".strip") : null;
  if (strip === null || event.ctrlKey || event.altKey || event.metaKey) return;
  const last = strip.querySelectorAll("rect[data-at]").length - 1;
  const from = place ?? last + 1;
  const next = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
  if (event.key === "Escape") {
    leaveStrip();
    return;
  }
  if (next === undefined) return;
  event.preventDefault();
  place = Math.max(0, Math.min(last, next));
  const svg = strip.querySelector("svg");
  shown = svg;
  const tick = tell(svg, place);
  if (tick) announce(`${spanText(tick.at, tick.until)}: ${tick.words}`);
}

function leaveStrip() {
  place = null;
  leave();
}

function showLocal() {
  for (const strip of document.querySelectorAll(".strip")) {
    const byDay = "byDay" in strip.dataset;
    for (const label of strip.querySelectorAll(".axis [data-at]")) {
      const date = dateOf(Number(label.dataset.at));
      label.textContent = byDay ? dayText(date) : hourText(date);
    }
  }
}

/** Begins on all strips that there are and will be. */
export function begin() {
  showLocal();
  document.addEventListener("overc:swapped", showLocal);
  document.addEventListener("pointermove", onMove, { passive: true });
  document.addEventListener("pointerdown", onMove, { passive: true });
  document.documentElement.addEventListener("pointerleave", leave);
  document.addEventListener("keydown", onKey);
  document.addEventListener("focusout", leaveStrip);
}

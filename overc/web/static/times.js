// Times in words and in the viewer's own zone. The words are those of overc/web/words.py.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];
const SPAN = /\d+ (?:d|h|min|s)\b/;

const two = (number) => String(number).padStart(2, "0");

/** @param {Date} date @returns {string} `14:03` */
export const hourText = (date) => [date.getHours(), date.getMinutes()].map(two).join(":");

/** @param {Date} date @returns {string} `1 Mar` */
export const dayText = (date) => date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });

/** @param {Date} date @returns {string} `14:03:09` */
export const clockText = (date) =>
  [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");

/** @param {Date} date @returns {string} `2026-03-01 14:03:09` */
export const localText = (date) =>
  `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clockText(date)}`;

/**
 * A span as people say it, to the unit that there are at least two of: `3 min`. From 90 s on it
 * is `2 min`.
 * @param {number} seconds
 */
export function spanWords(seconds) {
  let whole = Math.max(0, Math.floor(seconds));
  if (whole >= 90 && whole < 120) whole = 120;
  for (const [size, unit] of UNITS) {
    if (whole >= 2 * size) return `${Math.floor(whole / size)} ${unit}`;
  }
  return `${whole} s`;
}

// The server's clock is the one that counts: a viewer's may be minutes off.
let aheadS = 0;

/** Epoch seconds by the server's clock. */
export const now = () => Date.now() / 1000 + aheadS;

/** Tells what the server's clock says just now, in epoch seconds. @param {number} at */
export function setNow(at) {
  if (Number.isFinite(at)) aheadS = at - Date.now() / 1000;
}

/**
 * Puts the `<time>` elements of a part of a page into local time. One with the class `span` says
 * how long ago it is (`ahead`: in how long), and ticks; its full time is in the tooltip. `brief`
 * leaves out the day where it is today. Doing it twice does no harm.
 * @param {ParentNode} within
 */
export function showTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]:not([data-local])")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    time.dataset.local = "";
    if (time.classList.contains("span")) {
      time.title = `${localText(date)} (${time.dateTime.slice(0, 19).replace("T", " ")} UTC)`;
    } else {
      time.title = `${time.textContent} UTC`;
      const isToday = date.toDateString() === new Date().toDateString();
      const isBrief = isToday && time.classList.contains("brief");
      time.textContent = isBrief ? clockText(date) : localText(date);
    }
  }
  for (const zone of within.querySelectorAll(".zone")) zone.textContent = "local";
  tickSpans(within);
}

/** @param {ParentNode} within */
function tickSpans(within) {
  const at = now();
  for (const time of within.querySelectorAll("time.span")) {
    const thenAt = Date.parse(time.dateTime) / 1000;
    if (Number.isNaN(thenAt)) continue;
    const seconds = time.classList.contains("ahead") ? thenAt - at : at - thenAt;
    const said = time.textContent;
    const words = said.replace(SPAN, spanWords(seconds));
    if (words !== said) time.firstChild.data = words;
  }
}

function tick() {
  if (!document.hidden) tickSpans(document);
}

setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);

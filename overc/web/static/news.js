// What the live stream tells every page: banners, the tab's title and icon, and that what it shows
// has changed.

import { root } from "./api.js";
import { mark } from "./marks.js";
import { openStream } from "./stream.js";
import { Refresher, titleOf } from "./swap.js";
import { clockText, localText, setNow } from "./times.js";

const FALLBACK_MS = 30_000;
const ICON_MAX = 9;

const lost = document.getElementById("lost");
const wanted = document.body.dataset.live || "";
const drivesItself = wanted.includes("rows=yes");
let { title: pageTitle, attention } = titleOf(document);
let shownBanners = null;
let saidBanners = null;
let freshAt = new Date();
let timer = 0;
// An answer of the stream makes a page no fresher that could not be had.
let isBehind = false;

/** For ears, when they have nothing else to listen to. @param {string} text */
export function announce(text) {
  document.getElementById("said").textContent = text;
}

function showTitle() {
  document.title = attention ? `(${attention}) ${pageTitle}` : pageTitle;
}

function showAttention(count) {
  if (count === attention) return;
  const before = attention;
  attention = count;
  showTitle();
  const name = count === 0 ? "icon" : `icon-${count > ICON_MAX ? "many" : count}`;
  const link = document.querySelector('link[rel="icon"]');
  if (link !== null) link.href = `${root()}static/${name}.svg`;
  if (before === null) return;
  if (count === 0) announce("Nothing needs attention any more.");
  else announce(count === 1 ? "1 problem needs attention." : `${count} problems need attention.`);
}

function showBanners(banners) {
  const text = JSON.stringify(banners);
  if (text === shownBanners) return;
  shownBanners = text;
  const said = banners.map((one) => one.kind).join(" ");
  // Their spans count on; only a new kind of trouble is news for ears.
  if (said !== saidBanners && saidBanners !== null && banners.length) announce(banners[0].text);
  saidBanners = said;
  const made = banners.map((one) => {
    const banner = document.createElement("p");
    banner.className = `banner ${one.kind}`;
    const words = document.createElement("span");
    words.textContent = one.text;
    if (one.href) {
      const link = document.createElement("a");
      link.href = root() + one.href;
      link.textContent = one.label || "Show";
      words.append(" ", link);
    }
    banner.append(mark(`banner-${one.kind}`), words);
    return banner;
  });
  document.getElementById("banners").replaceChildren(...made);
}

function showLost(since) {
  lost.textContent =
    `The server does not answer. What you see is from ${clockText(since)}. It is tried again by` +
    " itself; if this stays, look whether the server runs and your network works.";
  lost.hidden = false;
  document.documentElement.dataset.lost = "";
}

function showFound() {
  lost.hidden = true;
  delete document.documentElement.dataset.lost;
}

function showAsOf() {
  const time = document.querySelector("#main > footer time");
  if (time !== null) time.textContent = localText(freshAt);
}

const refresher = new Refresher((answered) => {
  isBehind = !answered;
  if (answered) freshAt = new Date();
  // Where events don't come through, pages may; the stream tells of a server that is away.
  if (answered) showFound();
  else if (timer !== 0) showLost(freshAt);
});

/** The way to look while no events come. */
function fallBack(now = true) {
  if (timer !== 0) return;
  timer = setInterval(() => refresher.want(), FALLBACK_MS);
  if (now) refresher.want();
}

function follow(stream) {
  stream.addEventListener("now", ({ detail }) => {
    setNow(detail.at);
    if (isBehind) refresher.want();
    else {
      freshAt = new Date();
      showAsOf();
    }
    showAttention(detail.attention);
    showBanners(detail.banners);
  });
  for (const kind of ["changed", "reset"]) {
    stream.addEventListener(kind, () => {
      if (!drivesItself) refresher.want();
    });
  }
  stream.addEventListener("broken", ({ detail }) => {
    // No page can be had for a list that is fed by events alone.
    if (drivesItself) showLost(detail?.since ?? freshAt);
    else fallBack();
  });
  stream.addEventListener("back", () => {
    clearInterval(timer);
    timer = 0;
    showFound();
    if (!drivesItself) refresher.want();
  });
}

/** Begins to follow what the server tells. */
export function begin() {
  setNow(Number(document.documentElement.dataset.at || NaN));
  document.addEventListener("overc:title", ({ detail }) => {
    pageTitle = detail.title;
    // The stream may have told of more since the page was made.
    if (timer !== 0 && detail.attention !== null) showAttention(detail.attention);
    showTitle();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresher.wake();
  });
  document.addEventListener("overc:lost", () => showLost(freshAt));
  document.addEventListener("overc:found", showFound);
  document.addEventListener("overc:stream", ({ detail }) => follow(detail));
  if (!("EventSource" in window)) fallBack(false);
  else if (!drivesItself) follow(openStream(wanted, { since: document.body.dataset.version }));
}

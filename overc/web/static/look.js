// How the page looks: the theme's switch, and the kiosk mode for a screen on the wall.

import { root } from "./api.js";
import { store } from "./storing.js";

const STORED = "overc:theme";
const THEMES = ["auto", "light", "dark"];
const WORDS = { auto: "as the system has it", light: "light", dark: "dark" };
const IDLE_MS = 4_000;

const page = document.documentElement;
const theme = () => page.dataset.theme ?? "auto";

function showTheme(button) {
  const now = theme();
  button.setAttribute("aria-label", `Theme: ${WORDS[now]}`);
  button.title = `Theme: ${WORDS[now]}`;
  button.querySelector("use").setAttribute("href", `#mark-theme-${now}`);
}

/** @param {string} chosen */
function setTheme(chosen) {
  if (chosen === "auto") delete page.dataset.theme;
  else page.dataset.theme = chosen;
  document.dispatchEvent(new CustomEvent("overc:theme", { detail: chosen }));
}

function themeSwitch() {
  const button = document.getElementById("theme");
  if (button === null) return;
  showTheme(button);
  button.addEventListener("click", () => {
    const chosen = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
    setTheme(chosen);
    showTheme(button);
    store(STORED, chosen === "auto" ? "" : chosen);
  });
  addEventListener("storage", ({ key, newValue }) => {
    if (key !== STORED) return;
    setTheme(THEMES.includes(newValue) ? newValue : "auto");
    showTheme(button);
  });
}

/**
 * The colour that a token has now, as the browser computed it, for canvases.
 * @param {string} token such as `--accent`
 */
export function colour(token) {
  const probe = document.createElement("span");
  probe.style.color = `var(${token})`;
  // A canvas is painted as we say; forced colours would make its lines and its grid the same.
  probe.style.forcedColorAdjust = "none";
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

async function stayAwake() {
  try {
    if (!document.hidden) await navigator.wakeLock?.request("screen");
  } catch {
    // The battery is low, or the page is not served by https.
  }
}

/** Links lead to pages that are in kiosk mode too. @param {Event} event */
function keepKiosk(event) {
  const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
  if (link === null || link.getAttribute("href").startsWith("#")) return;
  const url = new URL(link.href);
  const home = new URL(root(), location.href);
  if (url.origin !== home.origin || !url.pathname.startsWith(home.pathname)) return;
  url.searchParams.set("kiosk", "1");
  link.href = url.href;
}

function kiosk() {
  if (!("kiosk" in page.dataset)) return;
  stayAwake();
  document.addEventListener("visibilitychange", stayAwake);
  for (const kind of ["click", "auxclick", "focusin"]) {
    document.addEventListener(kind, keepKiosk, true);
  }
  document.addEventListener("formdata", ({ target, formData }) => {
    if (target.method === "get") formData.set("kiosk", "1");
  });
  let timer = 0;
  const move = () => {
    delete page.dataset.idle;
    clearTimeout(timer);
    timer = setTimeout(() => (page.dataset.idle = ""), IDLE_MS);
  };
  document.addEventListener("pointermove", move);
  move();
}

/** Begins with both. */
export function begin() {
  themeSwitch();
  kiosk();
}

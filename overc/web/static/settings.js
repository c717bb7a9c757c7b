// The settings page: tests of channels, and news of rejected keys.

import { send } from "./api.js";
import { mark } from "./marks.js";
import { refresh } from "./swap.js";

// Alert plugins have time limits of their own.
const TEST_LIMIT_MS = 610_000;

/** @param {Element} outcome @param {string} name of the mark @param {string} text */
function show(outcome, name, text) {
  const words = document.createElement("span");
  words.dir = "auto";
  words.textContent = text;
  outcome.replaceChildren(mark(name), words);
}

const outcomes = (plugin) =>
  [...document.querySelectorAll("[data-outcome]")].filter(
    (one) => plugin === "" || one.dataset.outcome === plugin,
  );

/** @param {string} plugin its name; empty: all of them */
async function test(plugin) {
  const buttons = [...document.querySelectorAll("[data-tests]")];
  for (const button of buttons) button.disabled = true;
  const waiting = outcomes(plugin);
  for (const outcome of waiting) show(outcome, "waits", "A test is on its way …");
  try {
    const body = plugin === "" ? {} : { plugin };
    const { results } = await send("POST", "api/alert-test", body, { limitMs: TEST_LIMIT_MS });
    for (const { plugin: name, delivered, words, took_s } of results) {
      const [outcome] = outcomes(name);
      if (outcome === undefined) continue;
      const took = `${took_s.toFixed(1)} s`;
      const said = words === "" ? "" : `: ${words}`;
      if (delivered) show(outcome, "sent", `The test was delivered in ${took}${said}`);
      else show(outcome, "undelivered", `The test was not delivered${said || ` (${took})`}`);
    }
  } catch (error) {
    for (const outcome of waiting) show(outcome, "undelivered", error.message);
  }
  for (const button of document.querySelectorAll("[data-tests]")) button.disabled = false;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-tests]");
  if (button !== null) test(button.dataset.tests);
});

// A banner that comes or goes is about what stands here.
const banners = document.getElementById("banners");
if (banners !== null) {
  let shown = banners.textContent;
  new MutationObserver(() => {
    if (banners.textContent === shown) return;
    shown = banners.textContent;
    refresh();
  }).observe(banners, { childList: true, subtree: true, characterData: true });
}

// The keyboard: keys that hold on every page, and the dialog that lists them.

import { root } from "./api.js";
import { undoNewest } from "./toast.js";

const GO_MS = 1_500;
const PAGES = { o: "", s: "services", a: "alerts", i: "silences", t: "settings" };
const EVERYWHERE = [
  ["?", "this list"],
  ["g o", "overview"],
  ["g s", "services"],
  ["g a", "alerts"],
  ["g i", "silences"],
  ["g t", "settings"],
  ["u", "undo what was just done"],
  ["Esc", "close a dialog or a message"],
];

/** @type {Map<string, string>} */
const ofThisPage = new Map();
let goUntil = 0;

const search = () =>
  [...document.querySelectorAll("[data-search]")].find((field) => field.checkVisibility());

/** @param {EventTarget | null} target */
function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.matches("textarea, select")) return true;
  const quiet = ["checkbox", "radio", "button", "submit", "range"];
  return target.matches("input") && !quiet.includes(target.type);
}

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

function list(title, keys) {
  const rows = keys.flatMap(([key, does]) => {
    const parts = key.split(/( \/ | )/).map((part) =>
      part === " / " || part === " " ? part : element("kbd", part),
    );
    return [element("dt", null, ...parts), element("dd", does)];
  });
  return [element("h3", title), element("dl", null, ...rows)];
}

function makeHelp() {
  const dialog = document.createElement("dialog");
  dialog.id = "help";
  dialog.setAttribute("aria-labelledby", "help-title");
  const title = element("h2", "Keys");
  title.id = "help-title";
  const close = element("button", "Close");
  close.type = "button";
  close.addEventListener("click", () => dialog.close());
  const buttons = element("p", null, close);
  buttons.className = "buttons";
  const lists = element("div", null);
  lists.className = "keys";
  dialog.append(title, lists, buttons);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  return dialog;
}

function showHelp() {
  const dialog = document.getElementById("help") ?? makeHelp();
  if (dialog.open) return;
  const here = new Map(ofThisPage);
  if (search() && !here.has("/")) here.set("/", "search");
  const lists = [...(here.size ? list("On this page", [...here]) : [])];
  dialog.querySelector(".keys").replaceChildren(...lists, ...list("Everywhere", EVERYWHERE));
  dialog.showModal();
}

/** @param {KeyboardEvent} event @returns {boolean} whether it did something */
function press(event) {
  const going = goUntil > event.timeStamp;
  goUntil = 0;
  if (going && event.key in PAGES) {
    const kiosk = "kiosk" in document.documentElement.dataset ? "?kiosk=1" : "";
    location.assign(root() + PAGES[event.key] + kiosk);
    return true;
  }
  if (event.key === "g") {
    goUntil = event.timeStamp + GO_MS;
    return true;
  }
  if (event.key === "?") showHelp();
  else if (event.key === "u") return undoNewest();
  else if (event.key === "/") {
    const field = search();
    field?.focus();
    field?.select?.();
    return field !== undefined;
  } else return false;
  return true;
}

/** Begins to listen to the keyboard. */
export function begin() {
  document.addEventListener("overc:keys", ({ detail }) => {
    for (const [key, does] of detail) ofThisPage.set(key, does);
  });
  document.getElementById("keys")?.addEventListener("click", showHelp);
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape" && event.target.matches("[data-search]")) event.target.blur();
      return;
    }
    if (document.querySelector("dialog[open]") === null && press(event)) event.preventDefault();
  });
}

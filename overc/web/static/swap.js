// Brings a page up to date in place. What stays the same keeps its nodes, and with them the focus,
// what was typed or marked, what is open, and how far it is scrolled.

import { showTimes } from "./times.js";

const REPLY_LIMIT_MS = 10_000;
// Viewers of a busy page would otherwise ask for it several times a second.
const REST_MS = 2_000;

const main = () => document.getElementById("main");

function isFilledIn(field) {
  if (field.type === "hidden" || field.type === "submit" || field.type === "button") return false;
  if (field.type === "checkbox" || field.type === "radio") {
    return field.checked !== field.defaultChecked;
  }
  if (field.tagName !== "SELECT") return field.value !== field.defaultValue;
  const options = [...field.options];
  const byDefault = options.findIndex((option) => option.defaultSelected);
  return field.selectedIndex !== Math.max(0, byDefault);
}

/** @param {Element} element Whether someone is at work in it, so that it has to stay as it is. */
function isInUse(element) {
  if (element.tagName === "DIALOG") return element.open;
  if (element.tagName !== "FORM") return false;
  const active = document.activeElement;
  const typesHere = active?.matches("input, select, textarea") && element.contains(active);
  return typesHere || [...element.elements].some((field) => "value" in field && isFilledIn(field));
}

/** @param {Node} node Whether someone is at work in a part of it. */
function holdsWork(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return false;
  return isInUse(node) || [...node.querySelectorAll("form, dialog")].some(isInUse);
}

function copyAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    // People open details; the server only says which are open at first.
    if (name === "open" && (old.tagName === "DETAILS" || old.tagName === "DIALOG")) continue;
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name === "open" && old.tagName === "DETAILS") continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

/** @param {Node} node The key by which it is known again, or an empty text. */
const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id : "");

const alike = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

/** Puts living elements with data-keep in the places of their fresh copies. */
function keepIn(fresh, within) {
  if (fresh.nodeType !== Node.ELEMENT_NODE) return fresh;
  const living = (copy) => {
    const found = copy.id && document.getElementById(copy.id);
    return found && within.contains(found) ? found : null;
  };
  if (fresh.hasAttribute("data-keep")) return living(fresh) ?? fresh;
  for (const copy of fresh.querySelectorAll("[data-keep][id]")) {
    const found = living(copy);
    if (found !== null) copy.replaceWith(found);
  }
  return fresh;
}

function morphChildren(old, fresh, within) {
  const wanted = [...fresh.childNodes];
  const keys = new Set(wanted.map(keyOf).filter(Boolean));
  const known = new Map();
  for (const child of [...old.childNodes]) {
    const key = keyOf(child);
    if (key === "") continue;
    if (keys.has(key)) known.set(key, child);
    else if (!holdsWork(child)) child.remove();
  }
  let next = old.firstChild;
  for (const want of wanted) {
    const key = keyOf(want);
    let have = null;
    if (key !== "") have = known.get(key) ?? null;
    else if (next !== null && alike(next, want)) have = next;
    if (have !== null && have.nodeName !== want.nodeName) {
      if (have === next) next = next.nextSibling;
      have.remove();
      have = null;
    }
    if (have === null) {
      const made = keepIn(want, within);
      if (made.nodeType === Node.ELEMENT_NODE && made.tagName === "TR" && made.id !== "") {
        made.classList.add("new");
      }
      old.insertBefore(made, next);
      continue;
    }
    if (have === next) next = next.nextSibling;
    else old.insertBefore(have, next);
    morph(have, want, within);
  }
  while (next !== null) {
    const after = next.nextSibling;
    if (!holdsWork(next)) next.remove();
    next = after;
  }
}

/**
 * Makes one node like another.
 * @param {Node} old in the page
 * @param {Node} fresh is used up
 * @param {Element} within what is being brought up to date as a whole
 */
function morph(old, fresh, within = old) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.hasAttribute("data-keep") || isInUse(old)) return;
  if (old.isEqualNode(fresh)) return;
  copyAttributes(old, fresh);
  morphChildren(old, fresh, within);
}

/**
 * How many problems need attention, as a page of the server says it, and its title without that.
 * @param {Document} page
 * @returns {{title: string, attention: number | null}}
 */
export function titleOf({ title, documentElement }) {
  const { attention } = documentElement.dataset;
  if (attention === undefined) return { title, attention: null };
  const counted = `(${attention}) `;
  return {
    title: title.startsWith(counted) && attention !== "0" ? title.slice(counted.length) : title,
    attention: Number(attention),
  };
}

/**
 * Puts a fresh `<main>` in the place of the page's.
 * @param {Element} fresh
 */
function swap(fresh) {
  const focused = document.activeElement;
  showTimes(fresh);
  morph(main(), fresh);
  // A row that was moved is taken out for a moment, and loses the focus by that.
  if (focused?.isConnected && focused !== document.activeElement) {
    focused.focus({ preventScroll: true });
  }
  document.dispatchEvent(new CustomEvent("overc:swapped"));
}

/**
 * Fetches this page anew and swaps its content.
 * @returns {Promise<boolean>} whether the server answered with the page
 */
export async function refresh() {
  let reply, text;
  try {
    reply = await fetch(location.href, {
      cache: "no-store",
      signal: AbortSignal.timeout(REPLY_LIMIT_MS),
    });
    text = await reply.text();
  } catch {
    return false;
  }
  const next = new DOMParser().parseFromString(text, "text/html");
  const fresh = next.getElementById("main");
  // A page that is gone is news; any other refusal says nothing about the services.
  if (fresh === null || !(reply.ok || reply.status === 404)) return false;
  await whenReleased();
  swap(document.adoptNode(fresh));
  document.dispatchEvent(new CustomEvent("overc:title", { detail: titleOf(next) }));
  return true;
}

let pressed = false;
addEventListener("pointerdown", () => (pressed = true), true);
for (const end of ["pointerup", "pointercancel", "blur"]) {
  addEventListener(end, () => (pressed = false), true);
}

/** Waits until no button of the pointer is down: nothing moves away under a click. */
async function whenReleased() {
  while (pressed) await new Promise((resolve) => setTimeout(resolve, 50));
}

/** Remembers that the page is to be brought up to date, and does it soon, not too often. */
export class Refresher {
  #running = false;
  #wanted = false;

  /** @param {(answered: boolean) => void} done called after each try */
  constructor(done) {
    this.done = done;
  }

  async want() {
    this.#wanted = true;
    if (this.#running || document.hidden) return;
    this.#running = true;
    while (this.#wanted && !document.hidden) {
      this.#wanted = false;
      this.done(await refresh());
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
    }
    this.#running = false;
  }

  /** The page is seen again. */
  wake() {
    if (this.#wanted) this.want();
  }
}

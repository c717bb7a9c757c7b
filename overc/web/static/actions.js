// What people do with servers and services: the pages' own forms, sent in place. Without this the
// same forms lead to the same end, page by page.

import { send } from "./api.js";
import { countWords } from "./counting.js";
import { store, stored } from "./storing.js";
import { refresh } from "./swap.js";
import { showTimes } from "./times.js";
import { toast } from "./toast.js";

const REPLY_LIMIT_MS = 10_000;
const SAID = "overc:said";

const main = () => document.getElementById("main");

/** The key of the API for what a form is about, and its id. @param {HTMLFormElement} form */
function about(form) {
  const { service, server } = form.dataset;
  return service ? { service_id: Number(service) } : { server_id: Number(server) };
}

/** @param {HTMLFormElement} form */
const item = ({ dataset }) =>
  dataset.service ? `api/item/service/${dataset.service}` : `api/item/server/${dataset.server}`;

/** What is empty was not given. @param {HTMLFormElement} form */
function filledIn(form) {
  return Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
}

/**
 * What each form does: returns what to say of it, and how to take it back.
 * @type {Record<string, (form: HTMLFormElement) => Promise<{text: string, undo?: () => Promise<unknown>}>>}
 */
const ACTS = {
  async ack(form) {
    await send("POST", "api/ack", { reason: "", ...filledIn(form), ...about(form) });
    return { text: "Acknowledged.", undo: () => send("DELETE", "api/ack", about(form)) };
  },
  async unack(form) {
    const { reason, author } = form.dataset;
    await send("DELETE", "api/ack", about(form));
    return {
      text: "The acknowledgement is taken back.",
      undo: () => send("POST", "api/ack", { reason, author, ...about(form) }),
    };
  },
  async silence(form) {
    const words = form.elements.for.selectedOptions[0].textContent;
    const begun = await send("POST", "api/silences", {
      reason: "",
      ...filledIn(form),
      ...about(form),
    });
    const path = `api/silences/${begun.id}`;
    return { text: `Silenced for ${words}.`, undo: () => send("DELETE", path) };
  },
  async rename(form) {
    const path = item(form);
    const { title, before } = await send("PATCH", path, { title: form.elements.title.value });
    return {
      text: `Renamed to ${title}`,
      undo: () => send("PATCH", path, { title: before }),
    };
  },
  async delete(form) {
    await send("DELETE", item(form));
    return { text: `${form.dataset.label} is deleted.` };
  },
  async forget(form) {
    const { services, silent_since } = filledIn(form);
    const { forgotten, kept } = await send("POST", "api/forget", {
      services: services.split(",").map(Number),
      silent_since: Number(silent_since),
    });
    const stay = kept === 0 ? "" : ` ${countWords(kept, "service")} reported meanwhile and stay.`;
    return { text: `${countWords(forgotten, "service")} forgotten.${stay}` };
  },
  async accept(form) {
    await send("POST", `api/rejected-keys/${form.dataset.key}/accept`);
    return { text: `The new key of ${form.dataset.label} counts from now on.` };
  },
  async dismiss(form) {
    await send("DELETE", `api/rejected-keys/${form.dataset.key}`);
    return { text: `Dismissed. ${form.dataset.label} goes on being refused.` };
  },
};

/** Brings the page up to date, unless it does so by itself. */
async function showChange() {
  if (main()?.dataset.living === undefined) await refresh();
}

/** @param {HTMLFormElement} form */
async function act(form) {
  const box = form.closest("article") ?? form;
  const refusal = box.querySelector(".refusal");
  const buttons = [...box.querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  if (refusal) refusal.textContent = "";
  try {
    const { text, undo } = await ACTS[form.dataset.act](form);
    if (form.dataset.act === "delete" || (form.dataset.then && !form.closest("dialog"))) {
      store(SAID, text, "sessionStorage");
      location.assign(form.dataset.then);
      return;
    }
    form.closest("dialog")?.close();
    form.closest("details.asking")?.removeAttribute("open");
    form.reset();
    toast(text, undo ? { undo: () => undo().then(showChange) } : {});
    await showChange();
  } catch (error) {
    if (refusal) refusal.textContent = error.message;
    else toast(error.message, { kind: "problem" });
  }
  for (const button of buttons) button.disabled = false;
}

/** Links of another page, so that they hold in this one. */
function rebase(within, base) {
  for (const [selector, attribute] of [
    ["a[href]", "href"],
    ["form[action]", "action"],
    ["form[data-then]", "data-then"],
  ]) {
    for (const one of within.querySelectorAll(selector)) {
      one.setAttribute(attribute, new URL(one.getAttribute(attribute), base).href);
    }
  }
}

/**
 * Shows a page that asks as a dialog.
 * @param {string} href
 * @param {HTMLDialogElement | null} [open] the dialog in which the question was asked
 */
export async function ask(href, open = null) {
  let reply, text;
  try {
    reply = await fetch(href, { cache: "no-store", signal: AbortSignal.timeout(REPLY_LIMIT_MS) });
    text = await reply.text();
  } catch {
    toast("The server does not answer. Try again.", { kind: "problem" });
    return;
  }
  const page = new DOMParser().parseFromString(text, "text/html");
  const asks = page.getElementById("asks");
  if (asks === null) {
    // A refusal, or a log-in: the page itself says more.
    location.assign(href);
    return;
  }
  rebase(asks, reply.url);
  showTimes(asks);
  const title = asks.querySelector("h1");
  title.id = "asks-title";
  asks.querySelector("[data-keeps]")?.setAttribute("autofocus", "");
  asks.removeAttribute("id");
  if (open !== null) {
    open.replaceChildren(document.adoptNode(asks));
    open.querySelector("[aria-current]")?.focus();
    return;
  }
  const dialog = document.createElement("dialog");
  dialog.className = "asked";
  dialog.setAttribute("aria-labelledby", "asks-title");
  dialog.append(document.adoptNode(asks));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey) return;
  if (event.target instanceof HTMLDialogElement && event.target.matches(".asked")) {
    event.target.close();
    return;
  }
  const link = event.target.closest?.("a[data-asks], a[data-keeps]");
  if (!link) return;
  const dialog = link.closest("dialog");
  if (link.dataset.keeps !== undefined) {
    if (dialog === null) return;
    event.preventDefault();
    dialog.close();
    return;
  }
  // On the page that asks by itself a link leads to the next one.
  if (dialog === null && link.closest("#asks")) return;
  event.preventDefault();
  ask(link.href, dialog);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || !Object.hasOwn(ACTS, form.dataset.act ?? "")) return;
  event.preventDefault();
  act(form);
});

// One question at a time.
document.addEventListener(
  "toggle",
  ({ target }) => {
    if (!target.matches?.(".actions .asking[open]")) return;
    for (const other of document.querySelectorAll(".actions .asking[open]")) {
      if (other !== target) other.open = false;
    }
    target.querySelector("input:not([type=hidden]), select")?.focus();
  },
  true,
);

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented) return;
  const open = document.querySelector(".actions .asking[open]");
  if (open === null) return;
  open.open = false;
  open.querySelector("summary").focus();
});

// What was done on the page before this one.
const said = stored(SAID, "sessionStorage");
if (said !== "") {
  store(SAID, "", "sessionStorage");
  toast(said);
}

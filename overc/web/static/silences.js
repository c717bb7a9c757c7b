// The silences page: what a new silence would match, and changes that can be taken back.

import { send } from "./api.js";
import { countWords } from "./counting.js";
import { refresh } from "./swap.js";
import { toast } from "./toast.js";

const TYPING_MS = 250;

/** @param {string} id */
const field = (id) => document.getElementById(id);

/** @param {string} text a time of the API @returns {number} epoch seconds */
const at = (text) => Date.parse(`${text.slice(0, 10)}T${text.slice(11, 19)}Z`) / 1000;

let timer = 0;
let asked = 0;

function bdi(text) {
  const made = document.createElement("bdi");
  made.textContent = text.trim() || "(blank)";
  return made;
}

async function preview() {
  const box = field("s-preview");
  if (box === null) return;
  asked += 1;
  const mine = asked;
  const servers = field("s-servers").value.trim();
  const services = field("s-services").value.trim();
  try {
    const found = await send(
      "GET",
      `api/silences/preview?${new URLSearchParams({ servers, services })}`,
    );
    if (mine !== asked) return;
    const said = document.createElement("span");
    if (found.n_services === 0) said.textContent = "No service has such a name now.";
    else {
      const nServices = countWords(found.n_services, "service");
      said.textContent = `Matches ${nServices} on ${countWords(found.n_servers, "server")}`;
    }
    const named = document.createElement("span");
    named.className = "quiet small";
    found.services.forEach(({ server, name }, index) => {
      named.append(index ? ", " : ": ", bdi(server), " / ", bdi(name));
    });
    if (found.services.length < found.n_services) named.append(", …");
    box.replaceChildren(said, named);
  } catch (error) {
    if (mine === asked) box.textContent = error.message;
  }
}

function showUntil() {
  const form = field("silence-form");
  if (form === null) return;
  const isUntil = field("s-for").value === "";
  field("s-until-field").hidden = !isUntil;
  field("s-until").required = isUntil;
}

/** @param {HTMLFormElement} form */
async function begin(form) {
  const refusal = field("s-refusal");
  refusal.textContent = "";
  const { servers, services, reason, author } = Object.fromEntries(new FormData(form));
  const span = field("s-for").value;
  // The field has the viewer's local time.
  const until = new Date(field("s-until").value).getTime() / 1000;
  const time = span === "" ? { until } : { for: span };
  const asked = { servers: servers.trim() || "*", services: services.trim() || "*" };
  if (author.trim()) asked.author = author;
  try {
    const { id } = await send("POST", "api/silences", { ...asked, reason, ...time });
    form.reset();
    document.activeElement?.blur();
    showUntil();
    await Promise.all([refresh(), preview()]);
    toast(`Silence ${id} keeps alerts back.`, {
      undo: () => send("DELETE", `api/silences/${id}`).then(refresh),
    });
  } catch (error) {
    refusal.textContent = error.message;
  }
}

/** @param {HTMLFormElement} form */
async function end(form) {
  const { end: id, servers, services, author, reason, starts, ends } = form.dataset;
  await send("DELETE", `api/silences/${id}`);
  await refresh();
  const again = { servers, services, author, reason, from: at(starts), until: at(ends) };
  toast(`Silence ${id} is over.`, {
    undo: () => send("POST", "api/silences", again).then(refresh),
  });
}

/** @param {HTMLFormElement} form */
async function extend(form) {
  const { extend: id, ends } = form.dataset;
  const choice = form.elements.for;
  await send("POST", `api/silences/${id}`, { for: choice.value });
  const longer = choice.selectedOptions[0].textContent.trim();
  form.reset();
  document.activeElement?.blur();
  await refresh();
  toast(`Silence ${id} lasts ${longer}.`, {
    undo: () => send("POST", `api/silences/${id}`, { until: at(ends) }).then(refresh),
  });
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const isNew = form.id === "silence-form";
  if (!isNew && !form.dataset.end && !form.dataset.extend) return;
  event.preventDefault();
  if (form.hasAttribute("aria-busy")) return;
  form.setAttribute("aria-busy", "true");
  try {
    if (isNew) await begin(form);
    else await (form.dataset.end ? end(form) : extend(form));
  } catch (error) {
    toast(error.message, { kind: "problem" });
  } finally {
    form.removeAttribute("aria-busy");
  }
});

document.addEventListener("input", ({ target }) => {
  if (target.id === "s-for") showUntil();
  if (target.id !== "s-servers" && target.id !== "s-services") return;
  clearTimeout(timer);
  timer = setTimeout(preview, TYPING_MS);
});

document.addEventListener("overc:swapped", showUntil);
showUntil();
preview();

// A form of filters is obeyed while it is filled in: `<form data-filters>`. Without this a button
// sends it.

import { announce } from "./news.js";
import { refresh } from "./swap.js";
import { toast } from "./toast.js";

const TYPING_MS = 250;

/** @param {HTMLFormElement} form */
function address(form) {
  const fields = [...new FormData(form)].filter(([, value]) => value !== "");
  if ("kiosk" in document.documentElement.dataset) fields.push(["kiosk", "1"]);
  return `?${new URLSearchParams(fields)}`;
}

let timer = 0;
let asked = 0;
let isBehind = false;

/** @param {HTMLFormElement} form */
async function obey(form) {
  const wanted = address(form);
  if (wanted === location.search && !isBehind) return;
  history.replaceState(history.state, "", wanted);
  asked += 1;
  const mine = asked;
  form.setAttribute("aria-busy", "true");
  const answered = await refresh();
  if (mine !== asked) return;
  form.removeAttribute("aria-busy");
  isBehind = !answered;
  if (!answered) {
    toast("The server does not answer, and the list is as it was. Try again.", { kind: "problem" });
    return;
  }
  const found = document.querySelector("main .count, main .calm");
  if (found !== null) announce(found.textContent);
}

document.addEventListener("input", ({ target }) => {
  const form = target.form;
  if (!form || !("filters" in form.dataset)) return;
  clearTimeout(timer);
  timer = setTimeout(() => obey(form), target.matches("select") ? 0 : TYPING_MS);
});

document.addEventListener("submit", (event) => {
  if (!("filters" in event.target.dataset)) return;
  event.preventDefault();
  clearTimeout(timer);
  obey(event.target);
});

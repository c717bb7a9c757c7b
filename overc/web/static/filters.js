// A form of filters is obeyed while it is filled in: `<form data-filters>`. Without this a button
// sends it.

import { announce, refresh } from "./news.js";

const TYPING_MS = 250;

/** @param {HTMLFormElement} form */
function address(form) {
  const fields = [...new FormData(form)].filter(([, value]) => value !== "");
  if ("kiosk" in document.documentElement.dataset) fields.push(["kiosk", "1"]);
  return `?${new URLSearchParams(fields)}`;
}

let timer = 0;
let asked = 0;

/** @param {HTMLFormElement} form */
async function obey(form) {
  const wanted = address(form);
  if (wanted === location.search) return;
  history.replaceState(history.state, "", wanted);
  asked += 1;
  const mine = asked;
  form.setAttribute("aria-busy", "true");
  const answered = await refresh();
  if (mine !== asked) return;
  form.removeAttribute("aria-busy");
  const found = document.querySelector("main .count, main .calm");
  if (answered && found !== null) announce(found.textContent);
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

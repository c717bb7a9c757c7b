// Keeps a page fresh, shows local times, asks before it deletes. Without it every page still shows
// all states, in UTC, as of when it was loaded.

const REPLY_LIMIT_MS = 10_000;
const refreshMs = 1000 * Number(document.body.dataset.refreshS || 0);
const lost = document.getElementById("lost");
const main = () => document.getElementById("main");
let freshAt = new Date();

const two = (number) => String(number).padStart(2, "0");
const clockText = (date) =>
  [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
const localText = (date) =>
  `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clockText(date)}`;

function showLocalTimes(within) {
  for (const time of within.querySelectorAll("time")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    if (time.classList.contains("span")) {
      time.title = `${localText(date)} (${time.title})`;
    } else {
      time.title = `${time.textContent} UTC`;
      const isToday = date.toDateString() === new Date().toDateString();
      const isBrief = isToday && time.classList.contains("brief");
      time.textContent = isBrief ? clockText(date) : localText(date);
    }
  }
  for (const zone of within.querySelectorAll(".zone")) zone.textContent = "local";
}

function isFilledIn(field) {
  if (field === document.activeElement) return true;
  if (field.tagName !== "SELECT") return field.value !== field.defaultValue;
  return [...field.options].some((option) => option.selected !== option.defaultSelected);
}

// A page that someone is reading, marking or answering is left as it is.
function isInUse() {
  const selection = getSelection();
  return (
    document.hidden ||
    document.querySelector("dialog[open]") !== null ||
    [...main().querySelectorAll("input, select")].some(isFilledIn) ||
    (selection !== null && !selection.isCollapsed)
  );
}

function showLost(reason) {
  if (!lost.hidden) return;
  lost.textContent = `${reason} What you see is from ${clockText(freshAt)}; trying again.`;
  lost.hidden = false;
}

const focusable = (within) => [...within.querySelectorAll("a[href], button, summary, [tabindex]")];

// Where the focus is, in words that hold for the next version of the page too.
function focusPlace(within) {
  const focused = document.activeElement;
  if (focused === null || !within.contains(focused)) return null;
  const alike = (other) =>
    other.tagName === focused.tagName &&
    other.id === focused.id &&
    other.getAttribute("href") === focused.getAttribute("href");
  const place = focusable(within).filter(alike).indexOf(focused);
  return (next) => focusable(next).filter(alike)[place];
}

function swap(fresh) {
  const old = main();
  const findFocus = focusPlace(old);
  showLocalTimes(fresh);
  for (const open of old.querySelectorAll("details[open][id]")) {
    const again = fresh.querySelector(`#${CSS.escape(open.id)}`);
    if (again !== null) again.open = true;
  }
  const scrolled = [...old.querySelectorAll("[id]")]
    .map((box) => [box.id, box.scrollTop])
    .filter(([, top]) => top > 0);
  const [x, y] = [scrollX, scrollY];
  old.replaceWith(fresh);
  for (const [id, top] of scrolled) {
    const again = document.getElementById(id);
    if (again !== null) again.scrollTop = top;
  }
  scrollTo(x, y);
  if (findFocus !== null) findFocus(fresh)?.focus({ preventScroll: true });
}

async function refresh() {
  if (isInUse()) return;
  let reply, text;
  try {
    reply = await fetch(location.href, {
      cache: "no-store",
      signal: AbortSignal.timeout(REPLY_LIMIT_MS),
    });
    text = await reply.text();
  } catch {
    showLost("The server does not answer.");
    return;
  }
  const next = new DOMParser().parseFromString(text, "text/html");
  const fresh = next.getElementById("main");
  // A page that is gone is news; any other refusal says nothing about the services.
  if (fresh === null || !(reply.ok || reply.status === 404)) {
    showLost(`The server answers ${reply.status} instead of this page.`);
    return;
  }
  freshAt = new Date();
  lost.hidden = true;
  if (isInUse()) return;
  swap(document.adoptNode(fresh));
  document.title = next.title;
}

async function keepFresh() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, refreshMs));
    await refresh();
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // Browsers lend the clipboard to https pages only; on others the text is marked for Ctrl-C.
    getSelection().selectAllChildren(source);
    return;
  }
  button.textContent = "Copied";
}

async function remove(form) {
  const refusal = form.querySelector(".refusal");
  const buttons = form.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  try {
    const reply = await fetch(form.dataset.delete, {
      method: "DELETE",
      headers: { "X-Requested-With": "overc" },
      signal: AbortSignal.timeout(REPLY_LIMIT_MS),
    });
    if (reply.ok) {
      location.assign(form.dataset.then);
      return;
    }
    const said = await reply.json().catch(() => ({}));
    refusal.textContent = said.error || `The server answers ${reply.status}.`;
  } catch {
    refusal.textContent = "The server does not answer. Reload the page to see what is left.";
  }
  for (const button of buttons) button.disabled = false;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-opens], button[data-copies]");
  if (button === null) return;
  if (button.dataset.copies) copy(button);
  else document.getElementById(button.dataset.opens).showModal();
});

document.addEventListener("submit", (event) => {
  if (!event.target.dataset.delete || event.submitter?.value !== "delete") return;
  event.preventDefault();
  remove(event.target);
});

document.addEventListener("visibilitychange", () => {
  if (refreshMs && !document.hidden) refresh();
});

document.documentElement.classList.add("has-script");
showLocalTimes(document);
if (refreshMs) keepFresh();

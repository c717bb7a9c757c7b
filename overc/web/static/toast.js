// Says what was just done, for a while, and offers to take it back.

const SHOWN_MS = 6_000;
const UNDO_SHOWN_MS = 12_000;

/** @returns {HTMLElement} */
function region() {
  const found = document.getElementById("toasts");
  if (found !== null) return found;
  const made = document.createElement("div");
  made.id = "toasts";
  made.className = "toasts";
  made.setAttribute("role", "status");
  document.body.append(made);
  return made;
}

/** @param {string} label @param {() => void} done @param {string} [name] for ears */
function button(label, done, name) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  if (name) made.setAttribute("aria-label", name);
  made.addEventListener("click", done);
  return made;
}

/**
 * Shows a sentence at the edge of the page. It stays while the pointer or the focus is on it, and
 * while the page is not seen; `u` undoes the newest.
 * @param {string} text
 * @param {{undo?: () => Promise<unknown>, kind?: "done" | "problem"}} [options]
 */
export function toast(text, { undo, kind = "done" } = {}) {
  const box = document.createElement("div");
  box.className = `toast ${kind}`;
  const words = document.createElement("p");
  words.dir = "auto";
  words.textContent = text;
  box.append(words);
  let leftMs = undo || kind === "problem" ? UNDO_SHOWN_MS : SHOWN_MS;
  let startedAt = 0;
  let timer = 0;
  const close = () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
    if (box.contains(document.activeElement)) document.getElementById("main")?.focus();
    box.remove();
  };
  const pause = () => {
    if (timer === 0) return;
    clearTimeout(timer);
    timer = 0;
    leftMs = Math.max(1_500, leftMs - (performance.now() - startedAt));
  };
  const run = () => {
    if (timer !== 0) return;
    startedAt = performance.now();
    timer = setTimeout(close, leftMs);
  };
  const look = () => {
    const isHeld = document.hidden || box.matches(":hover, :focus-within");
    if (isHeld) pause();
    else run();
  };
  if (undo) {
    const takeBack = button("Undo", async () => {
      takeBack.disabled = true;
      try {
        await undo();
        close();
      } catch (error) {
        words.textContent = error.message;
        box.classList.add("problem");
        takeBack.remove();
        look();
      }
    });
    takeBack.className = "undo";
    box.append(takeBack);
  }
  const away = button("×", close, "Close this message");
  away.className = "away";
  box.append(away);
  box.addEventListener("pointerenter", look);
  box.addEventListener("pointerleave", look);
  box.addEventListener("focusin", look);
  box.addEventListener("focusout", () => setTimeout(look));
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
  });
  document.addEventListener("visibilitychange", look);
  region().append(box);
  look();
}

/** Undoes what the newest message offers to undo. @returns {boolean} whether there was one */
export function undoNewest() {
  const newest = [...document.querySelectorAll("#toasts .undo:not(:disabled)")].at(-1);
  newest?.click();
  return newest !== undefined;
}

// The row that the keys act on, and the rows that are marked: keyboard and clicks of the lists.

const KEYS = [
  ["j / k", "next, previous row; the arrows do as well"],
  ["Enter", "open the row, or what is behind it"],
  ["Home / End", "first, last row"],
];
const CHANGE_KEYS = [
  ["a", "acknowledge, or take it back"],
  ["s", "silence"],
];
const PICK_KEYS = [["x", "mark the row; a and s then act on all that are marked"]];
const STEPS = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 };

/**
 * @param {{
 *   canChange: boolean, canPick: boolean,
 *   move: (step: number) => void, jump: (toEnd: boolean) => void, open: () => void,
 *   act: (name: string, key?: string) => void, pick: (key: string | null, toHere: boolean) => void,
 *   fold: (key: string) => void, at: (key: string) => void, hasCursor: () => boolean, clear: () => void,
 * }} does
 * @param {HTMLElement} region
 */
export function listen(region, does) {
  const rowOf = (target) => target.closest?.("tr[data-key]");

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    if (document.querySelector("dialog[open]") !== null) return;
    const target = event.target;
    const isSearch = target.matches("[data-search]");
    const isTyping = target.matches("textarea, select, input:not([type=checkbox])");
    if (isSearch && (event.key === "ArrowDown" || event.key === "Enter")) does.jump(false);
    else if (isSearch && event.key === "Escape") does.clear();
    else if (isTyping) return;
    else if (event.key in STEPS) does.move(STEPS[event.key]);
    else if (event.key === "Escape") return void does.clear();
    else if (event.key === "Enter" && rowOf(target) === target) does.open();
    else if ((event.key === "Home" || event.key === "End") && does.hasCursor()) does.jump(event.key === "End");
    else if (event.key === "a" && does.canChange) does.act("acknowledged");
    else if (event.key === "s" && does.canChange) does.act("silenced");
    else if (event.key === "x" && does.canPick) does.pick(null, false);
    else return;
    event.preventDefault();
  });

  region.addEventListener("click", (event) => {
    const row = rowOf(event.target);
    const button = event.target.closest("[data-act]");
    const fold = event.target.closest("[data-fold]");
    if (fold !== null) does.fold(fold.dataset.fold);
    else if (button !== null) does.act(button.dataset.act, row?.dataset.key);
    else if (row !== null && event.target.matches(".pick input")) {
      does.pick(row.dataset.key, event.shiftKey);
    }
  });

  region.addEventListener("focusin", (event) => {
    const row = rowOf(event.target);
    if (row) does.at(row.dataset.key);
  });

  const keys = [...KEYS, ...(does.canChange ? CHANGE_KEYS : []), ...(does.canPick ? PICK_KEYS : [])];
  document.dispatchEvent(new CustomEvent("overc:keys", { detail: keys }));
}

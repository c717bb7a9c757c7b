// Words that this browser remembers. Storage may be forbidden; then they last as long as the page.

/** @param {string} name @param {"localStorage" | "sessionStorage"} [where] @returns {string} empty: nothing */
export function stored(name, where = "localStorage") {
  try {
    return window[where].getItem(name) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} name @param {string} words empty: none @param {"localStorage" | "sessionStorage"} [where] */
export function store(name, words, where = "localStorage") {
  try {
    if (words === "") window[where].removeItem(name);
    else window[where].setItem(name, words);
  } catch {
    // The next page begins as if nothing had been chosen.
  }
}

// Choices that this browser remembers. Storage may be forbidden; then they last as long as the page.

/** @param {string} name @returns {boolean} */
export function isStored(name) {
  try {
    return localStorage.getItem(name) === "yes";
  } catch {
    return false;
  }
}

/** @param {string} name @param {boolean} isOn */
export function store(name, isOn) {
  try {
    if (isOn) localStorage.setItem(name, "yes");
    else localStorage.removeItem(name);
  } catch {
    // The next page begins as if nothing had been chosen.
  }
}

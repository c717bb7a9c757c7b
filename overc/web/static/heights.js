// The heights of rows, and how many marks fit side by side, as the style sheet says.

/** @param {HTMLElement} region */
export function heights(region) {
  const probe = document.body.appendChild(document.createElement("span"));
  probe.className = "probe";
  const px = (name) => {
    probe.style.height = `var(${name})`;
    return probe.getBoundingClientRect().height;
  };
  const found = {
    rowPx: px("--list-row"),
    caresPx: px("--cares-row"),
    serverPx: px("--server-row"),
    markPx: px("--list-mark"),
  };
  probe.remove();
  const width = region.querySelector(".servers .marks > div")?.clientWidth ?? region.clientWidth / 2;
  return { ...found, inLine: Math.max(1, Math.floor(width / found.markPx)) };
}

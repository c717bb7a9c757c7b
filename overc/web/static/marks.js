// The marks of the page, for scripts that make elements one by one.

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} name of a mark of the page */
export function mark(name) {
  const drawn = document.createElementNS(SVG, "svg");
  drawn.setAttribute("class", `mark ${name}`);
  drawn.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#mark-${name}`);
  drawn.append(use);
  return drawn;
}

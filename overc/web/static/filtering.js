// Which services are listed: what the page's URL says, also without a script. Pure.

/** The conditions in the order of the counts, and how far up each is listed. */
export const RANKS = { FAIL: 0, late: 1, WARN: 2, UNK: 3, OK: 4, none: 5 };

// Filters by state that are more than one condition.
const GROUPS = {
  problem: (row) => row.isProblem,
  attention: (row) => row.needsCare,
  cared: (row) => row.isProblem && row.isCared,
};

/** @typedef {{q: string, state: string, server: string, acknowledged: string, silenced: string}} Filter */

const NAMES = ["q", "state", "server", "acknowledged", "silenced"];

/** @param {string} search of a URL @returns {Filter} */
export function filterOf(search) {
  const query = new URLSearchParams(search);
  return Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""]));
}

/** @param {Filter} filter @param {string} [search] whose other parameters are kept */
export function searchOf(filter, search = "") {
  const query = new URLSearchParams(search);
  query.delete("page");
  for (const name of NAMES) {
    const value = filter[name].trim();
    if (value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}

/** @param {Filter} filter */
export const isEmpty = (filter) => NAMES.every((name) => filter[name].trim() === "");

const wants = (wanted, is) => wanted === "" || (wanted === "yes") === is;

/**
 * @param {Filter} filter
 * @returns {((row: object) => boolean) | null} null: all of them
 */
export function matcher(filter) {
  if (isEmpty(filter)) return null;
  const words = filter.q.toLowerCase().split(/\s+/).filter(Boolean);
  const server = filter.server.trim().toLowerCase();
  const { state, acknowledged, silenced } = filter;
  const isIn = Object.hasOwn(GROUPS, state) ? GROUPS[state] : (row) => row.condition === state;
  return (row) =>
    (state === "" || isIn(row)) &&
    wants(acknowledged, row.ack !== undefined) &&
    wants(silenced, row.silence !== undefined) &&
    (server === "" || row.home.text.includes(server)) &&
    words.every((word) => row.text.includes(word) || row.home.text.includes(word));
}

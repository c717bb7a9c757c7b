// The overview's problems: as few rows as can be, those that need somebody first. The late services
// of one server are one row, and what somebody takes care of comes last, below a row that says how
// much it is. The same as overc/web/problems.py. Pure.

import { counted } from "./counting.js";

/** So many late services of one server are one row. */
const HOST_MIN = 3;
/** Rows of problems of which nobody takes care that are shown at first. */
export const SHOWN = 25;
/** More rows of what somebody takes care of wait behind their number. */
const CARED_SHOWN = 5;

/** @typedef {{key: string, row: object} | {key: string, host: object, rows: object[]}} Item */
/** @typedef {{attention: Item[], cared: Item[]}} Folded */

/** @param {object} row of a service @returns {Item} */
export const itemOf = (row) => (row.item ??= { key: `s${row.id}`, row });

/** Puts what is one row together. @param {object[]} rows in their order @param {string} letter @returns {Item[]} */
function folded(rows, letter) {
  const found = [];
  for (let from = 0, to; from < rows.length; from = to) {
    const { home, condition } = rows[from];
    to = from + 1;
    while (to < rows.length && rows[to].home === home && rows[to].condition === condition) to += 1;
    const them = rows.slice(from, to);
    if (condition === "late" && them.length >= HOST_MIN) found.push({ key: `${letter}${home.id}`, host: home, rows: them });
    else found.push(...them.map(itemOf));
  }
  return found;
}

/** @param {object[]} rows problems in their order @returns {Folded} */
export function fold(rows) {
  let cut = 0;
  while (cut < rows.length && rows[cut].needsCare) cut += 1;
  return { attention: folded(rows.slice(0, cut), "l"), cared: folded(rows.slice(cut), "c") };
}

/**
 * The same items as before, with their services as they are now.
 * @param {Folded} before @param {Map<number, object>} services @returns {Folded}
 */
export function renewed(before, services) {
  const there = (rows) => rows.map((row) => services.get(row.id)).filter(Boolean);
  const renew = (item) => {
    if (item.host === undefined) return there([item.row]).map(itemOf);
    const rows = there(item.rows);
    return rows.length === 0 ? [] : [{ ...item, rows }];
  };
  return { attention: before.attention.flatMap(renew), cared: before.cared.flatMap(renew) };
}

/** Whether what somebody takes care of is shown until somebody says otherwise. @param {Folded} folds */
export const showsCared = ({ cared }) => cared.length <= CARED_SHOWN;

/** How many services they are. @param {Item[]} items */
export const countOf = (items) => items.reduce((sum, item) => sum + (item.rows?.length ?? 1), 0);

/**
 * The rows as they stand below each other.
 * @param {Folded} folds
 * @param {{open: Set<string>, isUnfolded: boolean, isCaredOpen: boolean}} how
 */
export function listed({ attention, cared }, { open, isUnfolded, isCaredOpen }) {
  const found = [];
  const add = (item) => {
    const isOpen = item.host !== undefined && open.has(item.key);
    found.push(isOpen ? { ...item, isOpen } : item);
    if (isOpen) found.push(...item.rows.map((row) => ({ ...itemOf(row), isInner: true })));
  };
  (isUnfolded ? attention : attention.slice(0, SHOWN)).forEach(add);
  if (cared.length > 0) found.push({ key: "cared", count: countOf(cared), isOpen: isCaredOpen });
  if (isCaredOpen) cared.forEach(add);
  return found;
}

/** What a row of a server's late services says. @param {Item} item @param {object[]} all its services */
export function hostFacts({ rows }, all) {
  const late = rows.filter((row) => row.condition === "late");
  const due = late.filter((row) => row.seen !== undefined && row.period).map((row) => row.seen + row.period);
  const seen = all.filter((row) => row.seen !== undefined).map((row) => row.seen);
  const count = counted(late.length);
  const total = counted(all.length);
  return {
    isLate: late.length > 0,
    words: late.length === all.length ? `all ${total} services` : `${count} of ${total} services`,
    dueAt: due.length > 0 ? Math.min(...due) : null,
    seenAt: seen.length > 0 ? Math.max(...seen) : null,
    alerts: rows.reduce((sum, row) => sum + (row.alerts ?? 0), 0),
    isCared: late.length > 0 && late.every((row) => row.isCared),
    isAcknowledged: late.every((row) => row.ack !== undefined),
  };
}

/** @param {Folded} folds @param {string | null} key @returns {Item | undefined} a server's late services */
export const hostItem = ({ attention, cared }, key) =>
  [...attention, ...cared].find((item) => item.host !== undefined && item.key === key);

/** Fewer servers are one column also where there is room for two. */
const ONE_COLUMN = 6;

/** @param {object[]} servers @returns {object[][]} the columns that a wide screen has side by side */
export function columns(servers) {
  const cut = servers.length <= ONE_COLUMN ? servers.length : Math.ceil(servers.length / 2);
  return cut < servers.length ? [servers.slice(0, cut), servers.slice(cut)] : [servers];
}

/** Of servers where all is well, so many are shown at first. */
const WELL = 12;

/** @param {object[]} servers in their order @returns {object[]} those that are shown at first */
export function listedServers(servers) {
  let well = 0;
  const shown = servers.filter((one) => one.problems > 0 || (well += 1) <= WELL);
  // A line for one of them would save nothing.
  return shown.length < servers.length - 1 ? shown : servers;
}

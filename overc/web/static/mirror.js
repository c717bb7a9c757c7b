// All servers and services as the server has them: loaded by pages, then kept by the stream's
// changes. A change costs what it changes, not what there is.

import { RANKS } from "./filtering.js";

/** How the rows are ordered: problems of which nobody takes care, the other ones, what is well. */
function byTrouble(one, other) {
  return (
    one.weight - other.weight ||
    one.home.place - other.home.place ||
    (one.low < other.low ? -1 : one.low > other.low ? 1 : one.id - other.id)
  );
}

const byLabel = (one, other) => (one.low < other.low ? -1 : one.low > other.low ? 1 : one.id - other.id);

/** web2 comes before web10. @param {string} label */
const naturalKey = (label) =>
  label.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(10, "0"));

/** Merges two ordered lists. */
function merged(kept, fresh, compare) {
  const all = new Array(kept.length + fresh.length);
  let i = 0;
  let j = 0;
  for (let k = 0; k < all.length; k += 1) {
    const fromKept = j >= fresh.length || (i < kept.length && compare(kept[i], fresh[j]) <= 0);
    all[k] = fromKept ? kept[i++] : fresh[j++];
  }
  return all;
}

/** @typedef {{id: number, name: string, label: string, alerts: number}} ServerFacts */

/** A server, and what is worked out of it once. */
class Server {
  /** @param {ServerFacts} facts */
  constructor(facts) {
    this.ids = new Set();
    this.place = 0;
    this.problems = 0;
    this.update(facts);
  }

  update(facts) {
    this.id = facts.id;
    this.name = facts.name;
    this.label = facts.label;
    this.alerts = facts.alerts ?? 0;
    this.key = naturalKey(facts.label);
    this.text = `${facts.label}\n${facts.name}`.toLowerCase();
    this.touch();
  }

  /** What it shows has changed. */
  touch() {
    this.sorted = null;
    this.shown = {};
  }

  /** @param {Map<number, object>} services @returns {object[]} by their labels */
  rows(services) {
    this.sorted ??= [...this.ids].map((id) => services.get(id)).sort(byLabel);
    return this.sorted;
  }
}

/** Adds to a row of the server what is worked out of it once. */
function prepared(row, home) {
  const rank = RANKS[row.condition] ?? RANKS.UNK;
  row.home = home;
  row.info ??= "";
  row.isProblem = rank < RANKS.OK;
  row.isCared = row.ack !== undefined || row.silence !== undefined;
  row.needsCare = row.isProblem && !row.isCared;
  row.weight = row.needsCare ? rank : rank + RANKS.OK;
  row.low = row.label.toLowerCase();
  row.text = `${row.label}\n${row.name}\n${row.info}`.toLowerCase();
  return row;
}

/** Dispatches `change` with detail {fresh, gone}: ids of rows with another condition, and removed ones. */
export class Mirror extends EventTarget {
  constructor() {
    super();
    /** @type {Map<number, object>} */
    this.services = new Map();
    /** @type {Map<number, Server>} */
    this.servers = new Map();
    /** All services, trouble first. */
    this.sorted = [];
    /** All servers by their labels. */
    this.sortedServers = [];
    this.counts = { FAIL: 0, late: 0, WARN: 0, UNK: 0, OK: 0, none: 0 };
    this.alerts = 0;
    /** How many problems there are of which nobody takes care. */
    this.attention = 0;
    this.isWhole = false;
  }

  /** @returns {object[]} the problems, the worst first */
  problems() {
    let end = 0;
    while (end < this.sorted.length && this.sorted[end].isProblem) end += 1;
    return this.sorted.slice(0, end);
  }

  /**
   * @param {{services?: object[], servers?: ServerFacts[], gone?: {services?: number[], servers?: number[]}}} delta
   */
  apply({ services = [], servers = [], gone = {} }) {
    const changed = new Set();
    const removed = new Set();
    const touched = new Set();
    const isMoved = this.#applyServers(servers, touched);
    for (const id of gone.services ?? []) this.#remove(id, removed, touched);
    for (const id of gone.servers ?? []) {
      for (const each of [...(this.servers.get(id)?.ids ?? [])]) this.#remove(each, removed, touched);
      this.alerts -= this.servers.get(id)?.alerts ?? 0;
      this.servers.delete(id);
    }
    if (gone.servers?.length) this.sortedServers = this.sortedServers.filter((one) => this.servers.has(one.id));
    const fresh = [];
    for (const row of services) {
      const home = this.servers.get(row.server);
      if (home === undefined) continue;
      prepared(row, home);
      const old = this.services.get(row.id);
      this.#count(old, -1);
      this.#count(row, 1);
      if (old !== undefined && old.home !== home) old.home.ids.delete(row.id);
      home.ids.add(row.id);
      this.services.set(row.id, row);
      touched.add(home);
      fresh.push(row.id);
      if (old?.condition !== row.condition) changed.add(row.id);
    }
    for (const server of touched) server.touch();
    this.#sort(fresh, removed, isMoved);
    this.dispatchEvent(new CustomEvent("change", { detail: { changed, gone: removed } }));
  }

  /** Takes over all that another one has. @param {Mirror} other */
  take(other) {
    const changed = new Set();
    const gone = new Set();
    for (const [id, row] of other.services) {
      if (this.services.get(id)?.condition !== row.condition) changed.add(id);
    }
    for (const id of this.services.keys()) if (!other.services.has(id)) gone.add(id);
    const { services, servers, sorted, sortedServers, counts, alerts, attention } = other;
    Object.assign(this, { services, servers, sorted, sortedServers, counts, alerts, attention });
    this.dispatchEvent(new CustomEvent("change", { detail: { changed, gone } }));
  }

  #applyServers(servers, touched) {
    let isNew = false;
    let isMoved = false;
    for (const facts of servers) {
      const old = this.servers.get(facts.id);
      if (old === undefined) {
        isNew = true;
        const made = new Server(facts);
        this.servers.set(facts.id, made);
        this.alerts += made.alerts;
      } else {
        const before = old.key;
        this.alerts -= old.alerts;
        old.update(facts);
        this.alerts += old.alerts;
        isMoved ||= before !== old.key;
        touched.add(old);
      }
    }
    if (isNew || isMoved) {
      this.sortedServers = [...this.servers.values()].sort((one, other) =>
        one.key < other.key ? -1 : one.key > other.key ? 1 : one.id - other.id,
      );
      this.sortedServers.forEach((server, place) => {
        server.place = place;
      });
    }
    return isMoved;
  }

  #remove(id, removed, touched) {
    const old = this.services.get(id);
    if (old === undefined) return;
    this.#count(old, -1);
    this.services.delete(id);
    old.home.ids.delete(id);
    touched.add(old.home);
    removed.add(id);
  }

  #count(row, number) {
    if (row === undefined) return;
    this.counts[row.condition] += number;
    this.attention += number * row.needsCare;
    row.home.problems += number * row.isProblem;
    this.alerts += number * (row.alerts ?? 0);
  }

  #sort(fresh, removed, isMoved) {
    if (isMoved) {
      this.sorted = [...this.services.values()].sort(byTrouble);
      return;
    }
    if (fresh.length === 0 && removed.size === 0) return;
    const others = new Set([...removed, ...fresh]);
    const rows = [...new Set(fresh)].map((id) => this.services.get(id)).sort(byTrouble);
    this.sorted = merged(this.sorted.filter((row) => !others.has(row.id)), rows, byTrouble);
  }
}

// Fills a mirror: loads all there is by pages, follows what changes, and loads anew when the server
// says so.

import { send } from "./api.js";
import { Mirror } from "./mirror.js";
import { markPainted } from "./ready.js";
import { openStream } from "./stream.js";

const PAGE_ROWS = 5_000;
const RETRY_MS = [1_000, 2_000, 5_000, 15_000];
const TOLD_FAILURES = 3; // a shorter break, as a restart makes it, is not told

/**
 * Loads all rows into a mirror while a stream may already change them. What the stream said of a
 * row after its page was made is the newer of the two.
 */
class Loading {
  #said = new Map();

  /** @param {Mirror} mirror */
  constructor(mirror) {
    this.mirror = mirror;
  }

  /** @param {{version: number, services?: object[], gone?: {services?: number[]}}} delta */
  hear(delta) {
    if (!this.mirror.isWhole) {
      for (const row of delta.services ?? []) this.#said.set(row.id, delta.version);
      for (const id of delta.gone?.services ?? []) this.#said.set(id, delta.version);
    }
    this.mirror.apply(delta);
  }

  /**
   * @param {(version: number) => void} begun called when the first page is in
   * @param {AbortSignal} signal
   */
  async load(begun, signal) {
    let after = 0;
    while (after !== null) {
      const page = await this.#page(after, signal);
      const isOld = (row) => (this.#said.get(row.id) ?? -1) > page.version;
      this.mirror.apply({
        servers: page.servers,
        services: page.services.filter((row) => !isOld(row)),
      });
      if (after === 0) begun(page.version);
      after = page.next ?? null;
    }
    this.mirror.isWhole = true;
    this.#said.clear();
    this.mirror.apply({});
  }

  async #page(after, signal) {
    for (let failures = 0; ; failures += 1) {
      try {
        const path = `api/rows?after=${after}&limit=${PAGE_ROWS}`;
        const page = await send("GET", path, undefined, { limitMs: 30_000, signal });
        if (failures >= TOLD_FAILURES) document.dispatchEvent(new CustomEvent("overc:found"));
        return page;
      } catch (error) {
        if (signal.aborted || error.code === 401) throw error;
        // The first page comes before the stream, which tells of a server that is away.
        if (failures + 1 === TOLD_FAILURES) document.dispatchEvent(new CustomEvent("overc:lost"));
        const waitMs = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
  }
}

/**
 * @param {Mirror} mirror
 * @param {(mirror: Mirror) => void} show called when it is whole, and after each change
 * @returns {Promise<void>} ends when it is whole for the first time
 */
export async function feed(mirror, show) {
  const loading = new Loading(mirror);
  let renewing = null;

  // What is on the page stays until all has come.
  async function renew(stream) {
    renewing?.abort();
    const mine = new AbortController();
    renewing = mine;
    const fresh = new Mirror();
    const anew = new Loading(fresh);
    const hear = ({ detail }) => anew.hear(detail);
    stream.addEventListener("rows", hear);
    try {
      await anew.load(() => {}, mine.signal);
      mirror.take(fresh);
      show(mirror);
    } catch (error) {
      if (!mine.signal.aborted) throw error;
    } finally {
      stream.removeEventListener("rows", hear);
    }
  }

  function follow(version) {
    const stream = openStream("rows=yes", { since: version });
    document.dispatchEvent(new CustomEvent("overc:stream", { detail: stream }));
    stream.addEventListener("rows", ({ detail }) => {
      performance.mark("overc:delta-arrived");
      loading.hear(detail);
      if (!mirror.isWhole) return;
      show(mirror);
      markPainted("overc:delta-applied");
    });
    stream.addEventListener("reset", () => renew(stream));
  }

  await loading.load(follow, new AbortController().signal);
  show(mirror);
}

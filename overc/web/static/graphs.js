// The graphs of what a service measures, one for each unit. They outlive the swaps of the page and
// get new figures after each.

import { Drawn, make } from "./graph.js";

/** @typedef {import("./graph.js").Graph} Graph */

const REPLY_LIMIT_MS = 15_000;
const REST_MS = 10_000;

/** All graphs of a service. */
export class Graphs {
  /** @type {Drawn[]} */
  #drawn = [];
  #range = [0, 1];
  #fetchedAt = 0;
  #timer = 0;

  /** @param {HTMLElement} box */
  constructor(box) {
    this.box = box;
  }

  async begin() {
    document.addEventListener("overc:swapped", () => this.#soon());
    document.addEventListener("overc:theme", () => this.#redraw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#redraw());
    new ResizeObserver(() => {
      for (const one of this.#drawn) one.resize();
    }).observe(this.box);
    await this.#fetch();
  }

  /** New figures are fetched soon after the page changed, but not all the time. */
  #soon() {
    if (this.#timer) return;
    const rest = Math.max(0, this.#fetchedAt + REST_MS - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#fetch();
    }, rest);
  }

  #redraw() {
    for (const one of this.#drawn) one.draw();
  }

  async #fetch() {
    this.#fetchedAt = performance.now();
    let found;
    try {
      const reply = await fetch(this.box.dataset.source, {
        signal: AbortSignal.timeout(REPLY_LIMIT_MS),
      });
      if (!reply.ok) throw new Error(`The server answers ${reply.status}.`);
      found = await reply.json();
    } catch {
      // What is drawn stays; where nothing is, the table below has the figures.
      if (this.#drawn.length === 0) this.#say("The graphs can't be loaded. Reload the page to try again.");
      return;
    }
    this.#range = [found.starts_at, Math.min(found.ends_at, found.now)];
    this.#show(found.graphs);
  }

  #say(sentence) {
    this.box.replaceChildren(make("p", "quiet", sentence));
  }

  /** @param {Graph[]} graphs */
  #show(graphs) {
    const same =
      graphs.length === this.#drawn.length && graphs.every((one, at) => this.#drawn[at].fits(one));
    if (same && graphs.length > 0) {
      graphs.forEach((one, at) => this.#drawn[at].feed(one));
      return;
    }
    for (const one of this.#drawn) one.uplot?.destroy();
    this.#drawn = graphs.map((one) => new Drawn(one, () => this.#range));
    if (graphs.length === 0) {
      this.#say("Nothing was measured in this time.");
      return;
    }
    this.box.replaceChildren(...this.#drawn.map((one) => one.figure));
    graphs.forEach((one, at) => this.#drawn[at].feed(one));
    this.#redraw();
  }
}

// The server's live events: opened again when the connection breaks, with what was missed.

import { root } from "./api.js";

const SILENCE_MS = 40_000; // the server says something every 15 s
const GRACE_MS = 3_000; // a break shorter than this, as a restart makes it, is not told
const WAITS_MS = [500, 1_000, 2_000, 4_000, 8_000, 15_000];
// A browser lends a host six connections for all its tabs: a tab that nobody sees gives its own
// back, and looks now and then, so that its title goes on being right.
const HIDDEN_MS = 60_000;
const PEEK_MS = 30_000;

/**
 * Dispatches CustomEvents with the decoded data as `detail`: `now`, `rows`, `changed`, `reset`;
 * `broken` when the server can't be reached ({since: Date}: when it was last heard), and `back`.
 */
class Stream extends EventTarget {
  #query;
  #source = null;
  #heardMs = Date.now();
  #openedMs = Date.now();
  #failures = 0;
  #timer = 0;
  #graceTimer = 0;
  #hiddenTimer = 0;
  #isPeeking = false;

  /** @param {string} query @param {number | string | undefined} since */
  constructor(query, since) {
    super();
    this.#query = new URLSearchParams(query);
    /** The newest version that was heard of: a number, or undefined. */
    this.version = since === undefined || since === "" ? undefined : Number(since);
    this.isBroken = false;
    setInterval(() => this.#look(), 5_000);
    document.addEventListener("visibilitychange", this.#seen);
    addEventListener("online", this.#again);
    addEventListener("pageshow", this.#again);
    addEventListener("pagehide", this.#away);
    this.#open();
    this.#seen();
  }

  #open() {
    this.#shut();
    const query = new URLSearchParams(this.#isPeeking ? "" : this.#query);
    if (!this.#isPeeking && this.version !== undefined) query.set("since", this.version);
    const source = new EventSource(`${root()}api/live?${query}`);
    this.#source = source;
    this.#openedMs = Date.now();
    for (const kind of ["now", "rows", "changed", "reset"]) {
      source.addEventListener(kind, (event) => {
        if (source === this.#source) this.#hear(kind, event);
      });
    }
    source.addEventListener("error", () => {
      if (source === this.#source) this.#fail();
    });
  }

  #shut() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#source?.close();
    this.#source = null;
  }

  #away = () => {
    this.#shut();
    clearTimeout(this.#graceTimer);
    clearTimeout(this.#hiddenTimer);
    this.#graceTimer = this.#hiddenTimer = 0;
  };

  #hear(kind, event) {
    this.#heardMs = Date.now();
    this.#failures = 0;
    clearTimeout(this.#graceTimer);
    this.#graceTimer = 0;
    if (this.isBroken) {
      this.isBroken = false;
      this.#tell("back", {});
    }
    const detail = JSON.parse(event.data || "{}");
    if (event.lastEventId !== "" && !this.#isPeeking) {
      this.version = detail.version = Number(event.lastEventId);
    }
    if (kind === "reset") this.version = undefined;
    this.#tell(kind, detail);
    if (this.#isPeeking) {
      this.#shut();
      this.#timer = setTimeout(() => this.#open(), PEEK_MS);
    }
  }

  #fail() {
    this.#shut();
    const waitMs = WAITS_MS[Math.min(this.#failures, WAITS_MS.length - 1)];
    this.#failures += 1;
    // Not all viewers at once, after a restart.
    this.#timer = setTimeout(() => this.#open(), waitMs * (0.75 + Math.random() / 2));
    if (this.isBroken || this.#graceTimer !== 0) return;
    this.#graceTimer = setTimeout(() => {
      this.#graceTimer = 0;
      this.isBroken = true;
      this.#tell("broken", { since: new Date(this.#heardMs) });
    }, GRACE_MS);
  }

  // A connection can be dead without an error; that of a sleeping laptop is.
  #look() {
    const quietSinceMs = Math.max(this.#heardMs, this.#openedMs);
    if (this.#source !== null && Date.now() - quietSinceMs > SILENCE_MS) this.#fail();
  }

  #again = () => {
    const isOpen = this.#source !== null && this.#source.readyState !== EventSource.CLOSED;
    if (!isOpen || this.isBroken) {
      this.#failures = 0;
      this.#open();
    }
  };

  #seen = () => {
    clearTimeout(this.#hiddenTimer);
    this.#hiddenTimer = 0;
    if (document.hidden) {
      this.#hiddenTimer = setTimeout(() => {
        this.#isPeeking = true;
        this.#open();
      }, HIDDEN_MS);
    } else if (this.#isPeeking) {
      this.#isPeeking = false;
      this.#open();
    } else if (this.isBroken) {
      this.#again();
    }
  };

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

/**
 * @param {string | Record<string, string | number>} [params] what it is asked for: `rows=yes`,
 *   `service=12`, `{topic: "alerts"}`; nothing: the counts alone
 * @param {{since?: number | string}} [options] the version that the page has
 */
export function openStream(params = "", { since } = {}) {
  return new Stream(new URLSearchParams(params).toString(), since);
}

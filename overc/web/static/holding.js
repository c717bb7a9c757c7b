// Rows keep their places while somebody is at work with them; what is new waits until then.

const IDLE_MS = 20_000;

/** Watches whether somebody has the pointer or the focus in the rows, and not long ago. */
export class Holding {
  #isOver = false;
  #movedMs = 0;
  #timer = 0;
  #was = false;

  /**
   * @param {Element} region
   * @param {() => boolean} isBusy whether something else holds the rows: marked ones, a question
   * @param {() => void} changed called when they are let go
   */
  constructor(region, isBusy, changed) {
    this.region = region;
    this.isBusy = isBusy;
    this.changed = changed;
    document.addEventListener("pointermove", this.#move, { passive: true });
    document.addEventListener("pointerdown", this.#move, { passive: true });
    document.documentElement.addEventListener("pointerleave", () => this.#leave());
    document.addEventListener("keydown", () => this.#act(), true);
    document.addEventListener("focusin", () => this.#look());
    document.addEventListener("focusout", () => setTimeout(() => this.#look()));
    addEventListener("scroll", () => this.#act(), { passive: true });
  }

  get isHeld() {
    return this.isBusy() || this.#isAway() || (this.#isIn() && Date.now() - this.#movedMs < IDLE_MS);
  }

  // Further down nothing may move, however long it lasts: new rows come at the top.
  #isAway() {
    return this.region.getBoundingClientRect().top < -innerHeight / 2;
  }

  #isIn() {
    const focused = document.activeElement;
    return this.#isOver || (focused?.closest(".rows") !== null && this.region.contains(focused));
  }

  #move = (event) => {
    const rows = event.target instanceof Element ? event.target.closest(".rows") : null;
    this.#isOver = rows !== null && this.region.contains(rows);
    this.#act();
  };

  #leave() {
    this.#isOver = false;
    this.#look();
  }

  #act() {
    this.#movedMs = Date.now();
    this.#look();
  }

  #look() {
    const isHeld = this.isHeld;
    if (isHeld && this.#timer === 0) {
      this.#timer = setTimeout(() => {
        this.#timer = 0;
        this.#look();
      }, IDLE_MS / 4);
    }
    if (this.#was && !isHeld) this.changed();
    this.#was = isHeld;
  }
}

/**
 * @template {{id: number}} T
 * @param {T[]} shown in the places that they keep
 * @param {Map<number, T>} all those that there still are, as they are now
 * @returns {T[]}
 */
export function kept(shown, all) {
  const found = [];
  for (const { id } of shown) {
    const one = all.get(id);
    if (one !== undefined) found.push(one);
  }
  return found;
}

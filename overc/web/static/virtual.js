// The rows of a table's body that are in view, and empty rows as high as all the others.

import { Component, createRef } from "./vendor/preact.js";
import { html } from "./html.js";

const OVERSCAN_PX = 200;

/** Where each item begins, and the end of the last one. @returns {Float64Array} */
function offsets(items, heightOf) {
  const found = new Float64Array(items.length + 1);
  for (let i = 0; i < items.length; i += 1) found[i + 1] = found[i] + heightOf(items[i]);
  return found;
}

/** The place of the item at a height. @param {ArrayLike<number>} starts @param {number} y */
function placeAt(starts, y) {
  let low = 0;
  let high = starts.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= y) low = middle;
    else high = middle - 1;
  }
  return Math.max(0, low);
}

/**
 * Props: `items`; `render(item, place)` returns its row; `rowPx`: the height of one, or
 * `heightOf(item)` where they differ (then `layout` changes whenever a height may have);
 * `held.current` is set to the component.
 */
export class VirtualRows extends Component {
  body = createRef();
  state = { first: 0, last: -1 };
  #frame = 0;
  #starts = null;
  #startsOf = [];

  componentDidMount() {
    this.props.held.current = this;
    addEventListener("scroll", this.#later, { passive: true });
    addEventListener("resize", this.#later);
    this.#look();
  }

  componentDidUpdate() {
    this.#look();
  }

  componentWillUnmount() {
    if (this.props.held.current === this) this.props.held.current = null;
    removeEventListener("scroll", this.#later);
    removeEventListener("resize", this.#later);
    cancelAnimationFrame(this.#frame);
  }

  #later = () => {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#look();
    });
  };

  /** Where an item begins; the length of the list gives the height of all. */
  startOf(place) {
    const { items, rowPx, heightOf, layout } = this.props;
    if (heightOf === undefined) return place * rowPx;
    if (this.#startsOf[0] !== items || this.#startsOf[1] !== layout) {
      this.#starts = offsets(items, heightOf);
      this.#startsOf = [items, layout];
    }
    return this.#starts[place];
  }

  #placeAt(y) {
    const { items, rowPx, heightOf } = this.props;
    if (items.length === 0) return -1;
    if (heightOf === undefined) return Math.min(items.length - 1, Math.floor(Math.max(0, y) / rowPx));
    this.startOf(0);
    return placeAt(this.#starts, y);
  }

  // In the page that is shown at first, before anything is known of its height: one screen.
  #range() {
    const { items } = this.props;
    const top = this.body.current?.getBoundingClientRect().top ?? 0;
    const first = this.#placeAt(-top - OVERSCAN_PX);
    const last = this.#placeAt(-top + innerHeight + OVERSCAN_PX);
    // In steps, so that a row of zebra or a small scroll does not make it anew.
    return { first: Math.max(0, first - (first % 4)), last: Math.min(items.length - 1, last + 4 - (last % 4)) };
  }

  #look() {
    const { first, last } = this.#range();
    if (first !== this.state.first || last !== this.state.last) this.setState({ first, last });
  }

  /** Scrolls an item into view, below what sticks to the top of the page. */
  show(place, topPx) {
    const bodyTop = this.body.current.getBoundingClientRect().top;
    const from = bodyTop + this.startOf(place);
    const to = bodyTop + this.startOf(place + 1);
    if (from < topPx) scrollBy(0, from - topPx);
    else if (to > innerHeight - 16) scrollBy(0, to - innerHeight + 16);
    this.#look();
  }

  render({ items, render }, { first, last }) {
    // At first, before anything is known of where it is: one screen.
    const end = last < first ? this.#placeAt(innerHeight) : Math.min(last, items.length - 1);
    const begin = Math.min(first, Math.max(0, end));
    const space = (key, px) =>
      px > 0 &&
      html`<tr class="space" key=${key} aria-hidden="true"><td style=${{ height: `${px}px` }}></td></tr>`;
    const rows = [];
    for (let place = begin; place <= end; place += 1) rows.push(render(items[place], place));
    const below = items.length === 0 ? 0 : this.startOf(items.length) - this.startOf(end + 1);
    return html`<tbody ref=${this.body}>
      ${space("above", items.length === 0 ? 0 : this.startOf(begin))}${rows}${space("below", below)}
    </tbody>`;
  }
}

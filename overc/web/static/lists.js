// The entry of the overview and the services page: takes what the server has rendered over, and
// keeps it live.

import { root } from "./api.js";
import { acknowledge, silence, unacknowledge } from "./asking.js";
import { listen } from "./choosing.js";
import { feed } from "./feed.js";
import { filterOf, isEmpty, matcher, searchOf } from "./filtering.js";
import { Holding, kept } from "./holding.js";
import { html } from "./html.js";
import { FOLDED, Overview, Services } from "./list_pages.js";
import { called, countWords, word } from "./list_parts.js";
import { Mirror } from "./mirror.js";
import { busyUntil, markPainted } from "./ready.js";
import { now } from "./times.js";
import { Component, createRef, render } from "./vendor/preact.js";

const FRESH_MS = 2_500;
const TOLD_MAX = 3;

const region = document.getElementById("live");
const isServices = region.dataset.list === "services";
const canChange = document.documentElement.dataset.canChange !== "no";

class Lists extends Component {
  state = { filter: filterOf(location.search), cursor: null, isUnfolded: false, turn: 0 };
  picked = new Set();
  fresh = new Map();
  news = new Set();
  rows = [];
  servers = [];
  said = "";
  list = createRef();
  serverList = createRef();
  #pickedLast = null;
  #frame = 0;

  constructor(props) {
    super(props);
    // Somebody may have begun to type before this script was there.
    if (props.typed !== undefined) this.state.filter.q = props.typed;
    const isBusy = () => this.picked.size > 0 || document.querySelector("dialog[open]") !== null;
    this.holding = new Holding(region, isBusy, () => this.again());
    props.mirror.addEventListener("change", this.#changed);
    addEventListener("popstate", () => this.setFilter(filterOf(location.search), false));
    listen(region, {
      canChange,
      canPick: canChange && isServices,
      move: (step) => this.move(step),
      jump: (toEnd) => this.jump(toEnd),
      open: () => this.open(),
      act: (name, key) => this.act(name, key),
      pick: (key, toHere) => this.pick(key, toHere),
      at: (key) => key !== this.state.cursor && this.setState({ cursor: key }),
      hasCursor: () => this.state.cursor !== null,
      clear: () => this.clear(),
    });
    addEventListener("resize", () => {
      this.measure();
      this.again();
    });
    this.measure();
    this.arrange(false);
  }

  /** The heights of rows, and how many marks fit side by side, are what the style sheet says. */
  measure() {
    const probe = document.body.appendChild(document.createElement("span"));
    probe.className = "probe";
    const px = (name) => {
      probe.style.height = `var(${name})`;
      return probe.getBoundingClientRect().height;
    };
    this.rowPx = px("--list-row");
    this.serverPx = px("--server-row");
    this.markPx = px("--list-mark");
    probe.remove();
    const width = region.querySelector(".servers .marks > div")?.clientWidth ?? region.clientWidth / 2;
    this.inLine = Math.max(1, Math.floor(width / this.markPx));
  }

  again = () => {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.setState({ turn: this.state.turn + 1 });
    });
  };

  #changed = ({ detail: { changed, gone } }) => {
    const { mirror } = this.props;
    if (mirror.isWhole) {
      const matches = this.matches();
      const until = now() + FRESH_MS / 1000;
      const told = [];
      for (const id of changed) {
        const row = mirror.services.get(id);
        this.fresh.set(id, until);
        if (!row.needsCare) this.news.delete(id);
        else if (matches === null || matches(row)) {
          told.push(row);
          this.news.add(id);
        }
      }
      this.tell(told);
      if (changed.size > 0) setTimeout(this.again, FRESH_MS + 50);
    }
    for (const id of gone) {
      this.news.delete(id);
      this.picked.delete(id);
      this.fresh.delete(id);
    }
    this.again();
  };

  tell(rows) {
    if (rows.length === 0) return;
    const words = rows.slice(0, TOLD_MAX).map((row) => `${word(row)}: ${called(row)}`);
    if (rows.length > TOLD_MAX) words.push(`and ${countWords(rows.length - TOLD_MAX, "problem")} more`);
    this.said = `New: ${words.join(", ")}.`;
  }

  matches() {
    return isServices ? matcher(this.state.filter) : null;
  }

  /** Brings the rows into their places, unless somebody is at work with them. */
  arrange(isHeld) {
    const { mirror } = this.props;
    const all = isServices ? mirror.sorted : mirror.problems();
    const matches = this.matches();
    if (isHeld) {
      this.rows = kept(this.rows, mirror.services);
      this.servers = kept(this.servers, mirror.servers);
    } else {
      this.rows = matches === null ? all : all.filter(matches);
      this.servers = mirror.sortedServers;
      this.news.clear();
    }
  }

  setFilter(filter, isKept = true) {
    if (isKept) {
      history.replaceState(null, "", location.pathname + searchOf(filter, location.search));
    }
    this.releases = true;
    this.#pickedLast = null;
    this.setState({ filter, cursor: null }, () => markPainted("overc:filtered"));
  }

  /** Lets go of the places, and shows the top. */
  showNews = () => {
    this.releases = true;
    scrollTo({ top: 0 });
    this.again();
  };

  /** The rows that the cursor goes through: keys of services, then those of servers. */
  keys() {
    const rows = this.shownRows().map((row) => `s${row.id}`);
    return isServices ? rows : [...rows, ...this.servers.map((one) => `h${one.id}`)];
  }

  shownRows() {
    return isServices || this.state.isUnfolded ? this.rows : this.rows.slice(0, FOLDED);
  }

  move(step) {
    const keys = this.keys();
    const place = keys.indexOf(this.state.cursor);
    this.go(keys, place < 0 ? 0 : place + step);
  }

  jump(toEnd) {
    const keys = this.keys();
    this.go(keys, toEnd ? keys.length - 1 : 0);
  }

  go(keys, place) {
    const key = keys[Math.max(0, Math.min(keys.length - 1, place))];
    if (key === undefined) return;
    const inRows = this.shownRows().length;
    const isServer = key.startsWith("h");
    const list = (isServer ? this.serverList : this.list).current;
    const topPx = document.querySelector(".listhead")?.getBoundingClientRect().bottom ?? 0;
    this.setState({ cursor: key }, () => {
      list?.show(Math.min(place, keys.length - 1) - (isServer ? inRows : 0), Math.max(0, topPx) + 40);
      requestAnimationFrame(() => {
        region.querySelector(`tr[data-key="${key}"]`)?.focus({ preventScroll: true });
      });
    });
  }

  open() {
    const { cursor } = this.state;
    if (cursor !== null) {
      region.querySelector(`tr[data-key="${cursor}"] .what`)?.click();
    }
  }

  /** Acts on the row of a button; on all that are marked, where it is one of them or a key was pressed. */
  async act(name, key) {
    const { services } = this.props.mirror;
    const one = key ?? this.state.cursor;
    const id = one?.startsWith("s") ? Number(one.slice(1)) : null;
    const isAll = this.picked.size > 0 && (key === undefined || this.picked.has(id));
    const rows = (isAll ? [...this.picked] : [id]).map((each) => services.get(each)).filter(Boolean);
    if (rows.length === 0) return;
    const isTakenBack = name === "acknowledged" && rows.length === 1 && rows[0].ack !== undefined;
    const does = name === "silenced" ? silence : isTakenBack ? ([row]) => unacknowledge(row) : acknowledge;
    if (!(await does(rows))) return;
    for (const row of rows) this.picked.delete(row.id);
    this.again();
  }

  pick(key, toHere) {
    const chosen = key ?? this.state.cursor;
    if (!chosen?.startsWith("s")) return;
    const id = Number(chosen.slice(1));
    const isOn = !this.picked.has(id);
    const places = [this.#pickedLast, id].map((each) => this.rows.findIndex((row) => row.id === each));
    const [from, to] = toHere && places[0] >= 0 ? places.sort((one, other) => one - other) : [places[1], places[1]];
    for (const row of this.rows.slice(from, to + 1)) {
      if (isOn) this.picked.add(row.id);
      else this.picked.delete(row.id);
    }
    this.#pickedLast = id;
    this.again();
  }

  pickAll = (isOn) => {
    this.picked = new Set(isOn ? this.rows.map((row) => row.id) : []);
    this.again();
  };

  clear() {
    if (this.picked.size > 0) this.pickAll(false);
    else if (!isEmpty(this.state.filter) && isServices) this.setFilter(filterOf(""));
    else if (this.state.cursor !== null) {
      document.activeElement?.blur();
      this.setState({ cursor: null });
    }
  }

  componentDidMount() {
    const { inLine } = this;
    this.measure();
    if (inLine !== this.inLine) this.again();
  }

  render({ mirror }) {
    const isHeld = this.holding.isHeld && !this.releases;
    this.releases = false;
    this.arrange(isHeld);
    for (const [id, until] of this.fresh) if (until < now()) this.fresh.delete(id);
    const Page = isServices ? Services : Overview;
    return html`<${Page} lists=${this} mirror=${mirror} canChange=${canChange} isHeld=${isHeld} />`;
  }
}

// Where nothing reports yet, the page goes on saying how to begin.
let isShown = false;
function show(mirror) {
  const there = isServices ? mirror.services : mirror.servers;
  if (!isShown && there.size > 0) {
    isShown = true;
    const typed = region.querySelector("[data-search]");
    const wasTyping = typed !== null && typed === document.activeElement;
    const words = typed && typed.value !== typed.defaultValue ? typed.value : undefined;
    region.replaceChildren();
    render(html`<${Lists} mirror=${mirror} typed=${words} />`, region);
    if (wasTyping) region.querySelector("[data-search]").focus();
    markPainted("overc:usable");
  } else if (isShown && mirror.servers.size === 0) {
    location.assign(root());
  }
}

busyUntil(feed(new Mirror(), show));

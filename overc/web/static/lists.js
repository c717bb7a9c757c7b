// The entry of the overview and the services page: takes what the server has rendered over, and
// keeps it live.

import { root } from "./api.js";
import { acknowledge, silence, silenceServer } from "./asking.js";
import { listen } from "./choosing.js";
import { feed } from "./feed.js";
import { filterOf, isEmpty, matcher, searchOf } from "./filtering.js";
import { Holding, kept } from "./holding.js";
import { html } from "./html.js";
import { Overview, Services } from "./list_pages.js";
import { newsWords } from "./list_parts.js";
import { heights } from "./heights.js";
import { Mirror } from "./mirror.js";
import { columns, fold, hostItem, itemOf, listed, listedServers, renewed, showsCared } from "./problems.js";
import { busyUntil, markPainted } from "./ready.js";
import { store, stored } from "./storing.js";
import { now } from "./times.js";
import { toast } from "./toast.js";
import { Component, createRef, render } from "./vendor/preact.js";

const FRESH_MS = 2_500;
const WELL_OPEN = "overc:well";

const region = document.getElementById("live");
const isServices = region.dataset.list === "services";
const canChange = document.documentElement.dataset.canChange !== "no";

class Lists extends Component {
  state = { filter: filterOf(location.search), cursor: null, isUnfolded: false, isCaredOpen: null, turn: 0 };
  picked = new Set();
  fresh = new Map();
  news = new Set();
  rows = [];
  folds = { attention: [], cared: [] };
  open = new Set();
  showsCared = true;
  servers = [];
  isWellOpen = stored(WELL_OPEN) === "yes" || new URLSearchParams(location.search).get("well") === "yes";
  said = "";
  list = createRef();
  serverLists = [createRef(), createRef()];
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
      open: () => this.follow(),
      act: (name, key) => this.act(name, key),
      pick: (key, toHere) => this.pick(key, toHere),
      at: (key) => key !== this.state.cursor && this.setState({ cursor: key }),
      hasCursor: () => this.state.cursor !== null,
      fold: (key) => this.fold(key),
      clear: () => this.clear(),
    });
    addEventListener("resize", () => {
      Object.assign(this, heights(region));
      this.again();
    });
    Object.assign(this, heights(region));
    this.arrange(false);
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
      if (told.length > 0) this.said = newsWords(told);
      if (changed.size > 0) setTimeout(this.again, FRESH_MS + 50);
    }
    for (const id of gone) {
      this.news.delete(id);
      this.picked.delete(id);
      this.fresh.delete(id);
    }
    this.again();
  };

  matches() {
    return isServices ? matcher(this.state.filter) : null;
  }

  /** Brings the rows into their places, unless somebody is at work with them. */
  arrange(isHeld) {
    const { mirror } = this.props;
    const matches = this.matches();
    if (isHeld) {
      this.rows = kept(this.rows, mirror.services);
      this.folds = renewed(this.folds, mirror.services);
      this.servers = kept(this.servers, mirror.servers);
      return;
    }
    this.news.clear();
    if (isServices) {
      this.rows = matches === null ? mirror.sorted : mirror.sorted.filter(matches);
      return;
    }
    this.folds = fold(mirror.problems());
    this.showsCared = showsCared(this.folds);
    this.servers = this.isWellOpen ? mirror.sortedServers : listedServers(mirror.sortedServers);
  }

  /** Opens or closes what is behind a row. */
  fold(key) {
    if (key === "cared") this.setState({ isCaredOpen: !this.isCaredOpen });
    else if (!this.open.delete(key)) this.open.add(key);
    this.again();
  }

  get isCaredOpen() {
    return this.state.isCaredOpen ?? this.showsCared;
  }

  showWell = () => {
    this.isWellOpen = !this.isWellOpen;
    store(WELL_OPEN, this.isWellOpen ? "yes" : "");
    this.releases = true;
    this.again();
  };

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

  /** The rows that the cursor goes through: those of services, then those of servers. */
  keys() {
    const rows = this.shownItems().map((item) => item.key);
    return isServices ? rows : [...rows, ...this.servers.map((one) => `h${one.id}`)];
  }

  shownItems() {
    if (isServices) return this.rows.map(itemOf);
    const { open, isCaredOpen, state } = this;
    return listed(this.folds, { open, isCaredOpen, isUnfolded: state.isUnfolded });
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
    const [list, at] = this.listOf(Math.max(0, Math.min(keys.length - 1, place)));
    const topPx = document.querySelector(".listhead")?.getBoundingClientRect().bottom ?? 0;
    this.setState({ cursor: key }, () => {
      list.current?.show(at, Math.max(0, topPx) + 40);
      requestAnimationFrame(() => {
        region.querySelector(`tr[data-key="${key}"]`)?.focus({ preventScroll: true });
      });
    });
  }

  /** The list that has the row at a place of the cursor, and the place in that list. */
  listOf(place) {
    const inRows = this.shownItems().length;
    if (place < inRows) return [this.list, place];
    const inFirst = columns(this.servers)[0].length;
    const at = place - inRows;
    return at < inFirst ? [this.serverLists[0], at] : [this.serverLists[1], at - inFirst];
  }

  follow() {
    const { cursor } = this.state;
    if (cursor !== null) {
      region.querySelector(`tr[data-key="${cursor}"] .what`)?.click();
    }
  }

  /** Acts on the row of a button; on all that are marked, where it is one of them or a key was pressed. */
  async act(name, key) {
    const { services } = this.props.mirror;
    const one = key ?? this.state.cursor;
    const several = hostItem(this.folds, one);
    if (several !== undefined) {
      await (name === "silenced" ? silenceServer(several.host) : acknowledge(several.rows));
      return;
    }
    const id = one?.startsWith("s") ? Number(one.slice(1)) : null;
    const isAll = this.picked.size > 0 && (key === undefined || this.picked.has(id));
    const rows = (isAll ? [...this.picked] : [id]).map((each) => services.get(each)).filter(Boolean);
    if (rows.length === 0) return;
    if (!(await (name === "silenced" ? silence(rows) : acknowledge(rows)))) return;
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
    Object.assign(this, heights(region));
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

/** Only an Error of a request has words for people. @param {Error & {code?: number}} error */
function tell(error) {
  if (error.code === undefined) throw error;
  toast(error.message, { kind: "problem" });
}

busyUntil(feed(new Mirror(), show).catch(tell));

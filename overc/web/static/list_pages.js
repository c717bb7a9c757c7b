// The overview and the services page, as they are rendered from the mirror.

import { counted, countWords } from "./counting.js";
import { html } from "./html.js";
import { CaredRow, Counts, HostRow, MARKS_MAX, ServerRow, ServiceRow } from "./list_parts.js";
import { isEmpty, searchOf } from "./filtering.js";
import { root } from "./api.js";
import { columns, countOf, SHOWN } from "./problems.js";
import { VirtualRows } from "./virtual.js";

/** The words that say how many marks are left out take the room of so many. */
const MORE_MARKS = 4;
const CARES = [
  ["acknowledged", "Acknowledged", [["", "acknowledged?"], ["yes", "acknowledged"], ["no", "not acknowledged"]]],
  ["silenced", "Silenced", [["", "silenced?"], ["yes", "silenced"], ["no", "not silenced"]]],
];

/** Says at the top that there is something new, which would move the rows. */
function News({ lists, isHeld }) {
  const count = lists.news.size;
  return html`<div class="newsbar" role="status">
    ${isHeld && count > 0 && html`<button type="button" class="news" onClick=${lists.showNews}>${countWords(count, "new problem")}: show</button>`}
  </div>
  <p class="aside" aria-live="polite">${lists.said}</p>`;
}

function Head({ withServer, hasPick, canChange, lists }) {
  const isAll = hasPick && lists.rows.length > 0 && lists.picked.size >= lists.rows.length;
  return html`<thead><tr>
    ${hasPick && html`<th class="pick"><label><input type="checkbox" aria-label="Select all services that are listed" checked=${isAll} onClick=${(event) => lists.pickAll(event.target.checked)} /></label></th>`}
    <th class="is">State</th><th class="name">${withServer}</th><th class="info">Info</th><th class="when">When</th>
    <th class="number"><abbr title="Alerts of the last 24 hours">Alerts</abbr></th>
    ${canChange && html`<th class="acts"><span class="aside">Act</span></th>`}
  </tr></thead>`;
}

function ServiceTable({ lists, items, services, hasPick, canChange, heightOf, layout }) {
  const row = (item, place) => {
    const { key, row: one } = item;
    const isCursor = lists.state.cursor === key;
    if (item.host !== undefined) {
      return html`<${HostRow} key=${key} item=${item} services=${services} place=${place} isCursor=${isCursor} canChange=${canChange} />`;
    }
    if (one === undefined) {
      return html`<${CaredRow} key=${key} item=${item} place=${place} isCursor=${isCursor} canChange=${canChange} />`;
    }
    return html`<${ServiceRow} key=${key} row=${one} home=${one.home.label} place=${place} isCursor=${isCursor} isPicked=${lists.picked.has(one.id)} hasPick=${hasPick} canChange=${canChange} isFresh=${lists.fresh.has(one.id)} isInner=${item.isInner} />`;
  };
  return html`<table class="rows services live" aria-rowcount=${items.length + 1}>
    <${Head} withServer="Server / service" hasPick=${hasPick} canChange=${canChange} lists=${lists} />
    <${VirtualRows} held=${lists.list} items=${items} rowPx=${lists.rowPx} heightOf=${heightOf} layout=${layout} render=${row} />
  </table>`;
}

function ServerTable({ lists, mirror, servers, held }) {
  const { inLine, serverPx, markPx } = lists;
  const pxOf = (server) => {
    const count = server.ids.size > MARKS_MAX ? MARKS_MAX + MORE_MARKS : server.ids.size;
    const lines = Math.max(1, Math.ceil(count / inLine));
    return serverPx + (lines - 1) * markPx;
  };
  const row = (server, place) =>
    html`<${ServerRow} key=${server.id} server=${server} shown=${server.shown} services=${mirror.services} place=${place} isCursor=${lists.state.cursor === `h${server.id}`} />`;
  return html`<table class="rows servers live" aria-rowcount=${servers.length + 1}>
    <thead><tr><th class="name">Server</th><th class="marks">Services</th><th class="number"><abbr title="Alerts of the last 24 hours, its services' included">Alerts</abbr></th></tr></thead>
    <${VirtualRows} held=${held} items=${servers} heightOf=${pxOf} layout=${`${inLine} ${mirror.services.size} ${serverPx}`} render=${row} />
  </table>`;
}

/** What is behind it opens and closes. */
const unfold = (isOpen, does, words) =>
  html`<p class="unfold"><button type="button" class="fold ${isOpen ? "open" : ""}" aria-expanded=${isOpen ? "true" : "false"} onClick=${does}>${words}</button></p>`;

export function Overview({ lists, mirror, canChange, isHeld }) {
  const { folds, rowPx, caresPx, servers, state } = lists;
  const isCut = folds.attention.length > SHOWN && !state.isUnfolded;
  const showAll = (event) => {
    event.preventDefault();
    lists.setState({ isUnfolded: true });
  };
  const items = lists.shownItems();
  const heightOf = (item) => (item.key === "cared" ? caresPx : rowPx);
  const parts = columns(servers);
  const well = mirror.sortedServers.length - servers.length;
  return html`<${News} lists=${lists} isHeld=${isHeld} />
    <h1 class="aside">Overview</h1>
    <${Counts} mirror=${mirror} hrefOf=${(state) => `${root()}services${state && `?state=${state}`}`} current="-" />
    <section key="problems" aria-labelledby="problems">
      ${folds.attention.length > 0 ? html`<h2 key="some" id="problems">Needs attention</h2>` : html`<p key="none" id="problems" class="calm">Nothing needs attention.</p>`}
      ${items.length > 0 && html`<${ServiceTable} key="table" lists=${lists} items=${items} services=${mirror.services} canChange=${canChange} heightOf=${heightOf} layout=${`${rowPx} ${caresPx}`} />`}
      ${isCut && html`<p key="more" class="unfold"><a href="${root()}services?state=attention" onClick=${showAll}>Show all ${counted(countOf(folds.attention))} problems</a></p>`}
    </section>
    <section key="servers" aria-labelledby="servers">
      <h2 id="servers">Servers</h2>
      <div class="serverlists">${parts.map((part, place) => html`<${ServerTable} key=${place} lists=${lists} mirror=${mirror} servers=${part} held=${lists.serverLists[place]} />`)}</div>
      ${well > 1 ? unfold(false, lists.showWell, `${counted(well)} more servers, all well`) : lists.isWellOpen && unfold(true, lists.showWell, "Fold the servers where all is well")}
    </section>
    <p class="quiet total">${countWords(mirror.servers.size, "server")}, ${countWords(mirror.services.size, "service")}, <a href="${root()}alerts">${countWords(mirror.alerts, "alert")} in the last 24 hours</a>.</p>`;
}

function Filters({ lists, mirror }) {
  const { filter } = lists.state;
  const change = (event) => lists.setFilter({ ...filter, [event.target.name]: event.target.value });
  return html`<form class="filters" role="search" action="" onSubmit=${(event) => event.preventDefault()}>
    <input type="search" name="q" data-search placeholder="Search" aria-label="Search services" value=${filter.q} onInput=${change} autocomplete="off" aria-keyshortcuts="/" />
    <input type="search" name="server" placeholder="Any server" aria-label="Server" value=${filter.server} onInput=${change} list="server-names" autocomplete="off" />
    <datalist id="server-names">${mirror.sortedServers.length <= 500 && mirror.sortedServers.map((one) => html`<option key=${one.id} value=${one.label}></option>`)}</datalist>
    ${CARES.map(([name, label, choices]) => html`<select key=${name} name=${name} aria-label=${label} value=${filter[name]} onChange=${change}>${choices.map(([value, words]) => html`<option value=${value} selected=${filter[name] === value}>${words}</option>`)}</select>`)}
  </form>`;
}

function Tally({ lists, mirror, canChange }) {
  const { picked, rows } = lists;
  const { filter } = lists.state;
  if (picked.size > 0 && canChange) {
    return html`<p class="tally" role="status"><b>${countWords(picked.size, "service")} marked</b>
      <button type="button" data-act="acknowledged">Acknowledge …</button>
      <button type="button" data-act="silenced">Silence …</button>
      <button type="button" class="plain" onClick=${() => lists.pickAll(false)}>Clear</button></p>`;
  }
  const total = countWords(mirror.services.size, "service");
  return html`<p class="tally quiet" role="status">${isEmpty(filter) ? total : `${counted(rows.length)} of ${total}`}
    ${canChange && filter.state === "late" && html`<a class="quiet-link" href="${root()}forget" data-asks>Forget silent services …</a>`}
    ${!isEmpty(filter) && html`<a href="services" onClick=${(event) => {
      event.preventDefault();
      lists.setFilter({ q: "", state: "", server: "", acknowledged: "", silenced: "" });
    }}>Show all</a>`}</p>`;
}

export function Services({ lists, mirror, canChange, isHeld }) {
  const { filter } = lists.state;
  const hrefOf = (state) => `services${searchOf({ ...filter, state })}`;
  const pickState = (event) => {
    const link = event.target.closest("a[data-state]");
    if (link === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const { state } = link.dataset;
    lists.setFilter({ ...filter, state: filter.state === state ? "" : state });
  };
  return html`<${News} lists=${lists} isHeld=${isHeld} />
    <h1 class="aside">Services</h1>
    <div onClick=${pickState}><${Counts} mirror=${mirror} current=${filter.state} hrefOf=${hrefOf} /></div>
    <div class="listhead"><${Filters} lists=${lists} mirror=${mirror} /><${Tally} lists=${lists} mirror=${mirror} canChange=${canChange} /></div>
    ${lists.rows.length > 0 ? html`<${ServiceTable} lists=${lists} items=${lists.shownItems()} services=${mirror.services} hasPick=${canChange} canChange=${canChange} />` : html`<p class="calm">No service is like this.</p>`}`;
}

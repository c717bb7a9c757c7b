// The overview and the services page, as they are rendered from the mirror.

import { html } from "./html.js";
import { Counts, counted, countWords, MARKS_MAX, ServerRow, ServiceRow } from "./list_parts.js";
import { isEmpty, searchOf } from "./filtering.js";
import { root } from "./api.js";
import { VirtualRows } from "./virtual.js";

/** The overview shows so many problems at first; as many as the server renders. */
export const FOLDED = 25;
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

function ServiceTable({ lists, rows, hasPick, canChange }) {
  const columns = 5 + (hasPick ? 1 : 0) + (canChange ? 1 : 0);
  const row = (one, place) =>
    html`<${ServiceRow} key=${one.id} row=${one} home=${one.home.label} place=${place} isCursor=${lists.state.cursor === `s${one.id}`} isPicked=${lists.picked.has(one.id)} hasPick=${hasPick} canChange=${canChange} isFresh=${lists.fresh.has(one.id)} />`;
  return html`<table class="rows services live" aria-rowcount=${rows.length + 1}>
    <${Head} withServer="Server / service" hasPick=${hasPick} canChange=${canChange} lists=${lists} />
    <${VirtualRows} held=${lists.list} items=${rows} rowPx=${lists.rowPx} columns=${columns} render=${row} />
  </table>`;
}

function ServerTable({ lists, mirror }) {
  const { servers, inLine, serverPx, markPx } = lists;
  const pxOf = (server) => {
    const count = server.ids.size > MARKS_MAX ? MARKS_MAX + MORE_MARKS : server.ids.size;
    const lines = Math.max(1, Math.ceil(count / inLine));
    return serverPx + (lines - 1) * markPx;
  };
  const row = (server, place) =>
    html`<${ServerRow} key=${server.id} server=${server} shown=${server.shown} services=${mirror.services} place=${place} isCursor=${lists.state.cursor === `h${server.id}`} />`;
  return html`<table class="rows servers live" aria-rowcount=${servers.length + 1}>
    <thead><tr><th class="name">Server</th><th class="marks">Services</th><th class="number"><abbr title="Alerts of the last 24 hours, its services' included">Alerts</abbr></th></tr></thead>
    <${VirtualRows} held=${lists.serverList} items=${servers} heightOf=${pxOf} layout=${`${inLine} ${mirror.services.size} ${serverPx}`} columns="3" render=${row} />
  </table>`;
}

export function Overview({ lists, mirror, canChange, isHeld }) {
  const { rows } = lists;
  const shown = lists.shownRows();
  const unfold = (event) => {
    event.preventDefault();
    lists.setState({ isUnfolded: true });
  };
  return html`<${News} lists=${lists} isHeld=${isHeld} />
    <h1 class="aside">Overview</h1>
    <${Counts} counts=${mirror.counts} total=${mirror.services.size} hrefOf=${(state) => `${root()}services${state && `?state=${state}`}`} />
    ${
      rows.length > 0
        ? html`<section key="problems" aria-labelledby="problems">
            <h2 id="problems">Needs attention</h2>
            <${ServiceTable} lists=${lists} rows=${shown} canChange=${canChange} />
            ${shown.length < rows.length && html`<p class="unfold"><a href="${root()}services?state=problem" onClick=${unfold}>Show all ${counted(rows.length)} problems</a></p>`}
          </section>`
        : html`<p key="calm" class="calm">Nothing needs attention.</p>`
    }
    <section key="servers" aria-labelledby="servers">
      <h2 id="servers">Servers</h2>
      <${ServerTable} lists=${lists} mirror=${mirror} />
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
    ${canChange && filter.state === "late" && html`<a class="quiet-link" id="forget" href="${root()}forget" data-asks>Forget silent services …</a>`}
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
    <div onClick=${pickState}><${Counts} counts=${mirror.counts} total=${mirror.services.size} current=${filter.state} hrefOf=${hrefOf} /></div>
    <div class="listhead"><${Filters} lists=${lists} mirror=${mirror} /><${Tally} lists=${lists} mirror=${mirror} canChange=${canChange} /></div>
    ${lists.rows.length > 0 ? html`<${ServiceTable} lists=${lists} rows=${lists.rows} hasPick=${canChange} canChange=${canChange} />` : html`<p class="calm">No service is like this.</p>`}`;
}

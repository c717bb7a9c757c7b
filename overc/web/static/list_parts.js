// The parts of the lists: the same markup as in templates/parts.html and overview.html, so that
// nothing moves when the script takes a page over.

import { Component } from "./vendor/preact.js";
import { root } from "./api.js";
import { counted, countWords } from "./counting.js";
import { html } from "./html.js";
import { hostFacts } from "./problems.js";
import { localText, now, spanWords } from "./times.js";

const BIDI_CONTROLS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
/** A row with more marks than these shows the worst of them, and a number. */
export const MARKS_MAX = 100;

/** For tooltips, which nothing can isolate. @param {string} text */
export const plain = (text) => text.replace(BIDI_CONTROLS, "").trim().split(/[\r\n]/, 1)[0];

/** @param {{condition: string}} row */
export const word = (row) => (row.condition === "none" ? "no state" : row.condition);

/** What a service, or a server, is called in a sentence. */
export const called = (row) => (row.home === undefined ? row.label : `${row.home.label} / ${row.label}`);

const TOLD_MAX = 3;

/** What is said to ears of new problems. @param {object[]} rows */
export function newsWords(rows) {
  const words = rows.slice(0, TOLD_MAX).map((row) => `${word(row)}: ${called(row)}`);
  if (rows.length > TOLD_MAX) words.push(`and ${countWords(rows.length - TOLD_MAX, "problem")} more`);
  return `New: ${words.join(", ")}.`;
}

/** @param {string} name of a mark of the page */
export const mark = (name) => html`<svg class="mark ${name.toLowerCase()}" aria-hidden="true"><use href="#mark-${name.toLowerCase()}" /></svg>`;

const dateOf = (at) => new Date(at * 1000);
const utc = (at) => dateOf(at).toISOString().slice(0, 19);

/** A span that ticks, with the full time behind it. */
const span = (at, say) =>
  html`<time class="span" data-local="" datetime="${utc(at)}Z" title="${localText(dateOf(at))} (${utc(at).replace("T", " ")} UTC)">${say(spanWords(now() - at))}</time>`;

/** A time to come: the clock's where that is enough, else the day. */
const until = (at) => {
  const text = localText(dateOf(at));
  const isSoon = at - now() < 86400;
  return html`<time data-local="" datetime="${utc(at)}Z" title="${text} (${utc(at).replace("T", " ")} UTC)">${isSoon ? text.slice(11, 16) : text.slice(0, 10)}</time>`;
};

const ago = (words) => `${words} ago`;
const alone = (words) => words;

function when(row) {
  if (row.condition === "late") {
    const dueAt = row.deadline ?? (row.period && row.seen + row.period);
    return html`${dueAt && html`<span>late by ${span(dueAt, alone)}</span>`}${" "}
      <span class="quiet">was ${row.state} ${row.seen !== undefined && span(row.seen, ago)}</span>`;
  }
  if (row.seen === undefined) return html`<span class="quiet">never reported</span>`;
  return html`${row.since !== undefined && html`<span>for ${span(row.since, alone)}</span>`}${" "}
    <span class="quiet">seen ${span(row.seen, ago)}</span>`;
}

function care(row) {
  const { ack, silence } = row;
  return html`${ack && html`<span class="care" title=${plain(`acknowledged by ${ack.author}: ${ack.reason}`)}>${mark("acknowledged")}<span class="aside">acknowledged by${" "}</span><bdi>${ack.author}</bdi></span>`}
    ${silence && html`<span class="care" title=${plain(`silenced: ${silence.reason ?? ""}`)}>${mark("silenced")}<span class="aside">silenced${" "}</span><span>until ${until(silence.until)}</span></span>`}`;
}

const told = ({ isProblem, told: plugins }) =>
  isProblem &&
  plugins !== undefined &&
  html`<span class="told">told ${plugins.map((plugin, place) => html`<bdi>${plain(plugin)}</bdi>${place < plugins.length - 1 && ", "}`)}</span>`;

const act = (name, label, row, isPressed) =>
  html`<button type="button" class="act" data-act=${name} aria-label="${label} ${plain(called(row))}" aria-pressed=${isPressed} title=${label}>${mark(name)}</button>`;

function acts(row) {
  return html`<td class="acts">
    ${row.ack ? act("acknowledged", "Take the acknowledgement back:", row, "true") : row.isProblem && act("acknowledged", "Acknowledge", row)}
    ${act("silenced", "Silence", row)}
  </td>`;
}

const unlike = (one, other, names) => names.some((name) => one[name] !== other[name]);

/** A service. Props: row, home (what its server is called), place, isCursor, isPicked, hasPick, canChange, isFresh. */
export class ServiceRow extends Component {
  shouldComponentUpdate(next) {
    const names = ["row", "home", "place", "isCursor", "isPicked", "isFresh", "isInner"];
    return unlike(this.props, next, names);
  }

  render({ row, place, isCursor, isPicked, hasPick, canChange, isFresh, isInner }) {
    const { home } = row;
    const names = [isInner && "inner", row.isProblem && "problem", row.isCared && "cared", isFresh && "fresh", isPicked && "picked"];
    return html`<tr id="service-${row.id}" class=${names.filter(Boolean).join(" ") || null} data-key="s${row.id}" tabindex=${isCursor ? 0 : -1} aria-rowindex=${place + 2}>
      ${hasPick && html`<td class="pick"><label><input type="checkbox" tabindex="-1" checked=${isPicked} aria-label="Select ${plain(called(row))}" /></label></td>`}
      <td class="is"><span class="state ${row.condition.toLowerCase()}">${mark(row.condition)}<span class="word">${word(row)}</span></span></td>
      <td class="name"><div><a href="${root()}server/${home.id}" title=${plain(home.name)}><bdi>${home.label}</bdi></a><span class="quiet">/</span><a class="what" href="${root()}service/${row.id}" title=${plain(row.name)}><bdi>${row.label}</bdi></a>${care(row)}</div></td>
      <td class="info"><div><bdi title=${plain(row.info)}>${row.info}</bdi>${told(row)}</div></td>
      <td class="when">${when(row)}</td>
      <td class="number">${row.alerts ? counted(row.alerts) : ""}</td>
      ${canChange && acts(row)}
    </tr>`;
  }
}

const foldButton = (key, isOpen, words) =>
  html`<button type="button" class="what fold ${isOpen ? "open" : ""}" data-fold=${key} aria-expanded=${isOpen ? "true" : "false"} tabindex="-1">${words}</button>`;

/** The late services of one server. */
export function HostRow({ item, services, place, isCursor, canChange }) {
  const { host, key } = item;
  const facts = hostFacts(item, host.rows(services));
  const state = facts.isLate ? "late" : "OK";
  const every = { label: `${facts.words} of ${host.label}` };
  return html`<tr id="late-${key.startsWith("c") ? "cared-" : ""}${host.id}" class="problem host ${facts.isCared ? "cared" : ""}" data-key=${key} tabindex=${isCursor ? 0 : -1} aria-rowindex=${place + 2}>
    <td class="is"><span class="state ${state.toLowerCase()}">${mark(state)}<span class="word">${state}</span></span></td>
    <td class="name"><div><a href="${root()}server/${host.id}" title=${plain(host.name)}><bdi>${host.label}</bdi></a><span class="quiet">/</span>${foldButton(key, item.isOpen, html`<span>${facts.words.slice(0, -9)}<span class="noun">${" services"}</span></span>`)}</div></td>
    <td class="info"><div>${facts.seenAt !== null && html`<span>the last sign of it ${span(facts.seenAt, ago)}</span>`}</div></td>
    <td class="when">${facts.dueAt !== null && html`<span>late by ${span(facts.dueAt, alone)}</span> <span class="quiet">the longest</span>`}</td>
    <td class="number">${facts.alerts ? counted(facts.alerts) : ""}</td>
    ${
      canChange &&
      html`<td class="acts">
        ${!facts.isAcknowledged && act("acknowledged", "Acknowledge", every)}
        ${act("silenced", "Silence the server", host)}
      </td>`
    }
  </tr>`;
}

/** How much somebody takes care of. */
export const CaredRow = ({ item, place, isCursor, canChange }) =>
  html`<tr class="cares" data-key="cared" tabindex=${isCursor ? 0 : -1} aria-rowindex=${place + 2}>
    <td colspan="5">${foldButton("cared", item.isOpen, html`Taken care of: <b>${counted(item.count)}</b>`)}</td>
    ${canChange && html`<td class="acts"></td>`}
  </tr>`;

/** The services of a server that its row shows, and how many it leaves out. */
function marksOf(server, services) {
  const rows = server.rows(services);
  if (rows.length <= MARKS_MAX) return { rows, more: 0 };
  const worst = [...rows].sort((one, other) => one.weight - other.weight);
  return { rows: worst.slice(0, MARKS_MAX), more: rows.length - MARKS_MAX };
}

/** Its condition, and who takes care. */
const says = (row) => `${word(row)}${row.ack ? ", acknowledged" : ""}${row.silence ? ", silenced" : ""}`;

const tooltip = (row) => plain(`${row.label}: ${says(row)}${row.info ? `: ${row.info}` : ""}`);

const small = (row) =>
  html`<a key=${row.id} href="${root()}service/${row.id}" title=${tooltip(row)} tabindex="-1" class=${row.isCared ? "cared" : null}><i class="dot ${row.condition.toLowerCase()}"></i>${row.ack ? mark("acknowledged") : row.silence && mark("silenced")}<span class="aside"><bdi>${row.label}</bdi> ${says(row)}</span></a>`;

/** A server with all its services as marks. Props: server, shown (changes with what it shows), services, place, isCursor. */
export class ServerRow extends Component {
  shouldComponentUpdate(next) {
    return unlike(this.props, next, ["shown", "place", "isCursor"]);
  }

  render({ server, services, place, isCursor }) {
    const { rows, more } = marksOf(server, services);
    const alerts = server.rows(services).reduce((sum, row) => sum + (row.alerts ?? 0), server.alerts);
    return html`<tr id="server-${server.id}" data-key="h${server.id}" tabindex=${isCursor ? 0 : -1} aria-rowindex=${place + 2}>
      <td class="name"><div><a class="what" href="${root()}server/${server.id}" title=${plain(server.name)}><bdi>${server.label}</bdi></a></div></td>
      <td class="marks"><div>
        ${rows.map(small)}
        ${rows.length === 0 && html`<span class="quiet">no services yet</span>`}
        ${more > 0 && html`<a class="more" href="${root()}server/${server.id}" tabindex="-1">+ ${counted(more)} more</a>`}
      </div></td>
      <td class="number">${alerts ? counted(alerts) : ""}</td>
    </tr>`;
  }
}

/** How many services there are in each state; each is a filter. Props: mirror, current, hrefOf. */
export function Counts({ mirror, current, hrefOf }) {
  const { counts, attention } = mirror;
  const cared = counts.FAIL + counts.late + counts.WARN + counts.UNK - attention;
  const item = (state, name, number, sign, kind = "") =>
    html`<li key=${state} class="${kind}${number === 0 ? " zero" : ""}"><a href=${hrefOf(state)} data-state=${state} aria-current=${current === state ? "true" : null}>${sign && mark(sign)}<b>${counted(number)}</b> ${name}</a></li>`;
  return html`<ul class="counts" aria-label="Services by state">
    ${item("attention", attention === 1 ? "needs attention" : "need attention", attention, null, "most")}
    ${item("cared", "taken care of", cared, null, "cared")}
    ${Object.entries(counts).map(([state, number]) => (state !== "none" || number > 0) && item(state, state === "none" ? "no state" : state, number, state))}
    ${item("", "all", mirror.services.size)}
  </ul>`;
}

// Acknowledge and silence out of a list: asks for the reason, does it, and offers to take it back.

import { send } from "./api.js";
import { countWords } from "./counting.js";
import { html } from "./html.js";
import { called } from "./list_parts.js";
import { store, stored } from "./storing.js";
import { toast } from "./toast.js";
import { render } from "./vendor/preact.js";

const STORED = "overc:author";
const AT_ONCE = 4;
const SPANS = [["30m", "30 minutes"], ["2h", "2 hours"], ["8h", "8 hours"], ["1d", "1 day"], ["7d", "7 days"]];
const NAMED_MAX = 3;

function Names({ rows }) {
  const more = rows.length - NAMED_MAX;
  return html`<ul class="asked">
    ${rows.slice(0, more === 1 ? NAMED_MAX + 1 : NAMED_MAX).map((row) => html`<li key=${row.id}><bdi>${called(row)}</bdi></li>`)}
    ${more > 1 && html`<li class="quiet">and ${more} more</li>`}
  </ul>`;
}

/**
 * Shows a dialog and returns what was filled in, or null. The focus goes back to where it was.
 * @param {{title: string, words: string, rows: object[], verb: string, spans?: boolean}} question
 * @returns {Promise<Record<string, string> | null>}
 */
function ask({ title, words, rows, verb, spans = false }) {
  const dialog = document.createElement("dialog");
  dialog.className = "question";
  dialog.setAttribute("aria-labelledby", "question-title");
  const was = document.activeElement;
  const form = html`<form method="dialog">
    <h2 id="question-title">${title}</h2>
    <${Names} rows=${rows} />
    <p class="quiet">${words}</p>
    ${spans && html`<label for="question-for">For</label>
      <select id="question-for" name="for">${SPANS.map(([span, label]) => html`<option value=${span} selected=${span === "2h"}>${label}</option>`)}</select>`}
    <label for="question-reason">Reason</label>
    <input id="question-reason" name="reason" maxlength="500" required autocomplete="off" />
    <label for="question-author">Your name <span class="quiet">(else that of your login)</span></label>
    <input id="question-author" name="author" maxlength="500" autocomplete="name" defaultValue=${stored(STORED)} />
    <p class="buttons">
      <button type="button" onClick=${() => dialog.close()}>Cancel</button>
      <button class="primary" value="yes">${verb}</button>
    </p>
  </form>`;
  render(form, dialog);
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("[name=reason]").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const fields = Object.fromEntries(new FormData(dialog.querySelector("form")));
      const isMeant = dialog.returnValue === "yes";
      render(null, dialog);
      dialog.remove();
      if (was?.isConnected) was.focus({ preventScroll: true });
      if (!isMeant) return resolve(null);
      store(STORED, fields.author.trim());
      // Without one, the server takes that of the login.
      if (fields.author.trim() === "") delete fields.author;
      return resolve(fields);
    });
  });
}

/** Does something for each of many, a few at once. @returns what was done, and the first error */
async function forEach(rows, does) {
  const left = [...rows];
  const done = [];
  let failed = null;
  const work = async () => {
    for (let row = left.shift(); row !== undefined; row = left.shift()) {
      try {
        done.push([row, await does(row)]);
      } catch (error) {
        failed ??= `${called(row)}: ${error.message}`;
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return { done, failed };
}

const named = (rows, noun) => (rows.length === 1 ? called(rows[0]) : countWords(rows.length, noun));

async function doIt(rows, verb, noun, does, undoes) {
  const { done, failed } = await forEach(rows, does);
  const undo = async () => {
    const back = await forEach(done, ([row, reply]) => undoes(row, reply));
    if (back.failed) throw new Error(back.failed);
  };
  if (failed) toast(failed, { kind: "problem" });
  if (done.length > 0) toast(`${verb} ${named(done.map(([row]) => row), noun)}.`, { undo });
  return failed === null;
}

const unack = (row) => send("DELETE", "api/ack", { service_id: row.id });

/**
 * Acknowledges problems; of a single one that is acknowledged, takes that back.
 * @param {object[]} rows @returns {Promise<boolean>} whether all of it was done
 */
export async function acknowledge(rows) {
  if (rows.length === 1 && rows[0].ack !== undefined) return unacknowledge(rows[0]);
  const open = rows.filter((row) => row.isProblem && !row.ack);
  if (open.length === 0) {
    toast("Nothing of this is a problem that nobody has acknowledged.");
    return false;
  }
  const asked = await ask({
    title: `Acknowledge ${open.length === 1 ? "this problem" : countWords(open.length, "problem")}?`,
    words: "Nobody is reminded of it any more, until it is over.",
    rows: open,
    verb: "Acknowledge",
  });
  if (asked === null) return false;
  const does = (row) => send("POST", "api/ack", { service_id: row.id, ...asked });
  return doIt(open, "Acknowledged", "problem", does, unack);
}

function unacknowledge(row) {
  const { reason, author } = row.ack;
  const again = () => send("POST", "api/ack", { service_id: row.id, reason, author });
  return doIt([row], "Took back the acknowledgement of", "problem", unack, again);
}

const unsilence = (_, reply) => send("DELETE", `api/silences/${reply.id}`);

/** @param {{id: number, label: string}} server @returns {Promise<boolean>} */
export async function silenceServer(server) {
  const asked = await ask({
    title: "Silence this server?",
    words: "Alerts of all its services are recorded and not sent for that time.",
    rows: [server],
    verb: "Silence",
    spans: true,
  });
  if (asked === null) return false;
  const does = () => send("POST", "api/silences", { server_id: server.id, ...asked });
  return doIt([server], "Silenced", "server", does, unsilence);
}

/** @param {object[]} rows @returns {Promise<boolean>} */
export async function silence(rows) {
  const asked = await ask({
    title: `Silence ${rows.length === 1 ? "this service" : countWords(rows.length, "service")}?`,
    words: "Alerts are recorded and not sent for that time.",
    rows,
    verb: "Silence",
    spans: true,
  });
  if (asked === null) return false;
  const does = (row) => send("POST", "api/silences", { service_id: row.id, ...asked });
  return doIt(rows, "Silenced", "service", does, unsilence);
}

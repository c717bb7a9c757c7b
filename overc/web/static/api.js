// Requests to the server that this page came from.

const REPLY_LIMIT_MS = 10_000;

/** The way from this page to /ui/: `./` or `../`. */
export const root = () => document.documentElement.dataset.root || "./";

/**
 * Sends a request and returns the decoded reply. Throws an Error whose message is a sentence for
 * people; it carries the HTTP `code`, 0 where no answer came.
 * @param {string} method
 * @param {string} path relative to /ui/, such as `api/ack`
 * @param {unknown} [body] sent as JSON
 * @param {{limitMs?: number, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function send(method, path, body, { limitMs = REPLY_LIMIT_MS, signal } = {}) {
  const limit = AbortSignal.timeout(limitMs);
  let reply, text;
  try {
    reply = await fetch(root() + path, {
      method,
      cache: "no-store",
      headers: { "X-Requested-With": "overc" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    text = await reply.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw said("The server does not answer. Reload the page to see what was done.", 0);
  }
  let found = null;
  try {
    found = JSON.parse(text);
  } catch {
    // A proxy's own page, or one that asks to log in.
  }
  if (reply.ok && found !== null) return found;
  if (reply.status === 401) throw said("You are not logged in any more. Reload the page.", 401);
  throw said(sentence(found?.error) || `The server answers ${reply.status}.`, reply.status);
}

function said(message, code) {
  return Object.assign(new Error(message), { code });
}

/** The API's errors begin small and end without a stop. @param {unknown} text */
function sentence(text) {
  if (typeof text !== "string" || text === "") return "";
  const ended = /[.!?…]$/.test(text) ? text : `${text}.`;
  return ended[0].toUpperCase() + ended.slice(1);
}

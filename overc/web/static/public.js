// Keeps a status page fresh while somebody looks at it, and tells times by the reader's clock.

const REFRESH_MS = 30_000;

/** @param {ParentNode} part */
function localize(part) {
  for (const time of part.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const full = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
    if (time.title) {
      time.title = `since ${full}`;
    } else {
      const isToday = at.toDateString() === new Date().toDateString();
      time.title = full;
      time.textContent = isToday ? at.toLocaleTimeString() : full;
    }
  }
  for (const zone of part.querySelectorAll(".zone")) zone.remove();
}

async function refresh() {
  const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!reply.ok) return;
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  const fresh = page.querySelector("main");
  const old = document.querySelector("main");
  if (fresh === null || old === null) return;
  localize(fresh);
  document.title = page.title;
  const parts = [...old.children];
  if (parts.length !== fresh.children.length) {
    old.replaceChildren(...fresh.childNodes);
    return;
  }
  // What is as it was stays: somebody may be reading or pointing at it.
  for (const [number, part] of [...fresh.children].entries()) {
    if (part.outerHTML !== parts[number].outerHTML) parts[number].replaceWith(part);
  }
}

function refreshIfSeen() {
  if (!document.hidden) refresh().catch(() => {});
}

localize(document);
setInterval(refreshIfSeen, REFRESH_MS);
document.addEventListener("visibilitychange", refreshIfSeen);

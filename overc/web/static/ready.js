// Says when a page has done its first work: <html data-ready>. Tests and screenshots wait for it.

const root = document.documentElement;
let waiting = 1;

function done() {
  waiting -= 1;
  if (waiting === 0) root.dataset.ready = "yes";
}

/** The page is not ready before this promise has ended, however it ends. Call it while a module loads.
 * What went wrong in it is still told in the console. @param {Promise<unknown>} promise */
export function busyUntil(promise) {
  waiting += 1;
  promise.finally(done);
}

/** Set a performance mark once the browser has painted what is in the page now.
 * @param {string} name */
export function markPainted(name) {
  // The first task after a frame's work begins when the frame has been handed over.
  requestAnimationFrame(() => setTimeout(() => performance.mark(name)));
}

// It comes when all modules of the page have run.
if (document.readyState === "complete") done();
else addEventListener("DOMContentLoaded", done, { once: true });

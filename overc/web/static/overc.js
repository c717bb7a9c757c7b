// The entry of every page. Without it every page still shows all states, in UTC, as of when it was
// loaded.

import "./ready.js";
import * as keys from "./keys.js";
import * as look from "./look.js";
import * as news from "./news.js";
import { showTimes } from "./times.js";

async function copy(button) {
  const source = document.getElementById(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // Browsers lend the clipboard to https pages only; on others the text is marked for Ctrl-C.
    getSelection().selectAllChildren(source);
    return;
  }
  button.textContent = "Copied";
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copies]");
  if (button !== null) copy(button);
});

look.begin();
keys.begin();
news.begin();
showTimes(document);

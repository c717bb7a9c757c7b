// Markup in templates of JavaScript. What stands in ${} is text, never markup.

import htm from "./vendor/htm.js";
import { h } from "./vendor/preact.js";

export const html = htm.bind(h);

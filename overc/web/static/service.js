// The pages of a service and of a server: strips that tell what they show, and graphs.

import { begin as beginStrips } from "./strips.js";
import { busyUntil } from "./ready.js";

beginStrips();

const graphs = document.getElementById("graphs");
if (graphs !== null) {
  busyUntil(import("./graphs.js").then(({ Graphs }) => new Graphs(graphs).begin()));
}

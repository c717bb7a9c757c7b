// Runs before anything is painted: a page must not flash in the other theme.
(() => {
  let chosen = "auto";
  try {
    chosen = localStorage.getItem("overc:theme") || "auto";
  } catch {
    // Storage may be forbidden; then the system's choice holds.
  }
  const page = document.documentElement;
  if (chosen === "light" || chosen === "dark") page.dataset.theme = chosen;
  if (new URLSearchParams(location.search).get("kiosk") === "1") page.dataset.kiosk = "";
  page.classList.add("has-script");
})();

// Run before the page is drawn, so that no page flashes in the wrong colours.
"use strict";
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("viso.theme");
  } catch {
    // Storage may be forbidden; the system's choice holds then.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();

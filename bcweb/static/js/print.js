// The button that prints a report; without script the browser's own menu does.
"use strict";

for (const button of document.querySelectorAll(".print-page")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

// What every page does beyond links and forms. Nothing here is needed to use a page.
"use strict";

// After a refused form the summary takes the focus, so that readers begin with it.
function focusErrorSummary() {
  const summary = document.getElementById("error-summary");
  if (summary) summary.focus();
}
focusErrorSummary();
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id === "submit-panel") focusErrorSummary();
});

// A link in the summary goes to a field; a group of radio buttons gives the focus to its choice.
document.addEventListener("click", (event) => {
  const link = event.target.closest(".error-summary a[href^='#']");
  const target = link && document.getElementById(link.hash.slice(1));
  if (!target) return;
  event.preventDefault();
  const field = target.matches("fieldset") ? target.querySelector("input:checked, input") : target;
  field.focus();
  target.scrollIntoView({ block: "center" });
});

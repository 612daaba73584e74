// The form of a reading keeps its draft while somebody types. Without this it is saved by hand.
"use strict";

const formOf = (element) => element.closest?.("form.reading-form");
// The forms that keep something at this moment, and those whose page is about to go.
const keeping = new WeakSet();
const leaving = new WeakMap();

// Signing goes on from the version that was kept last: it waits for what is on its way.
document.addEventListener("submit", (event) => {
  const form = formOf(event.target);
  if (!form) return;
  leaving.set(form, event.submitter);
  if (keeping.has(form)) event.preventDefault();
});
document.addEventListener("htmx:beforeRequest", (event) => {
  const form = formOf(event.detail.elt);
  if (!form) return;
  if (leaving.has(form)) event.preventDefault();
  else keeping.add(form);
});
document.addEventListener("htmx:afterRequest", (event) => {
  const form = formOf(event.detail.elt);
  if (!form) return;
  keeping.delete(form);
  if (leaving.has(form)) setTimeout(() => form.requestSubmit(leaving.get(form)), 0);
});

// A link to a form opens what the form is folded into.
function unfold(hash) {
  const form = document.getElementById(hash.slice(1));
  const fold = form?.matches("form.reading-form") && form.closest("details.more");
  if (fold) fold.open = true;
}
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link) unfold(link.hash);
});
unfold(location.hash);

// What was refused is told below the form, and stays in it.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.target.id.endsWith("-draft") && [409, 422].includes(event.detail.xhr.status)) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});
// Signed out meanwhile: loading the page anew would lose what was typed.
document.addEventListener("htmx:beforeOnLoad", (event) => {
  const form = formOf(event.detail.elt);
  if (!form || !event.detail.xhr.getResponseHeader("HX-Refresh")) return;
  event.preventDefault();
  const line = document.getElementById(`${form.id}-draft`);
  if (line.querySelector(".signed-out")) return;
  const words = document.createElement("p");
  words.className = "field-error signed-out";
  words.setAttribute("role", "alert");
  words.textContent = gettext("Not kept: you are signed out. Copy your text, then load the page again.");
  line.append(words);
});

// Not kept for another reason (the server busy or away, the network gone): "saved" must not stay.
for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
  document.addEventListener(name, (event) => {
    const form = formOf(event.detail.elt);
    if (!form || [409, 422].includes(event.detail.xhr?.status)) return;
    const line = document.getElementById(`${form.id}-draft`);
    if (line.querySelector(".not-kept")) return;
    const words = document.createElement("p");
    words.className = "field-error not-kept";
    words.setAttribute("role", "alert");
    words.textContent = gettext("Not kept yet: the server could not be reached. It is tried again with your next change.");
    line.append(words);
  });
}

// A folded group says what is chosen in it; a circumscribed margin is nothing else.
document.addEventListener("change", (event) => {
  const group = event.target.closest(".lexicon-group");
  if (!group) return;
  if (event.target.name === "margin" && event.target.checked) {
    const alone = event.target.value === "circumscribed";
    for (const box of group.querySelectorAll("[name=margin]:checked")) {
      if (alone ? box !== event.target : box.value === "circumscribed") box.checked = false;
    }
  }
  const chosen = [...group.querySelectorAll("input:checked")].filter((input) => input.value);
  const typed = [...group.querySelectorAll("input[type=text]")].filter((input) => input.value);
  group.querySelector(".lexicon-said").textContent = [
    ...chosen.map((input) => input.parentElement.textContent.trim()),
    ...typed.map((input) => `${input.value} mm`),
  ].join("; ");
});

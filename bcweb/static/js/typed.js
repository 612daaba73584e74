// Nothing typed is lost when a session ends: what stands in a form is kept in this window
// (sessionStorage: gone with the window) and put back once the same user has signed in again.
// Never files or passwords. Dropped when the form has been sent, and on signing out.
//
// An entry is `typed` while its page is open, `sent` while its form is on the way, and
// `interrupted` when the sign-in page (or an error page, for what was sent) came instead. Only an
// interrupted one is put back: on an ordinary visit a form never begins with another patient's
// words.
"use strict";

(() => {
  const PREFIX = "bcweb.typed ";
  const LIFE_MS = 12 * 60 * 60 * 1000;
  const NEVER = new Set(["hidden", "file", "password", "submit", "button", "reset", "image"]);
  const CHOSEN = new Set(["checkbox", "radio"]);
  // Hidden fields that tell two forms of one address apart; others change with each page.
  const CHANGING = new Set(["csrfmiddlewaretoken", "version", "edition", "idempotency_key", "next"]);
  const user = document.body.dataset.user || "";

  function openStore() {
    try {
      return window.sessionStorage;
    } catch {
      return null; // A browser that keeps nothing: forms work as without script.
    }
  }
  const store = openStore();
  if (!store) return;

  function entries() {
    const keys = Array.from({ length: store.length }, (_, index) => store.key(index));
    return keys.filter((key) => key.startsWith(PREFIX));
  }

  function read(key) {
    try {
      return JSON.parse(store.getItem(key));
    } catch {
      return null; // Not ours, or cut off.
    }
  }

  function write(key, entry) {
    try {
      store.setItem(key, JSON.stringify(entry));
    } catch {
      store.removeItem(key); // No room: rather nothing than half of it.
    }
  }

  function mark(state, wanted) {
    for (const key of entries()) {
      const entry = read(key);
      if (entry && wanted.includes(entry.state)) write(key, { ...entry, state });
    }
  }

  function dropAll() {
    for (const key of entries()) store.removeItem(key);
  }

  const fieldsOf = (form) =>
    [...form.elements].filter(
      (field) =>
        field.name && !field.disabled && field.matches("input, select, textarea") && !NEVER.has(field.type),
    );

  const isTyped = (field) => field.matches("textarea, input") && !CHOSEN.has(field.type);

  function isKept(form) {
    if (!form || form.method !== "post" || form.dataset.typed === "no") return false;
    if (!form.closest("main")) return false;
    if (form.querySelector("input[type=password], input[autocomplete=one-time-code]")) return false;
    return fieldsOf(form).some(isTyped);
  }

  function keyOf(form) {
    const hidden = [...form.elements].filter(
      (field) => field.type === "hidden" && field.name && !CHANGING.has(field.name),
    );
    const which = hidden.map((field) => `${field.name}=${field.value}`).join("&");
    const action = new URL(form.getAttribute("action") || "", location.href).pathname;
    return `${PREFIX}${user} ${action} ${which}`;
  }

  function isUntouched(field) {
    if (CHOSEN.has(field.type)) return field.checked === field.defaultChecked;
    if (field.matches("select")) {
      return [...field.options].every((option) => option.selected === option.defaultSelected);
    }
    return field.value === field.defaultValue;
  }

  function valuesOf(form) {
    return fieldsOf(form).map((field) => {
      if (CHOSEN.has(field.type)) return [field.name, field.value, field.checked];
      if (field.matches("select")) {
        return [field.name, [...field.selectedOptions].map((option) => option.value)];
      }
      return [field.name, field.value];
    });
  }

  function keep(form, state) {
    const key = keyOf(form);
    if (fieldsOf(form).every(isUntouched)) store.removeItem(key);
    else write(key, { state, at: Date.now(), values: valuesOf(form) });
  }

  function putOne(field, [, value, checked]) {
    if (CHOSEN.has(field.type)) field.checked = checked;
    else if (field.matches("select")) {
      for (const option of field.options) option.selected = value.includes(option.value);
    } else field.value = value;
  }

  function putBack(form, entry) {
    let changed = false;
    for (const saved of entry.values) {
      const field = fieldsOf(form).find(
        (one) => one.name === saved[0] && (!CHOSEN.has(one.type) || one.value === saved[1]),
      );
      if (!field) continue;
      const before = JSON.stringify(valuesOf(form));
      putOne(field, saved);
      if (before === JSON.stringify(valuesOf(form))) continue;
      changed = true;
      field.dispatchEvent(new Event("input", { bubbles: true }));
      field.dispatchEvent(new Event("change", { bubbles: true }));
    }
    return changed;
  }

  function tell(form) {
    const notice = document.createElement("p");
    notice.className = "notice info typed-back";
    notice.setAttribute("role", "status");
    const words = document.createElement("span");
    words.textContent = gettext("What you typed before you were signed out is back. It is not stored yet.");
    const drop = document.createElement("button");
    drop.type = "button";
    drop.className = "button quiet small";
    drop.textContent = gettext("Discard it");
    drop.addEventListener("click", () => {
      form.reset();
      store.removeItem(keyOf(form));
      notice.remove();
      fieldsOf(form)[0].focus();
    });
    notice.append(words, drop);
    form.prepend(notice);
    // A form that is folded away is of no use to whom it is told about.
    for (let box = form.closest("details"); box; box = box.parentElement.closest("details")) {
      box.open = true;
    }
  }

  function begin() {
    for (const key of entries()) {
      const entry = read(key);
      const ours = key.startsWith(`${PREFIX}${user} `);
      const fresh = entry && Date.now() - entry.at < LIFE_MS;
      if (!ours || !fresh || entry.state !== "interrupted") store.removeItem(key);
    }
    for (const form of document.querySelectorAll("main form")) {
      const entry = isKept(form) ? read(keyOf(form)) : null;
      if (!entry || entry.state !== "interrupted") continue;
      if (putBack(form, entry)) tell(form);
      keep(form, "typed");
    }
  }

  function listen() {
    for (const name of ["input", "change"]) {
      document.addEventListener(name, (event) => {
        if (isKept(event.target.form)) keep(event.target.form, "typed");
      });
    }
    document.addEventListener("submit", (event) => {
      const form = event.target;
      const all = event.submitter && event.submitter.value === "all";
      if (form.id === "sign-out" || (form.dataset.signOut === "all" && all)) dropAll();
      else if (isKept(form)) keep(form, "sent");
    });
    // Sent by htmx the page stays: not there yet, or done.
    document.addEventListener("htmx:afterRequest", (event) => {
      const form = event.target;
      if (!(form instanceof HTMLFormElement) || !isKept(form)) return;
      if (event.detail.xhr.getResponseHeader("HX-Refresh")) return;
      if (event.detail.successful) store.removeItem(keyOf(form));
      else keep(form, "typed");
    });
    document.addEventListener("bcweb:leaving", () => mark("interrupted", ["typed", "sent"]));
  }

  if (user) {
    begin();
    listen();
    return;
  }
  const notice = document.getElementById("typed-kept");
  mark("interrupted", notice ? ["typed", "sent"] : ["sent"]);
  if (notice) notice.hidden = entries().length === 0;
})();

// The worklist with script: keys, ticks, and rows that are renewed without losing one's place.
// Nothing here is needed: links, filters and the buttons under the list work without it.
"use strict";

(() => {
  const KEYS_OFF = "bcweb-worklist-keys-off";
  // More rows than these are counted, not read out.
  const MOST_TOLD = 3;
  const byId = (id) => document.getElementById(id);
  const links = () => [...document.querySelectorAll("#worklist .row-link")];
  const ticks = () => [...document.querySelectorAll("#worklist input[name=case]")];

  for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;

  // Ticks.

  function countTicks() {
    const all = ticks();
    const ticked = all.filter((tick) => tick.checked).length;
    const words = byId("ticked");
    if (!words) return;
    words.textContent =
      ticked === 0 ? gettext("Tick cases to act on them") : interpolate(ngettext("%s case ticked:", "%s cases ticked:", ticked), [ticked]);
    for (const button of document.querySelectorAll(".bulk-bar button[name=act]")) {
      button.disabled = ticked === 0;
    }
    const every = byId("tick-all");
    every.checked = ticked > 0 && ticked === all.length;
    every.indeterminate = ticked > 0 && ticked < all.length;
  }

  document.addEventListener("change", (event) => {
    if (event.target.id === "tick-all") {
      for (const tick of ticks()) tick.checked = event.target.checked;
    }
    if (event.target.id === "tick-all" || event.target.name === "case") countTicks();
  });
  countTicks();

  // Keys.

  function keysOn() {
    try {
      return localStorage.getItem(KEYS_OFF) === null;
    } catch {
      return true;
    }
  }

  function move(step) {
    const all = links();
    if (!all.length) return;
    const row = document.activeElement.closest("#worklist tr");
    const here = row ? all.indexOf(row.querySelector(".row-link")) : -1;
    const next = here < 0 ? (step > 0 ? 0 : all.length - 1) : here + step;
    const link = all[Math.min(Math.max(next, 0), all.length - 1)];
    link.focus();
    link.scrollIntoView({ block: "nearest" });
  }

  const ACTS = {
    j: () => move(1),
    k: () => move(-1),
    x: () => {
      const row = document.activeElement.closest("#worklist tr");
      const tick = row && row.querySelector("input[name=case]");
      if (!tick) return;
      tick.checked = !tick.checked;
      countTicks();
    },
    "/": () => byId("q").focus(),
    "?": () => byId("keys").showModal(),
  };

  document.addEventListener("keydown", (event) => {
    const writes = event.target.closest("input:not([type=checkbox]), select, textarea, dialog");
    if (event.ctrlKey || event.metaKey || event.altKey || writes || event.isComposing) return;
    const act = ACTS[event.key];
    if (!act || !keysOn()) return;
    event.preventDefault();
    act();
  });

  const opener = byId("keys-open");
  if (opener) opener.addEventListener("click", () => byId("keys").showModal());
  byId("keys-on").checked = keysOn();
  byId("keys-on").addEventListener("change", (event) => {
    try {
      if (event.target.checked) localStorage.removeItem(KEYS_OFF);
      else localStorage.setItem(KEYS_OFF, "1");
    } catch {
      // Nothing is kept in this browser: the keys stay as they are on this page.
    }
  });

  // Rows that are renewed.

  const news = (root) =>
    new Map([...root.querySelectorAll("tr[data-news]")].map((row) => [row.querySelector(".row-link").id, row.dataset]));
  let before = null;
  let ticked = [];

  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id !== "worklist") return;
    before = news(event.detail.target);
    before.arrived = byId("arrived") ? byId("arrived").textContent.trim() : "";
    ticked = ticks().filter((tick) => tick.checked).map((tick) => tick.id);
  });

  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id !== "worklist" || !before) return;
    for (const id of ticked) {
      const tick = byId(id);
      if (tick) tick.checked = true;
    }
    countTicks();
    const told = [];
    for (const [id, row] of news(byId("worklist"))) {
      const was = before.get(id);
      if (was && was.news !== row.news) told.push(`${row.name}: ${row.news}.`);
    }
    const rest = told.length - MOST_TOLD;
    const words = told.slice(0, MOST_TOLD);
    if (rest > 0) words.push(interpolate(ngettext("%s more case has changed.", "%s more cases have changed.", rest), [rest]));
    const arrived = byId("arrived");
    const link = byId("show-newer");
    if (arrived && arrived.textContent.trim() !== before.arrived) {
      words.unshift(arrived.textContent.replace(link.textContent, "").trim());
    }
    if (words.length) byId("worklist-news").textContent = words.join(" ");
    before = null;
  });

  // A list that could not be renewed says so, and of when it is.

  let good = new Date();
  const trouble = byId("worklist-trouble");
  const ours = (event) => event.target && event.target.id === "worklist";
  function stale(event) {
    if (!ours(event)) return;
    const at = good.toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" });
    trouble.textContent = interpolate(gettext("The list could not be renewed. What stands here is from %s; it is tried again by itself."), [at]);
    trouble.hidden = false;
  }
  for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
    document.addEventListener(name, stale);
  }
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!ours(event) || !event.detail.successful) return;
    good = new Date();
    trouble.hidden = true;
    trouble.textContent = "";
  });
})();

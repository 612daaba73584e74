// A session ends on the server when nobody does anything. Before it does, this asks whether
// somebody is there; and it tells the server of people who type or point within one page.
"use strict";

(() => {
  const dialog = document.getElementById("idle");
  if (!dialog || !dialog.showModal) return;

  const warnMs = Number(dialog.dataset.warn) * 1000;
  const idleMs = Number(dialog.dataset.left) * 1000;
  // People who do something are told of at most this often.
  const grainMs = Math.min(60000, idleMs / 4);
  const stay = document.getElementById("idle-stay");
  const told = document.getElementById("idle-told");
  let endsAt = Date.now() + idleMs;
  let toldAt = Date.now();
  let acted = false;
  let asking = false;

  for (const name of ["keydown", "pointerdown", "wheel"]) {
    document.addEventListener(name, () => { acted = true; }, { passive: true, capture: true });
  }

  async function ask(method) {
    const headers = { Accept: "application/json" };
    if (method === "POST") headers["X-CSRFToken"] = stay.elements.csrfmiddlewaretoken.value;
    const answer = await fetch(dialog.dataset.url, { method, headers, credentials: "same-origin" });
    if (!answer.ok) throw new Error(`idle: ${answer.status}`);
    const left = (await answer.json()).seconds_left;
    endsAt = Date.now() + left * 1000;
    return left;
  }

  function words(seconds) {
    const minutes = Math.round(seconds / 60);
    if (seconds >= 90) return interpolate(ngettext("in %s minute", "in %s minutes", minutes), [minutes]);
    return interpolate(ngettext("in %s second", "in %s seconds", seconds), [seconds]);
  }

  function leave() {
    // Once: to ask for the next page anew each second would keep it from ever coming.
    clearInterval(turning);
    // Chosen files would be gone with the page: sending them asks for a new sign-in by itself.
    if ([...document.querySelectorAll("input[type=file]")].some((input) => input.files.length)) {
      dialog.close();
      return;
    }
    document.dispatchEvent(new CustomEvent("bcweb:leaving"));
    let back = location.pathname + location.search;
    if ("posted" in document.body.dataset) {
      // The answer to a form has no address of its own: go back to where the form was.
      const from = document.referrer ? new URL(document.referrer) : null;
      back = from && from.origin === location.origin ? from.pathname : "/";
    }
    location.assign(`${dialog.dataset.signIn}?next=${encodeURIComponent(back)}&ended=idle`);
  }

  async function keepOn() {
    toldAt = Date.now();
    acted = false;
    try {
      if ((await ask("POST")) > 0) {
        dialog.close();
        return;
      }
    } catch {
      // Another window has signed in again, or the server is away: this page is of no use.
    }
    leave();
  }

  function count() {
    const left = Math.max(0, Math.round((endsAt - Date.now()) / 1000));
    document.getElementById("idle-left").textContent = left ? words(left) : gettext("now");
    if (left === 60 || left === 20) told.textContent = interpolate(gettext("You are signed out %s."), [words(left)]);
    return left;
  }

  async function look() {
    const now = Date.now();
    if (dialog.open) {
      // A second more than the server needs: asked too early it would take us for somebody.
      if (count() === 0 && now > endsAt + 1500 && (await ask("GET").catch(() => 0)) <= 0) leave();
      else if (endsAt - Date.now() > warnMs) dialog.close();
      return;
    }
    if (acted && now - toldAt > grainMs) {
      toldAt = now;
      acted = false;
      await ask("POST").catch(() => ask("GET"));
    } else if (endsAt - now <= warnMs) {
      // Another window may have kept the session going.
      await ask("GET");
      if (endsAt - Date.now() <= warnMs) {
        count();
        dialog.showModal();
      }
    }
  }

  async function turn() {
    if (asking) return;
    asking = true;
    try {
      await look();
    } catch {
      // The server did not answer: asked again in a second.
    } finally {
      asking = false;
    }
  }

  stay.addEventListener("submit", (event) => {
    event.preventDefault();
    keepOn();
  });
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    keepOn();
  });
  const turning = setInterval(turn, 1000);
})();

// Parts of a page that poll (`hx-get`, `hx-trigger="every …, look"`) and name a stream of events in
// `data-events` are asked for when something moved, at once, and hardly otherwise. Where no stream
// stands, they poll as before.
"use strict";

(() => {
  if (!window.EventSource || !window.htmx) return;
  // While a stream stands, a poll in so many milliseconds is enough: an event may have been lost.
  const SAFETY_MS = 30000;
  // Several moves at once are one look; of a whole site there may be many (`data-gather`).
  const GATHER_MS = 250;
  const REOPEN_MS = 60000;
  // By address of the stream: its EventSource, whether it stands, when the page was last asked for.
  const streams = new Map();

  const partsOf = (url) => document.querySelectorAll(`[data-events="${CSS.escape(url)}"]`);

  function look(url, stream) {
    if (stream.gathering) return;
    const apart = Math.max(0, ...[...partsOf(url)].map((part) => Number(part.dataset.gather) || 0));
    // The first one soon, those that follow not before the last look is so long ago.
    const wait = Math.max(GATHER_MS, stream.looked + apart - Date.now());
    stream.gathering = window.setTimeout(() => {
      stream.gathering = 0;
      partsOf(url).forEach((part) => window.htmx.trigger(part, "look"));
    }, wait);
  }

  function open(url) {
    const source = new EventSource(url);
    const stream = { source, stands: false, looked: 0, gathering: 0 };
    streams.set(url, stream);
    source.addEventListener("snapshot", () => {
      stream.stands = true;
      look(url, stream);
    });
    source.addEventListener("job", () => look(url, stream));
    source.addEventListener("end", (event) => {
      stream.stands = false;
      // After "again" the browser comes back by itself.
      if (JSON.parse(event.data).reason !== "again") source.close();
      look(url, stream);
    });
    source.addEventListener("error", () => {
      stream.stands = false;
      // Refused, or not to be reached by this way: polling goes on, and it is tried again later.
      if (source.readyState === EventSource.CLOSED) {
        stream.again = window.setTimeout(() => {
          close(url);
          settle();
        }, REOPEN_MS);
      }
    });
  }

  function close(url) {
    const stream = streams.get(url);
    stream.source.close();
    window.clearTimeout(stream.gathering);
    window.clearTimeout(stream.again);
    streams.delete(url);
  }

  // Streams exactly for what the page shows now. A page that nobody looks at has none: a browser
  // keeps six connections to a server, for all its windows together.
  function settle() {
    const wanted = new Set();
    if (document.visibilityState === "visible") {
      document.querySelectorAll("[data-events]").forEach((part) => wanted.add(part.dataset.events));
    }
    [...streams.keys()].filter((url) => !wanted.has(url)).forEach(close);
    [...wanted].filter((url) => !streams.has(url)).forEach(open);
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    const stream = streams.get(event.target.dataset?.events);
    if (!stream) return;
    const asked = event.detail.requestConfig.triggeringEvent;
    const now = Date.now();
    if (!asked && stream.stands && now - stream.looked < SAFETY_MS) event.preventDefault();
    else stream.looked = now;
  });
  document.addEventListener("htmx:afterSettle", settle);
  document.addEventListener("visibilitychange", settle);
  // Going back to a page that the browser kept: its streams are gone.
  window.addEventListener("pagehide", () => [...streams.keys()].forEach(close));
  window.addEventListener("pageshow", settle);
  settle();
})();

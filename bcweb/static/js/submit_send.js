// One request of the submission form, and what came of it in a word. A key goes with it, so that
// the same request may be sent again whenever nobody knows whether it arrived.
"use strict";

(() => {
  const submit = window.BcwebSubmit;
  const byId = (id) => document.getElementById(id);

  function read(request) {
    const go = request.getResponseHeader("HX-Redirect");
    if (go) return { kind: "done", url: go };
    const signIn = byId("submit-form").dataset.signIn;
    const led = request.responseURL ? new URL(request.responseURL).pathname : "";
    if (request.getResponseHeader("HX-Refresh") || request.status === 401 || led === signIn) {
      return { kind: "signed-out" };
    }
    if (request.status === 503 || request.status === 429) {
      return { kind: "busy", seconds: Number(request.getResponseHeader("Retry-After")) || 30 };
    }
    const html = request.responseText;
    if (request.status >= 400 && html.includes('id="submit-panel"')) {
      return { kind: "refused", page: new DOMParser().parseFromString(html, "text/html") };
    }
    if (request.status === 403) return { kind: "expired" };
    if (request.status >= 500) return { kind: "lost" };
    return { kind: "failed", status: request.status };
  }

  // `told(part)` is called with the share of the bytes that has left, 0 to 1.
  function post(url, data, told) {
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      request.open("POST", url);
      request.setRequestHeader("HX-Request", "true");
      request.upload.addEventListener("progress", (event) => {
        if (event.lengthComputable && event.total) told(event.loaded / event.total);
      });
      for (const name of ["error", "abort", "timeout"]) {
        request.addEventListener(name, () => resolve({ kind: "lost" }));
      }
      request.addEventListener("load", () => resolve(read(request)));
      request.send(data);
    });
  }

  // A form belongs to a session. After signing in again the page fetches the token of the new one.
  async function renewToken() {
    const form = byId("submit-form");
    try {
      const answer = await fetch(form.action, { redirect: "error", headers: { Accept: "text/html" } });
      if (!answer.ok) return false;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const token = page.querySelector("#submit-form [name=csrfmiddlewaretoken]");
      if (!token) return false;
      for (const field of document.querySelectorAll("[name=csrfmiddlewaretoken]")) field.value = token.value;
      document.body.setAttribute("hx-headers", JSON.stringify({ "X-CSRFToken": token.value }));
      return true;
    } catch {
      return false;
    }
  }

  Object.assign(submit, { post, renewToken });
})();

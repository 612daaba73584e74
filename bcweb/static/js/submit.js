// The submission form with script: files from anywhere on the page, progress, one case or one case
// each, and nothing lost when the network drops or the session ends. Without script the same form
// is sent as it stands.
"use strict";

(() => {
  const submit = window.BcwebSubmit;
  const { items } = submit;
  const WAITS_S = [2, 5, 10, 20, 30, 60];
  const PENDING_S = 2;
  const byId = (id) => document.getElementById(id);
  const form = () => byId("submit-form");
  let sending = false;
  // Ends the wait for the next try, while there is one.
  let wake = null;

  // What is said.

  function progress(shown, part = 0, words = "") {
    byId("upload-progress").hidden = !shown;
    byId("upload-progress").querySelector("progress").value = Math.round(100 * part);
    if (byId("upload-words").textContent !== words) byId("upload-words").textContent = words;
  }

  function trouble(words, { again = false, signIn = false } = {}) {
    const place = byId("upload-trouble");
    place.className = "upload-trouble notice error";
    place.textContent = words;
    place.hidden = !words;
    byId("upload-again").hidden = !again;
    byId("sign-in-again").hidden = !signIn;
    if (words) byId(again ? "upload-again" : "upload-trouble").scrollIntoView({ block: "nearest" });
  }

  function busy(on) {
    sending = on;
    byId("submit").disabled = on;
    for (const input of form().querySelectorAll("#file, #choose-folder, #cases-choice input")) input.disabled = on;
  }

  // Waiting for another try.

  // Resolves after so many seconds, or at once when the network or the person comes back.
  function pause(seconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(done, 1000 * seconds);
      function done() {
        clearTimeout(timer);
        wake = null;
        resolve();
      }
      wake = done;
    });
  }
  const forever = 24 * 3600;

  // Sends until there is an answer to act on. The key stays the same, so that what arrived before
  // is not taken in twice.
  async function sendUntilAnswered(data, told) {
    for (let tried = 0; ; tried += 1) {
      const answer = await submit.post(form().getAttribute("action"), data(), told);
      if (answer.kind === "lost" || answer.kind === "busy") {
        const seconds = answer.kind === "busy" ? answer.seconds : WAITS_S[tried];
        const lost = answer.kind === "lost" ? gettext("The case could not be sent: the connection was lost.") : gettext("The service is busy and takes nothing in just now.");
        const next = seconds ? interpolate(gettext("It is tried again by itself in %s s."), [seconds]) : gettext("Press Try again when the network is back.");
        progress(false);
        trouble(`${lost} ${gettext("Nothing you entered or chose is lost.")} ${next}`, { again: true });
        await pause(seconds || forever);
      } else if (answer.kind === "signed-out" || (answer.kind === "expired" && tried === 0)) {
        if (answer.kind === "signed-out" || !(await submit.renewToken())) await signedOut();
      } else {
        trouble("");
        return answer;
      }
      trouble("");
    }
  }

  // Until somebody has signed in again, here or in another tab.
  async function signedOut() {
    progress(false);
    trouble(
      gettext("Your session has ended, so the case was not sent. Nothing you entered or chose is lost. Sign in again in another tab; this page goes on by itself when you come back to it."),
      { again: true, signIn: true },
    );
    do {
      await pause(forever);
    } while (!(await submit.renewToken()));
  }

  // Sending.

  function dataOf(chosen, key) {
    const data = new FormData(form());
    data.delete("file");
    if (key) data.set("idempotency_key", key);
    for (const item of chosen) data.append("file", item.file, item.file.name);
    return data;
  }

  // The share of each file, from that of all: they leave one after the other.
  function spread(chosen, part) {
    const total = chosen.reduce((sum, item) => sum + item.file.size, 0) || 1;
    let before = 0;
    for (const item of chosen) {
      item.sending = true;
      item.sent = Math.min(1, Math.max(0, (part * total - before) / (item.file.size || 1)));
      before += item.file.size;
      submit.draw(item);
    }
    progress(true, part, part < 1 ? interpolate(gettext("Sent %s"), [`${Math.round(100 * part)} %`]) : gettext("Checking the files"));
  }

  function rest(chosen) {
    for (const item of chosen) {
      item.sending = false;
      submit.draw(item);
    }
    progress(false);
  }

  async function sendAsOne() {
    const chosen = [...items];
    spread(chosen, 0);
    const answer = await sendUntilAnswered(() => dataOf(chosen), (part) => spread(chosen, part));
    if (answer.kind === "done") {
      progress(true, 1, gettext("Submitted"));
      leaving = true;
      window.location.assign(answer.url);
      return;
    }
    rest(chosen);
    if (answer.kind === "refused") showRefused(answer.page);
    else failed();
  }

  function failed() {
    trouble(gettext("The case could not be sent. Nothing you entered or chose is lost; load the page in another tab to see whether it was stored."), { again: true });
  }

  // A refusal comes back as the form with its errors: it takes the place of the form, and the files
  // stay chosen.
  function showRefused(page) {
    const panel = page.getElementById("submit-panel");
    const field = byId("file");
    for (const name of ["aria-describedby", "aria-invalid"]) {
      const value = panel.querySelector("#file").getAttribute(name);
      if (value) field.setAttribute(name, value);
      else field.removeAttribute(name);
    }
    panel.querySelector("#file").replaceWith(field);
    for (const id of ["file-list", "cases-choice"]) panel.querySelector(`#${id}`).replaceWith(byId(id));
    byId("submit-panel").replaceWith(panel);
    begin();
    window.scrollTo(0, 0);
    const summary = byId("error-summary");
    if (summary) summary.focus();
  }

  async function sendEach() {
    const chosen = items.filter((item) => !item.outcome || item.outcome.bad);
    for (const [n, item] of chosen.entries()) {
      item.outcome = null;
      const told = (part) => {
        item.sending = true;
        item.sent = part;
        submit.draw(item);
        progress(true, (n + part) / chosen.length, interpolate(gettext("File %s of %s"), [n + 1, chosen.length]));
      };
      told(0);
      item.outcome = await sendOne(item, told);
      item.sending = false;
      submit.draw(item);
    }
    progress(false);
    showDone();
  }

  async function sendOne(item, told) {
    for (;;) {
      const answer = await sendUntilAnswered(() => dataOf([item], item.key), told);
      if (answer.kind === "done" && answer.url.includes("/submit/")) {
        // An earlier try is still being taken in.
        await pause(PENDING_S);
        continue;
      }
      if (answer.kind === "done") return { words: gettext("Submitted."), url: answer.url, bad: false };
      if (answer.kind !== "refused") return { words: gettext("Could not be sent."), bad: true };
      const lines = [...answer.page.querySelectorAll("#error-summary li")].map((line) => line.textContent.trim());
      return { words: `${gettext("Refused.")} ${lines.join(" ")}`, bad: true };
    }
  }

  function showDone() {
    const good = items.filter((item) => item.outcome && !item.outcome.bad).length;
    const bad = items.length - good;
    const place = byId("upload-done");
    place.className = bad ? "upload-done notice caution" : "upload-done notice success";
    const words = interpolate(ngettext("%s case submitted.", "%s cases submitted.", good), [good]);
    place.textContent = bad ? `${words} ${interpolate(ngettext("%s file not; the reason stands beside each. Correct it and press Submit case to send only those.", "%s files not; the reason stands beside each. Correct it and press Submit case to send only those.", bad), [bad])} ` : `${words} `;
    const link = document.createElement("a");
    link.href = form().dataset.worklist;
    link.textContent = gettext("Go to the worklist");
    place.append(link);
    place.hidden = false;
    place.focus();
  }

  function whyNot() {
    const most = Number(form().dataset.maxFiles);
    if (!submit.each() && items.length > most) {
      return interpolate(gettext("At most %s files in one case. Remove some, or submit each file as a case of its own."), [most]);
    }
    if (submit.each() && form().elements.accession_number.value.trim()) {
      return gettext("With an accession number all files would be one case. Empty that field, or submit them as one case.");
    }
    return "";
  }

  async function send() {
    const why = whyNot();
    if (why) {
      trouble(why);
      return;
    }
    trouble("");
    byId("upload-done").hidden = true;
    busy(true);
    try {
      await (submit.each() ? sendEach() : sendAsOne());
    } finally {
      if (!leaving) busy(false);
    }
  }

  // The page.

  let leaving = false;
  let depth = 0;
  const hasFiles = (event) => [...(event.dataTransfer ? event.dataTransfer.types : [])].includes("Files");
  const over = (on) => byId("drop-zone").classList.toggle("over", on);

  document.addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    over(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth = Math.max(0, depth - 1);
    if (!depth) over(false);
  });
  document.addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    over(false);
    if (sending) return;
    const folder = [...event.dataTransfer.items].some((item) => {
      const entry = item.webkitGetAsEntry && item.webkitGetAsEntry();
      return entry && entry.isDirectory;
    });
    submit.add(await submit.dropped(event.dataTransfer), folder);
    byId("drop-zone").scrollIntoView({ block: "nearest" });
  });

  document.addEventListener("submit", (event) => {
    if (event.target.id !== "submit-form") return;
    event.preventDefault();
    if (wake) wake();
    else if (!sending) send();
  });
  document.addEventListener("change", (event) => {
    if (event.target.id === "file") submit.add([...event.target.files], false);
    if (event.target.id === "folder") {
      submit.add([...event.target.files], true);
      event.target.value = "";
    }
    if (event.target.name === "cases") {
      byId("each-hint").hidden = event.target.value !== "each";
      for (const listener of submit.listeners) listener();
    }
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("#choose-folder")) byId("folder").click();
    if (event.target.closest("#try-again")) {
      if (wake) wake();
      else if (!sending) send();
    }
  });

  function comeBack() {
    submit.lookAgain();
    if (wake) wake();
  }
  window.addEventListener("online", comeBack);
  window.addEventListener("focus", () => { if (wake && !byId("sign-in-again").hidden) wake(); });
  document.addEventListener("bcweb:signed-in", comeBack);
  window.addEventListener("beforeunload", (event) => {
    if (sending && !leaving) event.preventDefault();
  });

  submit.listeners.push(() => {
    byId("cases-choice").hidden = items.length < 2;
  });

  function begin() {
    for (const element of document.querySelectorAll(".needs-script")) {
      if (element.id !== "upload-again") element.hidden = false;
    }
    submit.show();
  }
  // What the browser kept in the field while the page was away.
  const kept = [...byId("file").files];
  begin();
  if (kept.length) submit.add(kept, false);

  // Back from the case to a page the browser kept: what is submitted now is another submission.
  window.addEventListener("pageshow", (event) => {
    const key = document.querySelector("#submit-form input[name=idempotency_key]");
    if (!event.persisted || !key) return;
    leaving = false;
    busy(false);
    progress(false);
    key.value = submit.newKey();
    for (const item of items) {
      item.key = submit.newKey();
      item.outcome = null;
      item.sending = false;
    }
    submit.show();
  });
})();

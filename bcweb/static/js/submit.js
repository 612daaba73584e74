// The submission form with script: files by drop, a list of them, progress, and nothing lost when
// the network drops. Without script the same form is sent as it stands.
"use strict";

(() => {
  const MB = 1024 * 1024;
  const byId = (id) => document.getElementById(id);
  const isOurForm = (event) => event.target && event.target.id === "submit-form";

  function sizeInWords(bytes) {
    if (bytes >= MB) return `${(bytes / MB).toFixed(1)} MB`;
    return bytes >= 1024 ? `${Math.round(bytes / 1024)} kB` : `${bytes} bytes`;
  }

  function troubleWith(file) {
    if (file.size === 0) return "empty file";
    if (file.size > Number(byId("submit-form").dataset.maxBytes)) return "too large";
    return "";
  }

  function setFiles(files) {
    const transfer = new DataTransfer();
    for (const file of files) transfer.items.add(file);
    byId("file").files = transfer.files;
    listFiles();
  }

  function listItem(file, index) {
    const item = document.createElement("li");
    const name = document.createElement("span");
    name.className = "file-name";
    name.textContent = file.name;
    const size = document.createElement("span");
    const trouble = troubleWith(file);
    size.className = trouble ? "file-trouble" : "muted";
    size.textContent = trouble ? `${sizeInWords(file.size)}, ${trouble}` : sizeInWords(file.size);
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "button quiet small";
    remove.textContent = "Remove";
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => {
      setFiles([...byId("file").files].filter((_, other) => other !== index));
      byId("file").focus();
    });
    item.append(name, size, remove);
    return item;
  }

  function listFiles() {
    const files = [...byId("file").files];
    const list = byId("file-list");
    list.replaceChildren(...files.map(listItem));
    list.hidden = files.length === 0;
  }

  function trouble(words) {
    const place = byId("upload-trouble");
    place.textContent = words;
    place.hidden = !words;
  }

  function progress(shown, percent, words) {
    byId("upload-progress").hidden = !shown;
    byId("upload-progress").querySelector("progress").value = percent;
    byId("upload-words").textContent = words;
  }

  function begin() {
    if (!byId("submit-form")) return;
    const zone = byId("drop-zone");
    for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;
    zone.addEventListener("dragover", (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
    for (const name of ["dragleave", "drop"]) {
      zone.addEventListener(name, () => zone.classList.remove("over"));
    }
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      const dropped = [...event.dataTransfer.files];
      if (dropped.length) setFiles([...byId("file").files, ...dropped]);
    });
    byId("file").addEventListener("change", listFiles);
    listFiles();
  }

  begin();
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id === "submit-panel") begin();
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (!isOurForm(event)) return;
    const most = Number(event.target.dataset.maxFiles);
    if (byId("file").files.length > most) {
      event.preventDefault();
      trouble(`At most ${most} files at once. Remove some, or submit them in two parts.`);
      return;
    }
    trouble("");
    progress(true, 0, "Sending");
  });

  document.addEventListener("htmx:xhr:progress", (event) => {
    if (!isOurForm(event) || !event.detail.lengthComputable || !event.detail.total) return;
    const percent = Math.round((100 * event.detail.loaded) / event.detail.total);
    if (percent < 100) progress(true, percent, `Sent ${percent} %`);
    else progress(true, 100, "Checking the files");
  });

  // A refusal comes back as the form with its errors: show it in place of the form.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id !== "submit-panel" || event.detail.xhr.status < 400) return;
    if (event.detail.xhr.responseText.includes('id="submit-panel"')) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
  });

  function whyNotSent(request) {
    if (!request || request.status !== 503) return "The case could not be sent.";
    const minutes = Math.ceil(Number(request.getResponseHeader("Retry-After") || 60) / 60);
    const wait = minutes > 1 ? `${minutes} minutes` : "a minute";
    return `The service is busy and takes nothing in just now. Wait ${wait}.`;
  }

  function notSent(event) {
    if (!isOurForm(event)) return;
    progress(false, 0, "");
    // The hidden key makes a second press safe: what arrived the first time is not taken in twice.
    const again = "Nothing you entered is lost; press Submit case again.";
    trouble(`${whyNotSent(event.detail.xhr)} ${again}`);
  }
  document.addEventListener("htmx:sendError", notSent);
  document.addEventListener("htmx:timeout", notSent);
  document.addEventListener("htmx:responseError", notSent);

  // Back from the case to a page the browser kept: what is submitted now is another submission.
  window.addEventListener("pageshow", (event) => {
    const key = document.querySelector("#submit-form input[name=idempotency_key]");
    if (event.persisted && key && crypto.randomUUID) key.value = crypto.randomUUID();
  });
})();

// The chosen files of a submission: gathered from the chooser, a folder or a drop, looked at in the
// browser at once and by the server soon after, listed with a small picture and what is wrong.
"use strict";

window.BcwebSubmit = {};

(() => {
  const MB = 1024 * 1024;
  const HEAD_BYTES = 4096;
  // Larger files are checked when they are sent, not twice.
  const LOOK_BYTES = 64 * MB;
  const LOOKS_AT_ONCE = 2;
  const PICTURE = 56;
  // What file managers leave in folders, and the index of a DICOM medium: no images.
  const NO_IMAGE = /^(\..*|thumbs\.db|desktop\.ini|dicomdir|autorun\.inf|readme(\.\w+)?)$/i;
  // What is surely no image. Everything else the server decides, by the same rules as ever.
  const NEVER = [
    ["%PDF-", gettext("a PDF document")],
    ["PK\x03\x04", gettext("a ZIP archive or an office document")],
    ["{\\rtf", gettext("a text document")],
    ["GIF8", gettext("a GIF")],
    ["Rar!", gettext("an archive")],
    ["\x1f\x8b", gettext("an archive")],
    ["\x7fELF", gettext("a program")],
    ["MZ", gettext("a program")],
  ];
  const byId = (id) => document.getElementById(id);
  const items = [];
  const listeners = [];
  let looking = 0;
  // What of a folder was no image, in words.
  let leftOut = "";

  function sizeInWords(bytes) {
    if (bytes >= MB) return `${(bytes / MB).toLocaleString(document.documentElement.lang, { minimumFractionDigits: 1, maximumFractionDigits: 1, useGrouping: false })} MB`;
    return bytes >= 1024 ? `${Math.round(bytes / 1024)} kB` : interpolate(gettext("%s bytes"), [bytes]);
  }

  function changed() {
    for (const listener of listeners) listener();
  }

  // Gathering.

  async function filesOf(entry, path) {
    if (entry.isFile) {
      const file = await new Promise((good, bad) => entry.file(good, bad));
      return [file];
    }
    const reader = entry.createReader();
    const found = [];
    // It gives a hundred at a time, until it gives none.
    for (;;) {
      const some = await new Promise((good, bad) => reader.readEntries(good, bad));
      if (!some.length) return found;
      for (const one of some) found.push(...(await filesOf(one, `${path}${entry.name}/`)));
    }
  }

  async function dropped(transfer) {
    // Asked for all at once: the transfer is empty as soon as this function waits.
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry());
    const plain = [...transfer.files];
    if (!entries.some((entry) => entry && entry.isDirectory)) return plain;
    const found = [];
    for (const entry of entries) if (entry) found.push(...(await filesOf(entry, "")));
    return found;
  }

  const same = (one, other) =>
    one.name === other.name && one.size === other.size && one.lastModified === other.lastModified;

  // A folder comes in any order; its images belong in that of their names.
  function imagesOf(files) {
    const images = files.filter((file) => !NO_IMAGE.test(file.name));
    const place = (file) => file.webkitRelativePath || file.name;
    return images.sort((one, other) => place(one).localeCompare(place(other), undefined, { numeric: true }));
  }

  function add(files, fromFolder) {
    const wanted = fromFolder ? imagesOf(files) : files;
    for (const file of wanted) {
      if (items.some((item) => same(item.file, file))) continue;
      const item = { file, key: newKey(), trouble: "", look: "waiting", told: null, sent: 0, outcome: null };
      item.element = listItem(item);
      items.push(item);
      lookHere(item);
    }
    const left = files.length - wanted.length;
    leftOut = left ? ` ${interpolate(ngettext("%s file of the folder left out: no images.", "%s files of the folder left out: no images.", left), [left])}` : "";
    say(leftOut.trim());
    show();
    lookOn();
  }

  function remove(item) {
    items.splice(items.indexOf(item), 1);
    item.element.remove();
    show();
    byId("file").focus();
  }

  function newKey() {
    if (crypto.randomUUID) return crypto.randomUUID();
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  }

  // Looking at them.

  async function lookHere(item) {
    const { file } = item;
    if (file.size === 0) item.trouble = gettext("empty file");
    else if (file.size > Number(byId("submit-form").dataset.maxBytes)) item.trouble = gettext("too large");
    else {
      try {
        const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
        item.trouble = noImage(head);
        if (!item.trouble) await picture(item, head);
      } catch {
        item.trouble = gettext("cannot be read; choose it again");
      }
    }
    draw(item);
    changed();
  }

  function noImage(head) {
    const text = String.fromCharCode(...head.slice(0, 16));
    const known = NEVER.find(([begins]) => text.startsWith(begins));
    if (known) return interpolate(gettext("%s, not an image"), [known[1]]);
    const isText = head.every((byte) => byte === 9 || byte === 10 || byte === 13 || (byte >= 32 && byte < 127));
    return isText ? gettext("text, not an image") : "";
  }

  async function picture(item, head) {
    const canvas = item.element.querySelector("canvas");
    if (String.fromCharCode(...head.slice(128, 132)) === "DICM") {
      item.element.querySelector(".file-kind").textContent = "DICOM";
      return;
    }
    try {
      const bitmap = await createImageBitmap(item.file, { resizeHeight: PICTURE, resizeQuality: "medium" });
      canvas.width = Math.min(bitmap.width, 2 * PICTURE);
      canvas.height = PICTURE;
      canvas.getContext("2d").drawImage(bitmap, (canvas.width - bitmap.width) / 2, 0);
      bitmap.close();
      canvas.hidden = false;
      item.element.querySelector(".file-kind").hidden = true;
    } catch {
      // The browser does not draw this format; the server may read it all the same.
      item.element.querySelector(".file-kind").textContent = gettext("no preview");
    }
  }

  // The server's look: one file after the other, and again where the network was away.
  function lookOn() {
    while (looking < LOOKS_AT_ONCE) {
      const item = items.find((one) => one.look === "waiting" && !one.trouble);
      if (!item) return;
      item.look = "looking";
      looking += 1;
      look(item).finally(() => {
        looking -= 1;
        draw(item);
        changed();
        lookOn();
      });
    }
  }

  async function look(item) {
    const form = byId("submit-form");
    if (item.file.size > LOOK_BYTES) {
      item.look = "unchecked";
      return;
    }
    draw(item);
    const data = new FormData();
    data.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
    data.append("file", item.file, item.file.name);
    try {
      const answer = await fetch(form.dataset.look, {
        method: "POST",
        body: data,
        headers: { "HX-Request": "true", Accept: "application/json" },
        redirect: "error",
      });
      if (answer.status !== 200) throw new Error(`look: ${answer.status}`);
      item.told = await answer.json();
      item.look = item.told.ok ? "good" : "bad";
    } catch {
      // Not the file's fault: it is checked when it is sent.
      item.look = "unchecked";
    }
  }

  function lookAgain() {
    for (const item of items) if (item.look === "unchecked" && item.file.size <= LOOK_BYTES) item.look = "waiting";
    lookOn();
  }

  // Listing them.

  function listItem(item) {
    const element = document.createElement("li");
    const frame = document.createElement("span");
    frame.className = "file-picture";
    const canvas = document.createElement("canvas");
    canvas.hidden = true;
    canvas.setAttribute("aria-hidden", "true");
    const kind = document.createElement("span");
    kind.className = "file-kind";
    frame.append(canvas, kind);
    const name = document.createElement("span");
    name.className = "file-name";
    name.textContent = item.file.name;
    const state = document.createElement("span");
    state.className = "file-state";
    const progress = document.createElement("progress");
    progress.max = 100;
    progress.value = 0;
    progress.hidden = true;
    progress.setAttribute("aria-label", interpolate(gettext("Upload of %s"), [item.file.name]));
    const drop = document.createElement("button");
    drop.type = "button";
    drop.className = "button quiet small";
    drop.textContent = gettext("Remove");
    drop.setAttribute("aria-label", interpolate(gettext("Remove %s"), [item.file.name]));
    drop.addEventListener("click", () => remove(item));
    element.append(frame, name, state, progress, drop);
    return element;
  }

  function stateOf(item) {
    const size = sizeInWords(item.file.size);
    if (item.outcome) return [item.outcome.words, item.outcome.bad];
    if (item.trouble) return [`${size}, ${item.trouble}`, true];
    if (item.look === "bad") return [item.told.detail, true];
    if (item.look === "looking" || item.look === "waiting") return [interpolate(gettext("%s, being checked"), [size]), false];
    if (item.look === "unchecked") return [interpolate(gettext("%s, checked when it is sent"), [size]), false];
    const { told } = item;
    const frames = told.frames > 1 ? interpolate(gettext(", %s frames"), [told.frames]) : "";
    return [`${size}, ${told.format} ${told.width} × ${told.height}${frames}`, false];
  }

  function draw(item) {
    const state = item.element.querySelector(".file-state");
    const [words, bad] = stateOf(item);
    state.className = bad ? "file-state file-trouble" : "file-state muted";
    state.textContent = words;
    if (item.outcome && item.outcome.url) {
      const link = document.createElement("a");
      link.href = item.outcome.url;
      link.textContent = gettext("Open the case");
      state.append(" ", link);
    }
    const progress = item.element.querySelector("progress");
    progress.hidden = !item.sending;
    progress.value = Math.round(100 * item.sent);
    item.element.querySelector("button").hidden = Boolean(item.sending || (item.outcome && !item.outcome.bad));
  }

  function show() {
    const list = byId("file-list");
    list.replaceChildren(...items.map((item) => item.element));
    list.hidden = items.length === 0;
    for (const item of items) draw(item);
    // The form's own field holds them too, so that it is complete as it stands.
    const transfer = new DataTransfer();
    for (const item of items) transfer.items.add(item.file);
    byId("file").files = transfer.files;
    changed();
  }

  let news = "";
  function say(words) {
    if (words === news) return;
    news = words;
    byId("file-news").textContent = words;
  }

  // What has come of the looks, said once it has.
  function sayChecked() {
    if (!items.length || items.some((item) => item.look === "waiting" || item.look === "looking")) return;
    const bad = items.filter((item) => item.trouble || item.look === "bad").length;
    if (bad) say(interpolate(ngettext("%(bad)s file of %(all)s would be refused; the reason stands beside it.", "%(bad)s files of %(all)s would be refused; the reason stands beside it.", bad), { bad, all: items.length }, true) + leftOut);
    else if (items.every((item) => item.look === "good")) say(interpolate(ngettext("%s file checked.", "%s files checked.", items.length), [items.length]) + leftOut);
  }
  listeners.push(sayChecked);

  Object.assign(window.BcwebSubmit, {
    items, listeners, add, show, draw, say, dropped, lookOn, lookAgain, newKey,
  });
})();

// The picture of a case under the hand: zoom, move, window and level, invert, full screen.
// Without script the picture stands as it was received; nothing here is needed to read a case.
"use strict";

(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const MOST = 16;
  const STEP = 1.25;
  // Grey levels 0 to 255, as previews have them: the whole range as it is.
  const WHOLE = { window: 255, level: 127.5 };
  const stages = new Map();
  const within = (value, low, high) => Math.min(high, Math.max(low, value));

  class Stage extends EventTarget {
    constructor(figure, number) {
      super();
      this.figure = figure;
      this.config = JSON.parse(figure.dataset.stage);
      this.frame = this.config.frame;
      this.picture = figure.querySelector(".stage-picture");
      this.layers = figure.querySelector(".stage-layers");
      this.image = figure.querySelector(".stage-image");
      this.news = figure.querySelector(".stage-news");
      this.view = { scale: 1, x: 0, y: 0 };
      this.grey = { ...WHOLE, inverted: false };
      this.tool = "move";
      this.pointers = new Map();
      this.transfer = this.addFilter(`grey-${number}`);
      this.picture.tabIndex = 0;
      this.picture.setAttribute("aria-describedby", this.picture.dataset.keys);
      this.reveal();
      this.listen();
      this.drawView();
      this.drawGrey();
    }

    find(selector) {
      return this.figure.querySelector(selector);
    }

    // What only works with script is hidden until the script is there.
    reveal() {
      for (const element of this.figure.querySelectorAll(".needs-viewer")) element.hidden = false;
      for (const element of this.figure.querySelectorAll(".without-viewer")) element.hidden = true;
    }

    // Told to listeners that cannot see the picture change.
    say(words) {
      this.news.textContent = words;
    }

    tell(name, detail) {
      this.dispatchEvent(new CustomEvent(name, { detail }));
    }

    // Window and level are one linear curve for each colour; a filter does it without a copy.
    addFilter(id) {
      const svg = document.createElementNS(SVG, "svg");
      svg.setAttribute("class", "stage-filter");
      svg.setAttribute("aria-hidden", "true");
      const filter = document.createElementNS(SVG, "filter");
      filter.id = id;
      filter.setAttribute("color-interpolation-filters", "sRGB");
      const transfer = document.createElementNS(SVG, "feComponentTransfer");
      for (const channel of ["R", "G", "B"]) {
        const curve = document.createElementNS(SVG, `feFunc${channel}`);
        curve.setAttribute("type", "linear");
        transfer.append(curve);
      }
      filter.append(transfer);
      svg.append(filter);
      this.figure.append(svg);
      this.filter = `url("#${id}")`;
      return transfer;
    }

    drawGrey() {
      const { window: wide, level, inverted } = this.grey;
      const slope = 255 / wide;
      const intercept = 0.5 - level / wide;
      for (const curve of this.transfer.children) {
        curve.setAttribute("slope", inverted ? -slope : slope);
        curve.setAttribute("intercept", inverted ? 1 - intercept : intercept);
      }
      const plain = !inverted && wide === WHOLE.window && level === WHOLE.level;
      this.image.style.filter = plain ? "" : this.filter;
      this.find("[data-do=invert]").setAttribute("aria-pressed", String(inverted));
      for (const name of ["window", "level"]) {
        this.find(`.grey-${name}`).value = this.grey[name];
        this.find(`.grey-${name}-value`).textContent = String(Math.round(this.grey[name]));
      }
    }

    setGrey(change) {
      const next = { ...this.grey, ...change };
      next.window = within(next.window, 1, 510);
      next.level = within(next.level, 0, 255);
      this.grey = next;
      this.drawGrey();
    }

    drawView() {
      const { scale, x, y } = this.view;
      this.layers.style.transform = scale === 1 ? "" : `translate(${x}px, ${y}px) scale(${scale})`;
      this.picture.classList.toggle("zoomed", scale > 1);
      this.find(".zoom-value").textContent = `${Math.round(100 * scale)} %`;
      this.tell("view");
    }

    // Zoom by `factor`, the place under (x, y) staying where it is; the middle where none is given.
    zoom(factor, x = this.picture.clientWidth / 2, y = this.picture.clientHeight / 2) {
      const scale = within(this.view.scale * factor, 1, MOST);
      const ratio = scale / this.view.scale;
      this.moveTo(x - (x - this.view.x) * ratio, y - (y - this.view.y) * ratio, scale);
    }

    moveTo(x, y, scale = this.view.scale) {
      const { clientWidth: wide, clientHeight: high } = this.picture;
      this.view = { scale, x: within(x, wide * (1 - scale), 0), y: within(y, high * (1 - scale), 0) };
      this.drawView();
    }

    reset() {
      this.view = { scale: 1, x: 0, y: 0 };
      this.drawView();
      this.setGrey({ ...WHOLE, inverted: false });
      this.say(this.figure.dataset.wordsReset);
    }

    setTool(tool) {
      const radio = this.find(`.stage-tool[value=${tool}]`);
      if (!radio || radio.disabled) return;
      radio.checked = true;
      this.tool = tool;
      this.picture.classList.toggle("held", tool !== "move");
      this.picture.dataset.tool = tool;
      this.tell("tool");
    }

    // The place of a pointer in pixels of the frame, and how many of the screen's one of them is.
    place(event) {
      const box = this.layers.getBoundingClientRect();
      const { width, height } = this.config;
      const scale = Math.min(box.width / width, box.height / height);
      return {
        x: (event.clientX - box.left - (box.width - width * scale) / 2) / scale,
        y: (event.clientY - box.top - (box.height - height * scale) / 2) / scale,
        scale,
      };
    }

    get pixel() {
      const { width, height } = this.config;
      const { clientWidth, clientHeight } = this.layers;
      return Math.min(clientWidth / width, clientHeight / height) * this.view.scale;
    }

    fullScreen() {
      if (document.fullscreenElement) document.exitFullscreen();
      else this.figure.requestFullscreen?.();
    }

    get isFull() {
      return document.fullscreenElement === this.figure;
    }

    listen() {
      this.figure.addEventListener("click", (event) => {
        const button = event.target.closest("[data-do]");
        if (button) this.act(button.dataset.do);
      });
      this.figure.addEventListener("input", (event) => {
        const name = event.target.dataset.grey;
        if (name) this.setGrey({ [name]: Number(event.target.value) });
        if (event.target.classList.contains("stage-tool")) this.setTool(event.target.value);
      });
      this.picture.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
      this.picture.addEventListener("keydown", (event) => this.onKey(event));
      this.picture.addEventListener("pointerdown", (event) => this.onDown(event));
      this.picture.addEventListener("pointermove", (event) => this.onMove(event));
      for (const name of ["pointerup", "pointercancel"]) {
        this.picture.addEventListener(name, (event) => this.onUp(event));
      }
      this.picture.addEventListener("dragstart", (event) => event.preventDefault());
      this.figure.addEventListener("fullscreenchange", () => {
        this.find("[data-do=full]").setAttribute("aria-pressed", String(this.isFull));
      });
      new ResizeObserver(() => this.moveTo(this.view.x, this.view.y)).observe(this.picture);
    }

    act(what) {
      if (what === "in") this.zoom(STEP);
      else if (what === "out") this.zoom(1 / STEP);
      else if (what === "reset") this.reset();
      else if (what === "invert") this.setGrey({ inverted: !this.grey.inverted });
      else if (what === "full") this.fullScreen();
    }

    // The wheel scrolls the page unless somebody has taken hold of the picture.
    onWheel(event) {
      const held = event.ctrlKey || this.isFull || document.activeElement === this.picture;
      if (!held) return;
      event.preventDefault();
      const box = this.picture.getBoundingClientRect();
      const step = event.deltaMode === 0 ? event.deltaY / 100 : event.deltaY / 3;
      this.zoom(STEP ** -within(step, -3, 3), event.clientX - box.left, event.clientY - box.top);
    }

    onKey(event) {
      if (event.target !== this.picture || event.ctrlKey || event.metaKey || event.altKey) return;
      const asked = new CustomEvent("key", { detail: event, cancelable: true });
      // Measuring and cine come first: arrows mean something else to them.
      if (!this.dispatchEvent(asked) || this.ownKey(event)) event.preventDefault();
    }

    ownKey(event) {
      const act = { "+": "in", "=": "in", "-": "out", 0: "reset", i: "invert", f: "full" }[event.key];
      const tool = { v: "move", w: "window", m: "measure" }[event.key];
      const arrow = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[
        event.key
      ];
      if (act) this.act(act);
      // The wheel goes back to the page.
      else if (event.key === "Escape") this.picture.blur();
      else if (tool) this.setTool(tool);
      else if (arrow && this.tool === "window") {
        const { window: wide, level } = this.grey;
        this.setGrey({ window: wide - 5 * arrow[0], level: level + 5 * arrow[1] });
      } else if (arrow && this.view.scale > 1) {
        this.moveTo(this.view.x + 40 * arrow[0], this.view.y + 40 * arrow[1]);
      } else return false;
      return true;
    }

    onDown(event) {
      if (event.button > 0) return;
      this.picture.focus({ preventScroll: true });
      this.picture.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (this.tool !== "measure") return;
      if (this.pointers.size === 1) this.tell("press", this.place(event));
      else this.tell("loosen");
    }

    onMove(event) {
      const before = this.pointers.get(event.pointerId);
      if (this.tool === "measure" && this.pointers.size < 2) this.tell("hover", this.place(event));
      if (!before) return;
      const now = { x: event.clientX, y: event.clientY };
      if (this.pointers.size === 2) this.pinch(event.pointerId, before, now);
      else if (this.tool === "move" && this.view.scale > 1) {
        this.moveTo(this.view.x + now.x - before.x, this.view.y + now.y - before.y);
      } else if (this.tool === "window") {
        const { window: wide, level } = this.grey;
        this.setGrey({ window: wide + now.x - before.x, level: level + (now.y - before.y) / 2 });
      }
      this.pointers.set(event.pointerId, now);
    }

    pinch(id, before, now) {
      const other = [...this.pointers].find(([key]) => key !== id)[1];
      const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
      const box = this.picture.getBoundingClientRect();
      const x = (now.x + other.x) / 2 - box.left;
      const y = (now.y + other.y) / 2 - box.top;
      this.view.x += (now.x - before.x) / 2;
      this.view.y += (now.y - before.y) / 2;
      this.zoom(apart(now) / apart(before), x, y);
    }

    onUp(event) {
      if (!this.pointers.delete(event.pointerId)) return;
      if (this.tool === "measure" && event.type === "pointerup") this.tell("lift", this.place(event));
    }
  }

  document.querySelectorAll(".stage[data-stage]").forEach((figure, number) => {
    stages.set(figure, new Stage(figure, number));
  });
  // Parts of a stage that the page renews bring hidden controls with them.
  document.addEventListener("htmx:oobAfterSwap", () => {
    for (const stage of stages.values()) {
      stage.reveal();
      stage.tell("renewed");
    }
  });
  window.bcwebStages = [...stages.values()];
})();

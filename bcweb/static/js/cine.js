// A cine under the hand: play, step, slide through all frames, with those ahead fetched before
// they are wanted. Frames the model has read are marked.
"use strict";

(() => {
  // Frames come several at once: one request, one line in the audit trail.
  const AT_ONCE = 8;
  const AHEAD = 3;

  // The body of an answer: for each frame its length in four bytes, then its PNG.
  function framesIn(buffer) {
    const view = new DataView(buffer);
    const found = [];
    for (let at = 0; at < buffer.byteLength; ) {
      const length = view.getUint32(at);
      found.push(new Blob([new Uint8Array(buffer, at + 4, length)], { type: "image/png" }));
      at += 4 + length;
    }
    return found;
  }

  class Cine {
    constructor(stage) {
      this.stage = stage;
      this.count = stage.config.frames;
      // The picture the page came with is not among them: it is not kept, so it would come again.
      this.urls = new Map();
      this.fetches = new Map();
      this.playing = false;
      this.wanted = stage.frame;
      this.slider = stage.find(".cine-slider");
      this.words = stage.find(".cine-words");
      this.trouble = stage.find(".cine-trouble");
      this.listen();
      this.mark();
      this.tell();
    }

    listen() {
      this.stage.find(".cine-play").addEventListener("click", () => this.toggle());
      this.stage.find(".cine-back").addEventListener("click", () => this.step(-1));
      this.stage.find(".cine-on").addEventListener("click", () => this.step(1));
      this.slider.addEventListener("input", () => this.jump(Number(this.slider.value) - 1));
      this.stage.find(".cine-marks").addEventListener("click", (event) => {
        const mark = event.target.closest("[data-frame]");
        if (mark) this.jump(Number(mark.dataset.frame));
      });
      this.stage.addEventListener("key", (event) => {
        if (this.onKey(event.detail.key)) event.preventDefault();
      });
      this.stage.addEventListener("renewed", () => {
        this.mark();
        this.tell();
      });
    }

    onKey(key) {
      if (key === " ") this.toggle();
      else if (key === "." || key === "PageDown") this.step(1);
      else if (key === "," || key === "PageUp") this.step(-1);
      else if (key === "Home") this.jump(0);
      else if (key === "End") this.jump(this.count - 1);
      else return false;
      return true;
    }

    // Those frames of the answers on the page, which may come while one looks.
    get answered() {
      const told = this.stage.find(".stage-tools").dataset.answered;
      return told ? told.split(",").map(Number) : [];
    }

    mark() {
      const place = this.stage.find(".cine-marks");
      const words = place.dataset.words;
      place.replaceChildren(
        ...this.answered.map((frame) => {
          const mark = document.createElement("button");
          mark.type = "button";
          mark.className = "button quiet small";
          mark.dataset.frame = String(frame);
          mark.textContent = words.replace("{frame}", frame + 1);
          return mark;
        })
      );
      const line = this.stage.find(".cine-line");
      const span = Math.max(1, this.count - 1);
      line.replaceChildren(
        ...this.answered.map((frame) => {
          const tick = document.createElementNS("http://www.w3.org/2000/svg", "line");
          tick.setAttribute("x1", `${(100 * frame) / span}%`);
          tick.setAttribute("x2", `${(100 * frame) / span}%`);
          tick.setAttribute("y1", "0");
          tick.setAttribute("y2", "100%");
          return tick;
        })
      );
    }

    // Everything on the page that says which frame is shown.
    tell() {
      const frame = this.stage.frame;
      const read = this.answered.includes(frame);
      const said = (read ? this.words.dataset.read : this.words.dataset.plain)
        .replace("{frame}", frame + 1)
        .replace("{frames}", this.count);
      this.words.textContent = said;
      this.slider.value = frame + 1;
      this.slider.setAttribute("aria-valuetext", said);
      const title = this.stage.find(".stage-frame");
      if (title) title.textContent = title.dataset.words.replace("{frame}", frame + 1);
      const field = document.getElementById(this.stage.figure.dataset.rerunField);
      if (field) field.value = frame + 1;
      const button = this.stage.find(".read-frame");
      if (button) button.textContent = button.dataset.words.replace("{frame}", frame + 1);
      for (const mark of this.stage.find(".cine-marks").children) {
        mark.setAttribute("aria-current", String(Number(mark.dataset.frame) === frame));
      }
    }

    fetchPart(first) {
      if (!this.fetches.has(first)) {
        this.fetches.set(first, this.bring(first).catch((error) => {
          this.fetches.delete(first);
          throw error;
        }));
      }
      return this.fetches.get(first);
    }

    async bring(first) {
      const url = `${this.stage.config.framesUrl}?first=${first}&count=${AT_ONCE}`;
      const response = await fetch(url, { credentials: "same-origin", redirect: "error" });
      if (!response.ok) throw new Error(`frames: ${response.status}`);
      framesIn(await response.arrayBuffer()).forEach((blob, n) => {
        if (!this.urls.has(first + n)) this.urls.set(first + n, URL.createObjectURL(blob));
      });
    }

    // Fetches the parts after `frame`, one after the other, so that what is wanted next comes first.
    async ahead(frame) {
      const parts = Math.ceil(this.count / AT_ONCE);
      const here = Math.floor(frame / AT_ONCE);
      try {
        for (let n = 1; n <= Math.min(AHEAD, parts - 1); n += 1) {
          await this.fetchPart(((here + n) % parts) * AT_ONCE);
        }
      } catch {
        // Told when one of them is wanted and still not there.
      }
    }

    async show(frame) {
      this.wanted = frame;
      try {
        if (!this.urls.has(frame)) await this.fetchPart(Math.floor(frame / AT_ONCE) * AT_ONCE);
        const next = new Image();
        next.src = this.urls.get(frame);
        await next.decode();
      } catch {
        this.stop();
        this.trouble.hidden = false;
        return false;
      }
      // Somebody may have gone on meanwhile: the last wish counts.
      if (this.wanted !== frame) return false;
      this.trouble.hidden = true;
      this.stage.image.src = this.urls.get(frame);
      this.stage.frame = frame;
      this.tell();
      this.stage.tell("frame");
      this.ahead(frame);
      return true;
    }

    jump(frame) {
      this.stop();
      return this.show(frame);
    }

    step(by) {
      return this.jump((this.wanted + by + this.count) % this.count);
    }

    toggle() {
      if (this.playing) this.stop();
      else this.play();
    }

    stop() {
      this.playing = false;
      this.drawPlay();
    }

    drawPlay() {
      const button = this.stage.find(".cine-play");
      button.textContent = this.playing ? button.dataset.pause : button.dataset.play;
    }

    async play() {
      this.playing = true;
      this.drawPlay();
      while (this.playing) {
        const began = performance.now();
        const shown = await this.show((this.stage.frame + 1) % this.count);
        if (!shown || !this.playing) break;
        const speed = Number(this.stage.find(".cine-speed").value);
        const left = this.stage.config.frameMs / speed - (performance.now() - began);
        await new Promise((done) => setTimeout(done, Math.max(0, left)));
      }
    }
  }

  for (const stage of window.bcwebStages) {
    if (stage.config.frames > 1) new Cine(stage);
  }
})();

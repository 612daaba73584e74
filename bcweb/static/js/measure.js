// Lengths in millimetres on a calibrated picture. A look only: nothing of it is stored or sent.
"use strict";

(() => {
  const SVG = "http://www.w3.org/2000/svg";
  // A press that moves less than this on the screen sets one end; the next press sets the other.
  const CLICK_PX = 4;

  function drawn(name, attributes) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  class Caliper {
    constructor(stage) {
      this.stage = stage;
      this.areas = stage.config.areas;
      this.lines = [];
      this.open = null;
      this.pressed = null;
      this.cursor = null;
      this.count = 0;
      this.list = stage.find(".lengths");
      this.trouble = stage.find(".measure-trouble");
      this.svg = drawn("svg", {
        class: "stage-lines",
        viewBox: `0 0 ${stage.config.width} ${stage.config.height}`,
        "aria-hidden": "true",
      });
      stage.layers.append(this.svg);
      this.listen();
    }

    listen() {
      const on = (name, act) => this.stage.addEventListener(name, (event) => act(event.detail));
      on("press", (place) => this.press(place));
      on("hover", (place) => this.hover(place));
      on("lift", (place) => this.lift(place));
      on("loosen", () => this.drop());
      on("view", () => this.draw());
      on("frame", () => {
        this.drop();
        this.drawList();
      });
      on("tool", () => this.begin());
      this.stage.addEventListener("key", (event) => {
        if (this.stage.tool === "measure" && this.onKey(event.detail)) event.preventDefault();
      });
      this.list.addEventListener("click", (event) => {
        const button = event.target.closest("[data-line]");
        if (button) this.remove(Number(button.dataset.line));
      });
    }

    begin() {
      const measuring = this.stage.tool === "measure";
      this.stage.find(".measure-panel").hidden = !measuring && this.lines.length === 0;
      // The arrows move the caliper now, which a screen reader must let through.
      this.stage.picture.setAttribute("role", measuring ? "application" : "group");
      if (!measuring) this.drop();
      this.cursor = null;
      this.draw();
    }

    // The calibrated part of the picture that holds both ends.
    areaOf(...ends) {
      return this.areas.find((area) =>
        ends.every((e) => e.x >= area.x0 && e.x <= area.x1 && e.y >= area.y0 && e.y <= area.y1)
      );
    }

    millimetres(line) {
      const area = this.areaOf(line.a, line.b);
      if (!area) return null;
      return Math.hypot((line.b.x - line.a.x) * area.column, (line.b.y - line.a.y) * area.row);
    }

    words(line) {
      const length = this.millimetres(line);
      return length === null ? "" : `${length.toLocaleString(document.documentElement.lang, { minimumFractionDigits: 1, maximumFractionDigits: 1, useGrouping: false })} mm`;
    }

    press(place) {
      this.cursor = null;
      this.pressed = place;
      if (this.open) this.open.b = place;
      else this.open = { a: place, b: place };
      this.draw();
    }

    hover(place) {
      if (!this.open) return;
      this.open.b = place;
      this.draw();
    }

    lift(place) {
      if (!this.open || !this.pressed) return;
      const moved = Math.hypot(place.x - this.pressed.x, place.y - this.pressed.y) * place.scale;
      const second = this.open.a !== this.pressed;
      this.pressed = null;
      if (second || moved > CLICK_PX) this.finish(place);
    }

    finish(place) {
      const line = { ...this.open, b: place, frame: this.stage.frame };
      this.open = null;
      const apart = this.areaOf(line.a, line.b) === undefined;
      this.trouble.hidden = !apart;
      if (apart) this.stage.say(this.trouble.textContent);
      else {
        this.count += 1;
        this.lines.push({ ...line, id: this.count });
        this.stage.say(`${this.words(line)}`);
      }
      this.drawList();
    }

    drop() {
      this.open = null;
      this.pressed = null;
      this.draw();
    }

    remove(id) {
      this.lines = this.lines.filter((line) => line.id !== id);
      this.drawList();
      this.begin();
      this.stage.say(this.list.dataset.deleted);
      this.stage.picture.focus({ preventScroll: true });
    }

    onKey(event) {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[
        event.key
      ];
      if (way) this.moveCursor(way, event.shiftKey ? 1 : 10);
      else if (event.key === "Enter") this.setEnd();
      else if (event.key === "Escape" && this.open) this.drop();
      else if (event.key === "Delete" && this.lines.length) this.remove(this.lines.at(-1).id);
      else return false;
      return true;
    }

    moveCursor(way, step) {
      const { width, height } = this.stage.config;
      const from = this.cursor || this.middle();
      this.cursor = {
        x: Math.min(width, Math.max(0, from.x + step * way[0])),
        y: Math.min(height, Math.max(0, from.y + step * way[1])),
      };
      if (this.open) this.open.b = this.cursor;
      this.draw();
    }

    middle() {
      const area = this.areas[0];
      return { x: Math.round((area.x0 + area.x1) / 2), y: Math.round((area.y0 + area.y1) / 2) };
    }

    setEnd() {
      this.cursor = this.cursor || this.middle();
      if (this.open) this.finish({ ...this.cursor });
      else {
        this.open = { a: { ...this.cursor }, b: { ...this.cursor } };
        this.stage.say(this.list.dataset.started);
      }
      this.draw();
    }

    // Drawn in pixels of the frame, so it moves with the picture; signs keep their size on screen.
    draw() {
      const size = 1 / (this.stage.pixel || 1);
      const parts = [];
      const here = this.lines.filter((line) => line.frame === this.stage.frame);
      for (const line of this.open ? [...here, this.open] : here) {
        parts.push(...this.drawLine(line, size));
      }
      if (this.cursor && this.stage.tool === "measure") parts.push(...this.cross(this.cursor, 9 * size));
      this.svg.replaceChildren(...parts);
    }

    drawLine(line, size) {
      const { a, b } = line;
      const ends = { x1: a.x, y1: a.y, x2: b.x, y2: b.y };
      const words = line.id ? `${line.id}: ${this.words(line)}` : this.words(line);
      const label = drawn("text", {
        x: Math.max(a.x, b.x) + 8 * size,
        y: (a.x > b.x ? a.y : b.y) + 4 * size,
        "font-size": 14 * size,
        "stroke-width": 4 * size,
      });
      label.textContent = words;
      return [
        drawn("line", { ...ends, class: "under" }),
        drawn("line", ends),
        ...this.cross(a, 6 * size),
        ...this.cross(b, 6 * size),
        label,
      ];
    }

    cross({ x, y }, arm) {
      return [
        drawn("line", { x1: x - arm, x2: x + arm, y1: y, y2: y }),
        drawn("line", { x1: x, x2: x, y1: y - arm, y2: y + arm }),
      ];
    }

    drawList() {
      const several = this.stage.config.frames > 1;
      const { words, wordsFrame, remove } = this.list.dataset;
      this.list.replaceChildren(
        ...this.lines.map((line) => {
          const item = document.createElement("li");
          const text = document.createElement("span");
          text.textContent = (several ? wordsFrame : words)
            .replace("{number}", line.id)
            .replace("{length}", this.words(line))
            .replace("{frame}", line.frame + 1);
          const button = document.createElement("button");
          button.type = "button";
          button.className = "button quiet small";
          button.dataset.line = String(line.id);
          button.textContent = remove.replace("{number}", line.id);
          item.append(text, button);
          return item;
        })
      );
      this.draw();
    }
  }

  for (const stage of window.bcwebStages) {
    if (stage.config.areas.length) new Caliper(stage);
  }
})();

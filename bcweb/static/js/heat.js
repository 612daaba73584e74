// The heatmap over the picture: for which class, how strong, and only on the frame it is of.
"use strict";

(() => {
  class Heat {
    constructor(stage) {
      this.stage = stage;
      // What somebody chose stays when an answer that arrives renews the controls.
      this.chosen = { shown: false, label: "malignant", strength: "100" };
      stage.figure.addEventListener("input", (event) => this.onInput(event.target));
      stage.addEventListener("frame", () => this.draw());
      stage.addEventListener("renewed", () => this.restore());
      stage.addEventListener("key", (event) => {
        const toggle = stage.find(".heat-toggle");
        if (event.detail.key !== "h" || !toggle) return;
        toggle.click();
        event.preventDefault();
      });
      this.restore();
    }

    restore() {
      const toggle = this.stage.find(".heat-toggle");
      if (!toggle) return;
      toggle.checked = this.chosen.shown;
      const chooser = this.stage.find(".heat-class");
      if (chooser) chooser.value = this.chosen.label;
      this.stage.find(".heat-strength").value = this.chosen.strength;
      this.draw();
    }

    onInput(control) {
      if (control.classList.contains("heat-toggle")) this.chosen.shown = control.checked;
      else if (control.classList.contains("heat-class")) this.chosen.label = control.value;
      else if (control.classList.contains("heat-strength")) this.chosen.strength = control.value;
      else return;
      this.draw();
    }

    draw() {
      if (!this.stage.find(".heat-toggle")) return;
      const option = this.stage.find(".heat-class")?.selectedOptions[0];
      if (option) this.stage.find(".heat-words").textContent = option.dataset.words;
      let here = false;
      for (const map of this.stage.figure.querySelectorAll("img.heat")) {
        if (option) this.showClass(map, option);
        map.style.opacity = String(Number(this.chosen.strength) / 100);
        map.hidden = Number(map.dataset.frame) !== this.stage.frame;
        here = here || !map.hidden;
      }
      this.stage.find(".heat-none").hidden = here;
    }

    showClass(map, option) {
      const query = option.value === "malignant" ? "" : `?class=${option.value}`;
      const url = `${map.dataset.url}${query}`;
      if (map.getAttribute("src") !== url) map.setAttribute("src", url);
      map.alt = option.dataset.alt;
    }
  }

  for (const stage of window.bcwebStages) new Heat(stage);
})();

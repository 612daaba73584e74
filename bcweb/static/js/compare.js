// Two pictures side by side: zoomed and moved together where somebody wants that.
"use strict";

(() => {
  const box = document.querySelector(".link-views");
  const [one, two] = window.bcwebStages;
  if (!box || !two) return;
  box.closest("label").hidden = false;
  let copying = false;

  function copy(from, to) {
    if (copying || !box.checked) return;
    copying = true;
    const { scale, x, y } = from.view;
    const across = to.picture.clientWidth / from.picture.clientWidth;
    const down = to.picture.clientHeight / from.picture.clientHeight;
    to.moveTo(x * across, y * down, scale);
    copying = false;
  }

  one.addEventListener("view", () => copy(one, two));
  two.addEventListener("view", () => copy(two, one));
})();

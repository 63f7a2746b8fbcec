"use strict";
// The page reads without this script; it adds the choice of a region, the pointer's values and the copy buttons.
const $ = (query, root = document) => [...root.querySelectorAll(query)];
const chooser = document.getElementById("region"), tip = document.getElementById("tip");

function pick(place, scroll) {
  if (!chooser || !chooser.options[place]) return;
  chooser.value = place;
  $(".panel").forEach((panel) => { panel.hidden = panel.dataset.region !== place; });
  $(".cell").forEach((cell) => cell.classList.toggle("picked", cell.dataset.pick === place));
  if (scroll) document.getElementById("one").scrollIntoView({ behavior: "smooth", block: "start" });
}
if (chooser) {
  chooser.addEventListener("change", () => pick(chooser.value, false));
  $("[data-pick]").forEach((item) => item.addEventListener("click", () => pick(item.dataset.pick, true)));
  pick(chooser.value, false);
}

for (const name of ["tests", "naive"]) {
  const box = document.getElementById(name);
  const show = () => $(".with-tests").forEach((card) => card.classList.toggle("hide-" + name, !box.checked));
  if (box) { box.addEventListener("change", show); show(); }
}
$("[name=colour]").forEach((button) => button.addEventListener("change", () => {
  const card = document.getElementById("atlas");
  card.classList.toggle("show-change", button.value === "change");
  card.classList.toggle("show-gain", button.value === "gain");
}));

function say(text, event) {
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const right = event.clientX + 14 + tip.offsetWidth > innerWidth;
  tip.style.left = Math.max(4, event.clientX + (right ? -14 - tip.offsetWidth : 14)) + "px";
  tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 4)) + "px";
}
$("[data-tip]").forEach((item) => {
  item.addEventListener("pointermove", (event) => say(item.dataset.tip, event));
  item.addEventListener("pointerleave", () => say("", null));
});
$("svg[data-tips]").forEach((chart) => {
  const tips = JSON.parse(chart.dataset.tips), from = +chart.dataset.from, step = +chart.dataset.step;
  const cursor = chart.querySelector(".cursor");
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const day = Math.round(((event.clientX - box.left) * chart.viewBox.baseVal.width / box.width - from) / step);
    cursor.style.visibility = tips[day] ? "visible" : "hidden";
    cursor.setAttribute("x1", from + day * step);
    cursor.setAttribute("x2", from + day * step);
    say(tips[day] || "", event);
  });
  chart.addEventListener("pointerleave", () => { cursor.style.visibility = "hidden"; say("", null); });
});
$(".copy").forEach((button) => button.addEventListener("click", () => {
  const text = button.previousElementSibling, range = document.createRange();
  range.selectNodeContents(text);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  const done = document.execCommand("copy");
  button.textContent = done ? "copied" : "press Ctrl+C";
  setTimeout(() => { button.textContent = "copy"; }, 1500);
}));

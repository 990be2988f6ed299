"use strict";
// A click on a frame gives it the whole width; "search" marks the frames whose names have a text in them.
const svg = document.documentElement;
const width = Number(svg.getAttribute("data-width"));
const frames = Array.from(svg.querySelectorAll("g[data-w]"), (group) => ({
  group,
  rect: group.querySelector("rect"),
  text: group.querySelector("text"),
  name: group.getAttribute("data-n"),
  x: Number(group.getAttribute("data-x")),
  w: Number(group.getAttribute("data-w")),
  fill: group.querySelector("rect").getAttribute("fill"),
}));
const all = frames[0];
function place(frame, x, w) {
  frame.rect.setAttribute("x", x);
  frame.rect.setAttribute("width", Math.max(w - 0.5, 0.1));
  frame.text.setAttribute("x", x + 3);
  const room = Math.floor((w - 6) / 6.6);
  const name = frame.name;
  frame.text.textContent = room < 3 ? "" : name.length <= room ? name : name.slice(0, room - 2) + "..";
}
function zoom(to) {
  const tiny = 0.001;
  for (const frame of frames) {
    const holds = frame.x <= to.x + tiny && frame.x + frame.w >= to.x + to.w - tiny;
    const above = holds && (frame.w > to.w + tiny || Number(frame.rect.getAttribute("y")) < Number(to.rect.getAttribute("y")));
    const inside = frame.x >= to.x - tiny && frame.x + frame.w <= to.x + to.w + tiny;
    frame.group.setAttribute("display", above || inside ? "inline" : "none");
    if (above) {
      place(frame, 0, width);
    } else if (inside) {
      place(frame, ((frame.x - to.x) / to.w) * width, (frame.w / to.w) * width);
    }
  }
}
function search() {
  const wanted = prompt("Mark frames whose name has in it:") || "";
  let marked = 0;
  for (const frame of frames) {
    const hit = wanted !== "" && frame.name.includes(wanted);
    marked += hit ? 1 : 0;
    frame.rect.setAttribute("fill", hit ? "rgb(230,0,230)" : frame.fill);
  }
  document.getElementById("found").textContent = wanted === "" ? "search" : marked + " frames have " + wanted;
}
for (const frame of frames) {
  frame.group.addEventListener("click", () => zoom(frame));
}
document.getElementById("reset").addEventListener("click", () => zoom(all));
document.getElementById("found").addEventListener("click", search);

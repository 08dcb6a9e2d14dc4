/*
 * The dashboard: each card draws one number of the last minute. The connection
 * is gwclient.js, the other side scripts/events.lua.
 *
 * SPDX-License-Identifier: MIT
 */
"use strict";

const SECONDS = 60; // across a card
const cards = [...document.querySelectorAll("[data-name]")];
let points = []; // oldest first

/** A round number that is not below the value: 1, 2 or 5, and zeros. */
function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].find((n) => n * unit >= value) * unit;
}

function draw(card) {
  const canvas = card.querySelector("canvas");
  const scale = devicePixelRatio;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * scale; // also clears it
  canvas.height = height * scale;
  if (points.length === 0) return;

  const name = card.dataset.name;
  const top = ceiling(Math.max(...points.map((p) => p[name])));
  const last = points[points.length - 1].time;
  const x = (p) => width - (last - p.time) / (SECONDS - 1) * width;
  const y = (p) => height - 1 - p[name] / top * (height - 20);
  const style = getComputedStyle(document.documentElement);
  const c = canvas.getContext("2d");
  c.scale(scale, scale);
  c.font = "12px system-ui, sans-serif";
  c.fillStyle = style.getPropertyValue("--soft");
  c.fillText(top.toLocaleString(), 0, 11);
  c.strokeStyle = style.getPropertyValue("--line");
  c.strokeRect(0, 18.5, width, 0);
  c.strokeRect(0, height - .5, width, 0);

  c.beginPath();
  for (const p of points) c.lineTo(x(p), y(p));
  c.lineWidth = 2;
  c.lineJoin = "round";
  c.strokeStyle = c.fillStyle = style.getPropertyValue("--brand");
  c.stroke();
  c.lineTo(width, height);
  c.lineTo(x(points[0]), height);
  c.globalAlpha = .15;
  c.fill();
}

function render() {
  const last = points[points.length - 1];
  for (const card of cards) {
    const output = card.querySelector("output");
    output.textContent = last ? last[card.dataset.name].toLocaleString() : "–";
    if (last && card.dataset.unit) {
      const unit = document.createElement("small");
      unit.textContent = card.dataset.unit;
      output.append(unit);
    }
    draw(card);
  }
}

const client = new GwClient(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/`);
client.on("message", (m) => {
  if (m.type === "history") points = m.points;
  else if (m.type === "point") points = [...points.filter((p) => p.time > m.point.time - SECONDS), m.point];
  else return;
  render();
});
client.on("state", (state) => {
  document.getElementById("state").dataset.state = state;
  document.getElementById("state-text").textContent =
    { open: "live", connecting: "Connecting …", waiting: "No connection" }[state];
});
document.getElementById("burst").onclick = () => {
  for (let i = 0; i < 100; i++) client.send({ type: "burst" });
};
addEventListener("resize", render);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);

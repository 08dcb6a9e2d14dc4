/*
 * The operators' page: every device with its last report, and commands to it.
 * The connection is gwclient.js, the other side scripts/events.lua.
 *
 * SPDX-License-Identifier: MIT
 */
"use strict";

const ANSWER_MS = 5000; // after that a command counts as not answered
const LOG_MAX = 20;
const reasons = { wrong: "This is not the key.", too_often: "Too many attempts: wait a minute." };

const $ = (id) => document.getElementById(id);
const cards = {}; // device → its element
const results = {}; // command's id → the element that says how it went

let key = sessionStorage.getItem("operator-key");

function element(tag, text) {
  const e = document.createElement(tag);
  e.textContent = text;
  return e;
}

function makeCard(device) {
  const card = $("device").content.cloneNode(true).firstElementChild;
  card.dataset.device = device;
  card.querySelector(".title").textContent = device;
  card.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    client.send({ type: "command", device, name: "speed", value: card.querySelector("input").valueAsNumber });
  };
  cards[device] = card;
  // In the order of their names, in whatever order they come.
  $("devices").replaceChildren(...Object.keys(cards).sort().map((name) => cards[name]));
  return card;
}

function describe(m) {
  const time = m.time ? new Date(m.time * 1000).toLocaleTimeString() : "";
  if (m.online) return `last heard of at ${time}`;
  return m.time ? `offline since ${time}${m.reason ? `: ${m.reason}` : ""}` : "offline";
}

const handlers = {
  device(m) {
    $("login").hidden = true;
    const card = cards[m.device] || makeCard(m.device);
    card.className = m.online ? "live" : "";
    card.querySelector(".note").textContent = describe(m);
    card.querySelector("button").disabled = !m.online;
    if (!m.online) return; // what it said last stays
    card.querySelector("dl").replaceChildren(...Object.entries(m.values || {}).sort().map(([name, value]) => {
      const pair = document.createElement("div");
      pair.append(element("dt", name), element("dd", value.toLocaleString()));
      return pair;
    }));
  },
  command(m) {
    const li = document.createElement("li");
    const result = element("span", m.offline ? "is offline" : "…");
    li.append(element("span", `${m.device}: ${m.name} = ${m.value}`), result);
    $("log").hidden = false;
    $("commands").prepend(li);
    if ($("commands").children.length > LOG_MAX) $("commands").lastChild.remove();
    if (m.offline) return;
    results[m.id] = result;
    setTimeout(() => {
      if (!results[m.id]) return;
      result.textContent = "no answer";
      delete results[m.id];
    }, ANSWER_MS);
  },
  done(m) {
    if (!results[m.id]) return;
    results[m.id].textContent = m.ok ? "done" : "refused by the device";
    delete results[m.id];
  },
  refused(m) {
    key = null;
    client.close();
    showLogin(reasons[m.reason] || `The server closed the connection: ${m.reason}.`);
  },
};

function showLogin(problem) {
  $("login").hidden = false;
  $("problem").textContent = problem || "";
}

let client;

function connect() {
  client = new GwClient(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/`);
  client.on("open", () => client.send({ type: "login", key }));
  client.on("message", (m) => handlers[m.type]?.(m));
  client.on("state", (state) => {
    $("state").dataset.state = state;
    $("state-text").textContent =
      { open: "", connecting: "Connecting …", waiting: "No connection", closed: "Not logged in" }[state];
  });
}

$("login").onsubmit = (event) => {
  event.preventDefault();
  key = $("key").value;
  sessionStorage.setItem("operator-key", key);
  connect();
};

if (key) connect();
else showLogin();

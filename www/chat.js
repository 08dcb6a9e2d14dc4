/*
 * The chat page: what it shows, in two languages. The connection is gwclient.js,
 * the other side scripts/events.lua.
 *
 * SPDX-License-Identifier: MIT
 */
"use strict";

const texts = {
  en: {
    language: "中文", chat: "chat", rooms: "Rooms", everyone: "Everyone", newRoom: "New room", join: "Join",
    name: "Name", write: "Write a message", send: "Send", empty: "Nothing here yet. Say hello!",
    connecting: "Connecting…", open: "Connected", waiting: "Disconnected, retrying in {s} s", closed: "Disconnected",
    online: "{n} online", guest: "Guest", arrived: "{who} is here", left: "{who} has left", joined: "{who} joined {room}",
  },
  zh: {
    language: "English", chat: "聊天室", rooms: "房间", everyone: "所有人", newRoom: "新房间", join: "加入",
    name: "昵称", write: "输入消息", send: "发送", empty: "还没有消息,打个招呼吧!",
    connecting: "连接中…", open: "已连接", waiting: "连接断开,{s} 秒后重试", closed: "连接已断开",
    online: "{n} 人在线", guest: "访客", arrived: "{who} 来了", left: "{who} 离开了", joined: "{who} 加入了 {room}",
  },
};

const EVERYONE = "";
const HISTORY_MAX = 500; // messages kept per room
const $ = (id) => document.getElementById(id);

// What must survive a reload of the page lives for the visit, the name for ever.
const visit = JSON.parse(sessionStorage.getItem("gwrun-chat") || "null") || { rooms: [EVERYONE], room: EVERYONE, history: {} };
let language = localStorage.getItem("gwrun-language") || (navigator.language.startsWith("zh") ? "zh" : "en");
let myId = null;
let online = null;
let state = ["connecting", 0];
const unread = {};

function t(key, values = {}) {
  return texts[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function save() {
  try {
    sessionStorage.setItem("gwrun-chat", JSON.stringify(visit));
  } catch {
    // There is no more room: what is new does not survive a reload.
  }
}

function shortName(name, id) {
  return name || `${t("guest")} ${String(id || "").slice(-4)}`;
}

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text; // never innerHTML: texts come from strangers
  return e;
}

function renderMessage(m) {
  if (m.kind === "say") {
    const li = element("li", m.id === myId || m.mine ? "say mine" : "say");
    const who = element("div", "who");
    who.append(element("span", "", shortName(m.name, m.id)), element("time", "", new Date(m.time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })));
    li.append(who, element("div", "text", m.text));
    return li;
  }
  return element("li", "notice", t(m.kind, { who: shortName(m.name, m.id), room: m.room }));
}

function renderMessages() {
  const list = visit.history[visit.room] || [];
  $("messages").replaceChildren(...(list.length ? list.map(renderMessage) : [element("li", "empty", t("empty"))]));
  scrollDown();
}

function scrollDown() {
  const main = document.querySelector("main");
  main.scrollTop = main.scrollHeight;
}

/** Whether the newest message is in view. Who reads further up is not pulled down. */
function isAtEnd() {
  const main = document.querySelector("main");
  return main.scrollTop + main.clientHeight >= main.scrollHeight - 40;
}

function renderRooms() {
  $("rooms").replaceChildren(...visit.rooms.map((room) => {
    const button = element("button");
    button.type = "button";
    button.setAttribute("aria-current", String(room === visit.room));
    button.append(element("span", "", room === EVERYONE ? t("everyone") : room));
    if (unread[room]) button.append(element("span", "badge", String(unread[room])));
    button.onclick = () => enterRoom(room);
    const li = element("li");
    li.append(button);
    return li;
  }));
}

function renderState() {
  $("state").dataset.state = state[0];
  $("state-text").textContent = t(state[0], { s: Math.max(1, Math.round(state[1] / 1000)) });
  $("send").disabled = state[0] !== "open";
  $("online").hidden = online === null || state[0] !== "open";
  $("online").textContent = t("online", { n: online });
}

function renderAll() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  $("language").textContent = t("language");
  for (const e of document.querySelectorAll("[data-t]")) e.textContent = t(e.dataset.t);
  for (const e of document.querySelectorAll("[data-t-placeholder]")) e.placeholder = t(e.dataset.tPlaceholder);
  for (const e of document.querySelectorAll("[data-t-label]")) e.setAttribute("aria-label", t(e.dataset.tLabel));
  renderState();
  renderRooms();
  renderMessages();
}

/** Put a message into a room's history, and on the screen if it is shown. */
function add(room, message) {
  const list = (visit.history[room] ||= []);
  list.push(message);
  if (list.length > HISTORY_MAX) list.shift();
  save();
  if (room !== visit.room) {
    if (message.kind === "say") unread[room] = (unread[room] || 0) + 1;
    renderRooms();
    return;
  }
  const follow = isAtEnd() || message.id === myId;
  if (list.length === 1) $("messages").replaceChildren();
  $("messages").append(renderMessage(message));
  while ($("messages").children.length > HISTORY_MAX) $("messages").firstChild.remove();
  if (follow) scrollDown();
}

function enterRoom(room) {
  if (!visit.rooms.includes(room)) {
    visit.rooms.push(room);
    announce(room);
  }
  visit.room = room;
  delete unread[room];
  save();
  renderRooms();
  renderMessages();
  $("text").focus();
}

/** Tell the server our name, and that we are in this room. */
function announce(room) {
  client.send({ type: "join", name: $("name").value.trim(), room: room === EVERYONE ? undefined : room });
}

const handlers = {
  hello(m) {
    myId = m.client_id;
  },
  welcome(m) {
    if (m.client_id !== myId) add(EVERYONE, { kind: "arrived", id: m.client_id, name: m.name });
  },
  leave(m) {
    add(EVERYONE, { kind: "left", id: m.client_id, name: m.name });
  },
  join(m) {
    if (m.room) add(m.room, { kind: "joined", id: m.client_id, name: m.name, room: m.room });
  },
  say(m) {
    const room = m.room || EVERYONE;
    if (!visit.rooms.includes(room)) visit.rooms.push(room);
    add(room, {
      kind: "say", id: m.client_id, name: m.name, text: m.text ?? m.message, mine: m.client_id === myId,
      time: m.time ? m.time * 1000 : Date.now(),
    });
  },
};

// The page may come from elsewhere (nginx in front, a file): ?server=wss://… says where to.
const server = new URLSearchParams(location.search).get("server") ||
  `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/`;
$("name").value = localStorage.getItem("gwrun-name") || "";
const client = new GwClient(server);
client.on("state", (name, wait) => {
  state = [name, wait || 0];
  renderState();
});
client.on("open", () => visit.rooms.forEach(announce));
client.on("message", (m) => {
  if (m?.online !== undefined) {
    online = m.online;
    renderState();
  }
  handlers[m?.type]?.(m);
});

$("composer").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (text && client.send({ type: "say", text, room: visit.room === EVERYONE ? undefined : visit.room })) $("text").value = "";
};
$("add-room").onsubmit = (event) => {
  event.preventDefault();
  const room = $("room-name").value.trim();
  $("room-name").value = "";
  if (room) enterRoom(room);
};
$("name").onchange = () => {
  localStorage.setItem("gwrun-name", $("name").value.trim());
  visit.rooms.forEach(announce);
};
$("language").onclick = () => {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("gwrun-language", language);
  renderAll();
};

renderAll();

/*
 * The chat page. The connection is gwclient.js, the other side scripts/events.lua.
 * Everything from the server goes into the page as text, never as HTML.
 *
 * SPDX-License-Identifier: MIT
 */
"use strict";

const reasons = {
  bad_name: "A name has 1 to 24 letters, without blanks and @.",
  bad_password: "A password has at least 8 letters.",
  name_taken: "This name is taken.",
  wrong: "Name or password is wrong.",
  too_often: "Too fast: wait a little.",
  nobody: "There is nobody of that name.",
  bad_room: "This is no room.",
  bad_text: "This cannot be sent.",
  too_many_rooms: "You are in too many rooms.",
};

const $ = (id) => document.getElementById(id);
const KEPT = 500; // messages of a place
const PERSON = "@"; // places are "room" or "@person"
const isPerson = (place) => place.startsWith(PERSON);

let myName = null;
// The places in the list, of which the first one stays, and the one that is shown:
// a reload of the page must not forget them.
let { open, current } = JSON.parse(sessionStorage.getItem("chat-places")) || { open: ["lobby"], current: "lobby" };
let wanted = null; // a person to talk to, until the server knows how to write the name
const messages = {}; // place → messages by id
const names = {}; // room → Set of who is there
const unread = {};

function element(tag, className, text) {
  const e = document.createElement(tag);
  e.className = className;
  e.textContent = text;
  return e;
}

function sorted(place) {
  return [...(messages[place]?.values() || [])].sort((a, b) => a.id - b.id);
}

function renderMessage(m) {
  const li = element("li", m.from === myName ? "say mine" : "say", "");
  const who = element("div", "who", "");
  const time = new Date(m.time * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
  who.append(element("span", "", m.from), element("time", "", time));
  li.append(who, element("div", "text", m.text));
  return li;
}

/** Show the messages of the place. Who reads further up stays there. */
function renderMessages({ toEnd = false } = {}) {
  const view = $("messages").parentElement;
  const atEnd = view.scrollTop + view.clientHeight >= view.scrollHeight - 40;
  const before = view.scrollTop;
  const list = sorted(current);
  $("messages").replaceChildren(...(list.length ? list.map(renderMessage)
    : [element("li", "empty", "Nothing has been said here yet.")]));
  view.scrollTop = toEnd || atEnd ? view.scrollHeight : before;
}

function renderPlaces() {
  sessionStorage.setItem("chat-places", JSON.stringify({ open, current }));
  $("places").replaceChildren(...open.map((place) => {
    const button = element("button", "", "");
    button.type = "button";
    button.setAttribute("aria-current", place === current);
    button.append(element("span", "", place));
    if (unread[place]) button.append(element("span", "badge", unread[place]));
    button.onclick = () => show(place);
    const li = element("li", "", "");
    li.append(button);
    return li;
  }));
  $("names").textContent = [...(names[current] || [])].sort().join(", ");
}

function render() {
  renderPlaces();
  renderMessages({ toEnd: true });
}

/** Ask the server for a place's last messages; of a room it makes us a member. */
function enter(place) {
  client.send(isPerson(place) ? { type: "talk", with: place.slice(1) } : { type: "join", room: place });
}

function add(place) {
  if (open.includes(place)) return;
  open.push(place);
  enter(place);
}

function show(place) {
  add(place);
  current = place;
  delete unread[place];
  render();
  $("text").focus();
}

function keep(place, list) {
  const known = (messages[place] ||= new Map());
  for (const m of list) known.set(m.id, m);
  while (known.size > KEPT) known.delete(known.keys().next().value);
}

function arrived(place, m) {
  add(place);
  keep(place, [m]);
  if (place === current) return renderMessages({ toEnd: m.from === myName });
  unread[place] = (unread[place] || 0) + 1;
  renderPlaces();
}

function showLogin(problem) {
  $("login").hidden = false;
  $("app").hidden = true;
  $("problem").textContent = problem || "";
}

function logout(problem) {
  localStorage.removeItem("chat-token");
  sessionStorage.removeItem("chat-places"); // the next one is somebody else
  myName = null;
  showLogin(problem);
}

const handlers = {
  welcome(m) {
    myName = m.name;
    localStorage.setItem("chat-token", m.token);
    $("password").value = "";
    $("login").hidden = true;
    $("app").hidden = false;
    for (const name of m.partners) if (!open.includes(PERSON + name)) open.push(PERSON + name);
    open.forEach(enter);
    $("send").disabled = false; // what is said from here on comes behind the joins
    render();
  },
  history(m) {
    const place = m.room ?? PERSON + m.with;
    keep(place, m.messages);
    if (m.names) names[place] = new Set(m.names);
    if (place.toLowerCase() === wanted) {
      wanted = null;
      if (!open.includes(place)) open.push(place);
      show(place);
    } else if (place === current) render();
  },
  say: (m) => arrived(m.room, m),
  tell: (m) => arrived(PERSON + (m.from === myName ? m.to : m.from), m),
  joined(m) {
    names[m.room]?.add(m.name);
    renderPlaces();
  },
  left(m) {
    names[m.room]?.delete(m.name);
    renderPlaces();
  },
  refused(m) {
    const problem = reasons[m.reason] || "That did not work. Try again.";
    if (m.reason === "expired") return logout("Please log in again.");
    if (myName === null) return showLogin(problem);
    $("state-text").textContent = problem;
  },
};

const client = new GwClient(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/`);
client.on("message", (m) => handlers[m.type]?.(m));
client.on("open", () => {
  const token = localStorage.getItem("chat-token");
  if (token) client.send({ type: "resume", token });
  else showLogin();
});
client.on("state", (state) => {
  $("state").dataset.state = state;
  $("state-text").textContent = { open: "", connecting: "Connecting …", waiting: "No connection" }[state];
  $("send").disabled = true; // until the server has welcomed us on this connection
});

$("login").onsubmit = (event) => {
  event.preventDefault();
  client.send({ type: event.submitter.value, name: $("login-name").value, password: $("password").value });
};
$("logout").onclick = () => {
  logout();
  location.reload(); // a new connection, as nobody
};
$("add-room").onsubmit = (event) => {
  event.preventDefault();
  const place = $("room-name").value.trim();
  $("room-name").value = "";
  if (!place) return;
  if (isPerson(place)) {
    wanted = place.toLowerCase();
    enter(place);
  } else show(place);
};
$("composer").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  const target = isPerson(current) ? { type: "tell", to: current.slice(1) } : { type: "say", room: current };
  if (text && client.send({ ...target, text })) {
    $("text").value = "";
    $("state-text").textContent = "";
  }
};

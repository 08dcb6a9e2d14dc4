/*
 * Runs www/gwclient.js with a socket, timers and a clock of the test's; prints TAP.
 * node gwclient_test.js ../../www/gwclient.js
 */
"use strict";
const fs = require("fs");
const vm = require("vm");

let now, timers, sockets, listeners;

class FakeSocket {
  static CONNECTING = 0;
  static OPEN = 1;
  constructor(url) {
    Object.assign(this, { url, readyState: 0, sent: [] });
    sockets.push(this);
  }
  send(text) { this.sent.push(JSON.parse(text).type); }
  close() { this.readyState = 3; }
  open() { this.readyState = 1; this.onopen(); }
  say(message) { this.onmessage({ data: JSON.stringify(message) }); }
}

function start() {
  now = 1e12;
  timers = new Map();
  sockets = [];
  listeners = {};
  const target = { addEventListener: (name, f) => { listeners[name] = f; }, removeEventListener() {} };
  const world = vm.createContext({
    WebSocket: FakeSocket, window: target, document: { ...target, hidden: false }, Math,
    Date: { now: () => now },
    setTimeout: (f, ms) => { const id = {}; timers.set(id, { f, at: now + ms }); return id; },
    clearTimeout: (id) => timers.delete(id),
  });
  vm.runInContext(fs.readFileSync(process.argv[2], "utf8") + ";this.GwClient = GwClient;", world);
  const client = new world.GwClient("ws://test/");
  client.states = [];
  client.messages = [];
  client.on("state", (state) => client.states.push(state));
  client.on("message", (m) => client.messages.push(m));
  return client;
}

/** Let so much time pass; timers run when they are due, or `late` ms later. */
function pass(ms, late = 0) {
  const end = now + ms;
  for (;;) {
    const next = [...timers.entries()].sort((a, b) => a[1].at - b[1].at)[0];
    if (!next || next[1].at + late > end) break;
    now = Math.max(now, next[1].at + late);
    timers.delete(next[0]);
    next[1].f();
  }
  now = end;
}

const tests = {
  "asks after 25 s of silence, and not as long as something comes": () => {
    start();
    sockets[0].open();
    for (let i = 0; i < 10; i++) { pass(20000); sockets[0].say({ type: "say" }); }
    equal(sockets[0].sent, []);
    pass(51000);
    equal(sockets[0].sent[0], "ping");
  },
  "needs no answer from a server that has never given one": () => {
    start();
    sockets[0].open();
    sockets[0].say({ type: "say" });
    pass(600000);
    equal([sockets.length, sockets[0].readyState], [1, 1]);
  },
  "gives up a server that answered before and does not any more": () => {
    const client = start();
    sockets[0].open();
    pass(25000);
    sockets[0].say({ type: "pong" });
    equal(client.messages, []); // the heartbeat is not the page's business
    pass(10000 + 25000 + 9999); // until the silence was noticed, then asked, then given up
    equal(sockets[0].readyState, 1);
    pass(2);
    equal([sockets[0].readyState, client.states.at(-1)], [3, "waiting"]);
    pass(2000);
    equal(sockets.length, 2);
  },
  "stays connected in a hidden tab whose timers come once a minute": () => {
    const client = start();
    sockets[0].open();
    pass(25000);
    sockets[0].say({ type: "pong" });
    for (let i = 0; i < 30; i++) {
      const before = sockets[0].sent.length;
      pass(60000, 35000);
      if (sockets[0].sent.length > before) sockets[0].say({ type: "pong" });
    }
    equal([sockets.length, client.states], [1, ["open"]]);
  },
  "asks a server once more after the computer has slept, before it gives it up": () => {
    start();
    sockets[0].open();
    pass(25000);
    sockets[0].say({ type: "pong" });
    pass(36000);
    equal(sockets[0].sent.length, 2);
    pass(3600000, 3590000); // asleep: no timer, no message
    equal([sockets[0].readyState, sockets[0].sent.length], [1, 3]);
    pass(1000);
    sockets[0].say({ type: "pong" });
    pass(20000);
    equal([sockets.length, sockets[0].readyState], [1, 1]);
  },
  "gives up a dead server in a hidden tab, too": () => {
    start();
    sockets[0].open();
    pass(25000);
    sockets[0].say({ type: "pong" });
    pass(600000, 50000);
    equal(sockets[0].readyState, 3);
  },
  "asks at once when the tab is looked at again": () => {
    start();
    sockets[0].open();
    listeners.visibilitychange();
    equal(sockets[0].sent, ["ping"]);
  },
  "gives up a connection that does not open": () => {
    const client = start();
    pass(10001);
    equal([sockets[0].readyState, client.states.at(-1)], [3, "waiting"]);
  },
};

function equal(got, wanted) {
  const a = JSON.stringify(got), b = JSON.stringify(wanted);
  if (a !== b) throw new Error(`expected ${b}, got ${a}`);
}

let failures = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    test();
    console.log(`ok - ${name}`);
  } catch (error) {
    failures++;
    console.log(`not ok - ${name}: ${error.stack}`);
  }
}
process.exit(failures ? 1 : 0);

// A device that runs anywhere: node simulator.js DEVICE KEY [PORT [HOST]]
// Shows the protocol "frame": 4 bytes big-endian, the length with themselves,
// then the message.
"use strict";

const net = require("node:net");

const [device, key, port = 8304, host = "127.0.0.1"] = process.argv.slice(2);
if (!key) {
  console.error("usage: node simulator.js DEVICE KEY [PORT [HOST]]");
  process.exit(2);
}

const REPORT_MS = 2000;
const RETRY_MS = 3000;
const state = { speed: 3, temperature: 20 };

function connect() {
  const socket = net.connect(port, host);
  let received = Buffer.alloc(0);
  let reports;

  function send(message) {
    const body = Buffer.from(JSON.stringify(message));
    const head = Buffer.alloc(4);
    head.writeUInt32BE(4 + body.length);
    socket.write(Buffer.concat([head, body]));
  }

  function report() {
    state.temperature += (20 + 5 * state.speed - state.temperature) / 10; // it warms up slowly
    send({ type: "report", values: { speed: state.speed, temperature: Math.round(state.temperature * 10) / 10 } });
  }

  function handle(message) {
    console.log(device, "received", JSON.stringify(message));
    if (message.type === "welcome") {
      report();
      reports = setInterval(report, REPORT_MS);
    } else if (message.type === "command") {
      const known = message.name === "speed" && message.value >= 0 && message.value <= 10;
      if (known) state.speed = message.value;
      send({ type: "done", id: message.id, ok: known });
      report();
    } else if (message.type === "refused") {
      console.error("refused:", message.reason);
      process.exit(1);
    }
  }

  socket.on("connect", () => send({ type: "login", device, key }));
  socket.on("data", (data) => {
    received = Buffer.concat([received, data]);
    while (received.length >= 4 && received.length >= received.readUInt32BE()) {
      const end = received.readUInt32BE();
      handle(JSON.parse(received.subarray(4, end)));
      received = received.subarray(end);
    }
  });
  socket.on("error", (error) => console.error(error.message));
  socket.on("close", () => {
    clearInterval(reports);
    setTimeout(connect, RETRY_MS);
  });
}

connect();

// Websocket clients and browser pages for the specs, driven over stdin and
// stdout with one JSON object a line.
//
// in:  {"id":1,"op":"open","url":"ws://…","options":{…}}  a client of npm's ws
//      {"id":1,"op":"send","text":"…"} or {"binary":"base64"}
//      {"id":1,"op":"close","code":1000} · {"id":1,"op":"terminate"}
//      {"id":2,"op":"page","url":"http://…","options":{…}}  a page in Chromium
//      {"id":2,"op":"do","method":"fill","args":["#name","Ann"]}  a page method
// out: {"id":1,"event":"open"|"message"|"close"|"error"|"ping"|"done"|"failed",…}
"use strict";

const readline = require("node:readline");
const WebSocket = require("ws");

const things = new Map();
let browser;

function out(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

function open({ id, url, options = {} }) {
  const socket = new WebSocket(url, options.protocols, { perMessageDeflate: false, ...options });
  things.set(id, socket);
  let headers;
  socket.on("upgrade", (response) => (headers = response.headers));
  socket.on("open", () => out({ id, event: "open", protocol: socket.protocol, headers }));
  socket.on("message", (data, binary) =>
    out(binary ? { id, event: "message", binary: data.toString("base64") } : { id, event: "message", text: data.toString() }));
  socket.on("ping", () => out({ id, event: "ping" }));
  socket.on("close", (code, reason) => out({ id, event: "close", code, reason: reason.toString() }));
  socket.on("unexpected-response", async (request, response) => {
    let body = "";
    for await (const part of response) body += part;
    out({ id, event: "refused", status: response.statusCode, phrase: response.statusMessage, headers: response.headers, body });
  });
  socket.on("error", (error) => out({ id, event: "error", message: error.message }));
}

async function page({ id, url, options = {} }) {
  const { chromium } = require("playwright-core");
  browser ||= await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"],
  });
  const context = await browser.newContext({ locale: "en-US", ...options });
  const p = await context.newPage();
  p.setDefaultTimeout(options.timeout || 20000);
  p.on("pageerror", (error) => out({ id, event: "error", message: error.message }));
  p.on("console", (m) => m.type() === "error" && out({ id, event: "console", message: m.text() }));
  things.set(id, p);
  await p.goto(url);
}

const operations = {
  open,
  page,
  send: ({ id, text, binary }) => things.get(id).send(binary ? Buffer.from(binary, "base64") : text),
  close: ({ id, code, reason }) => things.get(id).close(code, reason),
  terminate: ({ id }) => things.get(id).terminate(),
  do: ({ id, method, args = [] }) => things.get(id)[method](...args),
};

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const message = JSON.parse(line);
  try {
    const result = await operations[message.op](message);
    if (message.op === "page" || message.op === "do") {
      out({ id: message.id, event: "done", result: ["string", "number", "boolean"].includes(typeof result) ? result : undefined });
    }
  } catch (error) {
    out({ id: message.id, event: "failed", message: error.message });
  }
}).on("close", async () => {
  await browser?.close();
  process.exit(0);
});

// A feed of quotes that means harm: node hostilefeed.js [mode …]. Each connection gets
// some good quotes, then one of the modes, in their order, or by chance ("chance").
// Prints its port, and each connection's mode on a line of its own.
const crypto = require("crypto");
const net = require("net");

const QUOTES = 5;
const chance = process.argv[2] === "chance";
let price = 100, count = 0;

function frame(opcode, data, more = {}) {
  const body = Buffer.from(data);
  const head = [(more.fin === false ? 0 : 0x80) | (more.rsv || 0) | opcode];
  const mask = more.mask ? 0x80 : 0;
  const length = more.length === undefined ? BigInt(body.length) : BigInt(more.length);
  const parts = [];
  if (length < 126n) head.push(mask | Number(length));
  else if (length < 65536n) head.push(mask | 126, Number(length >> 8n), Number(length & 255n));
  else {
    head.push(mask | 127);
    for (let i = 7n; i >= 0n; i--) head.push(Number((length >> (8n * i)) & 255n));
  }
  parts.push(Buffer.from(head));
  if (more.mask) parts.push(Buffer.alloc(4));
  parts.push(body);
  return Buffer.concat(parts);
}

function quote(symbol) {
  price += 1;
  return frame(1, JSON.stringify({ symbol, price }));
}

// Until the other side has had enough; a breath between pieces, others compute here,
// too. One that reads as fast as this writes never has it wait: timers would not run.
function flood(socket, make) {
  (function next() {
    for (let pieces = 0; pieces < 64; pieces++) {
      if (socket.destroyed || !socket.writable) return;
      if (!socket.write(make())) return socket.once("drain", () => setTimeout(next, 2));
    }
    setTimeout(next, 2);
  })();
}

const nonsense = ["", "{", "null", "[]", "7", '"x"', '{"symbol":7,"price":1}', '{"symbol":"NONE","price":1}',
  '{"symbol":"EURUSD"}', '{"symbol":"EURUSD","price":"1"}', '{"symbol":"EURUSD","price":-1}',
  '{"symbol":"EURUSD","price":1e400}', '{"symbol":{"a":1},"price":1}', "[".repeat(30000), "\u0000"];

const modes = {
  drop: (s) => s.destroy(),
  reset: (s) => (s.resetAndDestroy || s.destroy).call(s),
  garbage: (s) => flood(s, () => crypto.randomBytes(4096)),
  huge: (s) => { s.write(frame(1, "x", { length: 1n << 40n })); flood(s, () => Buffer.alloc(4096, "x")); },
  negative: (s) => { s.write(frame(2, "x", { length: (1n << 63n) + 5n })); flood(s, () => Buffer.alloc(4096)); },
  short: (s) => s.end(frame(1, "ten bytes ", { length: 100 })),
  stall: () => {},
  trickle: (s) => { // a byte now and then of a frame without an end
    s.write(frame(1, "", { length: 60000 }));
    const timer = setInterval(() => s.destroyed ? clearInterval(timer) : s.write("x"), 50);
    s.on("close", () => clearInterval(timer));
  },
  bytes: (s) => s.write(frame(1, Buffer.from([0xff, 0xfe, 0x80]))),
  nonsense: (s) => { for (const text of nonsense) s.write(frame(1, text)); s.end(frame(8, Buffer.from([3, 232]))); },
  fragments: (s) => { s.write(frame(1, "x", { fin: false })); flood(s, () => frame(0, Buffer.alloc(1000, "x"), { fin: false })); },
  empties: (s) => { // fragments of nothing, then the end
    s.write(frame(1, "", { fin: false }));
    for (let i = 0; i < 5000; i++) s.write(frame(0, "", { fin: false }));
    s.end();
  },
  pings: (s) => { for (let i = 0; i < 5000; i++) s.write(frame(9, "ping")); s.end(); },
  reserved: (s) => s.write(frame(1, "x", { rsv: 0x40 })),
  opcode: (s) => s.write(frame(3, "x")),
  control: (s) => s.write(frame(9, Buffer.alloc(200))),
  masked: (s) => { s.write(frame(1, "{}", { mask: true })); s.end(); },
  close: (s) => s.end(frame(8, Buffer.concat([Buffer.from([3, 245]), Buffer.from("go away")]))),
  badclose: (s) => s.end(frame(8, Buffer.from([3]))),
  deaf: (s) => { s.pause(); flood(s, () => quote("XAUUSD")); setTimeout(() => s.destroy(), 300); },
};
const refusals = {
  refuse: (s) => s.end("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
  redirect: (s) => s.end("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
  wrongkey: (s) => s.end("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"),
  endless: (s) => { s.write("HTTP/1.1 101 Switching Protocols\r\n"); flood(s, () => "X-Y: " + "y".repeat(1000) + "\r\n"); },
};
const all = { ...modes, ...refusals };
const names = !chance && process.argv.length > 2 ? process.argv.slice(2) : Object.keys(all);

function answer(key) {
  const accept = crypto.createHash("sha1").update(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`;
}

function serve(socket) {
  const name = chance ? names[crypto.randomInt(names.length)] : names[count % names.length];
  let head = "";
  count++;
  console.log(`mode ${name}`);
  socket.on("error", () => {});
  socket.on("data", function request(data) {
    head += data.toString("latin1");
    if (!head.includes("\r\n\r\n")) return;
    socket.removeListener("data", request);
    socket.on("data", () => {});
    if (refusals[name]) return refusals[name](socket);
    socket.write(answer(head.match(/sec-websocket-key: (\S+)/i)[1]));
    for (let i = 0; i < QUOTES; i++) for (const symbol of ["EURUSD", "XAUUSD"]) socket.write(quote(symbol));
    modes[name](socket);
  });
}

net.createServer(serve).listen(0, "127.0.0.1", function () {
  console.log(`port=${this.address().port} modes=${names.length} ready`);
});

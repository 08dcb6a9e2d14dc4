// A server for the specs of gwrun.socket: a peer says what it wants in lines, and
// gets it. With a certificate and its key, over TLS; "starttls" begins it later.
const fs = require("fs");
const net = require("net");
const tls = require("tls");

const [cert, key, plain] = process.argv.slice(2);
const secret = cert ? { cert: fs.readFileSync(cert), key: fs.readFileSync(key) } : {};
let last = ""; // how the last one that counted ended

function serve(socket) {
  let input = Buffer.alloc(0), heard = 0, raw = false;
  socket.on("error", () => {});
  const commands = {
    echo: (rest) => socket.write(rest + "\n"),
    crlf: (rest) => socket.write(rest + "\r\n"),
    bytes: (n) => socket.write(Buffer.alloc(Number(n), "x")),
    say: (rest) => socket.write(JSON.parse(rest)),
    split: (rest) => { // each byte by itself
      let at = 0;
      const text = JSON.parse(rest);
      (function next() {
        if (at < text.length) socket.write(text[at++], () => setImmediate(next));
      })();
    },
    close: (rest) => socket.end(rest),
    half: () => { // no more from here, but it reads on
      raw = true; heard = input.length; input = Buffer.alloc(0);
      socket.allowHalfOpen = true;
      socket.end("half\n");
    },
    drop: () => (socket.resetAndDestroy || socket.destroy).call(socket),
    cut: (rest) => { // the end of TCP without that of TLS
      socket.write(rest, () => (socket._parent || socket).destroy());
    },
    deaf: () => socket.pause(),
    count: () => { raw = true; heard = input.length; input = Buffer.alloc(0); },
    last: () => socket.write(last + "\n"),
    starttls: (rest) => {
      socket.removeAllListeners("data");
      socket.write("go\n" + rest, () => {
        const secure = new tls.TLSSocket(socket, { isServer: true, ...secret });
        serve(secure);
      });
    },
    notls: () => {
      socket.removeAllListeners("data");
      socket.write("go\n");
      socket.on("data", () => socket.write("this is no TLS at all\n"));
    },
  };
  socket.on("data", (data) => {
    if (raw) { heard += data.length; return; }
    if (data[0] === 0x16) socket.write("this is no TLS\n"); // a hello of it
    input = Buffer.concat([input, data]);
    for (;;) {
      const end = raw ? -1 : input.indexOf(10);
      if (end < 0) return;
      const line = input.subarray(0, end).toString();
      input = input.subarray(end + 1);
      const command = line.match(/^(\w+) ?(.*)$/);
      if (command && commands[command[1]]) commands[command[1]](command[2]);
    }
  });
  socket.on("end", () => { if (raw) last = "end " + heard; });
}

const server = cert && plain !== "plain"
  ? tls.createServer(secret, serve) : net.createServer(serve);
server.on("tlsClientError", () => {});
server.listen(0, "127.0.0.1", () => {
  console.log(`port=${server.address().port} ready`);
});

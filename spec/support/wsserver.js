// A websocket server for specs (npm's ws): node wsserver.js [cert key]. Prints its
// port. What a connection meets is its path's.
"use strict";

const fs = require("node:fs");
const { WebSocketServer } = require("ws");
const [cert, key] = process.argv.slice(2);

let farewell = {}, alive = 0;

const ways = {
  echo(socket) { socket.on("message", (data, binary) => socket.send(data, { binary })); },
  talk(socket) { // until "bye"
    socket.on("message", (data, binary) => (data.toString() === "bye" ? socket.close(4002, "as you say") : socket.send(data, { binary })));
  },
  // the request as the server sees it
  request(socket, req) { socket.send(JSON.stringify({ url: req.url, headers: req.headers })); },
  count(socket, req, query) { for (let i = 1; i <= +query.get("n"); i++) socket.send("" + i); },
  large(socket, req, query) { socket.send("x".repeat(+query.get("n"))); },
  fragments(socket) {
    socket.send("one, ", { fin: false });
    socket.send("two, ", { fin: false });
    socket.send("three");
  },
  close(socket, req, query) {
    socket.send("last");
    socket.close(+query.get("code") || undefined, query.get("reason") || undefined);
  },
  drop(socket) { socket.send("last", () => socket.terminate()); },
  silent() {},
  leave(socket) { socket.close(); },
  // how it was closed, for the next one who asks
  farewell(socket) { alive++; socket.on("close", () => alive--); socket.on("close", (code, reason) => { farewell = { code, reason: reason.toString() }; }); },
  alive(socket) { socket.send("" + alive); },
  last(socket) { socket.send(JSON.stringify(farewell)); },
  pings(socket) { socket.on("ping", () => socket.send("ping")); },
};

const http = cert
  ? require("node:https").createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) })
  : require("node:http").createServer();
const server = new WebSocketServer({
  noServer: true, perMessageDeflate: true,
  handleProtocols: (protocols) => (protocols.has("two") ? "two" : false),
});

http.on("upgrade", (req, tcp, head) => {
  const url = new URL(req.url, "http://x");
  const way = ways[url.pathname.split("/")[1]];
  if (way) {
    server.handleUpgrade(req, tcp, head, (socket) => {
      socket.on("error", () => {});
      way(socket, req, url.searchParams);
    });
  } else if (url.pathname !== "/stall") {
    tcp.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
  }
});
http.listen(0, "127.0.0.1", () => console.log("port=" + http.address().port + " ready"));

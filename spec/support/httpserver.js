// A web server for specs: node httpserver.js [cert key]. Prints its port.
const fs = require("fs");
const [cert, key] = process.argv.slice(2);
let connections = 0, closed = 0, flooded = 0;

const routes = {
  echo(req, res, url, body) {
    const headers = { "content-type": "application/json", "x-two": ["a", "b"], "set-cookie": ["a=1", "b=2"], "x-blank": "" };
    res.writeHead(200, headers);
    res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, body: body.toString("latin1"), connections }));
  },
  status(req, res, url) { res.writeHead(+url.pathname.split("/")[2]).end("status"); },
  silent() {},
  slowly(req, res) { res.write("x"); },
  big(req, res, url) { res.end("x".repeat(+url.searchParams.get("n"))); },
  headers(req, res) { for (let i = 0; i < 40; i++) res.setHeader("x-" + i, "y".repeat(8000)); res.end(); },
  gzip(req, res, url) {
    res.setHeader("content-encoding", "gzip");
    res.end(require("zlib").gzipSync("x".repeat(+url.searchParams.get("n"))));
  },
  redirect(req, res, url) {
    const n = +url.searchParams.get("n");
    res.writeHead(302, { location: n > 1 ? "/redirect?n=" + (n - 1) : "/echo", "x-old": "yes" }).end("moved");
  },
  to(req, res, url) { res.writeHead(302, { location: url.searchParams.get("url") }).end(); },
  drip(req, res, url) { // so many pieces, then the end, or a pause, or a loss
    let left = +url.searchParams.get("n");
    (function next() {
      if (left-- > 0) return res.write("piece\n", () => setImmediate(next));
      const end = url.searchParams.get("end");
      if (end === "cut") req.socket.destroy();
      else if (end !== "wait") res.end();
    })();
    res.on("close", () => closed++);
  },
  closed(req, res) { res.end(String(closed)); },
  flood(req, res, url) { // as fast as it is read
    let left = +url.searchParams.get("n");
    flooded = 0;
    const block = Buffer.alloc(65536, "x");
    (function next() {
      while (left > 0) {
        left -= block.length;
        flooded += block.length;
        if (!res.write(block)) return res.once("drain", next);
      }
      res.end();
    })();
  },
  pieces(req, res, url) { // so many of 1 KiB
    const n = +url.searchParams.get("n");
    flooded = 0;
    for (let i = 0; i < n; i++) res.write(Buffer.alloc(1024, "x"));
    res.end(() => { flooded = 1024 * n; });
  },
  flooded(req, res) { res.end(String(flooded)); },
  head(req, res) { res.writeHead(200, { "x-now": "yes" }); res.flushHeaders(); },
  events(req, res) {
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write(": hello\n\nid: 1\ndata: one\n\nid: 2\nda");
    setImmediate(() => { res.write("ta: two\ndata: lines\n\n"); setImmediate(() => res.end("event: end\ndata: bye\n\n")); });
  },
  gone(req) { req.socket.destroy(); },
  cut(req, res) { res.writeHead(200, { "content-length": 100 }); res.write("half"); setImmediate(() => req.socket.destroy()); },
};

function serve(req, res) {
  const chunks = [];
  req.on("data", (c) => chunks.push(c));
  req.on("end", () => {
    const url = new URL(req.url, "http://x");
    const route = routes[url.pathname.split("/")[1]];
    if (route) route(req, res, url, Buffer.concat(chunks));
    else res.writeHead(404).end("no such page");
  });
}

const server = cert
  ? require("https").createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, serve)
  : require("http").createServer({ maxHeaderSize: 1 << 20 }, serve);
server.on("connection", () => connections++);
server.listen(0, "127.0.0.1", () => console.log("port=" + server.address().port + " ready"));

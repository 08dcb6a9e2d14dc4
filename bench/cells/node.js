// A node of Socket.IO with its Redis adapter, for bench/cells/compare: node.js
// REDIS_PORT ADAPTER, "classic" or "sharded". It prints its port.
const { createServer } = require("http");
const { Server } = require("socket.io");
const { createClient } = require("redis");
const { createAdapter, createShardedAdapter } = require("@socket.io/redis-adapter");

async function main([redisPort, adapter]) {
  const pub = createClient({ socket: { host: "127.0.0.1", port: Number(redisPort) } });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);

  const server = createServer();
  const io = new Server(server, {
    transports: ["websocket"],
    perMessageDeflate: false,
    httpCompression: false,
    serveClient: false,
    adapter: adapter === "sharded" ? createShardedAdapter(pub, sub) : createAdapter(pub, sub),
  });
  io.on("connection", (socket) => {
    const { uid, room } = socket.handshake.query;
    if (uid) socket.join("uid" + uid);
    if (room) socket.join("room" + room);
    socket.on("uid", (to, text) => io.to("uid" + to).emit("m", text));
    socket.on("room", (to, text) => io.to("room" + to).emit("m", text));
    socket.on("all", (text) => io.emit("m", text));
  });
  server.listen(0, "127.0.0.1", () => console.log(`port=${server.address().port} ready`));
}

main(process.argv.slice(2));

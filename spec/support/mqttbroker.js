// A broker of MQTT for specs: node mqttbroker.js. Of each connection it prints the mode,
// and what is published; the modes are taken one after the other, the last one for good.
const net = require("net");

const modes = {
  good: {},
  refuse: { connect: (s) => s.write(Buffer.from([0x20, 2, 0, 5])) },
  garbage: { connect: (s) => s.write(Buffer.alloc(100000, 0xee)) },
  web: { connect: (s) => s.write("HTTP/1.1 400 Bad Request\r\n\r\n" + "x".repeat(1000)) },
  longlength: { publish: (s) => s.write(Buffer.from([0x40, 0xff, 0xff, 0xff, 0xff, 1])) },
  huge: { publish: (s) => s.write(Buffer.concat([Buffer.from([0x40, 0xff, 0xff, 0xff, 0x7f]), Buffer.alloc(100000)])) },
  short: { publish: (s) => s.end(Buffer.from([0x40, 2, 0])) },
  drop: { publish: (s) => s.destroy() },
  hangup: { connect: (s) => s.destroy() },
  stranger: { publish: (s) => s.write(Buffer.from([0x30, 3, 0, 1, 97])) },
};
const names = Object.keys(modes).slice(1).concat("good");
let count = 0;

// The first whole packet: [kind, body, rest].
function packet(data) {
  let length = 0, at = 1;
  for (let shift = 0; ; shift += 7, at++) {
    if (at >= data.length) return null;
    length |= (data[at] & 0x7f) << shift;
    if (data[at] < 0x80) break;
  }
  const end = at + 1 + length;
  return data.length < end ? null : [data[0], data.subarray(at + 1, end), data.subarray(end)];
}

function published(mode, socket, kind, body) {
  const end = 2 + body.readUInt16BE(0);
  const qos = (kind >> 1) & 3;
  const payload = body.subarray(end + (qos ? 2 : 0));
  console.log(`published ${body.subarray(2, end)} ${payload.length > 100 ? payload.length : payload}`);
  if (mode.publish) return mode.publish(socket);
  if (qos) socket.write(Buffer.concat([Buffer.from([0x40, 2]), body.subarray(end, end + 2)]));
}

net.createServer((socket) => {
  const name = names[Math.min(count++, names.length - 1)], mode = modes[name];
  let data = Buffer.alloc(0);
  console.log(`mode ${name}`);
  socket.on("error", () => {});
  socket.on("data", (more) => {
    data = Buffer.concat([data, more]);
    for (let p = packet(data); p; p = packet(data)) {
      const [kind, body, rest] = p;
      data = rest;
      if (kind === 0x10) (mode.connect || ((s) => s.write(Buffer.from([0x20, 2, 0, 0]))))(socket);
      else if (kind >> 4 === 3) published(mode, socket, kind, body);
      else if (kind === 0xc0) socket.write(Buffer.from([0xd0, 0]));
      else if (kind === 0xe0) console.log("goodbye");
    }
  });
}).listen(0, "127.0.0.1", function () { console.log(`port=${this.address().port} ready`); });

-- Requests as programs and proxies make them: with connections that are kept, bodies
-- in chunks, and many at a time. Each gets its own answer, and the script sees as many
-- as were sent.
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local script = [[
local routes = require "gwrun.routes"
Events = {}
local app = routes.new()
local count = 0

local function echo(request)
  count = count + 1
  if tonumber(request.get.i) % 7 == 0 then Timer.sleep(0.002) end
  return request.get.i .. ":" .. #request.body
end
app:get("/echo", echo)
app:post("/echo", echo)
app:get("/count", function()
  local seen = count
  count = 0
  return tostring(seen)
end)
app:get("/nothing", function() return 204 end)
app:get("/events", function() return { stream = "sse", groups = "all" } end)
app:post("/say", function(request)
  Gateway.sendToGroup("all", request.body)
  return ""
end)
function Events.onConnect(client_id) Gateway.sendToClient(client_id, "welcome") end
Events.onRequest = app:handler()
]]

-- 400 requests over at most 4 connections that are kept; half of them have a body,
-- and half of these come in chunks.
local node = [[
const http = require("http");
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
const ports = new Set();

function ask(i) {
  return new Promise((resolve, reject) => {
    const body = "x".repeat(i % 2 ? (i * 7919) % 20000 : 0);
    const headers = i % 4 === 1 ? { "Content-Length": body.length } : {};
    const request = http.request({ host: "127.0.0.1", port: PORT, agent, path: "/echo?i=" + i,
      method: i % 2 ? "POST" : "GET", headers }, (response) => {
      let text = "";
      response.on("data", (data) => { text += data; });
      response.on("end", () => {
        if (response.statusCode !== 200 || text !== i + ":" + body.length)
          reject(new Error("request " + i + " got " + response.statusCode + " " + text));
        else resolve();
      });
    });
    request.on("socket", (socket) => { ports.add(socket); });
    request.on("error", reject);
    for (let at = 0; at < body.length; at += 5000) request.write(body.slice(at, at + 5000));
    request.end();
  });
}

(async () => {
  await Promise.all(Array.from({ length: 400 }, (_, i) => ask(i)));
  console.log("connections " + ports.size);
  agent.destroy();
})();
]]

local python = [[
import http.client
c = http.client.HTTPConnection("127.0.0.1", PORT)
c.connect()
sock = c.sock
def ask(method, path, body=None, headers={}):
    c.request(method, path, body, headers, encode_chunked="Transfer-Encoding" in headers)
    r = c.getresponse()
    return r.status, r.read().decode()
for i in range(100):
    assert ask("GET", "/echo?i=%d" % i) == (200, "%d:0" % i)
    assert ask("POST", "/echo?i=%d" % i, "x" * i * 50) == (200, "%d:%d" % (i, i * 50))
    chunks = iter([b"a" * 10, b"b" * i, b"c"] if i else [b"a" * 10, b"c"])
    assert ask("POST", "/echo?i=%d" % i, chunks, {"Transfer-Encoding": "chunked"}) == (200, "%d:%d" % (i, 11 + i))
    assert ask("HEAD", "/echo?i=7") == (200, "")
    assert ask("GET", "/nothing") == (204, "")
    assert ask("DELETE", "/nothing")[0] == 405
    assert c.sock is sock
print("kept")
]]

local nginx_conf = [[
daemon off;
pid DIR/nginx.pid;
error_log stderr notice;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path DIR/body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  upstream gwrun { server 127.0.0.1:UPSTREAM; keepalive 4; }
  server {
    listen 127.0.0.1:FRONT;
    location / {
      proxy_pass http://gwrun;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering off;
    }
  }
}
]]

local haproxy_conf = [[
defaults
  mode http
  timeout connect 20s
  timeout client 60s
  timeout server 60s
  option forwardfor
  http-reuse always
frontend front
  bind 127.0.0.1:FRONT
  default_backend gwrun
backend gwrun
  server one 127.0.0.1:UPSTREAM
]]

describe("requests over kept connections", function()
  local app, proxy

  setup(function()
    app = testbed.start { script = script, gateways = { { listen = "http", trusted_proxies = "127.0.0.1" } } }
  end)

  after_each(function()
    if proxy then
      proxy:kill "sigterm"
      proxy:wait()
      proxy = nil
    end
  end)

  teardown(function() app:stop() end)

  local function run(program, option, text, port)
    local code, out = process.run({ program, option, (text:gsub("PORT", tostring(port))) }, { seconds = 120 })
    assert.equal(0, code, out)
    return out
  end

  --- How many the script has seen since the last time.
  local function count()
    local c = tcp.connect(app.port[1])
    c:send "GET /count HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    local text = c:wait_end()
    c:close()
    return tonumber(text:match "%d+$")
  end

  local function configure(text)
    local front = testbed.ports()
    text = text:gsub("UPSTREAM", app.port[1]):gsub("FRONT", front):gsub("DIR", app.dir)
    testbed.write_file(app.dir .. "/proxy.conf", text)
    return front
  end

  local function say(text)
    local c = tcp.connect(app.port[1])
    c:send(("POST /say HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"):format(#text, text))
    c:wait_end()
    c:close()
  end

  --- An event stream through a proxy: each event comes at once, and its end is noticed,
  --- by some proxies when they can send no more.
  local function listen(port)
    local c = tcp.connect(port)
    c:send "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
    c:receive "data: welcome\n"
    for i = 1, 3 do
      say(tostring(i))
      c:receive(("data: %d\n"):format(i))
    end
    c:close()
    loop.poll("its client to be gone", function()
      say "anybody there"
      return app:counters("gateway", 0).clients == 0
    end)
  end

  it("come from Node's agent", function()
    count()
    local before = app:counters("gateway", 0).accepted
    assert.equal("connections 4\n", run("node", "-e", node, app.port[1]))
    assert.equal(4, app:counters("gateway", 0).accepted - before)
    assert.equal(400, count())
  end)

  it("come from Python's http.client", function()
    count()
    assert.equal("kept\n", run("python3", "-c", python, app.port[1]))
    assert.equal(400, count())
  end)

  it("come through nginx", function()
    local port = configure(nginx_conf)
    proxy = process.spawn { "/usr/sbin/nginx", "-e", "stderr", "-p", app.dir, "-c", app.dir .. "/proxy.conf" }
    proxy:wait_output "start worker process "
    count()
    run("node", "-e", node, port)
    assert.equal(400, count())
    listen(port)
  end)

  it("come through HAProxy", function()
    local port = configure(haproxy_conf)
    proxy = process.spawn { "/usr/sbin/haproxy", "-db", "-f", app.dir .. "/proxy.conf" }
    loop.poll("HAProxy to listen", function()
      local ok, c = pcall(tcp.connect, port)
      if ok then c:close() end
      return ok
    end)
    count()
    run("node", "-e", node, port)
    assert.equal(400, count())
    listen(port)
  end)
end)

-- gwrun.websocket over TLS against servers of others: gwrun, python3-websockets, nginx in
-- front of npm's ws, each with a good certificate and with bad ones.
-- luacheck: no max line length
local bridge = require "bridge"
local cjson = require "cjson"
local openssl = require "openssl"
local process = require "process"
local running = require "running"
local scripting = require "scripting"
local testbed = require "testbed"
local uv = require "luv"
local wsserver = require "wsserver"

describe("gwrun.websocket over TLS", function()
  local bed, dir

  setup(function()
    dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-wss-XXXXXX"))
    openssl.certificates(dir)
    bed = scripting.start()
  end)

  teardown(function()
    bed:stop()
    process.run { "rm", "-rf", dir }
  end)

  local servers = {}

  --- Each starts one with that certificate: its port, and what stops it.
  function servers.gwrun(name)
    local app = testbed.start {
      gateways = { { listen = "websocket", tls = { cert = dir .. "/" .. name .. ".pem", key = dir .. "/" .. name .. ".key" } } },
      script = [[
        Events = {}
        function Events.onMessage(id, message)
          if message == "bye" then Gateway.closeClient(id, nil, { code = 4002, reason = "as you say" }) else Gateway.sendToClient(id, message) end
        end
      ]],
    }
    return app.port[1], function() app:stop() end
  end

  function servers.python(name)
    if process.run { "/usr/bin/python3", "-c", "import websockets" } ~= 0 then running.skip "python3-websockets is missing" end
    local server = process.spawn { "/usr/bin/python3", "spec/support/wsserver.py", dir .. "/" .. name .. ".pem", dir .. "/" .. name .. ".key" }
    server:wait_output " ready"
    return server.out:match "port=(%d+)", function()
      server:kill "sigkill"
      server:wait()
    end
  end

  local conf = [[
daemon off;
pid DIR/nginx.pid;
error_log stderr notice;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path DIR/body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  server {
    listen 127.0.0.1:PORT ssl;
    ssl_certificate DIR/NAME.pem;
    ssl_certificate_key DIR/NAME.key;
    location / {
      proxy_pass http://127.0.0.1:BEHIND/talk;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
    }
  }
}
]]

  function servers.nginx(name)
    local missing = bridge.missing "ws"
    if missing then running.skip(missing) end
    local behind, port = wsserver.start(), testbed.ports()
    local values = { DIR = dir, PORT = port, NAME = name, BEHIND = behind.port }
    testbed.write_file(dir .. "/nginx.conf", (conf:gsub("%u%u%u%u?%u?%u?", values)))
    local nginx = process.spawn { "/usr/sbin/nginx", "-e", "stderr", "-p", dir, "-c", dir .. "/nginx.conf" }
    nginx:wait_output "start worker process "
    return port, function()
      nginx:kill "sigquit"
      nginx:wait()
      behind:stop()
    end
  end

  local function with(server, name, f)
    local port, stop = servers[server](name)
    local ok, message = pcall(f, port)
    stop()
    assert(ok, message)
  end

  local refusals = {
    other = "[Hh]ostname mismatch", old = "certificate has expired", foreign = "unable to get local issuer certificate",
  }

  for _, server in ipairs { "gwrun", "python", "nginx" } do
    it("talks to " .. server, function()
      with(server, "good", function(port)
        assert.same({ "hello", 100000, "eof", 4002, "as you say" }, { bed:run([[
          local ws = assert(Websocket.connect("wss://localhost:%d/", { ca_file = %q }))
          ws:send "hello"
          local first = ws:receive(60)
          ws:send(("x"):rep(100000))
          local second = ws:receive(60)
          ws:send "bye"
          local none, _, code = ws:receive(60)
          assert(none == nil)
          return first, #second, code, ws.closed.code, ws.closed.reason
        ]], port, dir .. "/ca.pem") })
      end)
    end)

    it("refuses wrong, expired and foreign certificates of " .. server, function()
      for name, why in pairs(refusals) do
        with(server, name, function(port)
          local none, message, code = bed:run("return Websocket.connect('wss://127.0.0.1:%d/?token=1', { ca_file = %q })", port, dir .. "/ca.pem")
          assert.equal(cjson.null, none)
          assert.matches("^websocket: wss://127.0.0.1:%d+/: the certificate is not accepted: " .. why .. "$", message)
          assert.equal("eacces", code)
        end)
      end
    end)
  end
end)

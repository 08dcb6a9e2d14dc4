-- wss:// through Debian's nginx, with the file that docs/nginx.md shows.
local bridge = require "bridge"
local loop = require "loop"
local openssl = require "openssl"
local process = require "process"
local testbed = require "testbed"

-- The chat demo, and a way to ask what the script sees.
local script = testbed.read_file "scripts/events.lua" .. [[

local on_message = Events.onMessage
function Events.onMessage(client_id, message)
  if message == "who" then return Gateway.sendToCurrentClient(_SERVER.REMOTE_ADDR) end
  Log.notice("said at " .. _SERVER.REMOTE_ADDR)
  return on_message(client_id, message)
end
]]

-- nginx wants a whole file of its own around ours.
local frame = [[
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
  include DIR/gwrun.conf;
}
]]

-- Replace exactly `count` places, so that the example cannot drift away.
local function replace(text, from, to, count)
  local pattern = from:gsub("%p", "%%%0")
  local result, n = text:gsub(pattern, (to:gsub("%%", "%%%%")))
  assert.equal(count, n, from)
  return result
end

describe("nginx in front", function()
  local app, nginx, port

  local function configure()
    local text = testbed.read_file "docs/nginx/gwrun.conf"
    port = testbed.ports()
    text = replace(text, "443 ssl", port .. " ssl", 2)
    text = replace(text, "server 127.0.0.1:8283", "server 127.0.0.1:" .. app.port[1], 1)
    text = replace(text, "/etc/nginx/ssl/chat.example.com.pem", app.dir .. "/cert.pem", 1)
    text = replace(text, "/etc/nginx/ssl/chat.example.com.key", app.dir .. "/key.pem", 1)
    testbed.write_file(app.dir .. "/gwrun.conf", text)
    testbed.write_file(app.dir .. "/nginx.conf", (frame:gsub("DIR", app.dir)))
  end

  local function run(...)
    return { "/usr/sbin/nginx", "-e", "stderr", "-p", app.dir, "-c", app.dir .. "/nginx.conf", ... }
  end

  setup(function()
    app = testbed.new {
      script = script,
      gateways = { { listen = "websocket", www = "www", count = 2, trusted_proxies = "127.0.0.1" } },
    }
    app:write_page()
    openssl.certificate(app.dir)
    app:up()
    configure()
    nginx = process.spawn(run())
    nginx:wait_output "start worker process "
  end)

  teardown(function()
    bridge.close()
    nginx:kill "sigquit"
    nginx:wait()
    app:stop()
  end)

  --- A client whose own address is not the proxy's.
  local function connect(headers)
    return bridge.connect("wss://127.0.0.1:" .. port .. "/chat?room=1",
      { rejectUnauthorized = false, localAddress = "127.0.0.77", headers = headers })
  end

  local function who(c)
    c:send "who"
    return c:receive "127."
  end

  it("takes the documented file", function()
    local code, out = process.run(run "-t")
    assert.equal(0, code, out)
    assert.is_nil(out:find("[warn]", 1, true), out)
  end)

  it("shows the script the client's address", function()
    local c = connect()
    assert.equal("127.0.0.77", who(c))
    c:close()
    assert.equal(1000, c:closed().code)
  end)

  it("lets nobody forge an address", function()
    local c = connect { ["X-Forwarded-For"] = "6.6.6.6", ["X-Real-IP"] = "6.6.6.6" }
    assert.equal("127.0.0.77", who(c))
    c:close()
    c = bridge.connect(app:url(1), { localAddress = "127.0.0.78", headers = { ["X-Forwarded-For"] = "6.6.6.6" } })
    assert.equal("127.0.0.78", who(c))
    c:close()
  end)

  it("carries large messages both ways", function()
    local c = connect()
    local large = ("0123456789"):rep(50000)
    c:send_json { type = "say", text = large }
    assert.equal(large, c:receive_type "say".text)
    c:close()
  end)

  it("lets a page in Chromium chat over wss", function()
    local page = bridge.page("https://[::1]:" .. port .. "/", { ignoreHTTPSErrors = true })
    page:call("waitForSelector", "#state[data-state=open]")
    page:call("fill", "#name", "Ann")
    page:call("press", "#name", "Enter")
    local c = connect()
    page:call("fill", "#text", "hello through nginx")
    page:call("press", "#text", "Enter")
    c:receive "hello through nginx"
    app:wait_log "said at ::1"
    c:send_json { type = "say", text = "hello page" }
    page:call("waitForSelector", ".text:text-is(\"hello page\")")
    c:close()
  end)

  it("goes on when the gateways were restarted", function()
    app.master:kill "sigint"
    assert.equal(0, app.master:wait())
    app:up()
    loop.poll("a client through nginx", function()
      local c = bridge.try("wss://127.0.0.1:" .. port .. "/",
        { rejectUnauthorized = false, localAddress = "127.0.0.77" })
      if c:event().event ~= "open" then return false end
      assert.equal("127.0.0.77", who(c))
      c:close()
      return true
    end)
  end)
end)

-- The configuration of HAProxy that docs/nginx.md shows, in Debian's HAProxy.
local bridge = require "bridge"
local openssl = require "openssl"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local script = [[
Events = {}
function Events.onMessage(client_id, message)
  Gateway.sendToCurrentClient(_SERVER.REMOTE_ADDR .. " " .. _SERVER.REMOTE_PORT)
end
]]

describe("HAProxy, as docs/nginx.md has it,", function()
  local app, haproxy, web_port, text_port, text, path

  local function replace(from, to)
    local count
    text, count = text:gsub(from:gsub("%p", "%%%0"), to)
    assert.equal(1, count, from)
  end

  setup(function()
    app = testbed.start {
      script = script,
      gateways = {
        { listen = "websocket", trusted_proxies = "127.0.0.1" },
        { listen = "text", trusted_proxies = "127.0.0.1", proxy_protocol = true },
      },
    }
    openssl.certificate(app.dir)
    testbed.write_file(app.dir .. "/chat.pem",
      testbed.read_file(app.dir .. "/cert.pem") .. testbed.read_file(app.dir .. "/key.pem"))
    web_port, text_port, path = testbed.ports(), testbed.ports(), app.dir .. "/haproxy.cfg"
    text = testbed.read_file "docs/nginx.md":match "\n```haproxy\n(.-)```"
    replace("bind :443 ssl crt /etc/haproxy/chat.pem", "bind 127.0.0.1:" .. web_port .. " ssl crt " .. app.dir .. "/chat.pem")
    replace("bind :8284", "bind 127.0.0.1:" .. text_port)
    replace("10.0.0.5:8283", "127.0.0.1:" .. app.port[1])
    replace("10.0.0.5:8284", "127.0.0.1:" .. app.port[2])
    testbed.write_file(path, text)
  end)

  teardown(function()
    bridge.close()
    if haproxy then
      haproxy:kill()
      haproxy:wait()
    end
    app:stop()
  end)

  it("has no fault, and keeps a quiet client for longer than its gateway does", function()
    local code, out = process.run { "/usr/sbin/haproxy", "-c", "-f", path }
    assert.equal(0, code, out)
    for _, name in ipairs { "client", "server", "tunnel" } do
      assert.is_true(tonumber(text:match("timeout " .. name .. " +(%d+)s")) > 60, name)
    end
    haproxy = process.spawn { "/usr/sbin/haproxy", "-V", "-db", "-f", path }
  end)

  -- The first connections may come before HAProxy listens.
  local function connect(port)
    local ok, client
    require "loop".poll("HAProxy to listen", function()
      ok, client = pcall(tcp.connect, port)
      return ok
    end)
    return client
  end

  it("passes lines on with the client's address and port", function()
    local c = connect(text_port)
    c:send "who\n"
    assert.equal("127.0.0.1 " .. c.socket:getsockname().port .. "\n", c:receive "\n")
    c:close()
  end)

  it("passes wss on with the client's address", function()
    connect(web_port):close()
    local c = bridge.connect("wss://127.0.0.1:" .. web_port .. "/", { rejectUnauthorized = false,
      headers = { ["X-Forwarded-For"] = "6.6.6.6" } })
    c:send "who"
    assert.equal("127.0.0.1 0", c:receive())
    c:close()
  end)
end)

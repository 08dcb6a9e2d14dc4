-- Client addresses as the script sees them: IPv6, and behind proxies.
local bridge = require "bridge"
local cjson = require "cjson"
local loop = require "loop"
local tcp = require "tcp"
local testbed = require "testbed"

-- "who" is answered with the address that each kind of event showed.
local script = [[
Events = {}
local function address() return _SERVER.REMOTE_ADDR .. " " .. _SERVER.REMOTE_PORT end
function Events.onConnect(client_id) _SESSION.connect = address() end
function Events.onWebSocketConnect(client_id, data)
  _SESSION.upgrade = data.server.REMOTE_ADDR .. " " .. data.server.REMOTE_PORT
end
function Events.onMessage(client_id, message)
  local s = _SESSION
  local before = address()
  Timer.sleep(0.001)
  local seen = { before, address(), s.connect, s.upgrade }
  for i = 2, #seen do assert(seen[i] == seen[1], table.concat(seen, ", ")) end
  Gateway.sendToCurrentClient(before)
end
function Events.onClose(client_id) Log.notice("left " .. address()) end
]]

local line = "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"

describe("client addresses", function()
  local app

  setup(function()
    app = testbed.start {
      script = script,
      gateways = {
        { listen = "websocket" },
        { listen = "text" },
        { listen = "websocket", trusted_proxies = { "127.0.0.1", "::1", "10.0.0.0/8" } },
        { listen = "text", trusted_proxies = "127.0.0.0/8", proxy_protocol = true },
        { listen = "websocket", trusted_proxies = "127.0.0.1", proxy_protocol = true },
        { listen = "text", trusted_proxies = "10.0.0.0/8", proxy_protocol = true },
      },
      config = function(t)
        for i = 1, 3 do t.gateways[i].listen = t.gateways[i].listen:gsub("127%.0%.0%.1", "[::]") end
        t.gateways[2].listen = t.gateways[2].listen:gsub("%[::%]", "[::1]")
      end,
    }
  end)

  teardown(function()
    bridge.close()
    app:stop()
  end)

  local function who(c)
    c:send "who"
    return c:receive()
  end

  --- The address and port that a websocket client of that gateway has.
  local function ask(i, host, headers)
    local c = bridge.connect("ws://" .. (host or "127.0.0.1") .. ":" .. app.port[i] .. "/", { headers = headers })
    local address = who(c)
    c:close()
    return address
  end

  it("are IPv6 in every event, the last one too", function()
    local c = bridge.connect("ws://[::1]:" .. app.port[1] .. "/")
    local address = who(c)
    assert.matches("^::1 %d+$", address)
    c:close()
    app:wait_log("left " .. address)
    local t = tcp.connect(app.port[2], "::1")
    t:send "who\n"
    assert.matches("^::1 %d+\n$", t:receive "\n")
    t:close()
  end)

  it("are IPv4 for IPv4 clients of an IPv6 port", function()
    assert.matches("^127%.0%.0%.1 %d+$", ask(1))
  end)

  it("come from the headers of a trusted proxy", function()
    assert.equal("203.0.113.9 0", ask(3, nil, { ["X-Forwarded-For"] = "6.6.6.6, 203.0.113.9, 10.0.0.7" }))
    assert.equal("203.0.113.9 0", ask(3, "[::1]", { ["X-Real-IP"] = "203.0.113.9" }))
    assert.equal("2001:db8::9 0", ask(3, nil, { ["X-Forwarded-For"] = "2001:db8::9" }))
    assert.matches("^127%.0%.0%.1 ", ask(3))
  end)

  it("do not come from the headers of anybody else", function()
    local forged = { ["X-Forwarded-For"] = "6.6.6.6", ["X-Real-IP"] = "6.6.6.6" }
    assert.matches("^127%.0%.0%.1 ", ask(1, nil, forged))
    assert.matches("^::1 ", ask(1, "[::1]", forged))
  end)

  it("come from a PROXY header on a port that wants one", function()
    local c = tcp.connect(app.port[4])
    c:send(line .. "who\n")
    assert.equal("192.0.2.1 56324\n", c:receive "\n")
    c:close()
    app:wait_log "left 192.0.2.1 56324"
    c = tcp.connect(app.port[4])
    c:send("\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" .. "\x20\x01\x0d\xb8" .. ("\0"):rep(11) .. "\1")
    c:send(("\0"):rep(15) .. "\1\xdc\4\1\xbb" .. "who\n")
    assert.equal("2001:db8::1 56324\n", c:receive "\n")
    c:close()
  end)

  it("let a websocket follow a PROXY header", function()
    local c = tcp.connect(app.port[5])
    c:send(line .. "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      .. "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
      .. "X-Forwarded-For: 6.6.6.6\r\n\r\n\x81\x83\0\0\0\0who")
    c:receive "192.0.2.1 56324"
    c:close()
  end)

  it("refuse what does not come from a trusted proxy or has no header", function()
    local c = tcp.connect(app.port[6])
    c:send(line .. "who\n")
    assert.equal("", c:wait_end())
    app:wait_log "connection refused, not one of trusted_proxies"
    c = tcp.connect(app.port[4])
    c:send "who\n"
    assert.equal("", c:wait_end())
  end)

  it("stand in gwrun connections", function()
    local c = tcp.connect(app.port[4])
    c:send(line .. "who\n")
    c:receive "\n"
    local peers = {}
    loop.poll("the client in the list", function()
      local code, out = app:cli("connections", "--json")
      assert.equal(0, code, out)
      for row in out:gmatch "[^\n]+" do peers[cjson.decode(row).peer] = true end
      return peers["192.0.2.1:56324"]
    end)
    c:close()
  end)
end)

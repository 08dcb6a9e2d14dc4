-- The access log: a line for each request that is answered.
local cjson = require "cjson"
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local script = [[
Events = {}
function Events.onHandshake(request)
  if request.get.no then return false end
end
function Events.onRequest(request)
  if request.path == "/stream" then return { stream = "sse" } end
  return 201, nil, "12345"
end
]]

describe("the access log", function()
  local app

  setup(function()
    app = testbed.new {
      script = script,
      gateways = {
        { listen = "websocket", www = "www", api = { keys_file = "keys" }, access_log = { file = "log/a.log" } },
        {
          listen = "http",
          trusted_proxies = { "127.0.0.1" },
          access_log = { file = "log/b.log", format = "json", redact = "room" },
        },
        { listen = "http", access_log = { file = "/dev/full" } },
        { listen = "http" },
      },
    }
    testbed.write_file(app.dir .. "/www/index.html", "<p>the page</p>")
    testbed.write_file(app.dir .. "/keys", "shop 0123456789abcdef\n")
    assert(process.run { "chmod", "600", app.dir .. "/keys" } == 0)
    app:up()
  end)

  teardown(function() app:stop() end)

  local function send(port, text)
    local c = tcp.connect(app.port[port])
    c:send(text)
    return c
  end

  local function ask(port, first, lines, body)
    local c = send(port, first .. " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" .. (lines or "") .. "\r\n" .. (body or ""))
    c:wait_end()
    c:close()
  end

  -- The line in name, of those that pattern finds; and how many lines there are.
  local function line(name, pattern)
    return loop.poll("a line of " .. name .. " with " .. pattern, function()
      for text in testbed.read_file(app.dir .. "/log/" .. name):gmatch "[^\n]+" do
        if text:find(pattern) then return text end
      end
    end)
  end

  local function combined(pattern)
    local text = line("a.log", pattern)
    local from, who, at, rest = text:match "^(%S+) %- (%S+) (%[%d%d/%a%a%a/%d%d%d%d:%d%d:%d%d:%d%d [+-]%d%d%d%d%]) (.*)$"
    assert.is_truthy(at, text)
    return from .. " " .. who .. " " .. rest
  end

  it("has each kind of answer", function()
    ask(1, "GET /hello?a=1&token=abc&b=2", 'User-Agent: a "b"\\\r\nReferer: http://y/?p=1&key=xyz&q=2\r\n')
    assert.equal([[127.0.0.1 - "GET /hello?a=1&token=***&b=2 HTTP/1.1" 201 5 "http://y/?p=1&key=***&q=2" "a \x22b\x22\x5C"]],
      combined "/hello")
    ask(1, "HEAD /head")
    assert.equal([[127.0.0.1 - "HEAD /head HTTP/1.1" 201 0 "-" "-"]], combined "/head")
    ask(1, "GET /index.html")
    assert.equal([[127.0.0.1 - "GET /index.html HTTP/1.1" 200 15 "-" "-"]], combined "/index")
    local call = "Content-Type: application/json\r\nContent-Length: 2\r\nAuthorization: Bearer "
    ask(1, "POST /api/getAllClientCount", call .. "0123456789abcdef\r\n", "{}")
    assert.equal([[127.0.0.1 shop "POST /api/getAllClientCount HTTP/1.1" 200 12 "-" "-"]], combined " shop ")
    ask(1, "POST /api/isOnline", call .. "wrong\r\n", "{}")
    assert.matches([[127.0.0.1 %- "POST /api/isOnline HTTP/1.1" 401 %d+ "%-" "%-"]], combined "isOnline")
    local upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
      .. "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    local c = send(1, "GET /chat?ticket=1 HTTP/1.1\r\nHost: x\r\n" .. upgrade)
    assert.matches("^HTTP/1.1 101 ", c:receive "\r\n\r\n")
    assert.equal([[127.0.0.1 - "GET /chat?ticket=*** HTTP/1.1" 101 0 "-" "-"]], combined "/chat")
    c:close()
    c = send(1, "GET /chat?no=1 HTTP/1.1\r\nHost: x\r\n" .. upgrade)
    c:wait_end()
    assert.matches([["GET /chat%?no=1 HTTP/1.1" 403 ]], combined "no=1")
    c = send(1, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.matches("^HTTP/1.1 200 ", c:receive "\r\n\r\n")
    assert.equal([[127.0.0.1 - "GET /stream HTTP/1.1" 200 0 "-" "-"]], combined "/stream")
    c:close()
    ask(1, "GET bad\1")
    assert.equal([[127.0.0.1 - "-" 400 11 "-" "-"]], combined '"%-" 400')
  end)

  it("is JSON where that is wanted, of who is behind a proxy", function()
    ask(2, "GET /j?ROOM=7&r%6fom[x]=8&rooms=9&room&token=1", "X-Forwarded-For: 192.0.2.7\r\nUser-Agent: \255\"\t\r\n")
    local said = cjson.decode(line("b.log", "/j"))
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", said.time)
    assert.matches("number", type(said.seconds))
    said.time, said.seconds, said.listener = nil, nil, nil
    assert.same({
      kind = "request", remote_addr = "192.0.2.7", method = "GET", status = 201, bytes = 5,
      uri = "/j?ROOM=***&r%6fom[x]=***&rooms=9&room&token=1", user_agent = "\u{FFFD}\"",
    }, said)
  end)

  it("goes on in a new file where the old one is moved away", function()
    ask(1, "GET /before")
    combined "/before"
    assert(os.rename(app.dir .. "/log/a.log", app.dir .. "/log/old.log"))
    app.master:kill "sighup"
    loop.poll("a new file", function()
      ask(1, "GET /after") -- each process opens its file as soon as it hears of it
      local file = io.open(app.dir .. "/log/a.log")
      local text = file and file:read "a" or ""
      if file then file:close() end
      return text:find "/after"
    end)
    assert.is_truthy(testbed.read_file(app.dir .. "/log/old.log"):find "/before")
  end)

  it("costs lines and nothing else where the disk is full", function()
    for i = 1, 3 do ask(3, "GET /" .. i) end
    loop.poll("the lost lines", function() return app:counters("gateway", 2).access_lost == 3 end)
    app:wait_log "cannot write the access log, lines are lost file=/dev/full: No space left on device"
  end)
end)

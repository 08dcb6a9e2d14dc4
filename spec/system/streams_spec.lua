-- Event streams: a request becomes a client that hears and does not speak.
local cjson = require "cjson"
local bridge = require "bridge"
local loop = require "loop"
local tcp = require "tcp"
local testbed = require "testbed"

local script = [[
local json = require "gwrun.json"
Events = {}

function Events.onRequest(request)
  if request.path == "/no" then return 204 end
  if request.path == "/stop" then
    Gateway.closeClient(request.get.id, "bye", { code = 4001, reason = 'say "no"', event = "last" })
    return ""
  end
  if request.path == "/send" then
    for _, one in ipairs(assert(request:json())) do
      if one.raw then one = { one.text, { raw = true } } end
      assert(Gateway.sendToClient(request.get.id, one[1], one[2]))
    end
    return ""
  end
  if request.path == "/all" then
    assert(Gateway.sendToGroup("lobby", request.body, nil, { event = "news", id = "7" }))
    assert(Gateway.sendToAll("\0\1", nil, nil, { binary = true }))
    assert(Gateway.sendToAll "end")
    return ""
  end
  if request.path == "/wrong" then return { uid = "x", body = "y" } end
  if request.path == "/status" then return { stream = "sse", status = 201 } end
  if request.path == "/session" then return { stream = "sse", session = 1 } end
  return {
    stream = "sse",
    headers = { ["X-Last"] = request.headers["last-event-id"] },
    session = { name = request.get.name },
    uid = request.get.name,
    groups = { "lobby", "room 7" },
  }
end

function Events.onConnect(client_id)
  Gateway.sendToClient(client_id, json.encode {
    id = client_id, protocol = _SERVER.PROTOCOL, name = _SESSION.name, ip = _SERVER.REMOTE_ADDR,
    uid = Gateway.getUidByClientId(client_id), groups = Gateway.getGroupsByClientId(client_id),
  })
end

function Events.onWebSocketConnect(client_id) Gateway.joinGroup(client_id, "lobby") Gateway.sendToClient(client_id, "joined") end
function Events.onMessage() end
function Events.onClose(client_id, info) Log.notice("left", info.uid, info.cause, info.code, info.reason) end
]]

describe("an event stream", function()
  local app

  setup(function()
    app = testbed.start {
      script = script,
      gateways = {
        { listen = "websocket", www = "www" },
        { listen = "http", trusted_proxies = { "127.0.0.1" }, max_connections_per_ip = 2 },
        { listen = "http", allowed_origins = { "https://friend" }, max_queue = 65536 },
      },
    }
  end)

  teardown(function()
    bridge.close()
    app:stop()
  end)

  local function get(i, target, headers)
    local c = tcp.connect(app.port[i])
    c:send(("GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"):format(target, headers or ""))
    return c
  end

  --- The next event: its lines without the empty one at the end.
  local function event(c)
    local text
    repeat text = c:receive "\n\n" until text ~= ":\n\n"
    return text:sub(1, -3)
  end

  --- A stream, what its client is told at first, and its head.
  local function open(i, target, headers)
    local c = get(i, target, headers)
    local head = c:receive "\r\n\r\n"
    assert.matches("^HTTP/1.1 200 OK\r\n", head)
    return c, cjson.decode(event(c):match "^data: (.*)$"), head
  end

  local function ask(i, target, body)
    local c = tcp.connect(app.port[i])
    c:send(("POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"):format(target, #(body or ""), body or ""))
    local head = c:receive "\r\n\r\n"
    c:close()
    return tonumber(head:match "^HTTP/1.1 (%d+)")
  end

  it("is a client like any other", function()
    local c, told, head = open(1, "/?name=ann", "Last-Event-ID: 41\r\n")
    assert.matches("\r\ncontent%-type: text/event%-stream\r\n", head)
    assert.matches("\r\ncache%-control: no%-store\r\n", head)
    assert.matches("\r\nx%-accel%-buffering: no\r\n", head)
    assert.matches("\r\nconnection: close\r\n", head)
    assert.matches("\r\nX%-Last: 41\r\n", head)
    assert.is_nil(head:lower():match "content%-length")
    assert.same({ "sse", "ann", "ann", { "lobby", "room 7" }, "127.0.0.1" },
      { told.protocol, told.name, told.uid, told.groups, told.ip })
    assert.equal(1, app:counters("gateway", 0).clients)
    c:close()
    app:wait_log "left\tann\tclient\t1006"
  end)

  it("splits messages at every kind of line break", function()
    local c, told = open(1, "/?name=lines")
    assert.equal(200, ask(1, "/send?id=" .. told.id, cjson.encode {
      { "one\ntwo\r\nthree\rfour" }, { "" }, { "\n" }, { "a\n\nb\n" }, { "\r\n\r" }, { "x\nevent: forged\n\nid: 1" },
      { "named", { event = "tick", id = "é 7" } }, { "id", { id = "8" } }, { " blank" },
      { raw = true, text = ": raw\n\n" }, { "end" },
    }))
    local events = {}
    for i = 1, 11 do events[i] = c:receive("\n\n"):sub(1, -3) end
    assert.same({
      "data: one\ndata: two\ndata: three\ndata: four", "data: ", "data: \ndata: ", "data: a\ndata: \ndata: b\ndata: ",
      "data: \ndata: \ndata: ", "data: x\ndata: event: forged\ndata: \ndata: id: 1",
      "event: tick\nid: é 7\ndata: named", "id: 8\ndata: id", "data:  blank", ": raw", "data: end",
    }, events)
    c:close()
    app:wait_log "left\tlines"
  end)

  it("gets what is sent to many, beside websockets, but nothing binary", function()
    local c = open(1, "/?name=many")
    local page = bridge.connect(app:url())
    page:receive "joined"
    local before = app:counters("gateway", 0).binary_refused
    assert.equal(200, ask(1, "/all", "to the lobby"))
    assert.equal("event: news\nid: 7\ndata: to the lobby", event(c))
    assert.equal("data: end", event(c))
    page:receive "end"
    assert.equal(1, app:counters("gateway", 0).binary_refused - before)
    c:close()
    app:wait_log "left\tmany"
  end)

  it("is told why it is closed, and ends", function()
    local c, told = open(2, "/?name=kicked")
    ask(2, "/stop?id=" .. told.id)
    assert.equal("event: last\ndata: bye", event(c))
    assert.equal('event: close\ndata: {"code":4001,"reason":"say \\"no\\""}', event(c))
    c:wait_end()
    app:wait_log 'left\tkicked\tkicked\t4001\tsay "no"'
  end)

  it("may not speak", function()
    local c = open(2, "/?name=speaks")
    c:send "GET / HTTP/1.1\r\n"
    assert.matches('^event: close\ndata: {"code":1002,', event(c))
    c:wait_end()
    app:wait_log "left\tspeaks\tprotocol_error\t1002"
  end)

  it("is no client for who asks with HEAD, or is told no", function()
    local c = tcp.connect(app.port[1])
    c:send "HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /no HTTP/1.1\r\nHost: x\r\n\r\n"
    assert.matches("^HTTP/1.1 200 ", c:receive "\r\n\r\n")
    assert.matches("^HTTP/1.1 204 ", c:receive "\r\n\r\n")
    c:close()
  end)

  it("goes to a page of others only if that is allowed", function()
    local function status(i, origin, accept)
      local more = accept and "Accept: " .. accept .. "\r\n" or ""
      local c = get(i, "/?name=page", "Origin: " .. origin .. "\r\n" .. more)
      local head = c:receive "\r\n\r\n"
      c:close()
      return tonumber(head:match "^HTTP/1.1 (%d+)"), head
    end
    assert.equal(403, (status(3, "https://other")))
    assert.equal(403, (status(2, "null")))
    -- An EventSource says what it is: then the script is not asked.
    local before = app:counters("gateway", 2).requests
    assert.equal(403, (status(3, "https://other", "text/event-stream")))
    assert.equal(before, app:counters("gateway", 2).requests)
    assert.equal(403, (status(3, "https://other", "*/*")))
    assert.equal(before + 1, app:counters("gateway", 2).requests)
    assert.equal(200, (status(3, "http://x", "text/event-stream")))
    assert.equal(200, (status(3, "http://x")))
    local code, head = status(3, "https://friend")
    assert.equal(200, code)
    assert.matches("access%-control%-allow%-origin: https://friend\r\n", head)
  end)

  it("counts for the address behind a proxy, which scripts see", function()
    local from = "X-Forwarded-For: 192.0.2.9\r\n"
    local one, told = open(2, "/?name=one", from)
    assert.equal("192.0.2.9", told.ip)
    local two = open(2, "/?name=two", from)
    assert.matches("^HTTP/1.1 503 ", get(2, "/?name=three", from):receive "\r\n\r\n")
    one:close()
    two:close()
    app:wait_log "left\tone"
    app:wait_log "left\ttwo"
  end)

  it("is closed when it reads too slowly", function()
    local c, told = open(3, "/?name=slow")
    c.socket:read_stop()
    local text = ("x"):rep(60000)
    loop.poll("its queue to be full", function()
      ask(3, "/send?id=" .. told.id, cjson.encode { { text }, { text }, { text }, { text } })
      return app:log():find("left\tslow\toverflow\t1008\toverflow", 1, true)
    end)
    c:close()
  end)

  it("says what is wrong with a script's table", function()
    for target, what in pairs {
      ["/wrong"] = "session, uid or groups, which an event stream begins with",
      ["/status"] = "a table with status and stream; leave status out",
      ["/session"] = "a table in which session is a number; give a table",
    } do
      assert.equal(500, ask(1, target))
      app:wait_log(what)
    end
  end)
end)

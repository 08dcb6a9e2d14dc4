-- Events.onHandshake: the script decides who becomes a client.
local bridge = require "bridge"
local loop = require "loop"
local openssl = require "openssl"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local plain = [[
Events = {}
function Events.onMessage(client_id, message) Gateway.sendToCurrentClient(message) end
]]

local script = [[
local cjson = require "cjson"
Events = {}
held = false
local seen = {}

function Events.onHandshake(request)
  seen[#seen + 1] = request.path
  local token = request.get.token
  if request.path == "/look" then
    request.get, request.server.HTTP_SEC_WEBSOCKET_KEY, request.headers["sec-websocket-key"] = nil, nil, nil
    Log.notice("looked " .. cjson.encode(request))
  end
  if token == "wait" then Timer.sleep(0.5) end
  if token == "hold" then
    Log.notice("holds " .. request.path)
    while held do Timer.sleep(0.01) end
  end
  if token == "forever" then Timer.sleep(1000) end
  if token == "error" then error "no such token" end
  if token == "nonsense" then return "nonsense" end
  if token == "redirect" then return 302, "elsewhere" end
  if token == "ask" then return Gateway.getAllClientCount() < 0, "too many clients" end
  if token == "false" then return false end
  if token == "reason" then return false, "no füll\nticket" end
  if token == "bytes" then return false, "no \xff" .. ("ü"):rep(200) end
  if token == "401" then return 401, "who are you" end
  if token == "true" then return true end
end

function Events.onConnect(client_id) seen[#seen + 1] = "connect" end

function Events.onWebSocketConnect(client_id, request)
  Gateway.sendToClient(client_id, table.concat(seen, " ") .. " " .. request.server.REQUEST_URI)
  seen = {}
end

function Events.onMessage(client_id, message)
  if message == "hold" then held = true end
  if message == "release" then held = false end
  Gateway.sendToClient(client_id, message)
end
]]

local key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

local function head(target)
  return "GET " .. target .. " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" .. key .. "\r\n"
end

describe("Events.onHandshake", function()
  local app

  setup(function()
    app = testbed.new {
      script = script,
      gateways = {
        { listen = "websocket", www = "www", handshake_timeout = 60 },
        { listen = "wss", tls = { cert = "cert.pem", key = "key.pem" }, handshake_timeout = 60 },
        { listen = "text" },
        { listen = "websocket", handshake_timeout = 1 },
        { listen = "wss", tls = { cert = "cert.pem", key = "key.pem" }, handshake_timeout = 1 },
      },
    }
    openssl.certificate(app.dir)
    testbed.write_file(app.dir .. "/www/index.html", "<p>the page</p>")
    app:up()
  end)

  teardown(function()
    bridge.close()
    app:stop()
  end)

  local function url(i, target)
    return (app.config.gateways[i].tls and "wss" or "ws") .. "://127.0.0.1:" .. app.port[i] .. target
  end

  local function connect(i, target) return bridge.connect(url(i, target), { rejectUnauthorized = false }) end

  local function try(i, target) return bridge.try(url(i, target), { rejectUnauthorized = false }) end

  local function refused(i, target)
    local c = try(i, target)
    local e = c:event(function(e) return e.event == "refused" or e.event == "open" end)
    assert.equal("refused", e.event, target)
    return e
  end

  for i, name in ipairs { "ws", "wss" } do
    describe("on " .. name, function()
      it("lets in whom it says nothing against, before onConnect", function()
        local c = connect(i, "/chat?token=true&a[]=1")
        assert.equal("/chat connect /chat?token=true&a[]=1", c:receive())
        c:send "hello"
        assert.equal("hello", c:receive())
        c:close()
        c = connect(i, "/")
        assert.equal("/ connect /", c:receive())
        c:close()
      end)

      it("refuses with 403, or a status, and a reason", function()
        assert.equal(403, refused(i, "/?token=false").status)
        local e = refused(i, "/?token=401")
        assert.equal(401, e.status)
        assert.equal("who are you", e.phrase)
        assert.equal("who are you", e.body)
        e = refused(i, "/?token=bytes")
        assert.equal("no \u{fffd}", e.body:match "^no [^ü]+")
        assert.is_truthy(utf8.len(e.body))
        e = refused(i, "/?token=reason")
        assert.equal(403, e.status)
        assert.equal("no füll ticket", e.body)
      end)

      it("may wait, and holds up nobody else", function()
        local before = connect(i, "/before")
        before:send "hold"
        before:receive "hold"
        local slow = try(i, "/slow" .. i .. "?token=hold")
        app:wait_log("holds /slow" .. i)
        local fast = connect(i, "/fast")
        fast:receive()
        assert.equal(0, #slow.events)
        before:send "release"
        slow:event(function(e) return e.event == "open" end)
        slow:receive("/slow" .. i .. "?token=hold")
        slow:send "hello"
        assert.equal("hello", slow:receive())
        for _, c in ipairs { before, slow, fast } do c:close() end
      end)

      it("may ask gateways", function()
        assert.equal("too many clients", refused(i, "/?token=ask").body)
      end)

      it("answers 500 for an error, and logs it", function()
        assert.equal(500, refused(i, "/?token=error").status)
        app:wait_log "no such token"
        app:wait_log "event=onHandshake"
        assert.equal(500, refused(i, "/?token=nonsense").status)
        assert.equal(500, refused(i, "/?token=redirect").status)
        app:wait_log "onHandshake must return"
      end)

      it("answers 503 after handshake_timeout", function()
        local e = refused(i + 3, "/?token=forever")
        assert.equal(503, e.status)
        assert.equal("no answer in time", e.body)
      end)

      it("forgets whom it had no answer for", function()
        for _ = 1, 3 do
          local c = try(i, "/?token=forever")
          loop.pass(0.1)
          c:terminate()
        end
        local c = connect(i, "/after")
        c:receive "/after"
        c:close()
      end)

      it("takes a hundred at once", function()
        local all = {}
        for n = 1, 100 do all[n] = try(i, "/?token=" .. (n % 2 == 0 and "wait" or "401")) end
        for n = 1, 100 do
          local e = all[n]:event()
          assert.equal(n % 2 == 0 and "open" or "refused", e.event)
          if n % 2 == 0 then all[n]:close() end
        end
      end)
    end)
  end

  it("sees path, uri, address, headers, server and cookies", function()
    local c = bridge.connect(app:url() .. "look?a=1",
      { headers = { Cookie = "a=1; b=two", ["X-Token"] = "t" } })
    local said
    loop.wait("the request", function()
      said = app:log():match "looked ({[^\n]*}) event="
      return said
    end)
    for _, text in ipairs {
      '"path":"\\/look"', '"uri":"\\/look?a=1"', '"remote_addr":"127.0.0.1"', '"x-token":"t"',
      '"cookie":{', '"b":"two"', '"HTTP_X_TOKEN":"t"', '"REQUEST_METHOD":"GET"',
    } do
      assert.truthy(said:find(text, 1, true), text .. " in " .. said)
    end
    c:close()
  end)

  it("takes requests that come byte by byte, with a frame right behind", function()
    local c = tcp.connect(app.port[1])
    local request = head "/slowly?token=wait"
    for n = 1, #request do
      c:send(request:sub(n, n))
      if n % 40 == 0 then loop.pass(0.01) end
    end
    c:send("\x81\x85\0\0\0\0hello")
    c:receive "101 Switching Protocols"
    c:receive "/slowly?token=wait"
    c:receive "hello"
    c:close()
  end)

  it("costs nothing and holds up nobody while a request is incomplete", function()
    local c, gone = tcp.connect(app.port[1]), tcp.connect(app.port[1])
    local request = head "/slowly?token=wait"
    c:send(request:sub(1, 60))
    gone:send(request:sub(1, 60))
    gone.socket:shutdown()
    gone:wait_end()
    local pid = app:pids "gateway"[1]
    local function cpu() return tonumber(testbed.read_file("/proc/" .. pid .. "/schedstat"):match "%d+") / 1e9 end
    local before = cpu()
    loop.pass(0.5)
    assert.is_true(cpu() - before < 0.2)
    local other = bridge.connect(app:url(1) .. "other?token=wait")
    other:close()
    c:send(request:sub(61))
    c:receive "/slowly?token=wait"
    -- The socket wakes for small messages again.
    c:send("\x81\x82\0\0\0\0hi")
    c:receive "hi"
    c:close()
    gone:close()
  end)

  it("takes a request over TLS in several records", function()
    local c = process.spawn({
      "openssl", "s_client", "-quiet", "-connect", "127.0.0.1:" .. app.port[2],
    }, { stdin = true })
    local request = head "/records?token=wait"
    for at = 1, #request, 17 do
      c:write(request:sub(at, at + 16))
      loop.pass(0.02)
    end
    c:wait_output "101 Switching Protocols"
    c:wait_output "/records?token=wait"
    c:kill "sigterm"
    c:wait()
  end)

  it("refuses requests that two servers could read in two ways", function()
    for _, bad in ipairs {
      (head("/"):gsub("\r\n", "\n")), -- bare line feeds
      (head("/"):gsub("Host: x", "Host: x\r\n folded")),
      (head("/"):gsub("HTTP/1.1", "HTTP/1.0")),
    } do
      local c = tcp.connect(app.port[4]) -- some seem to be incomplete, and end in time
      c:send(bad)
      local answer = c:wait_end()
      assert.is_nil(answer:find("101", 1, true), answer)
    end
  end)

  it("still serves pages", function()
    local c = tcp.connect(app.port[1])
    c:send "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert.truthy(c:wait_end():find("the page", 1, true))
  end)

  it("has no say on other protocols", function()
    local c = tcp.connect(app.port[3])
    c:send "line\n"
    c:receive "line\n"
    c:close()
  end)
end)

describe("Events.onHandshake and workers", function()
  local app

  -- A reload is over a moment before each gateway knows what it means for it.
  local function reload(text, status)
    app:write_script(text)
    assert.equal(0, (app:cli "reload"))
    loop.poll("status " .. tostring(status), function()
      for i = 1, 2 do
        local c = bridge.try(app:url(i))
        local e = c:event()
        c:terminate()
        if e.status ~= status then return false end
      end
      return true
    end)
  end

  before_each(function()
    app = testbed.start { script = plain, workers = { count = 2 }, gateways = { {}, {} } }
  end)

  after_each(function()
    bridge.close()
    app:stop()
  end)

  it("begins and ends with a reload, and one that fails changes nothing", function()
    local before = bridge.connect(app:url())
    reload("Events = { onHandshake = function() return 401 end, onMessage = function() end }", 401)
    app:write_script "Events = "
    assert.equal(1, (app:cli "reload"))
    for i = 1, 2 do assert.equal(401, bridge.try(app:url(i)):event().status) end
    reload(plain, nil)
    local c = bridge.connect(app:url(2))
    c:send "hello"
    assert.equal("hello", c:receive())
    before:send "still here"
    assert.equal("still here", before:receive())
  end)

  it("counts the names of a request that no script sees, once", function()
    local deep, many = "a" .. ("[x]"):rep(40) .. "=1&b=2", {}
    for i = 1, 1003 do many[i] = "k" .. i end
    local function left_out() return app:counters("gateway", 0).names_left_out end
    reload(plain, nil)
    bridge.connect(app:url() .. "/?" .. deep)
    assert.equal(1, left_out())
    reload(plain .. "function Events.onHandshake(r) if r.get.k1 then return 402 end end", nil)
    bridge.connect(app:url() .. "/?" .. deep)
    assert.equal(2, left_out())
    assert.equal(402, bridge.try(app:url() .. "/?" .. table.concat(many, "&")):event().status)
    assert.equal(5, left_out())
  end)

  it("lets a handler finish in the script that it began in", function()
    reload(plain .. "function Events.onHandshake() Log.notice 'asked' Timer.sleep(1) return 402 end", 402)
    local _, asked = app:log():gsub("asked", "")
    local c = bridge.try(app:url())
    loop.wait("the question", function() return select(2, app:log():gsub("asked", "")) > asked end)
    reload(plain, nil)
    assert.equal(402, c:event().status)
  end)

  it("refuses with 503 while no worker lives, and at once when one dies", function()
    reload(plain .. [[
      function Events.onHandshake(request)
        if request.path == "/" then return 402 end
        Log.notice "asked"
        Timer.sleep(1000)
      end
    ]], 402)
    local c = bridge.try(app:url() .. "wait")
    app:wait_log "asked"
    for _, pid in ipairs(app:pids "worker") do process.run { "kill", "-9", tostring(pid) } end
    assert.equal(503, c:event().status)
  end)
end)

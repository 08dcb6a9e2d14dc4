-- gwrun.testing: what a spec can do with an app, its clients and its clock.
local testing = require "gwrun.testing"

-- Says what happens, to the one it happens to.
local echo = [[
  local cjson = require "cjson"
  Events = {}
  function Events.onConnect(client_id) _SESSION.came = os.time() end
  function Events.onMessage(client_id, text)
    Gateway.sendToClient(client_id, "echo " .. text)
  end
  function Events.onWebSocketConnect(client_id, request)
    if request.get.token then Gateway.bindUid(client_id, request.get.token) end
  end
  function Events.onClose(client_id) gone = (gone or 0) + 1 end
]]

describe("gwrun.testing", function()
  local app

  local function start(options)
    options = options or {}
    if not options.script then options.text = options.text or echo end
    app = testing.start(options)
    return app
  end

  after_each(function()
    if app then app:stop() end
    app = nil
  end)

  describe("a client", function()
    it("has the id that the script sees, and its request's path and headers", function()
      start { text = [[
        Events = {}
        function Events.onWebSocketConnect(id, r)
          Gateway.sendToClient(id, table.concat({ id, r.get.token, r.server.HTTP_X_TEAM,
            _SERVER.REMOTE_ADDR, _SERVER.REMOTE_PORT, r.server.HTTP_SEC_WEBSOCKET_PROTOCOL }, " "))
        end
      ]] }
      local alice = app:connect {
        path = "/?token=x", headers = { ["X-Team"] = "b" }, ip = "192.0.2.7", subprotocol = "chat",
      }
      assert.equal(("%s x b 192.0.2.7 %d chat"):format(alice.id, alice.port), alice:last())
      assert.same({ 101, "chat" }, { alice.status, alice.subprotocol })
      assert.matches("^%x+$", alice.id)
      assert.equal(20, #alice.id)
    end)

    it("comes from an IPv6 address when that is given", function()
      start { text = "Events = {} function Events.onConnect(id) print(_SERVER.REMOTE_ADDR) end" }
      app:connect { ip = "2001:db8::1" }
      assert.same({ "2001:db8::1" }, app:log())
      assert.has_error(function() app:connect { ip = "example.com" } end)
    end)

    it("stands behind a proxy when the gateway trusts it", function()
      start {
        text = "Events = {} function Events.onConnect(id) print(id, _SERVER.REMOTE_ADDR) end",
        gateways = { { trusted_proxies = "127.0.0.1" } },
      }
      local client = app:connect { headers = { ["X-Forwarded-For"] = "198.51.100.9" } }
      assert.same({ client.id .. "\t198.51.100.9" }, app:log())
    end)

    it("speaks every protocol", function()
      start { gateways = { "websocket", "text", "frame", "tcp" } }
      for i, name in ipairs { "websocket", "text", "frame", "tcp" } do
        local client = app:connect { gateway = i }
        client:send(name)
        client:send "again"
        local got = client:received()
        assert.equal("echo " .. name .. "echo again", table.concat(got))
        assert.equal(2, #got)
        client:close()
        assert.is_nil(client.fd)
      end
      assert.equal(4, app:run "return gone")
    end)

    it("sends and gets large messages, binary ones, and many at once", function()
      start()
      local client = app:connect()
      local large = ("x"):rep(900000)
      client:send(large)
      assert.equal("echo " .. large, client:last())
      client:send("\xff\0", { binary = true })
      assert.equal("echo \u{fffd}\0", client:last()) -- as a browser gets it
      app:run("for i = 1, 1000 do Gateway.sendToClient((...), i) end", client.id)
      local got = client:received()
      assert.same({ 1000, "1", "1000" }, { #got, got[1], got[1000] })
    end)

    it("sends tables as JSON and reads JSON", function()
      start { text = "Events = {} function Events.onMessage(id, text) Gateway.sendToClient(id, text) end" }
      local client = app:connect()
      client:send { a = { 1 } }
      client:send "{}"
      assert.same({ { a = { 1 } }, {} }, client:json())
      client:send { id = 1700000000123456 } -- as a browser does
      assert.equal("1700000000123456", tostring(client:json()[1].id))
      client:send { uid = 7.0 }
      assert.equal("room 7", "room " .. client:json()[1].uid)
      client:send "x"
      assert.error_matches(function() client:json() end, "message 1 is no JSON: x")
    end)

    it("forgets messages that were looked at", function()
      start()
      local client = app:connect()
      client:send "a"
      client:send "b"
      assert.equal("echo b", client:last())
      assert.is_nil(client:last())
      assert.same({}, client:received())
    end)

    it("knows why it was closed, and cannot send then", function()
      start { text = echo .. [[
        function Events.onMessage(id, text) Gateway.closeClient(id, "bye") end
      ]] }
      local client = app:connect()
      client:send "x"
      assert.equal("bye", client:last())
      assert.same({ code = 1000, reason = "kicked" }, { code = client.closed.code, reason = "kicked" })
      assert.error_matches(function() client:send "y" end, "the client is closed: 1000")
      assert.same({}, app:clients())
    end)

    it("that is refused has the HTTP status", function()
      start { text = [[
        Events = {}
        function Events.onHandshake(request) return 403, "members only" end
      ]] }
      local client = app:connect()
      assert.same({ 1006, 403 }, { client.closed.code, client.closed.status })
      assert.truthy(client.closed.reason:find "members only")
      assert.is_nil(client.id)
    end)

    it("leaves with a Close frame or without a word", function()
      start { text = [[
        Events = {}
        function Events.onClose(id, info) print(id, info.code) end
      ]] }
      local a, b = app:connect(), app:connect()
      a:close(4001, "done")
      b:vanish()
      assert.same({ a.id .. "\t4001", b.id .. "\t1006" }, app:log())
      a:close()
      b:vanish()
    end)

    it("goes to the gateways in turn, or to the one named", function()
      start { gateways = 2 }
      local a, b, c = app:connect(), app:connect(), app:connect { gateway = 2 }
      assert.same({ 1, 2, 2 }, { a.gateway, b.gateway, c.gateway })
      assert.same({ a, b, c }, app:clients())
      app:run [[Gateway.sendToAll "all"]]
      for _, client in ipairs { a, b, c } do assert.same({ "all" }, client:received()) end
    end)

    it("can send what is no message", function()
      start()
      local client = app:connect()
      client:send_raw "\x83\x80\0\0\0\0" -- a frame with an opcode that there is not
      assert.truthy(client.closed)
    end)
  end)

  describe("the clock", function()
    it("stands still until it is moved", function()
      start { time = 86400 * 365 }
      assert.same({ 31536000, 31536000.0, "01:00:00 1971" }, { app:run [[
        return os.time(), gwrun.now(), os.date("!%H:%M:%S %Y", os.time() + 3600)
      ]] })
      app:advance(90.25)
      assert.same({ 31536090, 31536090.25 }, { app:run "return os.time(), gwrun.now()" })
      assert.equal(31536090.25, app:now())
      assert.equal(app:run "return os.date('%c')", app:run "return os.date('%c', os.time())")
      assert.equal(0, app:run "return os.time { year = 1970, month = 1, day = 1, hour = 12 } % 3600")
    end)

    it("lets timers run in their order, as often as they should, to the millisecond", function()
      start { text = [[
        Events = {}
        local function say(what) print(what, ("%.3f"):format(gwrun.now() - began)) end
        function Events.onWorkerStart()
          began = gwrun.now()
          Timer.add(1, say, { "tick" })
          Timer.once(2.5, say, { "once" })
          gwrun.spawn(function() Timer.sleep(1.001) say "slept" end)
          gwrun.spawn(function() gwrun.ticket():wait(0.25) say "waited" end)
        end
      ]] }
      app:advance(3)
      assert.same({ "waited\t0.250", "tick\t1.000", "slept\t1.001", "tick\t2.000", "once\t2.500",
        "tick\t3.000" }, app:log())
      app:advance(3600)
      assert.equal("tick\t3603.000", app:log()[3600])
    end)

    it("is that of cron and of gwrun.shared", function()
      start { time = os.time { year = 2024, month = 5, day = 6, hour = 23, min = 58 }, text = [[
        Events = {}
        local shared = gwrun.shared
        function Events.onWorkerStart()
          shared.set("key", "value", 600)
          Timer.cron("@daily", function() print("midnight", os.date "%d %H:%M:%S") end)
          Timer.cron("*/5 * * * *", function() print("five", os.date "%H:%M:%S") end)
        end
        function Events.onMessage() print(shared.get "key") end
      ]] }
      local client = app:connect()
      app:advance(120)
      local lines = app:log()
      table.sort(lines)
      assert.same({ "five\t00:00:00", "midnight\t07 00:00:00" }, lines)
      app:advance(479)
      client:send "x"
      app:advance(1)
      client:send "x"
      assert.same({ "five\t00:05:00", "value", "nil" }, app:log())
    end)

    it("brings pings, and closes who does not answer them", function()
      start()
      local alice, bob = app:connect(), app:connect()
      app:freeze(bob)
      app:advance(55)
      assert.is_nil(bob.closed)
      app:advance(10)
      assert.is_nil(alice.closed)
      assert.truthy(bob.closed)
      assert.equal(1, app:run "return gone")
    end)

    it("ends silent clients where nobody pings only when idle_timeout says so", function()
      start { gateways = {
        "text",
        { listen = "text", idle_timeout = 30 },
        { listen = "websocket", ping_interval = 0 },
        { listen = "websocket", ping_interval = 0, idle_timeout = 30 },
        { listen = "websocket", ping_data = "are you there?" },
      } }
      local clients, closed = {}, {}
      for i = 1, 5 do clients[i] = app:connect { gateway = i } end
      app:advance(29)
      clients[2]:send "still here"
      app:advance(11)
      for i, client in ipairs(clients) do closed[i] = client.closed ~= nil end
      assert.same({ false, false, false, true, false }, closed)
      app:advance(600)
      for i, client in ipairs(clients) do closed[i] = client.closed ~= nil end
      assert.same({ false, true, false, true, false }, closed)
    end)

    it("refuses to go back", function()
      start()
      assert.has_error(function() app:advance(-1) end)
      assert.has_error(function() app:advance "x" end)
    end)
  end)

  describe("faults", function()
    it("fill the queue of who does not read, until it is closed", function()
      start { config = { log = { level = "debug" } } }
      local slow, other = app:connect(), app:connect()
      app:slow(slow)
      for _ = 1, 20 do app:run "Gateway.sendToAll(('x'):rep(100000))" end
      assert.equal(20, #other:received())
      app:slow(slow, false)
      local got = slow:received()
      assert.is_true(#got > 0 and #got < 20)
      assert.equal(1008, slow.closed.code)
      assert.equal(1, app:run "return gone")
    end)

    it("take a gateway away and bring it back", function()
      start { gateways = 2 }
      local a, b = app:connect(), app:connect()
      app:kill_gateway(1)
      assert.truthy(a.closed)
      assert.is_nil(b.closed)
      assert.is_nil(app:run "return gone") -- it might come back at once
      app:advance(2)
      assert.equal(1, app:run "return gone")
      assert.equal(1, app:run "return Gateway.getAllClientIdCount()")
      assert.equal(2, app:connect().gateway)
      assert.error_matches(function() app:connect { gateway = 1 } end, "gateway 1 does not run")
      app:start_gateway(1)
      local c = app:connect { gateway = 1 }
      c:send "hi"
      assert.equal("echo hi", c:last())
      app:run [[Gateway.sendToAll "all"]]
      assert.same({ "all" }, b:received())
      assert.has_error(function() app:start_gateway(1) end)
    end)

    it("take a worker away: clients stay and the others serve them", function()
      start { workers = 2 }
      local clients = { app:connect(), app:connect() }
      app:kill_worker(1)
      for _, client in ipairs(clients) do
        client:send "hi"
        assert.equal("echo hi", client:last())
      end
      app:kill_worker(2)
      clients[1]:send "late"
      assert.same({}, clients[1]:received())
      app:start_worker(1)
      assert.equal("echo late", clients[1]:last())
      assert.has_error(function() app:start_worker(1) end)
      assert.has_error(function() app:kill_worker(3) end)
    end)
  end)

  describe("a reload", function()
    it("takes a new script, and keeps the old one when that is broken", function()
      start { workers = 2 }
      local client = app:connect()
      assert.is_true(app:reload(echo:gsub("echo ", "new ")))
      client:send "a"
      assert.equal("new a", client:last())
      local ok, message = app:reload "Events = {} error 'broken'"
      assert.is_false(ok)
      assert.matches("script.lua:1: broken", message)
      client:send "b"
      assert.equal("new b", client:last())
      app:kill_worker(1)
      app:start_worker(1) -- with the script that runs
    end)

    it("loads the file again when no text is given", function()
      start { script = "scripts/events.lua" }
      app:run "_G.old = true"
      assert.is_true(app:reload())
      assert.is_nil(app:run "return old")
    end)

    it("lets time pass when onWorkerStart waits", function()
      start()
      local began = app:now()
      assert.is_true(app:reload(echo .. "function Events.onWorkerStart() Timer.sleep(2) end"))
      assert.equal(2, app:now() - began)
    end)
  end)

  describe("an error of the script", function()
    local broken = "Events = {} function Events.onMessage(id, text) error(text) end"

    it("fails the spec at the call that made it, with the traceback", function()
      start { text = broken }
      local client = app:connect()
      local ok, message = pcall(client.send, client, "boom")
      assert.is_false(ok)
      assert.matches("handler failed event=onMessage", message)
      assert.matches("script.lua:1: boom\nstack traceback:", message)
      client:received() -- once
    end)

    it("in a timer, a cron job or a spawned function does so too", function()
      for _, text in ipairs {
        "Timer.once(1, function() error 'boom' end)", "gwrun.spawn(function() error 'boom' end)",
        "Timer.cron('* * * * *', function() error 'boom' end)",
      } do
        start { text = "Events = {} function Events.onMessage() " .. text .. " end" }
        local client = app:connect()
        local ok, message = pcall(function()
          client:send "x"
          app:advance(61)
        end)
        assert.is_false(ok, text)
        assert.matches("boom", message)
      end
    end)

    it("is collected when the spec says so", function()
      start { text = broken, errors = "collect" }
      local client = app:connect()
      client:send "one"
      client:send "two"
      local errors = app:errors()
      assert.equal(2, #errors)
      assert.matches("two", errors[2])
      assert.same({}, app:errors())
    end)

    it("when it is loaded fails the start", function()
      assert.error_matches(function() start { text = "Events = {} x()" } end,
        "global 'x'.*script.lua:1")
      assert.error_matches(function() start { text = "x = = 1" } end, "unexpected symbol")
      app = nil
    end)

    it("at the end fails the stop", function()
      local ending = start { text = "Events = {} function Events.onWorkerStop() error 'at last' end" }
      app = nil
      assert.error_matches(function() ending:stop() end, "at last")
      ending:stop()
    end)
  end)

  it("returns what print and Log wrote", function()
    start { text = [[
      Events = {}
      function Events.onMessage(id, text) print(text, 1) Log.warn("careful") Log.error("worse") end
    ]] }
    app:connect():send "hi"
    assert.same({ "hi\t1", "careful", "worse" }, app:log())
    assert.same({}, app:log())
    app:connect():send "hi"
    assert.same({ "careful" }, app:log "warn")
  end)

  it("runs text in the worker", function()
    start()
    assert.same({ 1, "x", { a = { 2 } }, n = 3 }, table.pack(app:run("local a = ... return a, 'x', { a = { 2 } }", 1)))
    assert.same({ nil, 2, n = 2 }, table.pack(app:run "return nil, 2"))
    assert.error_matches(function() app:run "error 'no'" end, "no\nstack traceback")
    assert.error_matches(function() app:run "x = = 1" end, "unexpected symbol")
    assert.error_matches(function() app:run "Timer.sleep(1)" end, "waits for time to pass")
    assert.has_error(function() app:run "return print" end)
    app:errors()
    assert.error_matches(function() app:run("return ...", print) end, "function cannot be handed over")
    app:errors()
    local loop = {}
    loop[1] = loop
    assert.error_matches(function() app:run("return ...", loop) end, "nested in itself")
    app:errors()
  end)

  it("gives the configuration's keys to gateways and workers", function()
    start {
      gateways = { { listen = "text", ping_interval = 1, ping_data = "are you there?" } },
      config = { workers = { name = "Tested", event_handler = "Chat" }, secret_key = "s" },
      text = "Chat = {} function Chat.onWorkerStart(worker) print(worker.name) end",
    }
    local client = app:connect()
    assert.same({ "Tested" }, app:log())
    app:advance(1.2)
    assert.same({}, client:received()) -- it came in the first interval, which counts as a word
    app:advance(1)
    assert.same({ "are you there?" }, client:received())
  end)

  it("says what is wrong with its options", function()
    for text, options in pairs {
      ['there is no option "gateway"'] = { text = echo, gateway = 2 },
      ["option workers must be a number"] = { text = echo, workers = "2" },
      ['give script = "file", or text = "Lua text"'] = {},
      ["nothing/here.lua"] = { script = "nothing/here.lua" },
      ['listen is wss; give "websocket"'] = { text = echo, gateways = { "wss" } },
      ["a function cannot be in the configuration"] = { text = echo, gateways = { { router = print } } },
      ["did you mean \"max_queue\""] = { text = echo, gateways = { { max_quue = 5 } } },
      ['errors is "raise" or "collect"'] = { text = echo, errors = "never" },
    } do
      local ok, message = pcall(testing.start, options)
      assert.is_false(ok, text)
      assert.truthy(message:find(text, 1, true), message)
    end
    start()
    local client = app:connect()
    for text, call in pairs {
      ['app:connect: there is no option "adress"'] = function() app:connect { adress = "x" } end,
      ["app:connect: path must be a string"] = function() app:connect { path = 1 } end,
      ['client:send: there is no option "binry"'] = function() client:send("x", { binry = true }) end,
      ["client:send: binary must be a boolean"] = function() client:send("x", { binary = 1 }) end,
      ["client:send: a table of options expected, got a boolean"] = function() client:send("x", true) end,
    } do
      local ok, message = pcall(call)
      assert.is_false(ok, text)
      assert.truthy(message:find("testing_spec.lua:%d+: ") and message:find(text, 1, true), message)
    end
    assert.same({}, client:received())
  end)

  it("ends the app before it when another one starts", function()
    local first = start()
    first:connect()
    start()
    assert.error_matches(function() first:connect() end, "was stopped")
    app:connect()
  end)

  it("waits for onWorkerStart, and gives up in the end", function()
    local began = 1000
    start { time = began, text = "Events = {} function Events.onWorkerStart() Timer.sleep(5) end" }
    assert.equal(1005, app:now())
    assert.error_matches(function()
      start { text = "Events = {} function Events.onWorkerStart() Timer.sleep(500) end" }
    end, "onWorkerStart takes more than 60 s")
    app = nil
  end)

  it("finds modules beside the script", function()
    start { script = "spec/testing/scripts/main.lua" }
    local client = app:connect()
    client:send "x"
    assert.equal("helped x", client:last())
  end)
end)

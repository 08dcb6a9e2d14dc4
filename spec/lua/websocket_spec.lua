-- gwrun.websocket in a real worker against real servers: npm's ws, and gwrun itself.
-- luacheck: no max line length
local bridge = require "bridge"
local openssl = require "openssl"
local process = require "process"
local scripting = require "scripting"
local testbed = require "testbed"
local uv = require "luv"
local wsserver = require "wsserver"

local missing = bridge.missing "ws"

describe("gwrun.websocket", function()
  local server, bed, dir

  setup(function()
    if missing then return end
    server = wsserver.start()
    bed = scripting.start {
      prefix = ([[
        url = %q
        assert(require "gwrun.websocket" == Websocket and gwrun.websocket == Websocket)
        function talk(path, options) return assert(Websocket.connect(url .. path, options)) end
      ]]):format(server.url),
    }
    dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-ws-XXXXXX"))
  end)

  teardown(function()
    if missing then return end
    bed:stop()
    server:stop()
    process.run { "rm", "-rf", dir }
  end)

  local function test(name, f)
    it(name, function()
      if missing then return pending(missing) end
      return f()
    end)
  end

  test("sends and receives text and bytes", function()
    assert.same({ "häh", false, "\1\2", true, "", false, true }, { bed:run [[
      local ws = talk "/echo"
      assert(ws:send "häh" and ws:send("\1\2", { binary = true }) and ws:send "")
      local a, is_a = ws:receive()
      local b, is_b = ws:receive()
      local c, is_c = ws:receive()
      ws:close()
      return a, is_a, b, is_b, c, is_c, ws.protocol == nil
    ]] })
  end)

  test("brings everything in order", function()
    assert.same({ 20000, 20000 }, { bed:run [[
      local ws, count, last = talk "/count?n=20000", 0
      while count < 20000 do
        last = tonumber((assert(ws:receive(20))))
        count = count + 1
        assert(last == count)
      end
      return count, last
    ]] })
  end)

  test("puts large messages and fragments together", function()
    assert.same({ 3000000, "one, two, three" }, { bed:run [[
      local large = talk "/large?n=3000000"
      return #large:receive(), (talk "/fragments":receive())
    ]] })
  end)

  test("sends large messages", function()
    assert.is_true(bed:run [[
      local ws, text = talk "/echo", ("0123456789"):rep(200000)
      ws:send(text)
      return ws:receive() == text
    ]])
  end)

  test("asks with headers, subprotocols and the query", function()
    local request, protocol = bed:run [[
      local ws = talk("/request?a=1&b=2", { headers = { Authorization = "Bearer x", ["X-List"] = { "a", "b" } }, protocols = { "one", "two" } })
      return require "gwrun.json".decode((ws:receive())), ws.protocol
    ]]
    assert.equal("/request?a=1&b=2", request.url)
    assert.equal("Bearer x", request.headers.authorization)
    assert.equal("a, b", request.headers["x-list"])
    assert.equal("one, two", request.headers["sec-websocket-protocol"])
    assert.equal("127.0.0.1:" .. server.port, request.headers.host)
    assert.matches("^gwrun/", request.headers["user-agent"])
    assert.is_nil(request.headers["sec-websocket-extensions"])
    assert.equal("two", protocol)
  end)

  test("ends the loop over messages with what the server said", function()
    assert.same({ { "last" }, 4001, "bye", "eof" }, { bed:run [[
      local ws, list = talk "/close?code=4001&reason=bye", {}
      for message in ws:messages() do list[#list + 1] = message end
      return list, ws.closed.code, ws.closed.reason, (select(3, ws:receive()))
    ]] })
  end)

  test("tells a lost connection from a closed one", function()
    assert.same({ "last", "econnreset", 1006 }, { bed:run [[
      local ws = talk "/drop"
      local message = ws:receive()
      return message, (select(3, ws:receive())), ws.closed.code
    ]] })
  end)

  test("says code and reason when it closes", function()
    assert.same({ "eof", 4100, { code = 4100, reason = "enough" } }, { bed:run [[
      local ws = talk "/farewell"
      ws:close(4100, "enough")
      local code = select(3, ws:receive())
      return code, ws.closed.code, require "gwrun.json".decode((talk "/last":receive()))
    ]] })
  end)

  test("waits as long as it is told", function()
    bed:fails("etimedout", "no message came in time", "talk('/silent'):receive(0.02)")
    bed:fails("etimedout", "no message came in time", "talk('/silent', { timeout = 0.02 }):receive()")
    assert.same({ "etimedout", "now" }, { bed:run [[
      local ws = talk "/echo"
      local code = select(3, ws:receive(0))
      ws:send "now"
      return code, (ws:receive())
    ]] })
  end)

  test("is cut short by a deadline, at each of its waits", function()
    assert.same({ "deadline", "deadline", "here" }, { bed:run [[
      local ws = talk "/echo"
      local first = select(3, gwrun.deadline(0.02, Websocket.connect, url .. "/stall"))
      local second = select(3, gwrun.deadline(0.02, ws.receive, ws))
      ws:send "here"
      return first, second, (ws:receive())
    ]] })
  end)

  test("goes on for others while it waits", function()
    local wait = bed:begin "local ws = talk '/echo' local m = ws:receive(20) return m"
    assert.equal("quick", bed:run "return 'quick'")
    bed:send "return 1"
    assert.is_function(wait)
  end)

  test("lets one coroutine wait at a time", function()
    assert.matches("another coroutine waits", bed:run [[
      local ws = talk "/silent"
      gwrun.spawn(function() ws:receive() end)
      Timer.sleep(0.01)
      return (select(2, pcall(ws.receive, ws)))
    ]])
  end)

  test("sends no more than max_queue, in which each message counts 64 bytes more", function()
    assert.same({ true, "enobufs", "websocket: " .. server.url .. "/silent: the server reads too slowly" }, { bed:run [[
      local ws = talk("/silent", { max_queue = 200 })
      local ok = ws:send(("x"):rep(200 - 64))
      local _, message, code = ws:send ""
      return ok, code, message
    ]] })
  end)

  test("refuses what is larger than max_message", function()
    assert.same({ "emsgsize", 1009 }, { bed:run [[
      local ws = talk("/large?n=200000", { max_message = 100000 })
      local code = select(3, ws:receive())
      return code, ws.closed.code
    ]] })
  end)

  test("pings, and gives up who gives no sign of life", function()
    assert.equal("ping", (bed:run "return (talk('/pings', { ping_interval = 0.02 }):receive())"))
    bed:fails("etimedout", "nothing came for too long", "talk('/silent', { ping_interval = 0, idle_timeout = 0.05 }):receive()")
  end)

  test("tells what is wrong, without the query", function()
    local port = server.port
    bed:fails("eproto", "^websocket: ws://127.0.0.1:" .. port .. "/none: the server does not speak websocket there: it answers 404$",
      "Websocket.connect(url .. '/none?token=secret')")
    bed:fails("econnrefused", "^websocket: ws://127.0.0.1:1/: nobody answers there$", "Websocket.connect 'ws://127.0.0.1:1?token=secret'")
    bed:fails("etimedout", "no websocket within connect_timeout", "Websocket.connect(url .. '/stall', { connect_timeout = 0.05 })")
    bed:fails("eai_noname", "/: ", "Websocket.connect 'ws://no.such.invalid'")
    bed:fails("eprotonosupport", "neither ws:// nor wss://", "Websocket.connect 'http://127.0.0.1/'")
    bed:fails("eproto", "TLS failed", "Websocket.connect('wss://127.0.0.1:%s/')", port)
    bed:fails("enoent", "ca_file cannot be read", "Websocket.connect(url, { ca_file = '/nowhere.pem' })")
    for _, bad in ipairs { "nonsense", "ws://", "ws://a b/", "ws://u:p@host/", "ws://host:99999/", "ws://host/#x", "ws://host/\\r\\nX: y" } do
      bed:fails("einval", "url", "Websocket.connect '%s'", bad)
    end
  end)

  test("raises for what a script gives wrongly", function()
    local function raises(pattern, text)
      assert.matches("^spec:1: .*" .. pattern, bed:run("return (select(2, pcall(function() " .. text .. " end)))"))
    end
    raises("string expected", "Websocket.connect({})")
    raises("unknown option 'tiemout'", "Websocket.connect(url, { tiemout = 1 })")
    raises("'connect_timeout' must be a number from", "Websocket.connect(url, { connect_timeout = 0 })")
    raises("handshake's own", "Websocket.connect(url, { headers = { Host = 'x' } })")
    raises("handshake's own", "Websocket.connect(url, { headers = { ['Sec-WebSocket-Key'] = 'x' } })")
    raises("control character", "Websocket.connect(url, { headers = { A = 'x\\r\\nB: y' } })")
    raises("bad subprotocol", "Websocket.connect(url, { protocols = 'a, b' })")
    raises("not UTF%-8", "talk '/echo':send '\\255'")
    raises("code 1000, 1001 or 3000", "talk '/echo':close(1005)")
    raises("at most 123 bytes", "talk '/echo':close(1000, ('x'):rep(124))")
  end)

  test("says goodbye when its state closes", function()
    local other = scripting.start { prefix = ("url = %q\n"):format(server.url) }
    other:run "here = assert(Websocket.connect(url .. '/farewell')) return true"
    other:stop()
    assert.equal(1001, bed:run [[
      local found
      repeat
        found = require "gwrun.json".decode((talk "/last":receive())).code
        Timer.sleep(0.01)
      until found == 1001
      return found
    ]])
  end)

  -- ---- feeds ----

  describe("as a feed", function()
    -- Events of a feed, until there are so many.
    local function events(path, count, options)
      return bed:run([[
        local events, done, feed = {}, gwrun.ticket()
        local function note(...)
          if #events < %d then table.insert(events, { ... }) else done:set() end
        end
        feed = Websocket.feed(url .. %q, {
          min_wait = 0.01, max_wait = 0.05,
          onOpen = function(ws) note("open", ws == feed.ws) end,
          onMessage = function(ws, message, binary) note("message", message, binary, ws == feed.ws) end,
          onClose = function(ws, info) note("close", info.code, info.closed.code, info.wait) end,
          %s
        })
        done:wait(20)
        feed:close()
        return events
      ]], count, path, options or "")
    end

    test("connects again and again", function()
      local list = events("/close?code=4001", 6)
      for i = 0, 1 do
        assert.same({ "open", true }, list[3 * i + 1])
        assert.same({ "message", "last", false, true }, list[3 * i + 2])
        assert.same({ "close", "eof", 4001 }, { table.unpack(list[3 * i + 3], 1, 3) })
      end
    end)

    test("waits longer each time, with jitter, until a message has come", function()
      local waits = {}
      for _, event in ipairs(events("/leave", 10)) do
        if event[1] == "close" then waits[#waits + 1] = event[4] end
      end
      for i, most in ipairs { 0.01, 0.02, 0.04, 0.05, 0.05 } do
        assert.is_true(waits[i] >= most / 2 and waits[i] <= most, waits[i])
      end
      for _, event in ipairs(events("/close", 9)) do
        if event[1] == "close" then assert.is_true(event[4] <= 0.01) end
      end
    end)

    test("goes on when a function of the script's fails", function()
      local list = events("/count?n=2", 3, "onMessage = function(_, message) note('message', message) if message == '1' then error 'oh' end end,")
      assert.same({ "open", true }, list[1])
      assert.same({ "message", "1" }, list[2])
      assert.same({ "message", "2" }, list[3])
      bed.app:wait_log "websocket: a function of a feed failed"
    end)

    test("goes on trying where nobody is", function()
      assert.is_true(bed:run [[
        local feed = Websocket.feed("ws://127.0.0.1:1/x?secret", { min_wait = 0.01 })
        Timer.sleep(0.05)
        feed:close()
        return true
      ]])
      bed.app:wait_log "websocket: ws://127.0.0.1:1/x: nobody answers there, connecting anew"
    end)

    test("ends with close, and says so to the server", function()
      assert.same({ "open", 4000 }, { bed:run [[
        local open, last = gwrun.ticket()
        local feed = Websocket.feed(url .. "/farewell", { onOpen = function() open:set() end })
        assert(open:wait(20))
        feed:close(4000, "enough")
        repeat
          last = require "gwrun.json".decode((talk "/last":receive()))
          Timer.sleep(0.01)
        until last.code == 4000
        return "open", last.code
      ]] })
    end)

    test("raises for a bad url at once", function()
      assert.matches("^spec:1: websocket: neither ws:// nor wss://", bed:run "return (select(2, pcall(Websocket.feed, 'http://x/')))")
      assert.matches("'onMessage' must be a function", bed:run "return (select(2, pcall(Websocket.feed, url, { onMessage = 1 })))")
      assert.matches("'min_wait' must be a number", bed:run "return (select(2, pcall(Websocket.feed, url, { min_wait = 0 })))")
      assert.matches("unknown option 'onOpen'", bed:run "return (select(2, pcall(Websocket.connect, url, { onOpen = print })))")
    end)

    test("is the new script's after a reload", function()
      local app = testbed.start {
        script = ("Events = { onMessage = print } Websocket.feed(%q, { min_wait = 0.01 })"):format(server.url .. "/farewell"),
      }
      local function until_alive_is(n, code)
        return bed:run([[
          repeat
            Timer.sleep(0.01)
            local alive = talk "/alive":receive()
            local last = require "gwrun.json".decode((talk "/last":receive()))
          until alive == "%d" and (%d == 0 or last.code == %d)
          return true
        ]], n, code, code)
      end
      until_alive_is(1, 0)
      assert.equal(0, (app:cli "reload"))
      until_alive_is(1, 1001)
      app:stop()
      until_alive_is(0, 1001)
    end)
  end)

  -- ---- TLS ----

  local function with_server(name, f)
    local secure = wsserver.start(dir .. "/" .. name .. ".pem", dir .. "/" .. name .. ".key")
    local ok, message = pcall(f, secure)
    secure:stop()
    assert(ok, message)
  end

  describe("over TLS", function()
    setup(function()
      if missing then return end
      openssl.certificates(dir)
    end)

    test("trusts whom ca_file names, by name and by address", function()
      with_server("good", function(secure)
        for _, host in ipairs { "localhost", "127.0.0.1" } do
          assert.same({ "secret", 2000000, 5000 }, { bed:run([[
            local base, options = "wss://%s:%s", { ca_file = %q }
            local ws = assert(Websocket.connect(base .. "/echo", options))
            ws:send "secret"
            local large = assert(Websocket.connect(base .. "/large?n=2000000", options))
            local many, count = assert(Websocket.connect(base .. "/count?n=5000", options)), 0
            local first, size = ws:receive(), #large:receive()
            while count < 5000 do assert(tonumber((many:receive())) == count + 1) count = count + 1 end
            return first, size, count
          ]], host, secure.port, dir .. "/ca.pem") })
        end
      end)
    end)

    test("refuses wrong, expired and foreign certificates", function()
      for name, why in pairs {
        other = "[Hh]ostname mismatch", old = "certificate has expired", foreign = "unable to get local issuer certificate",
      } do
        with_server(name, function(secure)
          bed:fails("eacces", "^websocket: wss://127.0.0.1:%d+/echo: the certificate is not accepted: " .. why .. "$",
            "Websocket.connect(%q, { ca_file = %q })", secure.url .. "/echo?token=1", dir .. "/ca.pem")
        end)
      end
      with_server("good", function(secure)
        bed:fails("eacces", "the certificate is not accepted", "Websocket.connect(%q)", secure.url .. "/echo")
      end)
    end)

    test("takes any certificate when it is told not to verify", function()
      with_server("foreign", function(secure)
        assert.equal("x", bed:run("local ws = assert(Websocket.connect(%q, { verify = false })) ws:send 'x' return (ws:receive())",
          secure.url .. "/echo"))
      end)
    end)
  end)

  test("talks to gwrun", function()
    local app = testbed.start {
      gateways = { { listen = "websocket" } },
      script = [[
        Events = {}
        function Events.onConnect(id) Gateway.sendToClient(id, "welcome") end
        function Events.onMessage(id, message)
          if message == "leave" then Gateway.closeClient(id, "gone") else Gateway.sendToClient(id, "you said " .. message) end
        end
      ]],
    }
    local results = { pcall(bed.run, bed, [[
      local ws = assert(Websocket.connect "ws://127.0.0.1:%s/")
      local first = ws:receive()
      ws:send "hello"
      local second = ws:receive()
      ws:send "leave"
      local third = ws:receive()
      local _, _, code = ws:receive()
      return first, second, third, code
    ]], app.port[1]) }
    app:stop()
    assert.same({ true, "welcome", "you said hello", "gone", "eof" }, results)
  end)
end)

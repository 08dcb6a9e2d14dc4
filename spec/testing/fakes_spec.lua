-- gwrun.testing: databases and web servers that a spec plays itself.
local cjson = require "cjson"
local testing = require "gwrun.testing"

describe("a fake", function()
  local app

  after_each(function() app:stop() end)

  -- A system whose clients run Lua text in onMessage and get what it returns.
  local runner = [[
    local cjson = require "cjson"
    local db = Mysql.connect { user = "u", database = "d" }
    local redis = Redis.connect()
    Events = {}
    function Events.onMessage(client_id, text)
      local f = assert(load("local db, redis = ...; " .. text))
      Gateway.sendToClient(client_id, cjson.encode { f(db, redis) })
    end
  ]]

  local function start(options)
    options.text = runner
    app = testing.start(options)
  end

  describe("of mysql", function()
    it("gets SQL and parameters, and its rows come back", function()
      local seen
      start { mysql = function(sql, params)
        seen = { sql, params }
        return { { id = 7, name = "Ann" }, { id = 8, name = cjson.null } }
      end }
      local rows = app:run [[
        local db = Mysql.connect { user = "u", database = "d" }
        return db:query("SELECT * FROM t WHERE a = ? AND b = ?", { 1, Mysql.null })
      ]]
      assert.same({ { id = 7, name = "Ann" }, { id = 8, name = cjson.null } }, rows)
      assert.same({ "SELECT * FROM t WHERE a = ? AND b = ?", { 1, cjson.null } }, seen)
    end)

    it("runs below the query builder, and is remembered", function()
      start { mysql = function() return { { n = 3 } } end }
      assert.same({ { n = 3 } }, app:run [[
        local db = Mysql.connect { user = "u", database = "d" }
        return db:select("n"):from("t"):where("x = ?", { 5 }):query()
      ]])
      local query = app.mysql.queries[1]
      assert.truthy(query.sql:find("SELECT", 1, true) and query.sql:find("`t`", 1, true))
      assert.same({ 5 }, query.params)
    end)

    it("gives one column, one value, affected rows and insert ids", function()
      start { mysql = function(sql)
        if sql:find "^INSERT" then return 1, 42 end
        if sql:find "^UPDATE" then return 5 end
        return { { n = 3 }, { n = 4 } }
      end }
      assert.same({ { 3, 4 }, 3, { n = 3 }, 42, 5 }, { app:run [[
        local db = Mysql.connect { user = "u", database = "d" }
        return db:column("SELECT n FROM t"), db:single("SELECT n FROM t"), db:row("SELECT n FROM t"),
          (db:query("INSERT INTO t VALUES (1)")), db:query("UPDATE t SET n = 1")
      ]] })
    end)

    it("fails as the server does", function()
      start { mysql = function()
        return nil, { message = "Duplicate entry", code = "duplicate", errno = 1062 }
      end }
      assert.same({ cjson.null, "Duplicate entry", "duplicate", 1062 }, { app:run [[
        local db = Mysql.connect { user = "u", database = "d" }
        local ok, message, code, info = db:query("INSERT INTO t VALUES (1)")
        return ok == nil and require("cjson").null, message, code, info.errno
      ]] })
    end)

    it("sees whole transactions, and each handler has its own", function()
      start { mysql = function() return 1 end }
      assert.is_true(app:run [[
        local db = Mysql.connect { user = "u", database = "d" }
        return db:transaction(function(tx) return tx:query("UPDATE a SET b = 1") == 1 end)
      ]])
      local list = {}
      for i, q in ipairs(app.mysql.queries) do list[i] = q.sql end
      assert.same({ "START TRANSACTION", "UPDATE a SET b = 1", "COMMIT" }, list)
      -- one that a handler leaves open ends with it
      local client = app:connect()
      for _ = 1, 2 do
        client:send "return db:beginTrans()"
        assert.equal("[true]", client:last())
      end
    end)

    it("lets other clients go on while it waits, and times out", function()
      start { mysql = function(sql)
        testing.sleep(sql:find "slow" and 5 or 0.5)
        return {}
      end }
      local slow, quick = app:connect(), app:connect()
      slow:send "return #db:query('SELECT slow')"
      quick:send "return #db:query('SELECT 1')"
      app:advance(0.499)
      assert.is_nil(quick:last())
      app:advance(0.001)
      assert.equal("[0]", quick:last())
      assert.is_nil(slow:last())
      app:advance(4.5)
      assert.equal("[0]", slow:last())
      slow:send "local ok, m, code = db:query('SELECT slow', nil, 2) return ok == nil, m, code"
      app:advance(2)
      assert.equal('[true,"mysql: timed out","etimedout"]', slow:last())
    end)

    it("must be given", function()
      start { errors = "collect" }
      app:connect():send "return db:query('SELECT 1')"
      local failure = app:errors()[1]
      assert.truthy(failure:find("give testing.start { mysql = function(sql, params)", 1, true), failure)
    end)

    it("that fails, fails the spec", function()
      start { mysql = function() error("no such table in this spec", 0) end }
      local client = app:connect()
      assert.has_error(function() client:send "return db:query('SELECT 1')" end)
      app:errors()
    end)

    it("that returns nothing is told so", function()
      start { mysql = function() end }
      local client = app:connect()
      client:send "local _, m = db:query('SELECT 1') return m"
      assert.truthy(client:last():find("return {} for no rows", 1, true))
    end)
  end)

  describe("of http", function()
    it("writes all digits of the numbers in its JSON", function()
      start { http = function() return { json = { id = 1700000000123456, uid = 7.0 } } end }
      assert.equal('room 7 1700000000123456', app:run [[
        local data = assert(Http.get "https://api.test/"):json()
        return "room " .. data.uid .. " " .. data.id
      ]])
    end)

    it("gets the request and answers it", function()
      start { http = function(request)
        if request.url:find "refused" then return nil, "connection refused", "econnrefused" end
        return { status = 201, headers = { ["X-A"] = "b" }, json = { got = request.body } }
      end }
      assert.same({ 201, "b", '{"a":1}' }, { app:run [[
        local r = assert(Http.post("https://api.test/x", { a = 1 }))
        return r.status, r.headers["x-a"], r:json().got
      ]] })
      local request = app.http.requests[1]
      assert.same({ "POST", "https://api.test/x", "application/json" },
        { request.method, request.url, request.headers["content-type"] })
      assert.same({ true, "http: connection refused", "econnrefused" }, { app:run [[
        local r, message, code = Http.get "http://refused.test/"
        return r == nil, message, code
      ]] })
    end)
  end)

  it("of web services answers in pieces", function()
    start { http = function(request)
      if request.url:find "one" then return { body = "whole" } end
      return { chunks = { "a", "b" } }
    end }
    assert.same({ "ab", "eof", "whole", "ab", "ab" }, { app:run [[
      local r, text = assert(Http.get("https://api.test/", { stream = true })), ""
      for chunk in r:chunks() do text = text .. chunk end
      local one = assert(Http.get("https://api.test/one", { stream = true })):read()
      local all = ""
      assert(Http.get("https://api.test/", { onData = function(chunk) all = all .. chunk end }))
      return text, r.ended.code, one, Http.get("https://api.test/").body, all
    ]] })
  end)

  describe("of websockets", function()
    it("hears what the script says, and answers", function()
      local server = testing.websocket { onMessage = function(conn, message) conn:say("you said " .. message) end }
      start { websocket = server }
      assert.same({ "you said hello", false }, { app:run [[
        local ws = assert(Websocket.connect("ws://a.test/x?k=1", { headers = { ["X-A"] = "b" }, protocols = { "one", "two" } }))
        ws:send "hello"
        return ws:receive()
      ]] })
      local conn = server.connections[1]
      assert.equal("ws://a.test/x?k=1", conn.request.url)
      assert.equal("b", conn.request.headers["x-a"])
      assert.same({ "one", "two" }, conn.request.protocols)
      assert.same({ "hello" }, conn.sent)
      assert.equal("hello", conn:last())
    end)

    it("chooses a subprotocol, or refuses", function()
      start { websocket = testing.websocket { accept = function(request)
        if request.url:find "no" then return nil, "the server does not speak websocket there: it answers 403", "eproto" end
        return "two"
      end } }
      assert.same({ "two", true, "websocket: ws://a.test/no: the server does not speak websocket there: it answers 403", "eproto" },
        { app:run [[
          local ws = assert(Websocket.connect("ws://a.test/", { protocols = { "one", "two" } }))
          local none, message, code = Websocket.connect "ws://a.test/no?secret"
          return ws.protocol, none == nil, message, code
        ]] })
    end)

    it("closes, is closed, and is lost", function()
      local server = testing.websocket { onMessage = function(conn, message)
        if message == "close" then conn:say "last" conn:close(4001, "bye") else conn:drop() end
      end }
      start { websocket = server }
      assert.same({ "last", "eof", 4001, "bye", "econnreset", 1006, "eof", 4100 }, { app:run [[
        local function talk(message)
          local ws = assert(Websocket.connect "ws://a.test/")
          if message then ws:send(message) end
          return ws
        end
        local first, second, third = talk "close", talk "drop", talk()
        third:close(4100, "enough")
        local last = first:receive()
        local a, b, c = select(3, first:receive()), select(3, second:receive()), select(3, third:receive())
        return last, a, first.closed.code, first.closed.reason, b, second.closed.code, c, third.closed.code
      ]] })
      assert.same({ code = 4100, reason = "enough" }, server.connections[3].closed)
    end)

    it("keeps messages for the next one who waits", function()
      local server = testing.websocket()
      start { websocket = server }
      app:run [[ ws = assert(Websocket.connect "ws://a.test/") ]]
      local client = app:connect()
      client:send "local m, w, c = ws:receive(2) return tostring(m), c"
      app:advance(3)
      assert.equal('["nil","etimedout"]', client:last())
      server.connections[1]:say "late"
      client:send "return ws:receive(2)"
      assert.equal('["late",false]', client:last())
    end)

    it("is missing where the spec gives none", function()
      start {}
      assert.matches("give testing.start { websocket = testing.websocket%(%) }",
        (select(2, pcall(app.run, app, [[ return Websocket.connect "ws://a.test/" ]]))))
    end)
  end)

  describe("of sockets", function()
    it("hears what the script writes, and answers in pieces", function()
      local server = testing.socket { onData = function(conn, data)
        if data == "login\r\n" then conn:say "wel" conn:say "come\r" conn:say "\n123456;tail" end
      end }
      start { socket = server }
      assert.same({ "welcome", "123", "456", "tail" }, { app:run [[
        local s = assert(Socket.connect("a.test", 25, { tls = true }))
        s:write "login\r\n"
        return s:read "line", s:read(3), s:readUntil ";", s:read "any"
      ]] })
      local conn = server.connections[1]
      assert.same({ host = "a.test", port = 25, tls = true, server_name = "a.test", verify = true }, conn.request)
      assert.equal("login\r\n", conn.sent)
    end)

    it("refuses, closes, and is lost", function()
      local server = testing.socket {
        accept = function(request) if request.port == 1 then return nil, "nobody answers there", "econnrefused" end end,
        onData = function(conn, data)
          if data == "close" then conn:say "last" conn:close() else conn:drop() end
        end,
      }
      start { socket = server }
      assert.same({ "socket: a.test:1: nobody answers there", "last", "eof", "econnreset", "emsgsize", "enotconn" }, { app:run [[
        local function talk(message)
          local s = assert(Socket.connect("a.test", 2))
          s:write(message)
          return s
        end
        local refused = select(2, Socket.connect("a.test", 1))
        local first, second = talk "close", talk "drop"
        local small = select(3, first:read("line", { limit = 2 }))
        local last = first:read(4)
        local a, b = select(3, first:read(1)), select(3, second:read(1))
        first:close()
        return refused, last, a, b, small, (select(3, first:write "more"))
      ]] })
      assert.is_true(server.connections[1].closed)
    end)

    it("begins TLS, and keeps bytes for the next one who waits", function()
      local server = testing.socket()
      start { socket = server }
      assert.is_true(app:run [[
        s = assert(Socket.connect("a.test", 2))
        return s:starttls()
      ]])
      assert.is_true(server.connections[1].tls)
      local client = app:connect()
      client:send "local m, w, c = s:read('line', { timeout = 2 }) return tostring(m), c"
      app:advance(3)
      assert.equal('["nil","etimedout"]', client:last())
      server.connections[1]:say "late\n"
      client:send "return s:read 'line'"
      assert.equal('["late"]', client:last())
    end)

    it("is missing where the spec gives none", function()
      start {}
      assert.matches("give testing.start { socket = testing.socket%(%) }",
        (select(2, pcall(app.run, app, [[ return Socket.connect("a.test", 1) ]]))))
    end)
  end)

  describe("of redis", function()
    it("is a function that sees the commands", function()
      start { redis = function(command, key)
        if command == "GET" then return "value of " .. key end
        if command == "MGET" then return { "a", cjson.null } end
        return nil, "ERR unknown"
      end }
      assert.same({ "value of k", true, "ERR unknown", "err" }, { app:run [[
        local redis = Redis.connect()
        local _, message, code = redis:lpush("l", 1)
        return redis:get("k"), redis:mget("a", "b")[2] == Redis.null, message, code
      ]] })
      assert.same({ "LPUSH", "l", 1 }, app.redis.commands[1])
    end)

    it("is one in memory that all workers share", function()
      local redis = testing.redis()
      redis:set("greeting", "hi")
      start { redis = redis, workers = 2 }
      local a, b = app:connect(), app:connect()
      a:send "return redis:get 'greeting', redis:incr 'n'"
      b:send "return redis:incr 'n', redis:get 'none' == nil"
      assert.equal('["hi",1]', a:last())
      assert.equal("[2,true]", b:last())
      assert.equal("2", redis:get "n")
      assert.same({ "greeting", "n" }, redis:keys "*")
    end)

    it("knows hashes, lists, sets, sorted sets and expiry", function()
      start { redis = testing.redis() }
      assert.same({ { a = "1", b = "2" }, { "x", "y" }, { "m" }, { "p", "2", "q", "3" }, 60 }, { app:run [[
        local r = Redis.connect()
        r:hset("h", "a", 1, "b", 2)
        r:rpush("l", "x", "y")
        r:sadd("s", "m", "m")
        r:zadd("z", 3, "q", 2, "p")
        r:setex("e", 60, "v")
        return r:hgetall "h", r:lrange("l", 0, -1), r:smembers "s",
          r:zrange("z", 0, -1, "WITHSCORES"), r:ttl "e"
      ]] })
      app:advance(60)
      assert.is_true(app:run "return Redis.connect():get 'e' == nil")
      assert.same({ "WRONGTYPE", "wrongtype" }, { app:run [[
        local _, message, code = Redis.connect():incr "h"
        return message:match "^%u+", code
      ]] })
      assert.truthy(app:run("return (select(2, Redis.connect():call('BITCOUNT', 'h')))"):find "testing.redis")
    end)

    it("has pipelines, and transactions that see changes of others", function()
      start { redis = testing.redis() }
      local a, b = app:connect(), app:connect()
      a:send "return table.unpack(redis:pipeline(function(p) p:set('k', 1) p:incr('k') end))"
      assert.equal('["OK",2]', a:last())
      a:send [[
        local tries = 0
        local result = redis:transaction("k", function(tx, r)
          tries = tries + 1
          local n = tonumber(r:get "k")
          Timer.sleep(1)
          tx:set("k", n * 10)
        end)
        return tries, result[1]
      ]]
      app:advance(0.5)
      b:send "return redis:set('k', 7)"
      app:advance(5)
      assert.equal('[2,"OK"]', a:last())
      assert.equal("70", app:run "return Redis.connect():get 'k'")
    end)

    it("delivers what is published", function()
      app = testing.start { redis = testing.redis(), text = [[
        Events = {}
        function Events.onWorkerStart()
          Redis.connect():subscribe("news", function(text) Gateway.sendToAll(text) end)
        end
        function Events.onMessage(_, text) Redis.connect():publish("news", text) end
      ]] }
      local client = app:connect()
      client:send "extra"
      assert.same({ "extra" }, client:received())
      app:advance(100) -- its pings are answered
      client:send "again"
      assert.same({ "again" }, client:received())
      assert.same({}, app:log "warn")
    end)
  end)
end)

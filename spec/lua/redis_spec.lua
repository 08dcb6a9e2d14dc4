-- gwrun.redis in a real worker against a real server.
local cjson = require "cjson"
local redisserver = require "redisserver"
local scripting = require "scripting"

describe("gwrun.redis", function()
  local server, bed

  setup(function()
    server = redisserver.start { "--requirepass", "secret" }
    bed = scripting.start {
      prefix = ([[
        r = Redis.connect { host = %q, password = "secret", timeout = 10 }
        assert(require "gwrun.redis" == Redis and gwrun.redis == Redis)
      ]]):format(server.path),
    }
  end)

  teardown(function()
    if bed then bed:stop() end
    server:stop()
  end)

  before_each(function() bed:run "return r:flushdb()" end)

  it("has every command as a method", function()
    assert.equal("OK", bed:run "return r:set('k', 'a\\0b')")
    assert.equal("a\0b", bed:run "return r:get('k')")
    assert.equal(3, bed:run "return r:hset('h', 'a', 1, 'b', 2.5, 'c', '')")
    assert.same({ a = "1", b = "2.5", c = "" }, bed:run "return r:hgetall('h')")
    assert.equal(7, bed:run "return r:incrby('n', 7)")
    assert.equal("7", bed:run "return r:call('get', 'n')")
    assert.same({ "7", cjson.null }, bed:run "return r:mget('n', 'missing')")
    assert.equal("number", bed:run "return type(r:object('idletime', 'k'))")
  end)

  it("returns nil alone for what is not there", function()
    assert.same({ cjson.null, 1 }, { bed:run "local t = table.pack(r:get('missing')) return t[1], t.n" })
  end)

  it("writes numbers as integers where they are, else as short as they can be read back", function()
    for number, text in pairs {
      ["1001.0"] = "1001", ["1700000000123456.0"] = "1700000000123456", ["1700000000123456"] = "1700000000123456",
      ["0.1"] = "0.1", ["0.1 + 0.2"] = "0.30000000000000004", ["-7.0"] = "-7", ["1e15"] = "1000000000000000",
    } do
      assert.equal(text, bed:run("r:set('n', %s) return r:get 'n'", number))
    end
    assert.equal(1002, bed:run "r:set('n', 1001.0) return r:incr 'n'")
    assert.equal("x", bed:run "r:hset('h', 7.0, 'x') return r:hget('h', '7')")
  end)

  it("returns nil, message and code for an error", function()
    local none, message, code = bed:run "r:set('k', 'x') return r:incr('k')"
    assert.equal(cjson.null, none)
    assert.matches("not an integer", message)
    assert.equal("err", code)
    assert.equal("wrongtype", select(3, bed:run "return r:lpush('k', 1)"))
  end)

  it("raises for wrong arguments, in the script's line", function()
    for text, message in pairs {
      ["r:get(nil)"] = "word 2 of the redis command is a nil",
      ["r:set('k', {})"] = "word 3 of the redis command is a table",
      ["r:subscribe('a')"] = "function%(message, channel%) expected",
      ["r:select(1)"] = "spec:1: redis: SELECT would change the shared connection; use Redis.connect",
      ["r:call('multi')"] = "spec:1: redis: MULTI .- use multi%(f%)",
      ["Redis.connect { hots = 'x' }"] = "spec:1: redis: unknown option 'hots'",
      ["Redis.connect { port = 'x' }"] = "spec:1: redis: option 'port' must be a number",
      ["Redis.connect { port = 70000 }"] = "spec:1: redis: option 'port' must be a whole number from 1 to 65535",
      ["Redis.connect { db = 1.5 }"] = "spec:1: redis: option 'db' must be a whole number",
      ["Redis.connect { pool_size = 0 }"] = "spec:1: redis: option 'pool_size' must be a whole number from 1",
      ["Redis.connect { timeout = 0 }"] = "spec:1: redis: option 'timeout' must be a number from 0.001 to 86400",
      ["r:multi(function(tx) tx:del('k', nil) end)"] = "spec:1: redis: word 3 of the command is a nil",
    } do
      assert.error_matches(function() bed:run(text) end, message)
    end
  end)

  it("pipelines", function()
    assert.same(
      { "OK", 2, { error = "WRONGTYPE Operation against a key holding the wrong kind of value", code = "wrongtype" }, cjson.null },
      bed:run [[return r:pipeline(function(p)
        p:set("n", 1) p:incr("n") p:lpush("n", 1) p:call("get", "missing")
      end)]])
    assert.same({}, bed:run "return r:pipeline(function() end)")
  end)

  it("runs transactions", function()
    assert.same({ "OK", 2 }, bed:run "return r:multi(function(t) t:set('n', 1) t:incr('n') end)")
    local none, message, code = bed:run "return r:multi(function(t) t:set('n', 9) t:nosuch() end)"
    assert.equal(cjson.null, none)
    assert.matches("unknown command", message)
    assert.equal("err", code)
    assert.equal("2", bed:run "return r:get('n')")
  end)

  it("repeats a transaction whose keys were changed by others", function()
    assert.same({ { "OK" }, 2, "11" }, { bed:run [[
      r:set("n", 1)
      local runs = 0
      local result = r:transaction("n", function(tx, c)
        runs = runs + 1
        local n = c:get("n")
        if runs == 1 then r:set("n", 10) end
        tx:set("n", math.tointeger(n) + 1)
      end)
      return result, runs, r:get("n")
    ]] })
    assert.equal("eagain", select(3, bed:run [[
      return r:transaction({ "n" }, function(tx, c) r:incr("n") tx:set("n", 0) end)
    ]]))
  end)

  it("leaves a server that became a replica", function()
    assert.same({ "readonly", true, "OK" }, { bed:run [[
      local id = r:call("CLIENT", "ID")
      r:call("REPLICAOF", "127.0.0.1", "1")
      local code = select(3, r:set("n", 1))
      r:call("REPLICAOF", "NO", "ONE")
      return code, r:call("CLIENT", "ID") ~= id, r:set("n", 1)
    ]] })
  end)

  it("does not run a transaction whose watch was lost with its connection", function()
    local none, message, code, n = bed:run [[
      r:set("n", 1)
      local result, message, code = r:transaction("n", function(tx, c)
        c:call("REPLICAOF", "127.0.0.1", "1")
        c:set("n", 2) -- refused, and the connection is left
        c:call("REPLICAOF", "NO", "ONE")
        tx:set("n", 3)
      end)
      return result, message, code, r:get "n"
    ]]
    assert.same({ cjson.null, "econnreset", "1" }, { none, code, n })
    assert.matches("the connection was lost during the transaction", message)
  end)

  it("has every command within a transaction, too", function()
    assert.same({ { "OK" }, { "list", "a" }, "k" }, { bed:run [[
      local popped, key
      r:rpush("list", "a")
      local result = r:transaction("n", function(tx, c)
        popped = c:blpop("list", 1)
        key = c:script("return KEYS[1]", { "k" })
        tx:set("n", 1)
      end)
      return result, popped, key
    ]] })
    assert.error_matches(function()
      bed:run "return r:transaction('n', function(_, c) c:transaction('m', print) end)"
    end, "a transaction within a transaction")
  end)

  it("lets blocking commands wait without holding up others", function()
    local waiting = {}
    for i = 1, 12 do waiting[i] = bed:begin "return r:blpop('list', 60)" end -- more than the pool has
    for i = 1, 12 do
      assert.equal("OK", bed:run "return r:set('k', 1)")
      bed:run("return r:rpush('list', %d)", i)
    end
    for i = 1, 12 do assert.equal("list", waiting[i]()[1]) end
    assert.equal(cjson.null, bed:run "return r:blpop('list', 0.05)")
    assert.equal("deadline", select(3, bed:run [[
      local long = r:within(3600)
      return gwrun.deadline(0.02, long.blpop, long, "list", 0) -- for ever
    ]]))
  end)

  it("runs scripts, also after the server forgot them", function()
    local text = "return r:script('return { KEYS[1], ARGV[1], ARGV[2] }', { 'k' }, { 'a', 2 })"
    assert.same({ "k", "a", "2" }, bed:run(text))
    bed:run "return r:call('SCRIPT', 'FLUSH')"
    assert.same({ "k", "a", "2" }, bed:run(text))
    assert.same({ 1, 2, { 3, { "x" } } }, bed:run "return r:eval('return { 1, 2, { 3, { ARGV[1] } } }', 0, 'x')")
  end)

  it("carries many calls at once, each with its own reply", function()
    assert.equal(20000, bed:run [[
      local list = {}
      for i = 1, 200 do list[i] = function()
        local good = 0
        for j = 1, 100 do
          local text = i .. ":" .. j
          if r:echo(text) == text then good = good + 1 end
        end
        return good
      end end
      local sum = 0
      for _, good in ipairs { gwrun.parallel(table.unpack(list)) } do sum = sum + good end
      return sum
    ]])
  end)

  it("takes large values and refuses too large ones", function()
    assert.equal(10000000, bed:run "r:set('big', ('x'):rep(10000000)) return #r:get('big')")
    assert.equal("emsgsize", select(3, bed:begin [[
      return r:within(100):eval("local t = {} for i = 1, 8 do t[i] = string.rep('x', 10000000) end return t", 0)
    ]](100)))
    assert.equal("PONG", bed:run "return r:ping()")
  end)

  it("ends a call at its deadline, and uses the connection on", function()
    local none, message, code = bed:run "return r:within(0.05):call('debug', 'sleep', '0.2')"
    assert.equal(cjson.null, none)
    if code ~= "err" then -- DEBUG may be switched off
      assert.matches("no answer in time", message)
      assert.equal("etimedout", code)
    end
    none, message, code = bed:run "return r:within(0.05):eval('local n = 0 for i = 1, 3e7 do n = n + i end return n', 0)"
    assert.equal(cjson.null, none)
    assert.matches("no answer in time", message)
    assert.equal("etimedout", code)
    assert.equal("PONG", bed:run "local p repeat p = r:ping() until p return p")
  end)

  it("gives nobody the reply to a call that was cut short", function()
    server:freeze()
    assert.equal(100, bed:run [[
      local function slow() return (select(3, gwrun.deadline(0.01, r.eval, r, "return 'slow'", 0))) end
      local list, cut = {}, 0
      for i = 1, 100 do list[i] = slow end
      for _, code in ipairs { gwrun.parallel(table.unpack(list)) } do cut = cut + (code == "deadline" and 1 or 0) end
      return cut
    ]])
    server:thaw()
    assert.equal(0, bed:run [[
      local list, wrong = {}, 0
      for i = 1, 100 do list[i] = function() return r:echo(i) == tostring(i) end end
      for _, right in ipairs { gwrun.parallel(table.unpack(list)) } do wrong = wrong + (right and 0 or 1) end
      return wrong
    ]])
  end)

  it("keeps its pool of connections when calls on them are cut short", function()
    assert.same({ 8, 20, 8, "ok" }, { bed:run [[
      local function blocked(seconds)
        return function() return (select(3, gwrun.deadline(seconds, r.blpop, r, "nothing", 30))) end
      end
      local function count(n, seconds)
        local list, cut = {}, 0
        for i = 1, n do list[i] = blocked(seconds) end
        for _, code in ipairs { gwrun.parallel(table.unpack(list)) } do cut = cut + (code == "deadline" and 1 or 0) end
        return cut
      end
      local first = count(8, 0.02)
      local busy, waiting = gwrun.parallel(
        function() return count(8, 0.1) end,
        function() Timer.sleep(0.02) return count(12, 0.03) end) -- these wait for a connection
      local last = count(8, 0.02)
      return first, busy + waiting, last, gwrun.deadline(20, r.transaction, r, "k", function(tx) tx:ping() end) and "ok"
    ]] })
    bed:run "repeat Timer.sleep(0.01) until r:info('clients'):find 'connected_clients:2%s'" -- the transaction's too
  end)

  it("gets a connection back from whoever was ended for computing too long", function()
    local quick = scripting.start {
      prefix = ("r = Redis.connect { host = %q, password = 'secret', timeout = 1, pool_size = 1 }\n"):format(server.path),
      workers = { handler_timeout = 0.1 },
    }
    quick:send "r:transaction('k', function() while true do end end)"
    quick.app:wait_log "handler exceeded"
    assert.equal(cjson.null, quick:run "collectgarbage() collectgarbage() return (select(2, r:blpop('none', 0.01)))")
    quick:stop()
  end)

  it("says what is wrong with the server's name or password", function()
    local _, message, code = bed:run "return Redis.connect { host = '/nonexistent.sock' }:get('k')"
    assert.equal("redis /nonexistent.sock: no such file or directory", message)
    assert.equal("enoent", code)
    _, message, code = bed:run("return Redis.connect { host = %q, password = 'wrong' }:get('k')", server.path)
    assert.matches("WRONGPASS", message)
    assert.equal("eacces", code)
    _, message = bed:run("return Redis.connect { host = %q, password = 'secret', db = 99 }:get('k')", server.path)
    assert.matches("DB index is out of range", message)
    _, _, code = bed:run "return Redis.connect { host = '127.0.0.1', port = 1 }:get('k')"
    assert.equal("econnrefused", code)
  end)

  it("selects a database and logs in as a user", function()
    assert.same({ "1", cjson.null }, { bed:run([[
      local other = Redis.connect { host = %q, user = "default", password = "secret", db = 3 }
      other:set("only", 1)
      return other:get("only"), r:get("only")
    ]], server.path) })
  end)

  it("fails what waits for a connection that the script closes", function()
    bed:run("other = Redis.connect { host = %q, password = 'secret' } assert(other:ping())", server.path)
    server:freeze()
    assert.same({ "ecanceled", "connection is closed" }, { bed:run [[
      local _, code = gwrun.parallel(
        function() Timer.sleep(0.02) other:close() end,
        function() return (select(3, other:ping())) end)
      local _, message = pcall(other.ping, other)
      local _, blocked = pcall(other.blpop, other, "list", 0.01)
      return code, message:match "connection is closed" and blocked:match "connection is closed"
    ]] })
    server:thaw()
  end)

  it("collects clients nobody holds", function()
    assert.is_true(bed:run([[
      for i = 1, 50 do Redis.connect { host = %q, password = "secret" }:ping() end
      collectgarbage() collectgarbage()
      return true
    ]], server.path))
    bed:run "repeat Timer.sleep(0.01) until tonumber(r:info('clients'):match 'connected_clients:(%d+)') < 20"
  end)

  describe("subscriptions", function()
    it("bring the messages of channels and patterns in order", function()
      assert.same({ { "a:1", "a:2", "b:3" }, { "*:a:x" } }, { bed:run [[
        local got, matched = {}, {}
        local s = r:subscribe({ "a", "b" }, function(message, channel) Timer.sleep(0.001) got[#got + 1] = channel .. ":" .. message end)
        local p = r:psubscribe("n*", function(message, channel, pattern) matched[#matched + 1] = "*:" .. message end)
        assert(s:waitReady() and p:waitReady())
        r:publish("a", 1) r:publish("a", 2) r:publish("b", 3) r:publish("news", "a:x")
        repeat Timer.sleep(0.005) until #got == 3 and #matched == 1
        s:close() p:close()
        return got, matched
      ]] })
    end)

    it("survive an error in the handler", function()
      assert.same({ "one", "two" }, bed:run [[
        local got = {}
        local s = r:subscribe("e", function(message) got[#got + 1] = message error "boom" end)
        s:waitReady() r:publish("e", "one") r:publish("e", "two")
        repeat Timer.sleep(0.005) until #got == 2
        s:close()
        return got
      ]])
      bed.app:wait_log "handler of a subscription failed"
    end)
  end)

  describe("when the server dies", function()
    it("fails calls at once, resumes by itself and subscribes again", function()
      bed:run [[
        heard = {}
        sub = r:subscribe("c", function(message) heard[#heard + 1] = message end)
        sub:waitReady()
        counts = { ok = 0, failed = 0, late = 0 }
        stop = false
        for i = 1, 20 do gwrun.spawn(function()
          while not stop do
            local before = os.time()
            local reply = r:incr("load")
            if os.time() - before > 8 then counts.late = counts.late + 1 end
            if reply then counts.ok = counts.ok + 1 else counts.failed = counts.failed + 1 Timer.sleep(0.01) end
          end
        end) end
        repeat Timer.sleep(0.01) until counts.ok > 100
      ]]
      local blocked = bed:begin "return r:blpop('nothing', 30)"
      bed:run "repeat Timer.sleep(0.01) until r:info('clients'):find 'blocked_clients:1%s'"
      server:kill()
      local none, _, code = blocked()
      assert.equal(cjson.null, none)
      assert.equal("econnreset", code)
      bed:run "repeat Timer.sleep(0.01) until counts.failed > 100"
      server:up()
      bed:run "local ok = counts.ok repeat Timer.sleep(0.01) until counts.ok > ok + 100"
      assert.same({ "again" }, bed:run [[
        repeat Timer.sleep(0.02) until r:publish("c", "again") == 1
        repeat Timer.sleep(0.01) until #heard > 0
        stop = true
        sub:close()
        return heard
      ]])
      assert.equal(0, bed:run "return counts.late")
    end)

    it("hangs no call when the server freezes, and connects anew", function()
      server:freeze()
      local waiting = {}
      for i = 1, 5 do waiting[i] = bed:begin "return r:within(0.3):get('k')" end
      local codes = {}
      for i = 1, 5 do codes[select(3, waiting[i]())] = true end
      codes.econnreset = nil -- of those whose connection another one's deadline ended
      assert.same({ etimedout = true }, codes)
      server:thaw()
      assert.equal("PONG", bed:run "local p repeat p = r:ping() until p return p")
    end)
  end)
end)

-- testing.redis(): Lua scripts and streams.
local testing = require "gwrun.testing"

describe("testing.redis()", function()
  local redis

  before_each(function() redis = testing.redis() end)

  local function fails(pattern, ...)
    local value, message = redis:call(...)
    assert.is_nil(value)
    assert.matches(pattern, message)
  end

  describe("runs scripts", function()
    it("with keys, arguments and commands", function()
      assert.equal(7, redis:eval("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('INCRBY', KEYS[1], ARGV[2])",
        1, "n", 5, 2))
      assert.equal("7", redis:get "n")
    end)

    it("with values as Redis turns them", function()
      assert.same({ 1, 2, "x", { 3 } }, redis:eval("return { 1, 2.9, 'x', { 3 } }", 0))
      assert.same({ 1 }, redis:eval("return { 1, nil, 3 }", 0))
      assert.equal(-2, redis:eval("return -2.5", 0))
      assert.equal(1, redis:eval("return true", 0))
      assert.is_nil(redis:eval("return false", 0))
      assert.is_nil(redis:eval("return redis.call('GET', 'none') or nil", 0))
      assert.equal("OK", redis:eval("return redis.call('SET', 'a', 1)", 0))
      assert.equal("OK", redis:eval("return redis.call('SET', 'a', 1).ok", 0))
      assert.equal(0, redis:eval("return redis.call('GET', 'none') == false and 0", 0))
      assert.equal('{"a":1}', redis:eval("return cjson.encode { a = cjson.decode '[1]'[1] }", 0))
      assert.equal("fine", redis:eval("return redis.status_reply 'fine'", 0))
    end)

    it("and tells their errors", function()
      fails("^MY own$", "EVAL", "return redis.error_reply 'MY own'", 0)
      fails("^ERR value is not an integer", "EVAL", "redis.call('SET', 'a', 'x') return redis.call('INCR', 'a')", 0)
      assert.matches("^ERR value", redis:eval("return redis.pcall('INCR', 'a').err", 0))
      fails("^ERR Error compiling script", "EVAL", "return return", 0)
      fails("^ERR Error running script: .*boo", "EVAL", "error 'boo'", 0)
      fails("nonexistent global variable 'os'", "EVAL", "return os.time()", 0)
      fails("create global variable 'x'", "EVAL", "x = 1", 0)
      fails("greater than number of args", "EVAL", "return 1", 2, "k")
      fails("not an integer", "EVAL", "return 1", "x")
      fails("not allowed from script", "EVAL", "return redis.call('EVAL', 'return 1', 0)", 0)
      redis:eval("string.rep = nil table.insert = nil cjson.encode = nil", 0)
      assert.equal("aa", ("a"):rep(2))
    end)

    it("by their digests", function()
      local sha = redis:script("LOAD", "return KEYS[1] .. ARGV[1]")
      assert.equal("ka", redis:evalsha(sha, 1, "k", "a"))
      assert.same({ 1, 0 }, redis:script("EXISTS", sha, ("0"):rep(40)))
      redis:script "FLUSH"
      fails("^NOSCRIPT", "EVALSHA", sha, 0)
    end)

    it("of the script under test, through redis:script()", function()
      local app = testing.start { redis = redis, text = [[
        local redis = Redis.connect()
        Events = {}
        function Events.onMessage(id, text)
          Gateway.sendToClient(id, assert(redis:script("return redis.call('APPEND', KEYS[1], ARGV[1])", { "k" }, { text })))
        end
      ]] }
      local client = app:connect()
      client:send "ab"
      client:send "c"
      assert.same({ "2", "3" }, client:received())
      app:stop()
    end)
  end)

  it("is the cluster of a script that has one, too", function()
    local app = testing.start { redis = redis, text = [[
      local redis = Redis.connect { url = "rediss+cluster://:pw@a:7000,b:7000", server_name = "a" }
      Events = {}
      function Events.onMessage(id, text)
        assert(redis:multi(function(tx) tx:set("a", text) tx:set("b", text) end))
        Gateway.sendToClient(id, redis:get "b")
      end
    ]] }
    local client = app:connect()
    client:send "hello"
    assert.same({ "hello" }, client:received())
    assert.equal("hello", redis:get "a")
    app:stop()
    assert.error_matches(function()
      testing.start { redis = redis, text = 'Redis.connect "redis+cluster://a/1" Events = {}' }
    end, "redis: url: a cluster has no database but 0")
  end)

  describe("keeps streams", function()
    local function add(...)
      local ids = {}
      for i, id in ipairs { ... } do ids[i] = redis:xadd("s", id, "n", i) end
      return table.unpack(ids)
    end

    it("whose ids grow", function()
      assert.equal("5-1", add "5-1")
      assert.equal("5-2", (add "5-*"))
      assert.matches("^%d%d%d%d%d%d%d%d%d%d%d%d%d%-0$", (add "*"))
      fails("equal or smaller", "XADD", "s", "5-2", "a", "b")
      fails("Invalid stream ID", "XADD", "s", "x", "a", "b")
      fails("wrong number of arguments", "XADD", "s", "*", "a")
      assert.equal(3, redis:xlen "s")
      assert.equal("stream", redis:type "s")
      assert.is_nil(redis:xadd("none", "NOMKSTREAM", "*", "a", "b"))
      fails("^WRONGTYPE", "GET", "s")
    end)

    it("that are read by ranges", function()
      add("1-0", "2-0", "2-1", "3-0")
      assert.same({ { "1-0", { "n", "1" } } }, redis:xrange("s", "-", "+", "COUNT", 1))
      assert.same({ { "3-0", { "n", "4" } } }, redis:xrevrange("s", "+", "-", "COUNT", 1))
      assert.equal(2, #redis:xrange("s", 2, 2))
      assert.equal(2, #redis:xrange("s", "(2-0", "+"))
      assert.equal(3, #redis:xrange("s", "-", "(3-0"))
    end)

    it("that are trimmed", function()
      add("1-0", "2-0", "3-0", "4-0")
      assert.equal(1, redis:xdel("s", "2-0", "9-0"))
      assert.equal(1, redis:xtrim("s", "MAXLEN", 2))
      assert.equal("3-0", redis:xrange("s", "-", "+")[1][1])
      redis:xadd("s", "MAXLEN", "~", 1, "5-0", "a", "b")
      assert.equal(1, redis:xlen "s")
      redis:xadd("s", "6-0", "a", "b")
      assert.equal(1, redis:xtrim("s", "MINID", 6))
    end)

    it("that are read from an id on", function()
      add("1-0", "2-0")
      assert.same({ { "s", { { "2-0", { "n", "2" } } } } }, redis:xread("STREAMS", "s", "none", "1-0", "0"))
      assert.is_nil(redis:xread("COUNT", 1, "STREAMS", "s", "2-0"))
      assert.is_nil(redis:xread("STREAMS", "s", "$"))
      fails("Unbalanced", "XREAD", "STREAMS", "s")
    end)

    it("for groups of consumers", function()
      fails("MKSTREAM", "XGROUP", "CREATE", "s", "g", "$")
      assert.equal("OK", redis:xgroup("CREATE", "s", "g", "$", "MKSTREAM"))
      fails("^BUSYGROUP", "XGROUP", "CREATE", "s", "g", "0")
      add("1-0", "2-0", "3-0")
      local function read(consumer, id)
        local list = redis:xreadgroup("GROUP", "g", consumer, "COUNT", 2, "STREAMS", "s", id)
        local ids = {}
        for i, entry in ipairs(list and list[1][2] or {}) do ids[i] = entry[1] end
        return ids
      end
      assert.same({ "1-0", "2-0" }, read("ann", ">"))
      assert.same({ "3-0" }, read("bob", ">"))
      assert.same({}, read("bob", ">"))
      assert.same({ "1-0", "2-0" }, read("ann", "0"))
      assert.same({ 3, "1-0", "3-0", { { "ann", "2" }, { "bob", "1" } } }, redis:xpending("s", "g"))
      assert.equal(1, redis:xack("s", "g", "1-0", "9-0"))
      assert.same({ "2-0" }, read("ann", "0"))
      assert.equal("2-0", redis:xclaim("s", "g", "bob", 0, "2-0")[1][1])
      local pending = redis:xpending("s", "g", "-", "+", 10, "bob")
      assert.same({ "2-0", "bob", 2 }, { pending[1][1], pending[1][2], pending[1][4] })
      fails("^NOGROUP", "XREADGROUP", "GROUP", "x", "a", "STREAMS", "s", ">")
      assert.equal(1, redis:xgroup("DESTROY", "s", "g"))
    end)

    it("whose readers wait for entries", function()
      local app = testing.start { redis = redis, text = [[
        local redis = Redis.connect()
        Events = {}
        function Events.onMessage(id, ms)
          local list = redis:xread("BLOCK", ms, "STREAMS", "s", "$")
          Gateway.sendToClient(id, list and list[1][2][1][2][2] or "nothing")
        end
      ]] }
      local client = app:connect()
      add "1-0"
      client:send "2000"
      app:advance(1)
      assert.same({}, client:received())
      redis:xadd("s", "*", "text", "hello")
      assert.same({ "hello" }, client:received())
      client:send "2000"
      app:advance(1.9)
      assert.same({}, client:received())
      app:advance(0.2)
      assert.same({ "nothing" }, client:received())
      client:send "0"
      app:advance(60)
      redis:set("another", "key")
      assert.same({}, client:received())
      redis:xadd("s", "*", "text", "late")
      assert.same({ "late" }, client:received())
      app:stop()
    end)
  end)
end)

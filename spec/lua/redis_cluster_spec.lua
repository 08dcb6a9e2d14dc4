-- gwrun.redis with a Redis Cluster: masters and replicas from Debian's redis-server,
-- whose slots move and whose nodes die while scripts go on.
local cjson = require "cjson"
local loop = require "loop"
local openssl = require "openssl"
local process = require "process"
local rediscluster = require "rediscluster"
local redisserver = require "redisserver"
local scripting = require "scripting"
local testbed = require "testbed"
local uv = require "luv"

-- One key in each master's slots, and the keys' slots.
local keys = { "bar", "world", "foo" }

describe("gwrun.redis with a cluster", function()
  local cluster, bed

  setup(function()
    cluster = rediscluster.start()
    bed = scripting.start {
      prefix = ("url = %q\nr = Redis.connect { url = url, timeout = 20 }\n"):format(cluster:url("", 2, 1)),
    }
  end)

  teardown(function()
    if bed then bed:stop() end
    if cluster then cluster:stop() end
  end)

  it("finds each key's node", function()
    assert.same({ 300, 3 }, { bed:run [[
      local right = 0
      for i = 1, 300 do r:set("k" .. i, i) end
      for i = 1, 300 do right = right + (r:get("k" .. i) == tostring(i) and 1 or 0) end
      local hit = {}
      for _, key in ipairs { "foo", "bar", "world" } do hit[(r:object("ENCODING", key)) or key] = true end
      local n = 0 for _ in pairs(hit) do n = n + 1 end
      return right, n]] })
    local total = 0
    for _, node in ipairs(cluster.nodes) do
      local count = tonumber(node:cli "dbsize":match "%d+")
      assert.is_true(count > 50)
      total = total + count
    end
    assert.equal(300, total)
  end)

  it("knows the keys of commands that have them elsewhere", function()
    assert.same({ 0 }, { bed:run [[
      local errors = 0
      local function ok(value, message) if message then errors = errors + 1 Log.error(message) end return value end
      for i = 1, 20 do
        local tag = "{t" .. i .. "}"
        ok(r:eval("return redis.call('SET', KEYS[1], ARGV[1])", 1, tag .. "a", "x"))
        ok(r:bitop("NOT", tag .. "b", tag .. "a"))
        ok(r:xadd(tag .. "s", "*", "n", i))
        ok(r:xread("COUNT", 1, "STREAMS", tag .. "s", "0"))
        ok(r:xgroup("CREATE", tag .. "s", "g", "0"))
        ok(r:xreadgroup("GROUP", "g", "me", "STREAMS", tag .. "s", ">"))
        ok(r:zunion(1, tag .. "z"))
        ok(r:call("MEMORY", "USAGE", tag .. "a"))
        ok(r:call("DEBUG", "OBJECT", tag .. "a") or r:ping())
        ok(r:mset(tag .. "1", 1, tag .. "2", 2))
        ok(r:hset(tag .. "h", "f", i))
        if r:hgetall(tag .. "h").f ~= tostring(i) then errors = errors + 1 end
      end
      return errors]] })
  end)

  it("runs commands without a key, and scripts", function()
    assert.same({ "PONG", "k", 7 }, { bed:run [[
      for i = 1, 30 do assert(r:script("return KEYS[1]", { "k" .. i }) == "k" .. i) end
      return r:ping(), r:script("return KEYS[1]", { "k" }), r:eval("return 7", 0)]] })
  end)

  it("says what to do about keys of several slots", function()
    bed:fails("crossslot", "^CROSSSLOT .*one {tag} in its keys", "r:mget('foo', 'bar')")
    bed:fails("crossslot", "one {tag} in its keys", "r:multi(function(t) t:set('foo', 1) t:set('bar', 1) end)")
    bed:fails("crossslot", "one {tag} in its keys", "r:multi(function(t) t:set('k1', 1) t:set('k200', 1) end)")
    bed:fails("crossslot", "one {tag} in its keys", "r:transaction({ 'foo', 'bar' }, print)")
    bed:fails("crossslot", "one {tag} in its keys", [[(function()
      local reply
      r:transaction("foo", function(_, now) reply = table.pack(now:get "bar") end)
      return table.unpack(reply, 1, 3)
    end)()]])
    assert.same({ { "x", "y" } }, { bed:run "r:mset('{a}1', 'x', '{a}2', 'y') return r:mget('{a}1', '{a}2')" })
  end)

  it("sends a pipeline to all nodes, and brings replies in order", function()
    assert.same({ 1000, "wrongtype", cjson.null }, { bed:run [[
      local replies = r:pipeline(function(p)
        for i = 1, 500 do p:set("p" .. i, i) p:get("p" .. i) end
        p:lpush("p1", "x")
        p:get("no such key")
      end)
      local right = 0
      for i = 1, 500 do
        if replies[2 * i - 1] == "OK" then right = right + 1 end
        if replies[2 * i] == tostring(i) then right = right + 1 end
      end
      return right, replies[1001].code, replies[1002]
    ]] })
    assert.error_matches(function() bed:run "r:pipeline(function(p) p:set('foo', {}) p:get('bar') end)" end,
      "^spec:1: word 3 of the redis command is a table")
  end)

  it("runs transactions in one slot", function()
    assert.same({ { "OK", 2 }, { "OK" }, 2, "11" }, { bed:run [[
      local first = r:multi(function(t) t:set('n', 1) t:incr('n') end)
      r:set("n", 1)
      local runs = 0
      local result = r:transaction("n", function(tx, c)
        runs = runs + 1
        local n = c:get("n")
        if runs == 1 then r:set("n", 10) end
        tx:set("n", math.tointeger(n) + 1)
      end)
      return first, result, runs, r:get("n")]] })
  end)

  it("lets blocking commands wait at their nodes", function()
    local waiting = {}
    for i, key in ipairs(keys) do waiting[i] = bed:begin("return r:blpop('list:{%s}', 60)", key) end
    for i, key in ipairs(keys) do
      bed:run("return r:rpush('list:{%s}', %d)", key, i)
      assert.same({ "list:{" .. key .. "}", tostring(i) }, waiting[i]())
    end
    assert.equal(cjson.null, bed:run "return r:blpop('list', 0.05)")
  end)

  it("hears what is published at any node", function()
    assert.same({ "1", "2", "3", "4", "5" }, bed:run [[
      local got = {}
      local s = r:subscribe("news", function(message) got[#got + 1] = message end)
      assert(s:waitReady(20))
      for i = 1, 5 do r:publish("news", i) repeat Timer.sleep(0.005) until #got == i end
      s:close()
      return got]])
  end)

  it("takes an address or one table, and says what does not fit", function()
    for options, expected in pairs {
      ["{ url = url .. '/1' }"] = "a cluster has no database but 0",
      ["{ url = url, db = 1 }"] = "the url has option 'db' already",
      ["{ url = url, sentinel_user = 'x' }"] = "option 'sentinel_user' is for a url of sentinels",
    } do
      local ok, message = bed:run("return pcall(Redis.connect, %s)", options)
      assert.is_false(ok)
      assert.matches(expected, message, 1, true)
    end
    for command in pairs { asking = 1, readonly = 1 } do
      assert.error_matches(function() bed:run("return r:%s()", command) end, "would change the shared connection")
    end
  end)

  it("says why no node is of use", function()
    bed:fails("econnrefused", "^redis 127.0.0.1:1: connection refused", "Redis.connect('redis+cluster://127.0.0.1:1'):get('k')")
    bed:fails("eacces", "AUTH", "Redis.connect(url:gsub('//', '//:pw@')):get('k')")
    local alone = redisserver.start { "--port", tostring(testbed.ports()), "--bind", "127.0.0.1" }
    bed:fails("err", "^redis 127.0.0.1:%d+: ERR This instance has cluster support disabled",
      "Redis.connect('redis+cluster://127.0.0.1:%s'):get('k')", alone:cli("config", "get", "port"):match "%d+")
    alone:stop()
  end)

  it("waits for a slot that no node has, and says so in the end", function()
    local slot = tostring(cluster:slot "bar")
    local owner = cluster:owner(cluster:slot "bar")
    for _, node in ipairs(cluster.nodes) do node:cli("cluster", "delslots", slot) end
    local _, message, code, seconds = bed:run [[
      local began = gwrun.now()
      local none, message, code = r:get "bar"
      return none, message, code, gwrun.now() - began]]
    assert.equal("clusterdown", code)
    assert.matches("^CLUSTERDOWN", message)
    assert.is_true(seconds < 10)
    local waiting = bed:begin "return r:set('bar', 1)"
    owner:cli("cluster", "addslots", slot)
    cluster:wait_nodes()
    assert.equal("OK", waiting())
  end)

  it("fails what waits for a client that the script closes", function()
    assert.same({ true, "connection is closed" }, { bed:run [[
      local other = Redis.connect { url = url, timeout = 20 }
      assert(other:ping())
      other:close()
      local ok, message = pcall(other.get, other, "foo")
      return not ok, message:match "connection is closed"]] })
  end)

  it("runs what docs/redis.md shows", function()
    local block = testbed.read_file "docs/redis.md":match "```lua\n(local r = Redis.connect \"redis%+cluster.-)```"
    block = block:gsub('"redis%+cluster[^"]*"', "(url);") .. "return save(1, 'Ann', 30)"
    assert.same({ "Ann", "31" }, bed:run(block))
  end)

  describe("whose slots move", function()
    it("asks where the key is meanwhile, and learns where the slot is", function()
      local slot = cluster:slot "ask"
      local from, to = cluster:owner(slot)
      bed:run "r:set('{ask}old', 1)"
      rediscluster.begin_move(slot, from, to)
      assert.same({ "1", "OK", "2", { 3, "1" }, "OK" }, { bed:run [[
        local old = r:get("{ask}old")
        return old, r:set("{ask}new", 2), r:get("{ask}new"), r:pipeline(function(p) p:incr("{ask}new") p:get("{ask}old") end),
          r:set("{ask}old", 5)]] })
      assert.equal("3\n", to:cli("--no-raw", "get", "{ask}new"):find "MOVED" and "3\n")
      -- a transaction waits until the slot has moved
      local waiting = bed:begin "return r:multi(function(t) t:set('{ask}old', 1) t:incr('{ask}new') end)"
      while rediscluster.move_keys(slot, from, to, 10) do end
      rediscluster.end_move(slot, from, to)
      assert.same({ "OK", 4 }, waiting())
      assert.same({ "1", "4" }, bed:run "return r:mget('{ask}old', '{ask}new')")
    end)

    it("waits for keys that are apart, and says so in the end", function()
      local slot = cluster:slot "apart"
      local from, to = cluster:owner(slot)
      bed:run "r:mset('{apart}1', 1, '{apart}2', 2)"
      rediscluster.begin_move(slot, from, to)
      rediscluster.move_keys(slot, from, to, 1)
      bed:fails("tryagain", "^TRYAGAIN", "r:within(0.3):mget('{apart}1', '{apart}2')")
      local waiting = bed:begin "return r:mget('{apart}1', '{apart}2')"
      while rediscluster.move_keys(slot, from, to, 10) do end
      rediscluster.end_move(slot, from, to)
      assert.same({ "1", "2" }, waiting())
    end)

    it("wakes who blocks there, at the new node", function()
      local slot = cluster:slot "queue"
      local from, to = cluster:owner(slot)
      local waiting = bed:begin "return r:blpop('queue', 60)"
      loop.poll("it to block", function() return from:cli("info", "clients"):find "blocked_clients:1%s" end)
      rediscluster.move(slot, from, to)
      loop.poll("it to block", function() return to:cli("info", "clients"):find "blocked_clients:1%s" end)
      bed:run "return r:rpush('queue', 'x')"
      assert.same({ "queue", "x" }, waiting())
    end)

    it("lets no error reach the script under traffic", function()
      bed:run [[
        counts, stop, failures = { ok = 0, failed = 0, wrong = 0 }, false, {}
        local function note(good, message)
          if message then counts.failed = counts.failed + 1 failures[#failures + 1] = message
          elseif good then counts.ok = counts.ok + 1 else counts.wrong = counts.wrong + 1 end
        end
        ended = {}
        for i = 1, 12 do gwrun.spawn(function()
          local key, n = "{moving" .. i % 4 .. "}:" .. i, 0
          while not stop do
            local value, message = r:incr(key)
            n = n + 1
            note(value == n, message)
            local replies
            replies, message = r:pipeline(function(p) p:get(key) p:get("bar") p:incr(key) p:get(key) end)
            n = n + 1
            note(replies and replies[1] == tostring(n - 1) and replies[3] == n and replies[4] == tostring(n), message)
            replies, message = r:multi(function(t) t:incr(key) t:get(key) end)
            n = n + 1
            note(replies and replies[2] == tostring(n), message)
            replies, message = r:transaction(key, function(tx, now) tx:set(key, math.tointeger(assert(now:get(key))) + 1) end)
            n = n + 1
            note(replies and replies[1] == "OK", message)
          end
          ended[#ended + 1] = i
        end) end
        repeat Timer.sleep(0.01) until counts.ok > 200]]
      for _ = 1, 3 do
        for i = 0, 3 do
          local slot = cluster:slot("moving" .. i)
          rediscluster.move(slot, cluster:owner(slot))
        end
        bed:run "local ok = counts.ok repeat Timer.sleep(0.01) until counts.ok > ok + 100"
      end
      assert.same({ {}, 0, 0 }, { bed:run [[
        stop = true
        repeat Timer.sleep(0.01) until #ended == 12
        return failures, counts.failed, counts.wrong]] })
    end)
  end)
end)

describe("gwrun.redis with a cluster that loses a master", function()
  local cluster, bed

  setup(function()
    cluster = rediscluster.start { replicas = 1 }
    bed = scripting.start {
      prefix = ("r = Redis.connect { url = %q, timeout = 20 }\n"):format(cluster:url("", 1, 2, 3)),
    }
  end)

  teardown(function()
    if bed then bed:stop() end
    if cluster then cluster:stop() end
  end)

  it("goes on with its replica, in calls and in subscriptions", function()
    bed:run [[
      heard = {}
      for i = 1, 6 do
        local s = r:subscribe("c", function(message) heard[message] = (heard[message] or 0) + 1 end)
        assert(s:waitReady(20))
      end
      for _, key in ipairs { "bar", "foo", "world" } do assert(r:set(key, 0)) assert(r:wait(0, 1)) end]]
    loop.poll("the replica to have it", function() return cluster.nodes[4]:cli "dbsize":find "^[12]" end)
    cluster.nodes[1]:kill()
    -- what has no key goes to another node at once
    assert.equal(50, bed:run [[
      repeat local pong = r:ping() until pong
      local published = 0
      for i = 1, 50 do published = published + (r:publish("channel" .. i, "x") and 1 or 0) end
      return published]])
    local none, message, code = bed:run "return r:within(0.4):incr 'bar'"
    assert.equal(cjson.null, none, message)
    assert.is_true(code == "econnrefused" or code == "clusterdown" or code == "econnreset", message)
    bed:run [[
      local n
      repeat n = r:within(1):incr "bar" until n
      assert(r:incr "foo" and r:incr "world")
      repeat
        heard.again = nil
        r:publish("c", "again")
        Timer.sleep(0.05)
      until heard.again == 6]]
    assert.matches("master", cluster.nodes[4]:cli "role")
  end)

  it("goes on with its replica when the master hangs", function()
    cluster.nodes[1]:up()
    loop.poll("it to be a replica", function()
      return cluster.nodes[1]:cli("info", "replication"):find "master_link_status:up"
    end, 60)
    bed:run "repeat Timer.sleep(0.01) until r:set('bar', 1)"
    cluster.nodes[4]:freeze()
    bed:run [[
      local n
      repeat n = r:within(0.2):incr "bar" until n
      repeat n = r:within(0.2):ping() until n]]
    cluster.nodes[4]:thaw()
  end)
end)

describe("gwrun.redis with a cluster by TLS", function()
  local dir, cluster, bed

  setup(function()
    dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-tls-XXXXXX"))
    openssl.certificate(dir)
    cluster = rediscluster.start {
      tls = true, "--tls-cert-file", dir .. "/cert.pem", "--tls-key-file", dir .. "/key.pem",
      "--tls-ca-cert-file", dir .. "/cert.pem", "--tls-auth-clients", "optional", "--tls-cluster", "yes",
    }
    for _, node in ipairs(cluster.nodes) do node:cli("config", "set", "requirepass", "secret") end
    bed = scripting.start {
      prefix = ("r = Redis.connect { url = %q, ca_file = %q, server_name = 'localhost', timeout = 20 }\n"):format(
        cluster:url(":secret@", 3):gsub("^redis", "rediss"), dir .. "/cert.pem"),
    }
  end)

  teardown(function()
    if bed then bed:stop() end
    if cluster then cluster:stop() end
    process.run { "rm", "-rf", dir }
  end)

  it("logs in at each node", function()
    assert.equal("barfooworld", bed:run [[
      for _, key in ipairs { "bar", "foo", "world" } do assert(r:set(key, key)) end
      return r:get "bar" .. r:get "foo" .. r:get "world"]])
  end)
end)

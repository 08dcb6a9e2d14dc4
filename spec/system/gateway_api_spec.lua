-- Every function of Gateway against a running system of several gateways and
-- workers: good arguments, clients that are gone, ids that nobody has, names
-- and messages of all kinds.
local bridge = require "bridge"
local cjson = require "cjson"
local mime = require "mime"
local tcp = require "tcp"
local testbed = require "testbed"

-- Runs the Lua that a client sends and answers with what it returns.
local script = [[
local cjson = require "cjson"
cjson.encode_sparse_array(true)
Events = {}

local function run(text, ...)
  local chunk = assert(load("local me, a, b = ... " .. text))
  local packed = table.pack(pcall(chunk, ...))
  for i = 1, packed.n do if packed[i] == nil then packed[i] = cjson.null end end
  packed.n = nil
  return packed
end

function Events.onConnect(id) Gateway.sendToClient(id, cjson.encode { type = "id", id = id }) end

function Events.onMessage(id, message)
  local ok, ask = pcall(cjson.decode, message)
  if not ok or type(ask) ~= "table" or not ask.run then return end
  Gateway.sendToClient(id, cjson.encode { type = "result", result = run(ask.run, id, ask.a, ask.b) })
end
]]

local null = cjson.null

describe("Gateway, in a system of four gateways and two workers,", function()
  local missing = bridge.missing "ws"
  if missing then return pending(missing) end

  local app, ann, bob, line

  setup(function()
    app = testbed.start {
      script = script,
      workers = { count = 2 },
      gateways = { { count = 2 }, { listen = "websocket", send = "binary" }, { listen = "text" } },
    }
    ann = bridge.connect(app:url(1))
    ann.client = ann:receive_type("id").id
    bob = bridge.connect(app:url(1))
    bob.client = bob:receive_type("id").id
    line = tcp.connect(app.port[3])
    line:send "hello\n"
    line.client = cjson.decode(line:receive "\n").id
  end)

  teardown(function()
    line:close()
    bridge.close()
    app:stop()
  end)

  local heard -- messages to Ann that came before her last result

  -- Run Lua in Ann's handler: true or false (and the error), then the results.
  local function run(text, a, b)
    local result
    heard = {}
    ann:send_json { run = text, a = a, b = b }
    ann:event(function(e)
      if e.event ~= "message" then return false end
      local ok, m = pcall(cjson.decode, e.text)
      result = ok and type(m) == "table" and m.type == "result" and m.result
      if not result then heard[#heard + 1] = e.text end
      return result
    end, 60)
    return result
  end

  -- Its results; it must not raise.
  local function value(text, a, b)
    local result = run(text, a, b)
    assert(result[1] == true, text .. ": " .. tostring(result[2]))
    return table.unpack(result, 2)
  end

  local unknown -- a client that a living gateway never had

  before_each(function() unknown = ann.client:sub(1, 12) .. "7fffffff" end)

  describe("with a client", function()
    -- What each gives for an unknown client, as for one that is offline.
    local cases = {
      { "sendToClient", ", 'x'", true },
      { "closeClient", "", true },
      { "destroyClient", "", true },
      { "destoryClient", "", true },
      { "bindUid", ", 'u'", true },
      { "unbindUid", "", true },
      { "unbindUid", ", 'u'", false },
      { "joinGroup", ", 'g'", true },
      { "leaveGroup", ", 'g'", true },
      { "setSession", ", { a = 1 }", true },
      { "updateSession", ", { a = 1 }", true },
      { "getSession", "", null },
      { "isOnline", "", false },
      { "getUidByClientId", "", null },
      { "getGroupsByClientId", "", null },
    }

    for _, case in ipairs(cases) do
      local call = "return Gateway." .. case[1] .. "(a" .. case[2] .. ")"

      it(case[1] .. case[2] .. " knows who is gone, and never was", function()
        local c = bridge.connect(app:url(1))
        local gone = c:receive_type("id").id
        c:close()
        c:closed()
        assert.equal(true, value("repeat until not Gateway.isOnline(a) return true", gone))
        assert.equal(case[3], (value(call, gone)))
        assert.equal(case[3], (value(call, unknown)))
      end)

      it(case[1] .. case[2] .. " says when no gateway has the id", function()
        local result = run(call, "7f0000010001" .. "00000001")
        assert.equal(null, result[2])
        assert.equal("enotconn", result[4])
      end)

      it(case[1] .. case[2] .. " refuses what is no client id", function()
        for _, bad in ipairs { "", "x", ann.client .. "0", ann.client:sub(1, 19), ("g"):rep(20), 42, true } do
          local result = run(call, bad)
          assert.equal(false, result[1], tostring(bad))
          assert.matches(case[1] == "destoryClient" and "Client" or case[1], result[2], 1, true)
        end
      end)
    end
  end)

  local names = {
    ["a word"] = "lobby", ["a number"] = 7, ["digits"] = "1001", ["leading zero"] = "007",
    ["a minus"] = "-5", ["a float's look"] = "1.5", ["umlauts"] = "grün", ["Chinese"] = "房间",
    ["an emoji"] = "🙂", ["quotes"] = "\"it's\"\\", ["a line feed"] = "a\nb", ["a space"] = " ",
    ["255 bytes"] = ("n"):rep(255),
  }

  for what, name in pairs(names) do
    local text = tostring(name)

    it("has uids that are " .. what, function()
      assert.equal(true, value("return Gateway.bindUid(me, a)", name))
      assert.equal(true, value("return Gateway.bindUid(a, b)", line.client, name))
      assert.equal(text, value("return Gateway.getUidByClientId(me)"))
      assert.equal(true, value("return Gateway.isUidOnline(a)", name))
      assert.equal(true, value("return Gateway.isUidsOnline({ a, 'nobody' })[a]", name))
      assert.equal(false, value("return Gateway.isUidsOnline({ a, 'nobody' }).nobody", name))
      assert.equal(2, value("return #Gateway.getClientIdByUid(a)", name))
      assert.equal(2, value("return #Gateway.batchGetClientIdByUid({ a })[a]", name))
      assert.equal(text, value("return Gateway.getAllUidList()[b]", name, text))
      assert.equal(1, value "return Gateway.getAllUidCount()")
      assert.equal(true, value("return Gateway.sendToUid(a, 'to a uid')", name))
      assert.same({ "to a uid" }, heard)
      line:receive "to a uid\n"
      assert.equal(true, value("return Gateway.unbindUid(me, a)", name))
      assert.equal(false, value("return Gateway.unbindUid(me, a)", name))
      assert.equal(true, value("return Gateway.unbindUid(a)", line.client))
      assert.equal(false, value("return Gateway.isUidOnline(a)", name))
    end)

    it("has groups that are " .. what, function()
      assert.equal(true, value("return Gateway.joinGroup(me, { a, 'second' })", name))
      assert.equal(true, value("return Gateway.joinGroup(a, b)", bob.client, name))
      assert.equal(true, value "return Gateway.bindUid(me, 'ann')")
      local joined = value "return Gateway.getGroupsByClientId(me)"
      table.sort(joined)
      local both = { "second", text }
      table.sort(both)
      assert.same(both, joined)
      assert.equal(2, value("return Gateway.getClientIdCountByGroup(a)", name))
      assert.equal(2, value("return Gateway.getClientCountByGroup(a)", name))
      assert.equal(2, value("return Gateway.batchGetClientIdCountByGroup({ a })[a]", name))
      assert.equal(bob.client, value("return Gateway.getClientIdListByGroup(a)[b]", name, bob.client))
      assert.equal(true, value("return Gateway.getClientSessionsByGroup(a)[b] ~= nil", name, bob.client))
      assert.equal(true, value("return Gateway.getAllClientSessions(a)[b] ~= nil", name, bob.client))
      assert.equal("ann", value("return Gateway.getUidListByGroup(a).ann", name))
      assert.equal(1, value("return Gateway.getUidCountByGroup(a)", name))
      assert.equal(text, value("return Gateway.getAllGroupIdList()[b]", name, text))
      assert.equal("ann", value("return Gateway.getAllGroupUidList()[b].ann", name, text))
      assert.equal(1, value("return Gateway.getAllGroupUidCount()[b]", name, text))
      assert.equal(bob.client, value("return Gateway.getAllGroupClientIdList()[b][a]", bob.client, text))
      assert.equal(2, value("return Gateway.getAllGroupClientIdCount()[b]", name, text))
      assert.equal(true, value("return Gateway.sendToGroup({ a, 'second' }, 'once', { b })", name, bob.client))
      assert.same({ "once" }, heard)
      assert.equal(true, value "return Gateway.sendToCurrentClient('then')")
      assert.same({ "then" }, heard)
      assert.equal(true, value("return Gateway.leaveGroup(me, { a, 'second' })", name))
      assert.equal(true, value("return Gateway.ungroup(a)", name))
      assert.equal(0, value("return Gateway.getClientIdCountByGroup(a)", name))
      assert.equal(true, value "return Gateway.unbindUid(me)")
    end)
  end

  it("refuses names that are empty, 0, too long or no names", function()
    local calls = {
      "bindUid(me, %s)", "unbindUid(me, %s)", "sendToUid(%s, 'x')", "isUidOnline(%s)", "getClientIdByUid(%s)",
      "isUidsOnline({ %s })", "batchGetClientIdByUid({ %s })", "closeUid(%s)", "joinGroup(me, %s)",
      "leaveGroup(me, %s)", "ungroup(%s)", "sendToGroup(%s, 'x')", "getClientIdListByGroup(%s)",
      "getClientSessionsByGroup(%s)", "getUidListByGroup(%s)", "getUidCountByGroup(%s)",
      "batchGetClientIdCountByGroup({ %s })",
    }
    for _, call in ipairs(calls) do
      for _, bad in ipairs { "''", "0", "true", "('x'):rep(256)" } do
        local text = "return Gateway." .. call:format(bad)
        assert.equal(false, run(text)[1], text)
      end
    end
  end)

  it("refuses a question that no packet holds", function()
    assert.same({ true, null, "more than 67108864 bytes cannot be sent at once (max_packet)", "emsgsize" }, { table.unpack(run [[
      local uids, long = {}, ("u"):rep(250)
      for i = 1, 280000 do uids[i] = long end
      return Gateway.batchGetClientIdByUid(uids)
    ]], 1, 4) })
  end)

  it("refuses a message that no packet holds, whoever gets it", function()
    for _, call in ipairs { "sendToAll(text)", "sendToClient(me, text)", "sendToAll(text, { me })", "closeClient(me, text)",
      "sendToGroup('g', text)", "sendToAll(text, nil, me)" } do
      local got = run("local text = ('x'):rep(64 * 2 ^ 20) return Gateway." .. call)
      assert.same({ true, null, "emsgsize" }, { got[1], got[2], got[4] }, call)
    end
  end)

  it("has sessions, of clients on any gateway", function()
    assert.equal(true, value("return Gateway.setSession(a, { name = 'Bob', tags = { 'x' } })", bob.client))
    assert.equal(true, value("return Gateway.updateSession(a, { age = 7 })", bob.client))
    assert.same({ name = "Bob", tags = { "x" }, age = 7 }, value("return Gateway.getSession(a)", bob.client))
    assert.equal("Bob", value("return Gateway.getAllClientSessions()[a].name", bob.client))
    assert.equal(false, run("return Gateway.setSession(a, { f = print })", bob.client)[1])
  end)

  it("counts and lists clients of all gateways", function()
    assert.equal(true, value("return Gateway.isOnline(a)", line.client))
    assert.equal(3, value "return Gateway.getAllClientIdCount()")
    assert.equal(3, value "return Gateway.getAllClientCount()")
    assert.equal(3, value "return Gateway.getClientIdCountByGroup()")
    local all = value "return Gateway.getAllClientIdList()"
    for _, c in ipairs { ann, bob, line } do assert.equal(c.client, all[c.client]) end
  end)

  it("knows the clients of each worker", function()
    local online = {}
    for _, c in ipairs { ann, bob, line } do online[c.client] = true end
    for _, c in ipairs { ann, bob } do
      c:send_json { run = "return Gateway.getMyClients()" }
      local result = c:receive_type("result").result
      assert.equal(2, #result)
      local own = {}
      for _, id in ipairs(result[2]) do
        assert.is_true(online[id])
        own[id] = true
      end
      assert.is_true(own[c.client])
    end
  end)

  it("sends binary messages, empty ones and those of 1 MiB", function()
    local binary = bridge.connect(app:url(2))
    local first = binary:event(function(e) return e.event == "message" end)
    local id = cjson.decode((mime.unb64(first.binary))).id
    for _, size in ipairs { 1, 0, 125, 126, 65535, 65536, 1024 * 1024 - 1 } do
      local call = "return Gateway.sendToClient(a, ('\\0\\xff'):rep(b // 2 + 1):sub(1, b))"
      assert.equal(true, value(call, id, size))
      local e = binary:event(function(e) return e.event == "message" end)
      local got = mime.unb64(e.binary) or ""
      assert.equal(size, #got)
      assert.equal(("\0\xff"):rep(size // 2 + 1):sub(1, size), got)
    end
    binary:close()
    local large = ("0123456789abcdef"):rep(65535)
    assert.equal(true, value("return Gateway.sendToAll(('0123456789abcdef'):rep(65535), a)", { bob.client }))
    assert.equal(large, bob:receive "0123")
    assert.equal(true, value("return Gateway.sendToAll('all but me', nil, me)"))
    assert.equal("all but me", bob:receive())
    line:receive "all but me\n"
  end)

  it("closes and destroys clients, and those of a uid", function()
    local c, d, e = bridge.connect(app:url(1)), bridge.connect(app:url(1)), bridge.connect(app:url(1))
    for _, x in ipairs { c, d, e } do x.client = x:receive_type("id").id end
    assert.equal(true, value("return Gateway.bindUid(a, 'leaver')", c.client))
    assert.equal(1, value "return Gateway.closeUid('leaver', 'bye')")
    assert.equal("bye", c:receive())
    assert.equal(1000, c:closed().code)
    assert.equal(0, value "return Gateway.closeUid('leaver')")
    assert.equal(true, value("return Gateway.closeClient(a, 'bye too')", d.client))
    assert.equal("bye too", d:receive())
    assert.equal(1000, d:closed().code)
    assert.equal(true, value("return Gateway.destroyClient(a)", e.client))
    assert.equal(1006, e:closed().code)
  end)

  for _, call in ipairs { "closeCurrentClient", "destroyCurrentClient", "destoryCurrentClient" } do
    it(call .. " ends the client whose event runs", function()
      local c = bridge.connect(app:url(1))
      c:send_json { run = "return Gateway." .. call .. "()" }
      c:closed()
    end)
  end

  it("says that a script serves", function() assert.equal(true, value "return gwrun.is_serving()") end)

  it("refuses calls about the current client where there is none", function()
    for _, call in ipairs {
      "sendToCurrentClient('x')", "closeCurrentClient()", "destroyCurrentClient()", "destoryCurrentClient()",
    } do
      local result = value("local ok, err; Timer.delay(0.001, function() ok, err = pcall(function() Gateway."
        .. call .. " end) end) while ok == nil do Timer.sleep(0.005) end return { ok, err }")
      assert.equal(false, result[1], call)
    end
  end)

  it("refuses a list of more groups than a client may be in, and joins none of them", function()
    local got = run [[
      local many, few, before = {}, {}, #Gateway.getGroupsByClientId(me)
      for i = 1, 1500 do many[i], few[i] = "many" .. i, "few" .. i % 3 end
      local ok, message, code = Gateway.joinGroup(me, many)
      local joined = #Gateway.getGroupsByClientId(me) - before
      local again = Gateway.joinGroup(me, few)
      return ok == nil, message, code, joined, again, Gateway.leaveGroup(me, few)
    ]]
    assert.same({ true, true, "a client may be in at most 1024 groups (max_groups), not in 1500",
      "e2big", 0, true, true }, got)
  end)

  it("counts groups that a client gets one by one and may not be in", function()
    local joined = value [[
      for i = 1, 1500 do assert(Gateway.joinGroup(me, "one" .. i)) end
      local joined = #Gateway.getGroupsByClientId(me)
      for i = 1, 1500 do Gateway.leaveGroup(me, "one" .. i) end
      return joined
    ]]
    assert.equal(1024, joined)
    local refused = 0
    for _, process in ipairs(app:status().processes) do
      refused = refused + (process.counters.groups_refused or 0)
    end
    assert.is_true(refused >= 1500 - 1024)
  end)
end)

describe("max_packet", function()
  local missing = bridge.missing "ws"
  if missing then return pending(missing) end

  after_each(bridge.close)

  local function ask(mib, text)
    local app = testbed.start {
      script = script, workers = { memory_limit = 2 ^ 30 }, config = function(c) c.max_packet = mib * 2 ^ 20 end,
    }
    local client = bridge.connect(app:url())
    client:receive_type "id"
    client:send_json { run = text }
    local result = client:receive_type("result").result
    app:stop()
    return result
  end

  it("may be larger than it is by default", function()
    assert.same({ true, 280000 }, ask(128, [[
      local uids, long, count = {}, ("u"):rep(245), 0
      for i = 1, 280000 do uids[i] = ("%010d"):format(i) .. long end
      for _ in pairs((assert(Gateway.batchGetClientIdByUid(uids, 60)))) do count = count + 1 end
      return count
    ]]))
  end)

  it("may be smaller, and an answer beyond it is refused", function()
    local got = ask(16, [[
      local uids, long = {}, ("u"):rep(100)
      for i = 1, 150000 do uids[i] = ("%06d"):format(i) .. long end
      local all, message, code = Gateway.batchGetClientIdByUid(uids)
      local sent, why = Gateway.sendToAll(("x"):rep(16 * 2 ^ 20))
      return all == nil, message, code, sent == nil, why
    ]])
    assert.same({ true, true, "a gateway would have to answer with more than max_packet", "emsgsize",
      true, "more than 16777216 bytes cannot be sent at once (max_packet)" }, got)
  end)
end)

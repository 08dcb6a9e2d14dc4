-- What Gateway's queries make of several gateways' answers, with a core that
-- gives what the test says.
local P, Q = "7f0000010b54", "7f0000010b55"

describe("lua/gateway.lua", function()
  local Gateway, core, answers, failure, asked, closed

  before_each(function()
    answers, failure, asked, closed = {}, nil, nil, {}
    core = {
      ask = function(cmd, ext, id, timeout, mine, about, names, only_whether)
        asked = { cmd = cmd, ext = ext, id = id, timeout = timeout, mine = mine, about = about, names = names,
          only_whether = only_whether }
        if failure then return answers, failure, "etimedout" end
        return answers
      end,
      client = function(id) return #id == 20 and id or error "bad argument #1 to '?' (malformed)" end,
      name = function(name)
        if name == nil then error "bad argument #1 to '?' (none)" end
        return tostring(name)
      end,
      names = function() return "json" end,
      message = function() end,
      close_options = function(options)
        if type(options) == "table" and options.bad then error "bad argument #1 to '?' (there is no option)" end
      end,
      select = function(fields) return fields end,
      unserialize = function(text) return text ~= "" and { text = text } or nil end,
    }
    setmetatable(core, { __index = function(_, name) return name end })
    Gateway = {
      unbindUid = function(id) closed[#closed + 1] = id return true end,
      closeClient = function(id, message, options)
        if id:sub(-8) == "000000ff" then return nil, "gateway is not connected", "enotconn" end
        closed[#closed + 1] = id .. message
        closed.options = options
        return true
      end,
    }
    assert(loadfile "lua/gateway.lua")(Gateway, core)
  end)

  local function answer(first, second)
    answers = { { prefix = P, value = first } }
    if second ~= nil then answers[2] = { prefix = Q, value = second } end
  end

  it("adds up what gateways count", function()
    answer(3, 4)
    assert.equal(7, Gateway.getAllClientIdCount())
    assert.equal(7, Gateway.getClientIdCountByGroup("room"))
    assert.equal("room", asked.ext)
    assert.equal(7, Gateway.getClientCountByGroup(""))
    assert.equal("", asked.ext)
  end)

  it("gives the partial result behind the error", function()
    answer(3)
    failure = "gateway did not answer"
    assert.same({ nil, "gateway did not answer", "etimedout", 3, n = 4 },
      table.pack(Gateway.getAllClientIdCount()))
    answer { [1] = { uid = "ann" } }
    assert.same({ nil, failure, "etimedout", { [P .. "00000001"] = P .. "00000001" }, n = 4 },
      table.pack(Gateway.getAllClientIdList()))
    assert.same({ nil, failure, "etimedout", 1, n = 4 }, table.pack(Gateway.getAllUidCount()))
  end)

  it("knows that a uid is online when any gateway has it", function()
    answer({}, { 5 })
    assert.is_true(Gateway.isUidOnline("ann"))
    failure = "late"
    assert.is_true(Gateway.isUidOnline("ann"))
    answer {}
    assert.same({ nil, "late", "etimedout", false, n = 4 }, table.pack(Gateway.isUidOnline("ann")))
  end)

  it("joins lists and maps of all gateways", function()
    answer({ 1, 3 }, { 2 })
    assert.same({ P .. "00000001", P .. "00000003", Q .. "00000002" }, Gateway.getClientIdByUid("ann"))
    answer({ [1] = { uid = "ann" }, [2] = { uid = "bob" } }, { [1] = { uid = "ann" } })
    assert.same({ ann = "ann", bob = "bob" }, Gateway.getAllUidList())
    assert.equal(2, Gateway.getUidCountByGroup("room"))
    answer({ "a", 7 }, { "a", "b" })
    assert.same({ a = "a", b = "b", ["7"] = "7" }, Gateway.getAllGroupIdList())
  end)

  it("asks whose the clients are of those who know it", function()
    answer({ [1] = {}, [3] = {} }, { [2] = {} })
    local list = Gateway.getMyClients(2)
    table.sort(list)
    assert.same({ P .. "00000001", P .. "00000003", Q .. "00000002" }, list)
    assert.is_true(asked.mine)
    assert.equal(2, asked.timeout)
    answer { [1] = {} }
    failure = "gateway does not say"
    assert.same({ nil, failure, "etimedout", { P .. "00000001" }, n = 4 }, table.pack(Gateway.getMyClients()))
    Gateway.getAllClientIdList()
    assert.is_nil(asked.mine)
  end)

  it("tells about which uids or groups it asks, for cells without them need not answer", function()
    local function check(about, names, call, ...)
      Gateway[call](...)
      assert.same({ about, names }, { asked.about, asked.names }, call)
    end
    check("u", "ann", "isUidOnline", "ann")
    assert.is_true(asked.only_whether)
    check("u", "ann", "getClientIdByUid", "ann")
    assert.is_nil(asked.only_whether)
    check("u", { "ann", "bob" }, "isUidsOnline", { "ann", "bob" })
    check("g", "7", "getClientIdCountByGroup", 7)
    check("g", { "a", "b" }, "batchGetClientIdCountByGroup", { "a", "b" })
    check("g", "room", "getClientIdListByGroup", "room")
    check("g", "room", "getUidListByGroup", "room")
    check("g", "room", "getAllClientSessions", "room")
    for _, call in ipairs { "getAllUidList", "getAllGroupIdList", "getAllClientIdCount", "getAllClientSessions", "getMyClients" } do
      check(nil, nil, call)
    end
  end)

  it("adds up batches under the names that were asked, whatever their type", function()
    answer({ [1001] = 2, room = 1 }, { [1001] = 3 })
    assert.same({ ["1001"] = 5, room = 1, none = 0 },
      Gateway.batchGetClientIdCountByGroup { "1001", "room", "none" })
    assert.same({ [1001] = 5 }, Gateway.batchGetClientIdCountByGroup { 1001 })
    assert.same({ [1001] = 5 }, Gateway.batchGetClientIdCountByGroup { 1001, 1001 }) -- not 10
    answer({ [1001] = { 1 } }, { [1001] = { 2 }, ann = {} })
    assert.same({ [1001] = { P .. "00000001", Q .. "00000002" }, ann = {} },
      Gateway.batchGetClientIdByUid { 1001, "ann" })
    assert.same({ [1001] = true, ann = false }, Gateway.isUidsOnline { 1001, "ann" })
  end)

  it("lists groups with all their members, also those without a uid", function()
    answer({ [1] = { groups = { a = "a" } }, [2] = { uid = "ann", groups = { a = "a", b = "b" } }, [3] = {} })
    assert.same({ a = { ann = "ann" }, b = { ann = "ann" } }, Gateway.getAllGroupUidList())
    assert.same({ a = 1, b = 1 }, Gateway.getAllGroupUidCount())
    assert.same({ a = 2, b = 1 }, Gateway.getAllGroupClientIdCount())
  end)

  it("reads sessions, also empty ones", function()
    answer { [1] = "x", [2] = "" }
    assert.same({ [P .. "00000001"] = { text = "x" }, [P .. "00000002"] = {} }, Gateway.getAllClientSessions())
    assert.equal("GET_ALL_CLIENT_SESSIONS", asked.cmd)
    Gateway.getAllClientSessions("room")
    assert.same({ "GET_CLIENT_SESSIONS_BY_GROUP", "room" }, { asked.cmd, asked.ext })
  end)

  it("says when a gateway's answer would be too large", function()
    answer(false, { [1] = "x" })
    assert.same({ nil, "a gateway would have to answer with more than max_packet", "emsgsize",
      { [Q .. "00000001"] = { text = "x" } }, n = 4 }, table.pack(Gateway.getAllClientSessions()))
  end)

  it("hands the timeout on", function()
    answer(1)
    Gateway.getAllClientCount(2.5)
    assert.equal(2.5, asked.timeout)
    Gateway.getSession(P .. "00000001", 0.5)
    assert.equal(0.5, asked.timeout)
  end)

  it("asks the client's own gateway only", function()
    answer(1)
    assert.is_true(Gateway.isOnline(P .. "00000001"))
    assert.equal(P .. "00000001", asked.id)
  end)

  it("returns what went wrong for one client", function()
    failure = "gone"
    assert.same({ nil, "gone", "etimedout", n = 3 }, table.pack(Gateway.isOnline(P .. "00000001")))
    assert.same({ nil, "gone", "etimedout", n = 3 }, table.pack(Gateway.getUidByClientId(P .. "00000001")))
    assert.same({ nil, "gone", "etimedout", n = 3 }, table.pack(Gateway.unbindUid(P .. "00000001", "ann")))
    assert.same({}, closed)
  end)

  it("unbinds a uid only where it is bound", function()
    answer { [1] = { uid = "7" } }
    assert.is_false(Gateway.unbindUid(P .. "00000001", 8))
    assert.same({}, closed)
    assert.is_true(Gateway.unbindUid(P .. "00000001", 7))
    assert.same({ P .. "00000001" }, closed)
  end)

  it("closes a uid on all gateways", function()
    answer({ 1 }, { 2 })
    assert.equal(2, Gateway.closeUid("ann", "!"))
    assert.same({ P .. "00000001!", Q .. "00000002!" }, closed)
    answer { 3 }
    failure = "late"
    assert.same({ nil, "late", "etimedout", 1, n = 4 }, table.pack(Gateway.closeUid("ann", "!")))
    assert.equal(P .. "00000003!", closed[3])
  end)

  it("closes a group, and counts those whose gateways took it", function()
    answer({ [1] = { uid = "ann" } }, { [2] = {} })
    assert.equal(2, Gateway.closeGroup("room", "!"))
    table.sort(closed)
    assert.same({ P .. "00000001!", Q .. "00000002!" }, closed)
    answer({ [1] = {}, [255] = {} })
    assert.same({ nil, "gateway is not connected", "enotconn", 1, n = 4 },
      table.pack(Gateway.closeGroup("room", "!")))
  end)

  it("asks for as long as a close says, and closes as it says", function()
    answer { 1 }
    local options = { code = 4000, timeout = 2 }
    for _, name in ipairs { "closeUid", "closeGroup" } do
      answer(name == "closeUid" and { 1 } or { [1] = {} })
      Gateway[name]("x", "!", options)
      assert.equal(2, asked.timeout)
      assert.same({ code = 4000 }, closed.options)
      Gateway[name]("x", "!", 3)
      assert.equal(3, asked.timeout)
      assert.is_nil(closed.options)
      Gateway[name]("x", "!", true)
      assert.is_true(closed.options)
      assert.has_error(function() Gateway[name]("x", "!", { bad = true }) end)
      assert.has_error(function() Gateway[name]("x", "!", { timeout = 0 }) end)
    end
    assert.same({ code = 4000, timeout = 2 }, options) -- it may be used again
  end)

  it("closes as its options said when it was called, whatever they say later", function()
    local options = { code = 4000 }
    local ask = core.ask
    core.ask = function(...)
      options.code = 4001 -- another handler's turn, with the same table
      return ask(...)
    end
    for _, name in ipairs { "closeUid", "closeGroup" } do
      answer(name == "closeUid" and { 1 } or { [1] = {} })
      options.code = 4000
      Gateway[name]("x", "!", options)
      assert.same({ code = 4000 }, closed.options)
    end
  end)

  it("blames the caller for a wrong argument, by the function's name", function()
    local ok, message = pcall(function() Gateway.isOnline("x") end)
    assert.is_false(ok)
    assert.matches("gateway_spec.lua:%d+: bad argument #1 to 'isOnline' %(malformed%)", message)
  end)
end)

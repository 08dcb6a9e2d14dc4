-- What every call of Gateway answers when one of three cells is killed, before and after that is
-- known, and when Redis is away: as the table of docs/cluster.md says.
local cluster = require "cluster"
local loop = require "loop"
local population = require "population"
local redisserver = require "redisserver"
local testbed = require "testbed"
local uv = require "luv"

-- The table: call → { what it answers in each of three states }.
local function read_table()
  local text = testbed.read_file "docs/cluster.md"
  local rows = text:match "\n### When a cell or Redis is gone\n.-\n| %-%-%-[^\n]*\n(.-)\n\n"
  local calls = {}
  for names, killed, gone, away in rows:gmatch "| ([^|]+) | ([^|]+) | ([^|]+) | ([^|]+) |" do
    for name in names:gmatch "`(%a+)`" do
      assert(not calls[name], name .. " stands there twice")
      calls[name] = { killed = killed, gone = gone, away = away }
    end
  end
  return calls
end

-- Each call about somebody of the third cell ("far"); those about uids and groups, about "both",
-- whom the first cell has, too. T is a timeout.
local far = {
  sendToAll = "'x'", sendToUid = "'both', 'x'", sendToGroup = "'both', 'x', who.near", ungroup = "'nobody'",
  sendToClient = "who.far, 'x'", closeClient = "who.far", destroyClient = "who.far", destoryClient = "who.far",
  bindUid = "who.far, 'u'", unbindUid = "who.far", joinGroup = "who.far, { 'g', 'h' }", leaveGroup = "who.far, 'g'",
  setSession = "who.far, { a = 1 }", updateSession = "who.far, { a = 1 }",
  isOnline = "who.far, T", getSession = "who.far, T", getUidByClientId = "who.far, T", getGroupsByClientId = "who.far, T",
  isUidOnline = "'far', T", isUidsOnline = "{ 'both', 'far', 'near' }, T", getClientIdByUid = "'both', T",
  batchGetClientIdByUid = "{ 'both', 'far', 'near' }, T", getClientIdCountByGroup = "'both', T", getClientCountByGroup = "'both', T",
  batchGetClientIdCountByGroup = "{ 'both', 'near' }, T", getClientIdListByGroup = "{ 'both', 'near' }, T",
  getClientSessionsByGroup = "'both', T", getUidListByGroup = "'both', T", getUidCountByGroup = "'both', T",
  closeUid = "'far', nil, T", closeGroup = "'far', nil, T",
  getAllClientIdCount = "T", getAllClientCount = "T", getAllClientIdList = "T", getAllClientSessions = "nil, T", getAllUidList = "T",
  getAllUidCount = "T", getAllGroupIdList = "T", getAllGroupUidList = "T", getAllGroupUidCount = "T", getAllGroupClientIdList = "T",
  getAllGroupClientIdCount = "T", sendToCurrentClient = "'x'", closeCurrentClient = "", destroyCurrentClient = "",
  destoryCurrentClient = "", getMyClients = "T",
}

-- What is left of the answers when the far cell's are missing.
local rest = {
  isUidsOnline = '{["both"]=true, ["far"]=false, ["near"]=false}', getClientIdByUid = '{"<near>"}',
  batchGetClientIdByUid = '{["both"]={"<near>"}, ["far"]={}, ["near"]={}}',
  closeUid = "0", closeGroup = "0", getClientIdCountByGroup = "1", getClientCountByGroup = "1",
  batchGetClientIdCountByGroup = '{["both"]=1, ["near"]=1}', getClientIdListByGroup = '{["<near>"]="<near>"}',
  getClientSessionsByGroup = '{["<near>"]={["n"]=1}}', getUidListByGroup = '{["both"]="both"}', getUidCountByGroup = "1",
}

describe("with three cells, every call", function()
  local redis, world, dead

  -- Bind, join: near in the first cell and far in the third have the uid and group "both"; far has
  -- a client of the uid and group "far", too.
  setup(function()
    redis = redisserver.start()
    world = population.start(redis, 3, { config = function(c) c.hang_timeout = 600 end })
    world:newcomer("caller", "text", 1)
    world:newcomer("near", "frame", 1)
    world:newcomer("far", "websocket", 3)
    world:newcomer("other", "text", 3)
    loop.poll("all to be seen", function() return world:ask("caller", "return Gateway.getAllClientIdCount()") == "true, 4" end, 60)
    assert.equal("true", world:ask("caller", [[
      for _, name in ipairs { "near", "far" } do
        assert(Gateway.bindUid(who[name], "both", { wait = true }))
        assert(Gateway.joinGroup(who[name], "both", { wait = true }))
        assert(Gateway.setSession(who[name], { n = 1 }))
      end
      assert(Gateway.bindUid(who.other, "far", { wait = true }) and Gateway.joinGroup(who.other, "far", { wait = true }))
      assert(Gateway.joinGroup(who.near, "near", { wait = true }))]]))
  end)

  teardown(function()
    for _, client in pairs(world.clients) do client:close() end
    for _, cell in ipairs(world.cells) do cell:stop() end
    redis:stop()
  end)

  -- Ask by a client of its own, who is closed afterwards: a function that waits for the results,
  -- and whether they took more than a second.
  local function ask_later(name, timeout)
    local call = ("Gateway.%s(%s)"):format(name, (assert(far[name], name)))
    world:newcomer(name, "text", 1)
    local wait = world:ask_later(name, name:find "Current" and "return false, " .. call
      or ("local T, late = %s, false local timer = Timer.once(1, function() late = true end) local r = table.pack(%s) "
        .. "Timer.del(timer) return late, table.unpack(r, 1, r.n)"):format(timeout, call))
    return function()
      local late, text = wait():match "^true, (%a+),? ?(.*)$"
      world:forget(name)
      return text or "", late == "true"
    end
  end

  local function waits(said) return said:find "etimedout" ~= nil end

  -- Ask all at the same time: the worker runs them side by side. On a busy machine everything may
  -- take a second: then once more.
  local function ask_all(calls, state, timeout)
    local asked, answers = {}, {}
    for name in pairs(calls) do asked[name] = ask_later(name, timeout) end
    for name, wait in pairs(asked) do
      local text, late = wait()
      answers[name] = { text = text, late = late }
    end
    for name, answer in pairs(answers) do
      local again = 0
      while answer.late and not waits(calls[name][state]) and again < 3 do
        answer.text, answer.late = ask_later(name, timeout)()
        again = again + 1
      end
    end
    return answers
  end

  -- Hold an answer against what the table says.
  local function check(name, said, answer)
    local text = answer.text
    local code, and_rest = said:match '^`"(%l+_?%l*)"`(.*)'
    if name:find "CurrentClient" then return said == "as ever" and (text == "true" or name ~= "sendToCurrentClient") end
    if name == "getMyClients" then return said == "as ever" and text:find('"<caller>"', 1, true) end
    if said == "the rest" then return text == rest[name] or not rest[name] and not text:find "^nil" end
    if not code then return text == said:gsub("`", "") end
    local partial = text:match('^nil, "gateway <gateway> .*", "' .. code .. '",? ?(.*)$')
    if partial and and_rest == " and `false`" then return partial == "false" end
    if partial and and_rest == " and the rest" then return partial == (rest[name] or partial) and partial ~= "" end
    return partial == "" and and_rest == ""
  end

  local function compare(state, timeout)
    local calls = read_table()
    for name, answer in pairs(ask_all(calls, state, timeout)) do
      local said = calls[name][state]
      assert(check(name, said, answer), ("%s, %s: %s, and not %s"):format(name, state, answer.text, said))
      assert(answer.late == waits(said), name .. (answer.late and " is late" or " does not wait"))
    end
  end

  it("is in the table", function()
    local there = world:ask("caller", population.CALLS)
    local calls, count = read_table(), 0
    for name in there:match '"(.*)"':gmatch "%a+" do
      assert(calls[name], name .. " is not in the table of docs/cluster.md")
      assert(far[name], name)
      count = count + 1
    end
    for _ in pairs(calls) do count = count - 1 end
    assert.equal(0, count)
  end)

  it("that asks answers in time when Redis is frozen", function()
    local calls = {}
    for name, promise in pairs(read_table()) do
      if waits(promise.killed) or name == "isUidOnline" then calls[name] = promise end
    end
    redis:freeze()
    local answers = ask_all(calls, "killed", 0.3)
    redis:thaw()
    for name, answer in pairs(answers) do
      assert(answer.text:find '^nil, ".* did not answer in time.*", "etimedout"', name .. ": " .. answer.text)
    end
    for _, cell in ipairs(world.cells) do cluster.wait_up(cell, #population.listeners, 1) end
  end)

  it("answers when Redis is away", function()
    redis:kill()
    for _, cell in ipairs(world.cells) do
      loop.poll("it to be noticed", function()
        local up = 0
        for _, p in ipairs(cell:status().processes) do up = up + ((p.counters or { engine_up = true }).engine_up and 1 or 0) end
        return up == 0
      end)
    end
    compare("away", 600)
    assert.equal('true, true, "local"', world:ask("caller", "return Gateway.joinGroup(who.near, 'w', { wait = true })"))
    assert.equal('true, true, "local"', world:ask("caller", "return Gateway.bindUid(me, 'me', { wait = true, exclusive = true })"))
    redis:up()
    for _, cell in ipairs(world.cells) do cluster.wait_up(cell, #population.listeners, 1) end
    for _, name in ipairs { "near", "far" } do
      loop.poll("all to be joined again", function()
        return world:ask("caller", "return Gateway.isUidOnline 'far', Gateway.isOnline(who." .. name .. ")") == "true, true, true"
      end, 60)
    end
    loop.poll("both", function() return world:ask("caller", "return #Gateway.getClientIdByUid 'both'") == "true, 2" end, 60)
  end)

  it("answers when a cell was killed, and when that is known", function()
    dead = table.remove(world.cells)
    local pids = { dead.master.pid }
    for _, p in ipairs(dead:status().processes) do pids[#pids + 1] = p.pid end
    -- at once, for the others: a child whose master is gone leaves in order
    for _, pid in ipairs(pids) do uv.kill(pid, "sigstop") end
    -- what it has in Redis stays as long as it takes us to look
    local keys = {}
    for _, pattern in ipairs { "chat:gateway:*", "chat:alive:*" } do
      for key in redis:cli("keys", pattern):gmatch "%S+" do
        if redis:cli("get", key):find " c\n" or key:find "alive" then keys[#keys + 1] = key end
      end
    end
    local addresses = {}
    for _, key in ipairs(keys) do
      if key:find "gateway" then addresses[key:match "gateway:(.*)"] = true end
    end
    local his = {}
    for _, key in ipairs(keys) do
      if addresses[key:match "^chat:%a+:(.*)"] then
        redis:cli("persist", key)
        his[#his + 1] = key
      end
    end
    assert.equal(6, #his)
    for _, pid in ipairs(pids) do uv.kill(pid, "sigkill") end
    dead.master:wait()
    dead:remove()
    compare("killed", 3)
    local named = "did not answer in time; missing, too: <gateway>, <gateway>\""
    assert.matches(named, world:ask("caller", "return Gateway.getAllUidList(0.2)"), 1, true)
    redis:cli("del", table.unpack(his))
    loop.poll("it to be known", function()
      return world:ask("caller", "return select(3, Gateway.sendToClient(who.far, 'x'))") == 'true, "unknown_cell"'
    end, 60)
    compare("gone", 600)
  end)
end)

-- Cells joined by Redis: two systems of their own, as on two machines, each with
-- its gateways, workers and register.
local cluster = require "cluster"
local cjson = require "cjson"
local loop = require "loop"
local redisserver = require "redisserver"
local testbed = require "testbed"

local person, sum, start_cell, wait_up = cluster.person, cluster.sum, cluster.start, cluster.wait_up
local exact_sum, wait_names = cluster.exact_sum, cluster.wait_names

describe("two cells", function()
  local redis, a, b, ann, bob

  setup(function()
    redis = redisserver.start()
    a = start_cell(redis, "a")
    b = start_cell(redis, "b")
    wait_up(a)
    wait_up(b)
    ann, bob = person(a), person(b)
    -- every worker knows all gateways
    for _, who in ipairs { ann, bob } do
      loop.poll("all to be seen", function() return who:run "return Gateway.getAllClientIdCount()" == 2 end)
    end
  end)

  teardown(function()
    for _, cell in ipairs { a, b } do cell:stop() end
    redis:stop()
  end)

  it("send to all, to groups, to uids and to clients of the other one", function()
    local id = bob:run "return ..."
    assert.is_true(bob:run "return Gateway.joinGroup(..., 'room') and Gateway.bindUid(..., 'bob')")
    wait_names(redis, 2)
    assert.is_true(ann:run "return Gateway.sendToAll 'all'")
    assert.equal("all", bob:hear())
    assert.equal("all", ann:hear())
    assert.is_true(ann:run "return Gateway.sendToGroup('room', 'room')")
    assert.equal("room", bob:hear())
    assert.is_true(ann:run "return Gateway.sendToUid('bob', 'uid')")
    assert.equal("uid", bob:hear())
    assert.is_true(ann:run("return Gateway.sendToClient('%s', 'client')", id))
    assert.equal("client", bob:hear())
  end)

  it("keep the order of what one worker sends in whichever way", function()
    local id = bob:run "return ..."
    ann:run([[
      for i = 1, 300 do
        if i %% 3 == 0 then Gateway.sendToAll("all " .. i)
        elseif i %% 3 == 1 then Gateway.sendToClient("%s", "one " .. i)
        else Gateway.sendToUid("bob", "uid " .. i) end
      end]], id)
    for i = 1, 300 do
      assert.equal((i % 3 == 0 and "all " or i % 3 == 1 and "one " or "uid ") .. i, bob:hear())
    end
  end)

  it("leave out those that a send excludes, wherever they are", function()
    local other = person(b)
    local id = bob:run "return ..."
    local other_id = other:run "return ..."
    assert.is_true(ann:run("return Gateway.sendToAll('not for bob', nil, { '%s' })", id))
    assert.equal("not for bob", other:hear())
    assert.is_true(ann:run("return Gateway.sendToAll('not for the other', nil, { '%s', (...) })", other_id))
    assert.equal("not for the other", bob:hear())
    ann:run "Gateway.sendToAll 'end'"
    assert.equal("end", other:hear())
    assert.equal("end", bob:hear())
    other.client:close()
  end)

  it("send once to whoever is in several of the groups, to few and to many", function()
    local eve = person(b)
    local id = eve:run "return ..."
    bob:run "return Gateway.joinGroup(..., 'seconds')"
    wait_names(redis, 3)
    eve:run "return Gateway.joinGroup(..., { 'seconds', 'thirds' })"
    wait_names(redis, 4)
    ann:run "return Gateway.sendToGroup({ 'room', 'seconds', 'thirds', 'nobody' }, 'few')"
    ann:run("return Gateway.sendToGroup({ 'seconds', 'thirds' }, 'but one', { '%s' })", id)
    ann:run [[
      local groups = { "room", "thirds" }
      for i = 1, 30 do groups[#groups + 1] = "no" .. i end
      return Gateway.sendToGroup(groups, "many") and Gateway.sendToGroup("thirds", "end")]]
    for _, text in ipairs { "few", "but one", "many" } do assert.equal(text, bob:hear()) end
    for _, text in ipairs { "few", "many", "end" } do assert.equal(text, eve:hear()) end
    assert.is_true(ann:run "return Gateway.ungroup 'seconds' and Gateway.sendToGroup({ 'seconds', 'room' }, 'left')")
    assert.equal("left", bob:hear())
    ann:run "return Gateway.sendToGroup('thirds', 'last')"
    assert.equal("last", eve:hear())
    eve.client:close()
    wait_names(redis, 2)
  end)

  it("publish for a uid once, and only its gateway hears it", function()
    local function calls() return tonumber(redis:cli("info", "commandstats"):match "cmdstat_publish:calls=(%d+)") end
    -- eighteen more cells, as Redis sees them: each hears its inbox, the news, all and names of its own
    local cells = {}
    for i = 1, 18 do
      cells[i] = redis:subscribe("chat:at:" .. i, "chat:news", "chat:all", "chat:u:other" .. i, "chat:g:other" .. i)
    end
    local taken = exact_sum(b, "gateway", "engine_taken")
    local before = calls()
    ann:run "for i = 1, 2000 do Gateway.sendToUid('bob', 'one ' .. i) end"
    for i = 1, 2000 do assert.equal("one " .. i, bob:hear()) end
    -- beside them the eight processes publish probes to themselves, now and then
    local published = calls() - before
    assert.is_true(published >= 2000 and published < 4000, published)
    assert.equal(2000, exact_sum(b, "gateway", "engine_taken") - taken)
    for i, cell in ipairs(cells) do
      redis:cli("publish", "chat:at:" .. i, "the end")
      assert.is_nil(cell:wait("the end"):find("one ", 1, true))
      cell:close()
    end
  end)

  it("answer questions about both", function()
    local id = bob:run "return ..."
    bob:run "_SESSION.name = 'Bob'"
    assert.is_true(ann:run "return Gateway.isUidOnline 'bob'")
    assert.same({ id }, ann:run "return Gateway.getClientIdByUid 'bob'")
    assert.equal("bob", ann:run("return Gateway.getUidByClientId('%s')", id))
    assert.is_true(ann:run("return Gateway.isOnline('%s')", id))
    assert.same({ name = "Bob" }, ann:run("return Gateway.getSession('%s')", id))
    assert.equal(1, ann:run "return Gateway.getClientIdCountByGroup 'room'")
    assert.same({ room = "room" }, ann:run "return Gateway.getAllGroupIdList()")
  end)

  it("ask about a name only the gateways that have it", function()
    local id = bob:run "return ..."
    local function asked(text)
      local before = exact_sum(b, "gateway", "engine_taken")
      local result = ann:run(text)
      return exact_sum(b, "gateway", "engine_taken") - before, result
    end
    assert.same({ 1, { id } }, { asked "return Gateway.getClientIdByUid 'bob'" })
    assert.same({ 1, { bob = { id }, nobody = {} } }, { asked "return Gateway.batchGetClientIdByUid { 'bob', 'nobody' }" })
    assert.same({ 1, 1 }, { asked "return Gateway.getClientIdCountByGroup 'room'" })
    assert.same({ 1, { [id] = id } }, { asked "return Gateway.getClientIdListByGroup 'room'" })
    assert.same({ 1, { bob = "bob" } }, { asked "return Gateway.getUidListByGroup 'room'" })
    assert.same({ 1, { [id] = { name = "Bob" } } }, { asked "return Gateway.getClientSessionsByGroup 'room'" })
    assert.same({ 0, 0 }, { asked "return Gateway.getClientIdCountByGroup 'nobody'" })
    assert.same({ 0, {} }, { asked "return Gateway.getClientIdByUid 'nobody'" })
    -- all are asked for what is about all
    assert.same({ 2, 2 }, { asked "return Gateway.getAllClientIdCount()" })
    -- whether a uid is online is one look-up
    assert.same({ 0, true }, { asked "return Gateway.isUidOnline 'bob'" })
    assert.same({ 0, false }, { asked "return Gateway.isUidOnline 'nobody'" })
  end)

  it("believe nothing of gateways that are gone", function()
    local here = redis:cli("hgetall", "chat:u:bob"):match "[^\n]+"
    redis:cli("hset", "chat:u:ghost", "10.0.0.99:2900", "x", here, "its former token")
    assert.is_false(ann:run "return Gateway.isUidOnline 'ghost'")
    assert.same({}, ann:run "return Gateway.getClientIdByUid 'ghost'")
    assert.equal("0\n", redis:cli("exists", "chat:u:ghost"))
  end)

  it("hear at once of a join that was waited for", function()
    local eve = person(b)
    local id = eve:run "return ..."
    for i = 1, 20 do
      assert.is_true(ann:run("return Gateway.joinGroup('%s', { 'w%d', 'v%d' }, { wait = true })", id, i, i))
      assert.is_true(ann:run("return Gateway.sendToGroup('%s%d', 'to %d')", i % 2 == 0 and "w" or "v", i, i))
      assert.equal("to " .. i, eve:hear())
    end
    assert.is_true(eve:run "return Gateway.bindUid(..., 'eve', { wait = true })")
    assert.is_true(ann:run "return Gateway.isUidOnline 'eve'")
    assert.is_true(ann:run "return Gateway.sendToUid('eve', 'uid')")
    assert.equal("uid", eve:hear())
    eve.client:close()
    loop.poll("the end", function() return not ann:run "return Gateway.isUidOnline 'eve'" end)
    assert.is_false(ann:run("return Gateway.joinGroup('%s', 'w', { wait = true })", id))
    wait_names(redis, 2)
  end)

  it("order what is to become of the other's clients", function()
    local eve = person(b)
    local id = eve:run "return ..."
    assert.is_true(ann:run([[return Gateway.joinGroup('%s', 'led') and Gateway.bindUid('%s', 'eve')
      and Gateway.updateSession('%s', { seat = 7 })]], id, id, id))
    assert.same({ seat = 7 }, ann:run("return Gateway.getSession('%s')", id))
    wait_names(redis, 4)
    ann:run "Gateway.sendToGroup('led', 'come')"
    assert.equal("come", eve:hear())
    assert.is_true(ann:run("return Gateway.closeClient('%s', 'bye')", id))
    assert.equal("bye", eve:hear())
    loop.poll("the end", function() return not ann:run "return Gateway.isUidOnline 'eve'" end)
  end)

  it("know no client of nobody's gateway", function()
    local message, code = select(2, ann:run("return Gateway.sendToClient('%s', 'x')", "0a0000630b5400000001"))
    assert.matches("10.0.0.99:2900 is in no cell that is there", message)
    assert.equal("unknown_cell", code)
    for _, call in ipairs { "isOnline", "getSession", "getUidByClientId" } do
      local none, _, why = ann:run("return Gateway.%s('%s')", call, "0a0000630b5400000001")
      assert.same({ cjson.null, "unknown_cell" }, { none, why }, call)
    end
  end)

  it("count what crosses, and drop nothing", function()
    assert.is_true(sum(b, "gateway", "engine_taken") > 0)
    for _, cell in ipairs { a, b } do
      for _, name in ipairs { "engine_doubles", "engine_jumps", "engine_faulty" } do
        assert.equal(0, sum(cell, "gateway", name))
      end
    end
  end)
end)

describe("a uid that only one may have", function()
  it("is its last login's, of twenty at once in three cells", function()
    local redis = redisserver.start()
    local cells = {}
    for i, name in ipairs { "a", "b", "c" } do cells[i] = start_cell(redis, name) end
    finally(function()
      for _, cell in ipairs(cells) do cell:stop() end
      redis:stop()
    end)
    for _, cell in ipairs(cells) do wait_up(cell) end
    local watch = person(cells[1])
    loop.poll("all to be seen", function() return watch:run "return Gateway.getAllClientIdCount()" == 1 end)
    for round = 1, 3 do
      local people = {}
      for i = 1, 20 do people[i] = person(cells[i % 3 + 1]) end
      for _, who in ipairs(people) do
        who.client:send "return Gateway.bindUid(..., 'ann', { exclusive = true, wait = true })\n"
      end
      local left
      loop.poll("one to be left", function()
        left = 0
        for _, who in ipairs(people) do left = left + (who.client.ended and 0 or 1) end
        return left == 1
      end, 60)
      local ids = watch:run "return Gateway.getClientIdByUid 'ann'"
      assert.equal(1, #ids, "round " .. round)
      -- whoever comes later closes it, from wherever
      local late = person(cells[round])
      assert.is_true(late:run "return Gateway.bindUid(..., 'ann', { exclusive = true, wait = true })")
      for _, who in ipairs(people) do who.client:wait_end() end
      assert.same({ late:run "return ..." }, watch:run "return Gateway.getClientIdByUid 'ann'")
    end
  end)
end)

describe("a cell whose engine goes away", function()
  it("goes on by itself, says so, and is joined again", function()
    local redis = redisserver.start()
    local a, b = start_cell(redis, "a"), start_cell(redis, "b")
    finally(function()
      a:stop()
      b:stop()
      redis:stop()
    end)
    wait_up(a)
    wait_up(b)
    local ann, bob, al = person(a), person(b), person(a)
    bob:run "return Gateway.bindUid(..., 'bob')"
    wait_names(redis, 1)
    redis:kill()
    loop.poll("both to notice", function()
      return sum(a, "worker", "engine_up") + sum(a, "gateway", "engine_up") + sum(b, "gateway", "engine_up") == 0
    end)
    local ok, how = ann:run "return Gateway.sendToAll 'here'"
    assert.is_true(ok)
    assert.equal("local", how)
    assert.equal("here", al:hear())
    redis:up()
    wait_up(a)
    wait_up(b)
    loop.poll("the gaps", function() return sum(b, "gateway", "engine_gaps") >= 2 end)
    assert.is_true(sum(b, "gateway", "engine_away_ms") > 0)
    bob:run "return Gateway.joinGroup(..., 'room')"
    -- what there was is heard again as soon as the gateway has joined, …
    ann:run "Gateway.sendToUid('bob', 'there')"
    assert.equal("there", bob:hear())
    -- … and so is what has come since, and not what has gone
    bob:run "return Gateway.unbindUid(...)"
    loop.poll("the group and not the uid", function()
      return redis:cli("pubsub", "numsub", "chat:g:room", "chat:u:bob") == "chat:g:room\n1\nchat:u:bob\n0\n"
    end, 60)
    ann:run "Gateway.sendToGroup('room', 'room')"
    assert.equal("room", bob:hear())
  end)
end)

describe("a cell that may not join", function()
  it("says who has its name, and serves by itself", function()
    local redis = redisserver.start()
    -- the user that docs/cluster.md makes for the cluster "chat"
    local recipe = {}
    for word in testbed.read_file("docs/cluster.md"):match("\n(ACL SETUSER [^\n]+)"):gmatch "%S+" do
      recipe[#recipe + 1] = word
    end
    redis:cli(table.unpack(recipe))
    redis:cli("acl", "setuser", "default", "resetpass")
    local engine = "unix://gwrun:password@" .. redis.path
    local a = start_cell(redis, "a", { engine = engine })
    local cells = { a }
    finally(function()
      for _, cell in ipairs(cells) do cell:stop() end
      redis:stop()
    end)
    wait_up(a)
    local al = person(a)
    al:run "return Gateway.joinGroup(..., 'room') and Gateway.bindUid(..., 'al')"
    for _, key in ipairs { "chat:g:room", "chat:u:al" } do
      loop.poll(key .. " to be written", function()
        return redis:cli("--no-auth-warning", "--user", "gwrun", "--pass", "password", "hgetall", key):find "%d+%.%d+%.%d+%.%d+:%d+"
      end, 60)
    end
    cells[2] = start_cell(redis, "a", { engine = engine })
    cells[2]:wait_log "another system runs as cell a"
    cells[3] = start_cell(redis, "c", { engine = "unix://:wrong@" .. redis.path })
    cells[3]:wait_log "WRONGPASS"
    for i = 2, 3 do
      local someone = person(cells[i])
      assert.equal("local", select(2, someone:run "return Gateway.sendToAll 'x'"))
    end
    assert.equal(2, sum(a, "gateway", "engine_up"))
  end)
end)

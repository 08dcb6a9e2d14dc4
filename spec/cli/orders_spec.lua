-- gwrun kick, ban and drain, and gwrun connections with its filters: what an
-- operator does about clients.
local cjson = require "cjson"
local uv = require "luv"
local loop = require "loop"
local tcp = require "tcp"
local testbed = require "testbed"

local script = [[
Events = {}
function Events.onMessage(id, message)
  local what, name = message:match "^(%w+) (.*)$"
  if what == "uid" then Gateway.bindUid(id, name) end
  if what == "join" then Gateway.joinGroup(id, name) end
  Gateway.sendToClient(id, what .. " " .. id)
end
function Events.onClose(id, info) Log.info("closed " .. info.by .. " " .. info.cause .. " " .. (info.reason or "")) end
]]

describe("an operator", function()
  local app, clients

  before_each(function()
    clients = {}
    app = testbed.start {
      script = script,
      gateways = { { listen = "text", count = 2 }, { listen = "text" } },
      config = function(c)
        c.log = { level = "info" }
        c.gateways[1].name, c.gateways[2].name = "Chat", "Other"
      end,
    }
  end)

  after_each(function()
    for _, c in ipairs(clients) do c:close() end
    app:stop()
  end)

  --- A client and its id.
  local function connect(options)
    local c = tcp.connect(app.port[options.gateway or 1], nil, options.from)
    clients[#clients + 1] = c
    if options.uid then c:send("uid " .. options.uid .. "\n") c:receive "uid " c:receive "\n" end
    if options.group then c:send("join " .. options.group .. "\n") c:receive "join " c:receive "\n" end
    c:send "hi there\n"
    c:receive "hi "
    c.id = c:receive "\n":sub(1, -2)
    return c
  end

  local function run(expected, ...)
    local code, out = app:cli(...)
    assert.equal(expected, code, out)
    return out
  end

  local function listed(...)
    local ids = {}
    for line in run(0, "connections", "--json", ...):gmatch "[^\n]+" do ids[#ids + 1] = cjson.decode(line).client_id end
    table.sort(ids)
    return ids
  end

  local function ids(...)
    local list = {}
    for i, c in ipairs { ... } do list[i] = c.id end
    table.sort(list)
    return list
  end

  it("lists the clients of a uid, a group, an address or a network", function()
    local ann = connect { uid = "ann", group = "red" }
    local bob = connect { uid = "bob", group = "red", from = "127.0.0.9" }
    local cid = connect { gateway = 2, uid = "ann" }
    assert.same(ids(ann, bob, cid), listed())
    assert.same(ids(ann, cid), listed("--uid", "ann"))
    assert.same(ids(ann, bob), listed("--group", "red"))
    assert.same(ids(bob), listed("--ip", "127.0.0.9"))
    assert.same(ids(ann, cid), listed("--ip", "127.0.0.0/30"))
    assert.same(ids(ann), listed("--ip=127.0.0.1", "--uid=ann", "--group=red"))
    assert.same({}, listed("--uid", "nobody"))
    assert.matches('no address and no network', run(2, "connections", "--ip", "127.0.0.1/8"), 1, true)
  end)

  it("closes a client, and all of a uid, a group or an address", function()
    local ann, ann2 = connect { uid = "ann" }, connect { uid = "ann", gateway = 2 }
    local bob = connect { group = "red" }
    local cid = connect { from = "127.0.0.9" }
    local dan = connect {}
    assert.equal("2 clients closed\n", run(0, "kick", "--uid", "ann"))
    ann:wait_end()
    ann2:wait_end()
    assert.equal("1 client closed\n", run(0, "kick", "--group", "red"))
    bob:wait_end()
    assert.same({ clients = 1, gateways = 3 }, cjson.decode(run(0, "kick", "--json", "--ip", "127.0.0.9")))
    cid:wait_end()
    assert.same(ids(dan), listed())
    run(0, "kick", dan.id)
    dan:wait_end()
    app:wait_log "closed operator expelled kicked"
    assert.equal("0 clients closed\n", run(1, "kick", dan.id))
    assert.matches('"ann" is no client id; is it a --uid?', run(2, "kick", "ann"), 1, true)
    assert.matches("say whom", run(2, "kick"), 1, true)
  end)

  it("keeps a uid out until the ban is lifted", function()
    local ann = connect { uid = "ann" }
    assert.equal("uid ann is banned for 3600 s; 1 closed\n", run(0, "ban", "ann"))
    ann:wait_end()
    local again = tcp.connect(app.port[1])
    clients[#clients + 1] = again
    again:send "uid ann\n"
    again:wait_end()
    app:wait_log "closed operator expelled banned"
    connect { uid = "bob" }
    assert.equal("uid ann is let in again\n", run(0, "ban", "--uid", "ann", "0"))
    connect { uid = "ann" }
  end)

  it("keeps an address out, also of gateways that start later", function()
    local bob = connect { from = "127.0.0.9" }
    assert.matches("^address 127.0.0.9 is banned for 600 s; 1 closed\n", run(0, "ban", bob.id, "600"))
    bob:wait_end()
    local function is_refused(gateway)
      local c = tcp.connect(app.port[gateway], nil, "127.0.0.9")
      clients[#clients + 1] = c
      assert.equal("", c:wait_end())
    end
    is_refused(1)
    is_refused(2)
    connect {}
    local pid = app:pids("gateway")[3]
    uv.kill(pid, "sigkill")
    loop.poll("another gateway", function()
      for _, p in ipairs(app:status().processes) do
        if p.role == "gateway" and p.slot == 2 then return p.state == "ready" and p.pid ~= pid end
      end
    end)
    is_refused(2)
    assert.equal("address 127.0.0.9 is let in again\n", run(0, "ban", "127.0.0.9", "0"))
    connect { from = "127.0.0.9", gateway = 2 }
  end)

  it("is told what is wrong with a ban", function()
    assert.matches("say whom", run(2, "ban"), 1, true)
    assert.matches('"soon" is no number of seconds', run(2, "ban", "ann", "soon"), 1, true)
    assert.matches('"-1" is no number of seconds', run(2, "ban", "--", "ann", "-1"), 1, true)
    assert.matches("no client here has the id 7f0000010b5400000001", run(1, "ban", "7f0000010b5400000001"), 1, true)
    assert.same({ clients = 0, gateways = 3 }, cjson.decode(run(0, "ban", "--json", "nobody", "1")))
  end)

  it("drains a gateway: who is there stays, nobody comes", function()
    local ann = connect {}
    assert.matches("^Chat takes no new clients", run(0, "drain", "Chat"))
    ann:send "hi again\n"
    ann:receive "hi "
    local c = tcp.connect(app.port[1])
    clients[#clients + 1] = c
    c:wait_end()
    connect { gateway = 2 }
    local _, out = app:cli "status"
    assert.equal(2, select(2, out:gsub(" draining\n", "")))
    run(0, "drain", "Other")
    assert.matches("gateway/0 Chat: draining\n", run(1, "status"), 1, true) -- now nobody takes clients
    run(0, "drain", "--undo", "Other")
    assert.equal("Chat takes new clients again\n", run(0, "drain", "--undo", "Chat"))
    connect {}
    run(0, "status")
    assert.matches("no gateway here has that name", run(1, "drain", "Chta"), 1, true)
    assert.matches("name a gateway", run(2, "drain"), 1, true)
  end)
end)

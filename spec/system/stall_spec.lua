-- Workers that do not move, stopped or busy with one handler: others get what they
-- have not begun, nobody is told of an end, and nothing runs twice.
local loop = require "loop"
local tcp = require "tcp"
local testbed = require "testbed"
local uv = require "luv"

local script = [[
local me = math.tointeger(io.open("/proc/self/stat"):read "n")
Events = {}
function Events.onMessage(client_id, message)
  Log.notice(("begin %s %s %d"):format(client_id, message, me))
  if message == "spin" then
    local t = os.time()
    while os.time() - t < 6 do end
    Log.notice "spun"
  elseif message == "wait" then
    while not gwrun.shared.get "go" do Timer.sleep(0.02) end
  elseif message == "go" then
    gwrun.shared.set("go", 1)
  elseif message:find "^put " then
    _SESSION.value = message:sub(5)
  end
  Gateway.sendToClient(client_id, ("%s %d %s"):format(message, me, tostring(_SESSION.value)))
end
function Events.onClose(client_id) Log.notice("closed " .. client_id) end
]]

describe("a worker that does not move", function()
  local app, clients

  before_each(function()
    app = testbed.start {
      script = script,
      gateways = { { listen = "text" } },
      workers = { count = 2, handler_timeout = 60, slow_handler = 0 },
      config = function(c) c.hang_timeout = 120 end,
    }
    loop.poll("both workers", function() return app:counters("gateway", 0).workers == 2 end)
    clients = {}
    for i = 1, 4 do clients[i] = tcp.connect(app.port[1]) end
  end)
  after_each(function() app:stop() end)

  -- Say it and get the answer: who ran it, and what the session has.
  local function ask(client, message)
    client:send(message .. "\n")
    local who, value = client:receive("\n"):match("^" .. message .. " (%d+) (.*)\n$")
    return tonumber(who), value
  end

  local function group()
    local by = {}
    for _, client in ipairs(clients) do
      local pid = ask(client, "who")
      by[pid] = by[pid] or {}
      table.insert(by[pid], client)
    end
    return by
  end

  local function stalled(name)
    return app:counters("gateway", 0)[name or "workers_stalled"]
  end

  -- How often each of these messages began.
  local function count(text)
    local n = 0
    for _ in app:log():gmatch("begin %x+ " .. text .. " ") do n = n + 1 end
    return n
  end

  local function everything_was_right()
    loop.poll("nobody to be stalled", function() return stalled() == 0 end)
    for _, client in ipairs(clients) do ask(client, "who") end
    local c = app:counters("gateway", 0)
    assert.equal(4, c.clients)
    assert.equal(0, c.events_cut_off + c.events_dropped + c.events_unbegun + c.events_held)
    assert.is_nil(app:log():find("closed ", 1, true))
    assert.is_nil(app:log():find("links to gateway", 1, true))
    assert.equal(2, c.workers)
  end

  it("leaves its clients to others while it is stopped, and goes on", function()
    local by = group()
    local pid, others = next(by)
    local other = next(by, pid)
    assert.is_number(other)
    ask(others[1], "put mine")
    assert(uv.kill(pid, "sigstop"))
    finally(function() uv.kill(pid, "sigcont") end)
    for round = 1, 3 do
      for _, client in ipairs(others) do client:send(("n%d\n"):format(round)) end
    end
    for _, client in ipairs(others) do
      for round = 1, 3 do
        assert.matches(("^n%d %d "):format(round, other), client:receive "\n")
      end
    end
    local who, value = ask(others[1], "who")
    assert.same({ other, "mine" }, { who, value })
    local _, out = app:cli "status"
    assert.matches("gateway/0: worker 127%.0%.0%.1:ChatWorker:%d stalled for ", out)
    assert.equal(1, stalled())
    ask(others[1], "put other")
    assert(uv.kill(pid, "sigcont"))
    app:wait_log "a stalled worker goes on"
    everything_was_right()
    for round = 1, 3 do assert.equal(#others, count("n" .. round)) end
    assert.equal("other", select(2, ask(others[1], "who")))
    assert.equal(1, stalled "worker_stalls")
  end)

  it("keeps the client whose handler computes, and no other", function()
    local by = group()
    local pid, own = next(by)
    local other = next(by, pid)
    assert.is_true(#own >= 2 and other ~= nil)
    own[1]:send "spin\n"
    app:wait_log "spin"
    own[1]:send "behind\n"
    own[2]:send "elsewhere\n"
    assert.matches(("^elsewhere %d "):format(other), own[2]:receive "\n")
    assert.is_nil(app:log():find(" behind ", 1, true))
    app:wait_log("spun", 60)
    assert.matches(("^spin %d "):format(pid), own[1]:receive "\n")
    assert.matches(("^behind %d "):format(pid), own[1]:receive "\n")
    everything_was_right()
    for _, text in ipairs { "spin", "behind", "elsewhere" } do assert.equal(1, count(text)) end
  end)

  it("keeps the client whose handler waits", function()
    local by = group()
    local pid, own = next(by)
    local other = next(by, pid)
    own[1]:send "wait\n"
    app:wait_log " wait "
    own[1]:send "behind\n"
    loop.poll("what waits behind it", function() return app:counters("gateway", 0).events_unbegun == 1 end)
    assert(uv.kill(pid, "sigstop"))
    finally(function() uv.kill(pid, "sigcont") end)
    own[2]:send "elsewhere\n"
    assert.matches(("^elsewhere %d "):format(other), own[2]:receive "\n")
    ask(own[2], "go")
    assert(uv.kill(pid, "sigcont"))
    assert.matches(("^wait %d "):format(pid), own[1]:receive "\n")
    assert.matches(("^behind %d "):format(pid), own[1]:receive "\n")
    everything_was_right()
    for _, text in ipairs { "wait", "behind", "elsewhere" } do assert.equal(1, count(text)) end
  end)
end)

-- kill -9 of workers under load: what they had not begun goes to others, nothing
-- runs twice or out of order, and the counters account for what is missing.
local bridge = require "bridge"
local cjson = require "cjson"
local loop = require "loop"
local process = require "process"
local tcpproxy = require "tcpproxy"
local testbed = require "testbed"
local uv = require "luv"

--- The gateways' counters, summed up.
local function gateway_counters(app)
  local sum = setmetatable({}, { __index = function() return 0 end })
  for slot = 0, #app.port - 1 do
    for name, value in pairs(app:counters("gateway", slot)) do
      if type(value) == "number" then sum[name] = sum[name] + value end
    end
  end
  return sum
end

--- Numbered messages of 100 clients for each gateway, 4 in flight each, echoed by
--- script, while workers are killed: options.kills of them, and more until one had
--- events that another one got (and the counter options.also is above 0). What gwload
--- and the gateways counted, and how many were killed.
local function kill_under_load(options)
  local app = testbed.new(options)
  finally(function() app:stop() end)
  if options.prepare then options.prepare(app) end
  app:up()
  local loads, results, killed = {}, {}, {}
  for i, port in ipairs(app.port) do
    loads[i] = process.spawn {
      testbed.gwload, "-c", "100", "-i", "4", "-t", "600", "-w", "0", "echo", "127.0.0.1:" .. port,
    }
  end
  local kills = 0
  local function enough(counters)
    return kills >= options.kills and counters.events_again > 0
      and (not options.also or counters[options.also] > 0)
  end
  while true do
    local now = gateway_counters(app)
    if enough(now) or kills == 10 * options.kills then break end
    kills = kills + 1
    local before = now.messages_out
    local victim
    loop.poll("a worker at work", function()
      for _, pid in ipairs(app:pids "worker") do
        if not killed[pid] then victim = pid end
      end
      return victim and gateway_counters(app).messages_out > before + 200
    end)
    killed[victim] = true
    assert.equal(0, process.run { "kill", "-9", tostring(victim) })
  end
  for i, load in ipairs(loads) do
    load:kill "sigint" -- it waits for the answers that it has not got
    assert.equal(0, load:wait(), load.out)
    results[i] = cjson.decode(load.out:match "{.*}")
  end
  local counters
  loop.poll("the last events", function()
    counters = gateway_counters(app)
    return counters.clients == 0 and counters.events_unbegun == 0 and counters.events_held == 0
  end)
  return results, counters, kills, app:log()
end

local echo = [[
Events = {}
function Events.onMessage(client_id, message) Gateway.sendToCurrentClient(message) end
]]

-- What a handler sent in the turn of the kill is lost and counted with it.
local function assert_nothing_uncounted(result, counters)
  assert.equal(0, result.duplicated)
  assert.equal(0, result.closed)
  assert.equal(0, counters.events_dropped)
  assert.is_true(result.lost <= counters.events_cut_off)
  assert.is_true(counters.messages_in - counters.messages_out <= counters.events_cut_off)
  assert.is_true(counters.events_again > 0)
end

describe("kill -9 of workers under load", function()
  it("doubles and reorders nothing, and loses no more than what it counts", function()
    local results, counters, _, log = kill_under_load { script = echo, workers = { count = 2 }, kills = 8 }
    assert_nothing_uncounted(results[1], counters)
    assert.is_true(results[1].reordered <= results[1].lost) -- it takes a gap for one
    assert.matches("worker lost key=.- not_begun=%d+ %(others get them%) cut_off=%d+", log)
  end)

  -- Nor behind what maps ports: the gateway knows a worker's two links by what they
  -- say, not by where they come from.
  it("does the same behind a proxy", function()
    local proxy
    finally(function() proxy:stop() end)
    local results, counters = kill_under_load {
      script = echo,
      workers = { count = 2 },
      gateways = { { inner_listen = "127.0.0.2" } },
      prepare = function(app)
        local port = app.config.gateways[1].start_port
        proxy = tcpproxy.start("127.0.0.1", "127.0.0.2", port)
        -- A folder in the place of the unix socket: they come by TCP.
        for _, folder in ipairs { "/run", "/run/links", "/run/links/127.0.0.1-" .. port } do
          assert(uv.fs_mkdir(app.dir .. folder, 493))
        end
      end,
      kills = 4,
    }
    assert.is_true(proxy.accepted >= 8)
    assert_nothing_uncounted(results[1], counters)
  end)

  it("doubles nothing when handlers tell other gateways, and counts what is lost", function()
    local results, counters = kill_under_load {
      script = echo:gsub("Gateway", "Gateway.sendToUid('nobody', message) %0"),
      gateways = { { count = 1 }, { count = 1 } },
      kills = 3,
    }
    for _, load in ipairs(results) do
      assert.equal(0, load.duplicated)
      assert.equal(0, load.closed)
    end
    assert.equal(0, counters.events_dropped)
    assert.equal(counters.messages_in - counters.messages_out, counters.events_cut_off)
    assert.is_true(counters.events_again > 0)
  end)

  it("loses the handlers that waited, one a client at most, and counts them", function()
    local results, counters, kills = kill_under_load {
      script = echo:gsub("Gateway", "Timer.sleep(0.005) %0"),
      workers = { count = 2 },
      kills = 8,
      also = "events_cut_off",
    }
    assert.equal(0, results[1].duplicated)
    assert.equal(0, results[1].closed)
    assert.equal(0, counters.events_dropped)
    assert.equal(counters.messages_in - counters.messages_out, counters.events_cut_off)
    assert.is_true(counters.events_cut_off > 0)
    assert.is_true(counters.events_cut_off <= kills * 100)
    assert.is_true(counters.events_again > 0)
  end)
end)

describe("a message that kills its worker", function()
  it("kills one, and takes nothing else with it", function()
    local app = testbed.start {
      workers = { count = 1 },
      script = [[
        Events = {}
        function Events.onMessage(client_id, message)
          if message == "poison" then
            print "poison taken"
            io.stdout:flush()
            while true do end
          end
          Gateway.sendToCurrentClient(message)
        end
      ]],
    }
    finally(function()
      bridge.close()
      app:stop()
    end)
    local function times() return select(2, app:log():gsub("poison taken", "")) end
    local c = bridge.connect(app:url())
    c:send "before"
    assert.equal("before", c:receive()) -- else its answer may die with the worker
    for _, message in ipairs { "poison", "after", "last" } do c:send(message) end
    loop.wait("the poison to be taken", function() return times() == 1 end)
    assert.equal(0, process.run { "kill", "-9", tostring(app:pids("worker")[1]) })
    assert.equal("after", c:receive())
    assert.equal("last", c:receive())
    assert.equal(1, times())
    assert.equal(1, gateway_counters(app).events_cut_off)
  end)
end)

describe("what a worker had sent when it was killed", function()
  -- The handler is still running, so that nothing of it has left the process.
  it("and did not arrive is counted by the gateway, to the last one", function()
    local app = testbed.start {
      workers = { count = 1 },
      script = [[
        Events = {}
        function Events.onMessage(client_id, message)
          if message ~= "poison" then return Gateway.sendToCurrentClient(message) end
          for i = 1, 700 do assert(Gateway.sendToAll("number " .. i)) end
          for i = 1, 30 do assert(Gateway.joinGroup(client_id, "g" .. i)) end
          assert(Gateway.closeClient(client_id:sub(1, -9) .. "00000fff"))
          print "poison taken"
          io.stdout:flush()
          while true do end
        end
      ]],
    }
    finally(function()
      bridge.close()
      app:stop()
    end)
    local c = bridge.connect(app:url())
    c:send "before"
    assert.equal("before", c:receive())
    c:send "poison"
    app:wait_log "poison taken"
    assert.equal(0, gateway_counters(app).sends_lost)
    assert.equal(0, process.run { "kill", "-9", tostring(app:pids("worker")[1]) })
    app:wait_log "commands of a worker lost with its links"
    assert.matches("lost with its links key=%S+ messages=700 closes=1 members=30 sessions=0\n", app:log())
    loop.poll("the number", function() return gateway_counters(app).sends_lost == 731 end)
    c:send "after"
    assert.equal("after", c:receive())
  end)
end)

describe("a message that hangs its worker", function()
  it("hangs one, is counted and named, and takes nothing else with it", function()
    local app = testbed.start {
      workers = { count = 2 },
      config = function(c) c.hang_timeout = 3 end,
      script = [[
        Events = {}
        function Events.onMessage(client_id, message)
          if message == "bomb" then
            print "bomb taken"
            io.stdout:flush()
            string.find(("a"):rep(3000), (".-"):rep(6) .. "b") -- no hook runs in it
          elseif message == "wait" then
            Timer.sleep(0.05)
          end
          Gateway.sendToCurrentClient(message)
        end
      ]],
    }
    finally(function()
      bridge.close()
      app:stop()
    end)
    local c = bridge.connect(app:url())
    -- At once; and queued behind a handler, whose answer is lost with it.
    local cut_off = { 1, 3 }
    for round, before in ipairs { "before", "wait" } do
      c:send(before)
      if before == "before" then assert.equal("before", c:receive()) end
      for _, message in ipairs { "bomb", "after", "last" } do c:send(message) end
      repeat until c:receive() == "after"
      assert.equal("last", c:receive())
      app:wait_log "an event hung its worker, nobody else gets it event=ON_MESSAGE client="
      assert.equal(round, select(2, app:log():gsub("bomb taken", "")))
      assert.equal(cut_off[round], gateway_counters(app).events_cut_off)
      assert.equal(0, gateway_counters(app).events_dropped)
    end
  end)
end)

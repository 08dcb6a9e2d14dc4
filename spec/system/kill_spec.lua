-- kill -9 of workers under load: what they had not begun goes to others, nothing
-- runs twice or out of order, and the counters account for what is missing.
local bridge = require "bridge"
local cjson = require "cjson"
local loop = require "loop"
local process = require "process"
local testbed = require "testbed"

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
--- script, while the workers are killed. What gwload and the gateways counted.
local function kill_under_load(options)
  local app = testbed.start(options)
  finally(function() app:stop() end)
  local loads, results, killed = {}, {}, {}
  for i, port in ipairs(app.port) do
    loads[i] = process.spawn {
      testbed.gwload, "-c", "100", "-i", "4", "-t", "600", "-w", "0", "echo", "127.0.0.1:" .. port,
    }
  end
  for _ = 1, options.kills do
    local before = gateway_counters(app).messages_out
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
  return results, counters, app:log()
end

local echo = [[
Events = {}
function Events.onMessage(client_id, message) Gateway.sendToCurrentClient(message) end
]]

describe("kill -9 of workers under load", function()
  it("loses, doubles and reorders nothing when handlers do not wait", function()
    local results, counters, log = kill_under_load { script = echo, workers = { count = 2 }, kills = 8 }
    assert.equal(0, results[1].lost)
    assert.equal(0, results[1].duplicated)
    assert.equal(0, results[1].reordered)
    assert.equal(0, results[1].closed)
    assert.equal(counters.messages_in, counters.messages_out)
    assert.equal(0, counters.events_dropped)
    assert.equal(0, counters.events_cut_off)
    assert.is_true(counters.events_again > 0)
    assert.matches("worker lost key=.- not_begun=%d+ %(others get them%) cut_off=0", log)
  end)

  -- An ACK goes to both before anything else does: a kill between is a loss.
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
    local results, counters = kill_under_load {
      script = echo:gsub("Gateway", "Timer.sleep(0.005) %0"),
      workers = { count = 2 },
      kills = 8,
    }
    assert.equal(0, results[1].duplicated)
    assert.equal(0, results[1].closed)
    assert.equal(0, counters.events_dropped)
    assert.equal(counters.messages_in - counters.messages_out, counters.events_cut_off)
    assert.is_true(counters.events_cut_off > 0)
    assert.is_true(counters.events_cut_off <= 8 * 100)
    assert.is_true(counters.events_again > 0)
  end)
end)

describe("a message that kills its worker", function()
  it("kills two at most, and takes nothing else with it", function()
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
    for i = 1, 2 do
      loop.wait("the poison to be taken", function() return times() == i end)
      assert.equal(0, process.run { "kill", "-9", tostring(app:pids("worker")[1]) })
    end
    assert.equal("after", c:receive())
    assert.equal("last", c:receive())
    assert.equal(2, times())
    assert.equal(1, gateway_counters(app).events_cut_off)
  end)
end)

-- Clients that send more than their handlers can take hold up nobody else.
local cjson = require "cjson"
local loop = require "loop"
local tcp = require "tcp"
local testbed = require "testbed"

local script = [[
Events = {}
local known = {}
function Events.onMessage(client_id, message)
  Timer.sleep(known[client_id] and 0.05 or #message > 100 and 2 or 0)
  known[client_id] = true
  Gateway.sendToCurrentClient(message:sub(1, 9))
end
function Events.onClose(client_id) known[client_id] = nil end
]]

-- Nobody waits at the end for what they have left.
local function stop_soon(config) config.drain_time, config.stop_timeout = 1, 1 end

local waiting = [[
Events = {}
function Events.onMessage(client_id, message)
  if message == "wait" then Timer.sleep(1000) end
  Gateway.sendToCurrentClient(message:sub(1, 9))
end
]]

local flood = (("x"):rep(1500) .. "\n"):rep(9000)

local computing = [[
Events = {}
function Events.onMessage(client_id, message)
  local till = os.clock() + (message == "work" and 0.005 or 0)
  while os.clock() < till do end
  Gateway.sendToCurrentClient(message)
end
]]

describe("clients that flood", function()
  it("with one large message each are held before they fill their worker", function()
    local app = testbed.start {
      script = waiting,
      gateways = { { listen = "text" } },
      config = stop_soon,
    }
    finally(function() app:stop() end)
    local other, hogs = tcp.connect(app.port[1]), {}

    local function talk(client, text)
      for i = 1, 20 do
        client:send(text .. i .. "\n")
        client:receive(text .. i .. "\n")
      end
    end

    for i = 1, 100 do
      hogs[i] = tcp.connect(app.port[1])
      hogs[i]:send "wait\n"
    end
    local counters
    loop.poll("all handlers to wait", function()
      counters = app:counters("gateway", 0)
      return counters.messages_in == 100 and counters.events_unbegun == 0
    end)
    for i = 1, 100 do hogs[i]:send(("x"):rep(1000000) .. "\n") end
    loop.poll("all of it", function()
      counters = app:counters("gateway", 0)
      return counters.events_dropped + counters.events_held + counters.events_unbegun >= 100
    end)
    -- 10 MiB with the worker, 64 MiB here, and the others are closed.
    local text = cjson.encode(counters)
    local closes = counters.events_dropped
    assert.is_true(counters.events_unbegun - closes <= 11, text)
    assert.is_true(counters.events_held > 50 and counters.events_held <= 68, text)
    talk(other, "while")
    local newcomer = tcp.connect(app.port[1])
    talk(newcomer, "also")
    other:close()
    newcomer:close()
    for _, hog in ipairs(hogs) do hog:close() end
  end)

  for _, count in ipairs { 1, 10 } do
    it(("with what takes long to compute let others have turns: %d"):format(count), function()
      local app = testbed.start {
        script = computing,
        gateways = { { listen = "text" } },
        config = stop_soon,
      }
      finally(function() app:stop() end)
      local other, hogs = tcp.connect(app.port[1]), {}

      local function talk(text)
        for i = 1, 20 do
          other:send(text .. i .. "\n")
          other:receive(text .. i .. "\n")
        end
      end

      for i = 1, count do
        hogs[i] = tcp.connect(app.port[1])
        hogs[i]:send(("work\n"):rep(9000))
      end
      loop.poll("the flood", function()
        return app:counters("worker", 0).queued >= count * 1000
      end)
      talk "while"
      for _, hog in ipairs(hogs) do hog:close() end
      talk "after"
      assert.is_true(app:counters("worker", 0).queued > 0, "they wait for all that is there")
      other:close()
    end)
  end

  for _, count in ipairs { 1, 10 } do
    it(("hold up nobody else, there or gone: %d"):format(count), function()
      local app = testbed.start {
        script = script,
        gateways = { { listen = "text" } },
        config = stop_soon,
      }
      finally(function() app:stop() end)
      local other, hogs = tcp.connect(app.port[1]), {}

      local function talk(text)
        for i = 1, 20 do
          other:send(text .. i .. "\n")
          other:receive(text .. i .. "\n")
        end
      end

      talk "before"
      for i = 1, count do
        hogs[i] = tcp.connect(app.port[1])
        hogs[i]:send(flood)
      end
      local paused
      loop.poll("the flood", function()
        paused = app:counters("gateway", 0)
        return paused.clients_over_share == count
      end)
      assert.equal(count, paused.clients_paused)
      talk "while"
      for _, hog in ipairs(hogs) do hog:close() end
      talk "after"
      local newcomer = tcp.connect(app.port[1])
      newcomer:send "hi\n"
      newcomer:receive "hi\n"
      local counters = app:counters("gateway", 0)
      -- They were not through with it, which would have taken minutes.
      assert.is_true(counters.events < count * 9000, cjson.encode(counters))
      assert.equal(0, counters.events_dropped)
      assert.equal(0, counters.events_held)
      other:close()
      newcomer:close()
    end)
  end
end)

-- Clients that send more than their handlers can take, on the harness's clock.
local testing = require "gwrun.testing"

describe("a client that floods", function()
  local app

  local script = [[
    Events = {}
    local known = {}
    function Events.onMessage(client_id, message)
      Timer.sleep(known[client_id] and 0.05 or 2)
      known[client_id] = true
      Gateway.sendToCurrentClient(#message > 9 and "done" or message)
    end
    function Events.onClose(client_id) known[client_id] = nil end
  ]]

  local line = ("x"):rep(1500)

  -- How long each of the client's messages takes, one after the other, in ms.
  local function latencies(client, count)
    local list = {}
    for i = 1, count do
      client:send("hi " .. i)
      local ms = 0
      while client:last() ~= "hi " .. i do
        app:advance(0.001)
        ms = ms + 1
        assert(ms < 10000, "no answer in ten seconds")
      end
      list[i] = ms
    end
    return list
  end

  -- Send until the gateway does not read any more.
  local function fill(client)
    for _ = 1, 9000 do
      if not pcall(client.send, client, line) then return end
    end
    error "the gateway reads on"
  end

  after_each(function() app:stop() end)

  for _, protocol in ipairs { "websocket", "text", "frame" } do
    for _, count in ipairs { 1, 10 } do
      it(("holds up nobody but itself: %s, %d"):format(protocol, count), function()
        app = testing.start { text = script, gateways = { protocol } }
        local other = app:connect()
        local normal = latencies(other, 20)
        local hogs = {}
        for i = 1, count do
          hogs[i] = app:connect()
          fill(hogs[i])
        end
        assert.same(normal[20], math.max(table.unpack(latencies(other, 20))))
        for _, hog in ipairs(hogs) do hog:vanish() end
        assert.same(normal[20], math.max(table.unpack(latencies(other, 20))))
        assert.same(2000, latencies(app:connect(), 1)[1])
      end)
    end
  end

  it("leaves the others their handlers: a hundred of them lose nothing", function()
    app = testing.start { gateways = { "text" }, text = [[
      Events = {}
      function Events.onMessage() Timer.sleep(0.05) Gateway.sendToCurrentClient "done" end
    ]] }
    local clients = {}
    for i = 1, 100 do
      clients[i] = app:connect()
      fill(clients[i])
    end
    app:advance(2)
    -- Each handler takes 50 ms, and the next one begins at once.
    for _, client in ipairs(clients) do assert.equal(40, #client:received()) end
  end)
end)

-- Apps with very many clients: what one of them costs does not grow with the others.
local testing = require "gwrun.testing"

local CLIENTS, BATCH = 5000, 50

-- The least CPU time that one of ten batches took, and the result of the last.
local function least(batch)
  local best = math.huge
  for _ = 1, 10 do
    local before = os.clock()
    batch()
    best = math.min(best, os.clock() - before)
  end
  return best
end

describe("an app with 5,000 clients", function()
  local app, clients

  local function connect()
    for _ = 1, BATCH do clients[#clients + 1] = app:connect() end
  end

  local function talk(first)
    for i = first, first + BATCH - 1 do
      clients[i]:send "hi"
      assert.equal("hi", clients[i]:last())
    end
  end

  -- Lets BATCH clients do it, the last first.
  local function leave()
    for i = #clients, #clients - BATCH + 1, -1 do
      clients[i]:close()
      clients[i] = nil
    end
  end

  setup(function()
    app, clients = testing.start { text = [[
      Events, ends = {}, 0
      function Events.onMessage(client_id, text) Gateway.sendToClient(client_id, text) end
      function Events.onWebSocketConnect(client_id, request)
        ends = ends + 1
        Timer.once(60 + ends / 1000, Gateway.sendToClient, { client_id, "a minute" })
      end
    ]] }, {}
  end)

  teardown(function() app:stop() end)

  it("connects, talks, waits and leaves as fast as with few", function()
    local few = { connect = least(connect), talk = least(function() talk(1) end) }
    while #clients < CLIENTS - 10 * BATCH do clients[#clients + 1] = app:connect() end
    local many = { connect = least(connect), talk = least(function() talk(CLIENTS // 2) end) }
    assert.is_true(many.connect < 5 * few.connect, many.connect / few.connect .. " times")
    assert.is_true(many.talk < 5 * few.talk, many.talk / few.talk .. " times")

    app:advance(120) -- 5,000 timers, each in a millisecond of its own
    for i = 1, CLIENTS do assert.equal("a minute", clients[i]:last()) end

    many.leave = least(leave)
    while #clients > 20 * BATCH do leave() end
    few.leave = least(leave)
    assert.is_true(many.leave < 5 * few.leave, many.leave / few.leave .. " times")
    assert.equal(#clients, #app:clients())
  end)
end)

describe("a client of an app", function()
  it("has an address of its own until 25,535 others have come", function()
    local app = testing.start { gateways = { "text" }, text = [[
      Events = {}
      function Events.onMessage(client_id, text) Gateway.sendToClient(client_id, _SERVER.REMOTE_PORT) end
    ]] }
    local client
    for _ = 1, 26000 do
      if client then client:vanish() end
      client = app:connect()
    end
    client:send "?"
    assert.equal(tostring(40000 + 26000 - 25535), client:last())
    app:stop()
  end)

  it("is told apart from others that wait to be let in, also behind a proxy", function()
    local app = testing.start {
      config = { gateways = { { trusted_proxies = { "127.0.0.1" } } } },
      text = [[
        Events = { onMessage = print }
        function Events.onHandshake(request) Timer.sleep(tonumber(request.get.wait)) end
        function Events.onWebSocketConnect(client_id, request)
          Gateway.sendToClient(client_id, client_id .. " " .. request.get.wait)
        end
      ]],
    }
    local proxied = { ["X-Real-IP"] = "192.0.2.1" }
    local list = {
      app:connect { path = "/?wait=3", ip = "192.0.2.9" },
      app:connect { path = "/?wait=1", headers = proxied },
      app:connect { path = "/?wait=2", headers = proxied },
    }
    for i, client in ipairs(list) do assert.is_nil(client.id, i) end
    app:advance(5)
    for i, wait in ipairs { 3, 1, 2 } do
      assert.equal(list[i].id .. " " .. wait, list[i]:last())
    end
    app:stop()
  end)
end)

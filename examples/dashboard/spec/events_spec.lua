-- The dashboard's script without a network: run "gwrun test".
local testing = require "gwrun.testing"

describe("the dashboard", function()
  local app

  before_each(function()
    app = testing.start { script = "scripts/events.lua", gateways = 2, workers = 3 }
  end)

  after_each(function() app:stop() end)

  -- The points among what came since the last look.
  local function points(client)
    local list = {}
    for _, m in ipairs(client:json()) do
      if m.type == "point" then list[#list + 1] = m.point end
    end
    return list
  end

  it("takes one sample a second, whatever the number of workers", function()
    local client = app:connect()
    app:advance(5)
    local list = points(client)
    assert.equal(5, #list)
    for i, point in ipairs(list) do assert.equal(list[1].time + i - 1, point.time) end
  end)

  it("measures clients, memory and load", function()
    local client, other = app:connect(), app:connect()
    app:advance(1)
    local point = points(client)[1]
    assert.same({ point }, points(other))
    assert.equal(2, point.clients)
    assert.is_true(point.memory > 10 and point.memory < 1e7) -- MiB
    assert.is_true(point.load >= 0 and point.load < 1e4)
  end)

  it("counts the messages of all workers since the last sample", function()
    local clients = { app:connect(), app:connect(), app:connect() }
    app:advance(1)
    for _, client in ipairs(clients) do
      for _ = 1, 7 do client:send "x" end
      points(client)
    end
    app:advance(2)
    local list = points(clients[1])
    assert.same({ 21, 0 }, { list[1].messages, list[2].messages })
  end)

  it("gives the last minute to who comes, oldest first", function()
    local history = app:connect():json()
    assert.same({ { type = "history", points = {} } }, history)
    local client = app:connect()
    app:advance(70)
    local seen = points(client)
    history = app:connect():json()[1].points
    assert.equal(60, #history)
    for i, point in ipairs(history) do assert.same(seen[10 + i], point) end
  end)

  it("goes on when workers are gone", function()
    local client = app:connect { gateway = 1 }
    app:kill_worker(1)
    app:kill_worker(2)
    app:advance(3)
    assert.equal(3, #points(client))
  end)

  it("answers the page's heartbeat", function()
    local client = app:connect()
    client:received()
    client:send { type = "ping" }
    assert.same({ { type = "pong" } }, client:json())
    for _, text in ipairs { "", "7", "{", '{"type":"x"}' } do client:send(text) end
    assert.same({}, client:received())
  end)
end)

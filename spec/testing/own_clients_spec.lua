-- gwrun.testing: which clients are a worker's own, and who tells it.
local testing = require "gwrun.testing"

local script = [[
  Events = {}
  function Events.onMessage(client_id, text)
    local own, message, code, partial = Gateway.getMyClients()
    table.sort(own or partial)
    Gateway.sendToClient(client_id, table.concat(own or partial, " ") .. (code and " " .. code or ""))
  end
]]

-- Answers with what onClientBound was called for, and with which session.
local bound = [[
  Events, heard = {}, {}
  function Events.onMessage(client_id, text)
    if text ~= "?" then _SESSION.name = text end
    Gateway.sendToClient(client_id, #heard == 0 and "nobody" or table.concat(heard, " "))
  end
  function Events.onClientBound(client_id)
    heard[#heard + 1] = client_id .. "=" .. tostring(_SESSION.name)
    table.sort(heard)
  end
]]

describe("Gateway.getMyClients", function()
  local app

  before_each(function()
    app = testing.start { text = script, workers = 2, gateways = { {}, { listen = "text" } } }
  end)

  after_each(function() app:stop() end)

  local function connect(count)
    local clients = {}
    for i = 1, count do clients[i] = app:connect() end
    return clients
  end

  local function ask(client)
    client:send "?"
    return client:last()
  end

  it("gives each client to one worker", function()
    local clients = connect(6)
    local lists, times = {}, {}
    for _, c in ipairs(clients) do
      local list = ask(c)
      assert.is_truthy(list:find(c.id, 1, true))
      lists[list] = true
    end
    for list in pairs(lists) do
      for id in list:gmatch "%S+" do times[id] = (times[id] or 0) + 1 end
    end
    for _, c in ipairs(clients) do assert.equal(1, times[c.id]) end
    assert.is_truthy(next(lists, (next(lists)))) -- both workers have some
  end)

  it("forgets who has left", function()
    local clients = connect(2)
    local other = connect(2)
    for _, c in ipairs(other) do c:close() end
    for _, c in ipairs(clients) do
      for id in ask(c):gmatch "%S+" do assert.is_true(id == clients[1].id or id == clients[2].id) end
    end
  end)

  it("has the clients of a worker that is gone from their next event on", function()
    local clients = connect(4)
    app:kill_worker(1)
    for _, c in ipairs(clients) do assert.is_truthy(ask(c):find(c.id, 1, true)) end
  end)
end)

describe("Events.onClientBound", function()
  local app, clients, moved

  local function start(text)
    moved = {}
    app = testing.start { text = text, workers = 2, gateways = { {}, { listen = "text" } } }
    clients = {}
    for i = 1, 4 do
      clients[i] = app:connect()
      clients[i]:send("name" .. i)
      assert.equal("nobody", clients[i]:last())
    end
  end

  after_each(function() app:stop() end)

  -- What a worker has heard, as a list.
  local function heard(worker) return app:run_in(worker, "return table.concat(heard, ' ')") end

  local function count(text)
    local _, times = text:gsub("=", "")
    return times
  end

  it("tells of all clients that a worker gets from another one, with their sessions", function()
    start(bound)
    app:kill_worker(1)
    app:advance(4) -- nobody says anything
    local list = heard(2)
    assert.equal(2, count(list))
    for id, name in list:gmatch "(%w+)=(%w+)" do
      assert.equal(id, clients[tonumber(name:match "%d")].id)
    end
    for _, c in ipairs(clients) do c:send "?" end
    assert.equal(list, heard(2)) -- once
  end)

  it("comes in front of the event that brings the client", function()
    start(bound)
    app:kill_worker(1)
    for _, c in ipairs(clients) do
      c:send "?"
      moved[#moved + 1] = c:last():find(c.id, 1, true) and c.id or nil
    end
    assert.equal(2, #moved)
    local list = heard(2)
    assert.equal(2, count(list))
    app:advance(4)
    assert.equal(list, heard(2)) -- once
  end)

  it("may come again when a worker comes back, for those that it gets", function()
    start(bound)
    app:kill_worker(1)
    app:start_worker(1)
    app:advance(4)
    local list = heard(1)
    assert.equal(2, count(list)) -- it had missed two, and has none
    assert.equal("", heard(2))
    app:kill_worker(1)
    app:advance(4)
    assert.equal(list, heard(2))
  end)

  it("is not told of by a reload, after which a worker may ask", function()
    start(bound)
    local asks = "function Events.onWorkerStart() own = assert(Gateway.getMyClients()) end"
    assert.is_true(app:reload(bound:gsub("Events, heard =", "own, %0 nil,") .. asks))
    app:advance(4)
    assert.equal("2 2", app:run_in(1, "return #own") .. " " .. app:run_in(2, "return #own"))
    for _, c in ipairs(clients) do
      c:send "?"
      assert.equal("nobody", c:last())
    end
  end)

  it("may wait, and holds up its own client only", function()
    start((bound:gsub("heard%[#heard", "Timer.sleep(60) %0")))
    app:kill_worker(1)
    local waiting = 0
    for _, c in ipairs(clients) do
      c:received()
      c:send "?"
      waiting = waiting + 1 - #c:received()
    end
    assert.equal(2, waiting)
    app:advance(61)
    for _, c in ipairs(clients) do waiting = waiting - #c:received() end
    assert.equal(0, waiting)
  end)

  it("is told no more of when a reload takes the callback away", function()
    start(bound)
    assert.is_true(app:reload("Events, heard = { onMessage = function() end }, {}"))
    app:kill_worker(1)
    app:advance(4)
    assert.equal("", heard(2))
    assert.is_true(app:reload(bound))
    app:advance(4)
    assert.equal(2, count(heard(2)))
  end)

  it("is not there for clients that connect, speak and leave", function()
    start(bound)
    clients[1]:close()
    app:advance(4)
    assert.equal("", heard(1) .. heard(2))
  end)
end)

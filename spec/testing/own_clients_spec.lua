-- gwrun.testing: which clients are a worker's own.
local testing = require "gwrun.testing"

local script = [[
  Events = {}
  function Events.onMessage(client_id, text)
    local own, message, code, partial = Gateway.getMyClients()
    table.sort(own or partial)
    Gateway.sendToClient(client_id, table.concat(own or partial, " ") .. (code and " " .. code or ""))
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

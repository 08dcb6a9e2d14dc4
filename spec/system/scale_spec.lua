-- The article's numbers: 200 gateways and 200 workers on one machine.
local bridge = require "bridge"
local testbed = require "testbed"

describe("many processes", function()
  -- Each sanitized process needs many times the memory: fewer of them there.
  local count = testbed.sanitized and 20 or 200
  local app

  teardown(function()
    bridge.close()
    app:stop()
  end)

  it("start, find each other and serve a client", function()
    app = testbed.new {
      script = [[
        Events = {}
        function Events.onMessage(client_id, message) Gateway.sendToAll(message) end
      ]],
      gateways = { { name = "YourAppGateway", count = count } },
      workers = { name = "YourAppBusinessWorker", count = count },
    }
    app:up(120)
    local ann, bob = bridge.connect(app:url()), bridge.connect(app:url())
    ann:send "to everyone"
    assert.equal("to everyone", bob:receive())
    assert.equal("to everyone", ann:receive())
    local processes = #app:status().processes
    assert.equal(2 * count + 1, processes)
    app:wait_log(("connected to %d of %d gateways"):format(count, count))
    local lines = select(2, app:log():gsub("\n", ""))
    assert(lines < 8 * processes, lines .. " lines: as many as pairs of them, not as processes")
    ann:close()
    bob:close()
  end)
end)

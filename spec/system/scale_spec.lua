-- The article's numbers: 200 gateways and 200 workers on one machine.
local bridge = require "bridge"
local testbed = require "testbed"

describe("many processes", function()
  -- Each sanitized process needs many times the memory: fewer of them there.
  local count = testbed.sanitized and 20 or 200
  -- .ci/test ends a suite that hangs.
  local patience = 3600
  local app

  teardown(function()
    bridge.close()
    app:stop()
  end)

  it("start, find each other and serve a client", function()
    -- What a busy machine brings about is left out: processes that answer late, slow
    -- handlers. Nothing is measured but what is there in the end.
    app = testbed.new {
      script = [[
        Events = {}
        function Events.onMessage(client_id, message) Gateway.sendToAll(message) end
      ]],
      gateways = { { name = "YourAppGateway", count = count } },
      workers = { name = "YourAppBusinessWorker", count = count, slow_handler = 0 },
      config = function(t) t.hang_timeout = 3600 end,
    }
    app:up(patience)
    local ann, bob = bridge.connect(app:url()), bridge.connect(app:url())
    ann:send "to everyone"
    assert.equal("to everyone", bob:receive(nil, patience))
    assert.equal("to everyone", ann:receive(nil, patience))
    assert.equal(2 * count + 1, #app:status().processes)
    app:wait_log(("connected to %d of %d gateways"):format(count, count), patience)
    local lines, pairs_of_them = select(2, app:log():gsub("\n", "")), count * count
    assert(lines < pairs_of_them / 2, lines .. " lines: as many as pairs of processes, not as processes")
    ann:close()
    bob:close()
  end)
end)

-- gwrun.deadline and gwrun.whileConnected on the harness's clock.
local testing = require "gwrun.testing"

describe("the harness", function()
  local app, client

  before_each(function()
    app = testing.start {
      text = [[
        Events = {}
        function Events.onMessage(client_id, limit)
          local _, code
          if limit == "deadline" then
            _, _, code = gwrun.deadline(3600, Timer.sleep, 7200)
          else
            _, _, code = gwrun.whileConnected(Timer.sleep, 7200)
          end
          Gateway.sendToAll(tostring(code))
        end
        function Events.onClose() Gateway.sendToAll "closed" end
      ]],
    }
    client = app:connect()
  end)

  after_each(function() app:stop() end)

  it("lets a deadline of an hour pass in no time, and not before", function()
    client:send "deadline"
    app:advance(3599.999)
    assert.same({}, client:received())
    app:advance(0.001)
    assert.same({ "deadline" }, client:received())
  end)

  it("cuts a handler short when its client closes", function()
    local other = app:connect()
    client:send "whileConnected"
    client:close()
    assert.same({ "gone", "closed" }, other:received())
  end)
end)

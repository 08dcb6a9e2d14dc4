-- A script of a cluster is tested as the only cell.
local testing = require "gwrun.testing"

describe("a configuration with a cluster", function()
  it("has one cell, which is no part of anything", function()
    local app = testing.start {
      config = { cluster = { engine = "unix:///no/such/redis.sock", name = "chat" } },
      text = [[
        Events = {}
        function Events.onMessage(client_id, message)
          local ok, how = Gateway.sendToAll(message)
          print(ok, how, Gateway.getAllClientIdCount())
        end
      ]],
    }
    finally(function() app:stop() end)
    local client = app:connect()
    client:send "hello"
    assert.same({ "hello" }, client:received())
    assert.same({ "true\tnil\t1" }, app:log())
  end)
end)

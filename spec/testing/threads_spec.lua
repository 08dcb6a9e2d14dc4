-- What is computed in threads belongs to what follows from a message.
local testing = require "gwrun.testing"

describe("the harness", function()
  it("waits for passwords that are being hashed", function()
    local app = testing.start {
      text = [[
        local crypto = require "gwrun.crypto"
        Events = {}
        function Events.onMessage(client_id, password)
          local hash = assert(crypto.hashPassword(password))
          Gateway.sendToClient(client_id, tostring(crypto.verifyPassword(password, hash)))
        end
      ]],
    }
    local client = app:connect()
    for _ = 1, 3 do client:send "correct horse" end
    assert.same({ "true", "true", "true" }, client:received())
    app:stop()
  end)
end)

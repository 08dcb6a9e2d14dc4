-- "gwrun test" runs this: the scripts between simulated clients, without a network.
local crypto = require "gwrun.crypto"
local testing = require "gwrun.testing"

describe("the devices", function()
  local app, key, operator

  before_each(function()
    local file = assert(io.open "conf/device-key")
    key = file:read "l"
    file:close()
    app = testing.start {
      gateways = { { workers = "Operators" }, { listen = "text", workers = "Devices" } },
      workers = {
        { name = "Operators", script = "scripts/operators.lua" },
        { name = "Devices", script = "scripts/events.lua", count = 2 },
      },
    }
    operator = app:connect { workers = "Operators" }
  end)

  after_each(function() app:stop() end)

  local function device(name)
    local client = app:connect { workers = "Devices" }
    client:send { device = name, proof = crypto.hmac("sha256", key, name) }
    return client
  end

  it("are seen by operators: who is there, what they measure, who is gone", function()
    assert.same({ { devices = {} } }, operator:json())
    local pump = device "pump-7"
    pump:send { temperature = 21.5 }
    pump:close()
    assert.same({
      { device = "pump-7", online = true },
      { device = "pump-7", values = { temperature = 21.5 } },
      { device = "pump-7", online = false },
    }, operator:json())
    device "fan-1"
    assert.same({ { devices = { "fan-1" } } }, app:connect({ workers = "Operators" }):json())
  end)

  it("get commands", function()
    local pump = device "pump-7"
    operator:json()
    operator:send { device = "pump-7", command = "stop" }
    assert.same({ { command = "stop" } }, pump:json())
    operator:send { device = "fan-1", command = "stop" }
    assert.same({ { device = "fan-1", online = false } }, operator:json())
  end)

  it("prove who they are", function()
    local stranger = app:connect { workers = "Devices" }
    stranger:send { device = "pump-7", proof = crypto.hmac("sha256", "guessed", "pump-7") }
    assert.same({ { refused = "unknown" } }, stranger:json())
    assert.is_table(stranger.closed)
    local silent = app:connect { workers = "Devices" }
    app:advance(11)
    assert.same({ { refused = "who are you" } }, silent:json())
    assert.is_table(silent.closed)
  end)

  it("that come a second time take their place", function()
    local before = device "pump-7"
    local after = device "pump-7"
    assert.same({ { refused = "replaced" } }, before:json())
    operator:json()
    after:send { temperature = 1 }
    assert.same({ { device = "pump-7", values = { temperature = 1 } } }, operator:json())
  end)
end)

-- examples/mqtt for real, with a broker that means harm at first.
local example = require "example"
local process = require "process"
local tcp = require "tcp"
local uv = require "luv"

describe("examples/mqtt", function()
  local app, broker

  setup(function()
    broker = process.spawn { "node", "spec/support/mqttbroker.js" }
    broker:wait_output " ready"
    app = example.start("mqtt", { MQTT_PORT = broker.out:match "port=(%d+)" })
  end)

  teardown(function()
    if app then app:stop() end
    broker:kill "sigkill"
    broker:wait()
    uv.os_unsetenv "MQTT_PORT"
  end)

  it("publishes once the broker behaves, and says what it did before", function()
    local client = tcp.connect(app.port[1])
    for _, why in ipairs {
      "mqtt: the broker does not let this client in", -- refuse
      "mqtt: a length of more than four bytes", -- garbage
      "mqtt: the broker does not speak MQTT", -- web
      "mqtt: a length of more than four bytes", -- longlength
      "mqtt: a packet of 268435455 bytes", -- huge
      "the peer has closed the connection", -- short
      "the peer has closed the connection", -- drop
      "the peer has closed the connection", -- hangup
      "mqtt: the broker sent a packet 0x30 of 3 bytes", -- stranger
    } do
      client:send "lamp on\n"
      local line = client:receive("\n", 60)
      assert(line:find("failed: ", 1, true) and (line:find(why, 1, true) or line:find("lost", 1, true)), line)
    end
    client:send "lamp on\n"
    assert.equal("published\n", client:receive("\n", 60))
    client:send("blob " .. ("x"):rep(30000) .. "\n")
    assert.equal("published\n", client:receive("\n", 60))
    broker:wait_output "published from/blob 30000"
    client:close()
  end)
end)

-- The publisher without a network: run "gwrun test".
local testing = require "gwrun.testing"

describe("the publisher", function()
  local app, broker, says

  before_each(function()
    says = { connack = "\x20\2\0\0", puback = true }
    broker = testing.socket { onData = function(conn, data)
      local kind = data:byte()
      if kind == 0x10 then conn:say(says.connack) end
      if kind == 0x32 and says.puback then
        local body = data:match "^.[\x80-\xFF]*[\0-\x7F](.*)$"
        local length = string.unpack(">I2", body)
        conn:say("\x40\2" .. body:sub(3 + length, 4 + length))
      end
      if kind == 0x32 and says.instead then conn:say(says.instead) end
      if kind == 0xC0 and not says.deaf then conn:say "\xD0\0" end
    end }
    app = testing.start { gateways = { "text" }, script = "scripts/events.lua", socket = broker }
  end)

  after_each(function() app:stop() end)

  local function publish(line)
    local client = app:connect()
    client:send(line)
    return client
  end

  it("connects once, and publishes what clients say", function()
    assert.equal("published", publish("lamp on"):last())
    assert.equal("published", publish("lamp off"):last())
    assert.equal(1, #broker.connections)
    assert.equal("\x10\12\0\4MQTT\4\2\0\60\0\0" .. "\x32\15\0\9from/lamp\0\1on"
      .. "\x32\16\0\9from/lamp\0\2off", broker.connections[1].sent)
    assert.equal("TOPIC MESSAGE, please", publish("lamp"):last())
  end)

  it("writes lengths of more than a byte", function()
    assert.equal("published", publish("a " .. ("x"):rep(300)):last())
    assert.truthy(broker.connections[1].sent:find("\x32\xB6\2\0\6from/a\0\1xxx", 1, true))
  end)

  it("says why a broker refuses", function()
    says.connack = "\x20\2\0\5"
    assert.equal("failed: mqtt: the broker does not let this client in", publish("a b"):last())
    says.connack = "HTTP/1.1 400 Bad Request\r\n\r\n" .. ("x"):rep(100)
    assert.equal("failed: mqtt: the broker does not speak MQTT", publish("a b"):last())
    says.connack = "\x20\2\0\0"
    assert.equal("published", publish("a b"):last())
  end)

  it("waits ten seconds for an answer", function()
    says.puback = false
    local client = publish "a b"
    app:advance(9)
    assert.is_nil(client:last())
    app:advance(2)
    assert.equal("failed: mqtt: the broker did not acknowledge", client:last())
    says.puback = true
    assert.equal("published", publish("a b"):last())
    assert.equal(1, #broker.connections)
  end)

  it("ends the connection of a broker that breaks the protocol", function()
    says.puback = false
    for answer, why in pairs {
      ["\x40\xFF\xFF\xFF\xFF\1"] = "mqtt: a length of more than four bytes",
      ["\x40\xFF\xFF\xFF\x7F"] = "mqtt: a packet of 268435455 bytes",
      ["\x40\3\0\1\0"] = "mqtt: the broker sent a packet 0x40 of 3 bytes",
      ["\x30\3\0\1a"] = "mqtt: the broker sent a packet 0x30 of 3 bytes",
    } do
      says.instead = answer
      assert.equal("failed: " .. why, publish("a b"):last())
      assert.is_true(broker.connections[#broker.connections].closed)
    end
    assert.equal(4, #broker.connections)
  end)

  it("pings, and gives up who does not answer", function()
    publish "a b"
    app:advance(300)
    assert.equal(1, #broker.connections)
    assert.is_nil(broker.connections[1].closed)
    says.deaf = true
    app:advance(100)
    assert.is_true(broker.connections[1].closed)
    assert.equal("published", publish("a b"):last())
    assert.equal(2, #broker.connections)
  end)

  it("connects anew when the broker is lost", function()
    publish "a b"
    broker.connections[1]:drop()
    assert.equal("published", publish("c d"):last())
    assert.equal(2, #broker.connections)
  end)
end)

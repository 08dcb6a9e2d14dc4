-- The devices' script without a network: run "gwrun test".
local testing = require "gwrun.testing"

local conf = dofile "conf/gwrun.lua"
local START = 1700000000

describe("the devices", function()
  local app

  before_each(function()
    local port = conf.gateways[2]
    app = testing.start {
      script = "scripts/events.lua", workers = 2, time = START,
      gateways = {
        "websocket",
        {
          listen = "frame", ping_interval = port.ping_interval,
          ping_not_response_limit = port.ping_not_response_limit,
        },
      },
    }
  end)

  after_each(function() app:stop() end)

  -- The only message since the last look.
  local function reply(client)
    local list = client:json()
    assert.equal(1, #list)
    return list[1]
  end

  local function device(name)
    local client = app:connect { gateway = 2 }
    client:send { type = "login", device = name, key = "demo-" .. name }
    assert.same({ type = "welcome" }, reply(client))
    return client
  end

  -- An operator's client, and what it was told about each device.
  local function operator()
    local client = app:connect { gateway = 1 }
    client:send { type = "login", key = "demo-operator" }
    local devices = {}
    for _, m in ipairs(client:json()) do
      assert.equal("device", m.type)
      devices[m.device] = m
    end
    return client, devices
  end

  -- It is told why, and its connection ends.
  local function assert_refused(reason, client)
    assert.same({ type = "refused", reason = reason }, reply(client))
    assert.is_truthy(client.closed)
  end

  it("are listed with what they reported last, also those that are offline", function()
    device("pump-1"):send { type = "report", values = { speed = 3, temperature = 21.5 } }
    device "pump-2"
    local _, devices = operator()
    assert.same({
      ["pump-1"] = {
        type = "device", device = "pump-1", online = true, time = START,
        values = { speed = 3, temperature = 21.5 },
      },
      ["pump-2"] = { type = "device", device = "pump-2", online = true, time = START },
      ["lamp-1"] = { type = "device", device = "lamp-1", online = false },
    }, devices)
  end)

  it("are seen by all operators when they come, report and leave", function()
    local ann, bob = operator(), operator()
    local pump = device "pump-1"
    local state = { type = "device", device = "pump-1", online = true, time = START }
    assert.same(state, reply(ann))
    assert.same(state, reply(bob))
    app:advance(2)
    pump:send { type = "report", values = { speed = 3 } }
    state.time, state.values = START + 2, { speed = 3 }
    assert.same(state, reply(ann))
    assert.same(state, reply(bob))
    pump:close()
    for _, client in ipairs { ann, bob } do
      local m = reply(client)
      assert.same({ "device", "pump-1", false, START + 2 }, { m.type, m.device, m.online, m.time })
    end
    assert.same({}, pump:received())
  end)

  it("are offline when they have been silent for three intervals", function()
    local client = operator()
    local pump, lamp = device "pump-1", device "lamp-1"
    client:received()
    app:advance(10.5)
    lamp:send { type = "report" }
    app:advance(2)
    local list = client:json()
    assert.same({ "lamp-1", true }, { list[1].device, list[1].online })
    assert.same({ "pump-1", false, "timeout" }, { list[2].device, list[2].online, list[2].reason })
    assert.equal(2, #list)
    assert.is_truthy(pump.closed)
    assert.is_nil(lamp.closed)
  end)

  it("report up to 16 values, with names of up to 32 bytes", function()
    local client = operator()
    local pump = device "pump-1"
    client:received()
    local values = { [("x"):rep(32)] = 0.5 }
    for i = 1, 15 do values["value" .. i] = i end
    pump:send { type = "report", values = values }
    assert.same(values, reply(client).values)
  end)

  it("that connect again take over from their old connection", function()
    local client = operator()
    local old = device "pump-1"
    local new = device "pump-1"
    assert_refused("replaced", old)
    local online
    for _, m in ipairs(client:json()) do online = m.online end
    assert.is_true(online)
    client:send { type = "command", device = "pump-1", name = "speed", value = 4 }
    assert.equal("command", reply(new).type)
  end)

  it("get commands, and their answers go to all operators", function()
    local ann, bob = operator(), operator()
    local pump, lamp = device "pump-1", device "lamp-1"
    ann:received()
    bob:received()
    ann:send { type = "command", device = "pump-1", name = "speed", value = 4 }
    assert.same({ type = "command", id = 1, name = "speed", value = 4 }, reply(pump))
    local seen = { type = "command", id = 1, device = "pump-1", name = "speed", value = 4 }
    assert.same(seen, reply(ann))
    assert.same(seen, reply(bob))
    assert.same({}, lamp:received())
    pump:send { type = "done", id = 1, ok = true }
    for _, client in ipairs { ann, bob } do
      assert.same({ type = "done", id = 1, device = "pump-1", ok = true }, reply(client))
    end
    pump:send { type = "done", id = 2, ok = false }
    assert.is_false(reply(ann).ok)
  end)

  it("that are offline get no commands, and the operator is told", function()
    local client = operator()
    client:send { type = "command", device = "lamp-1", name = "speed", value = 4 }
    assert.same({
      type = "command", id = 1, device = "lamp-1", name = "speed", value = 4, offline = true,
    }, reply(client))
  end)

  describe("and operators are refused", function()
    it("without the right key", function()
      for _, packet in ipairs {
        { device = "pump-1", key = "demo-pump-2" }, { device = "pump-1" },
        { device = "pump-3", key = "demo-pump-3" }, { device = 7, key = 7 },
        { device = "pump-1", key = "demo-operator" }, { key = "demo-pump-1" }, {},
      } do
        local client = app:connect()
        packet.type = "login"
        client:send(packet)
        assert_refused("wrong", client)
      end
    end)

    it("who try too often from one address", function()
      local function attempt(ip, key)
        local client = app:connect { gateway = 2, ip = ip }
        client:send { type = "login", device = "pump-1", key = key }
        return client
      end
      for _ = 1, 60 do assert_refused("wrong", attempt("192.0.2.1", "guess")) end
      assert_refused("too_often", attempt("192.0.2.1", "demo-pump-1"))
      assert_refused("wrong", attempt("192.0.2.2", "guess"))
      app:advance(61)
      assert.same({ type = "welcome" }, reply(attempt("192.0.2.1", "demo-pump-1")))
    end)

    it("whose attempts cannot be counted", function()
      app:run "local n = 0 repeat n = n + 1 until not gwrun.shared.set('full' .. n, n)"
      local client = app:connect()
      client:send { type = "login", device = "pump-1", key = "demo-pump-1" }
      assert_refused("too_often", client)
    end)

    it("who have not logged in after ten seconds", function()
      local late, pump = app:connect { gateway = 1 }, device "pump-1"
      app:advance(9)
      pump:send { type = "report" }
      assert.is_nil(late.closed)
      app:advance(1)
      assert_refused("too_late", late)
      assert.is_nil(pump.closed)
    end)

    it("when they say what they may not", function()
      local commands = {
        {}, { device = "pump-1", name = "speed" }, { device = "pump-1", value = 1 },
        { name = "speed", value = 1 }, { device = "pump-3", name = "speed", value = 1 },
        { device = "pump-1", name = "speed", value = "fast" },
        { device = "pump-1", name = ("x"):rep(33), value = 1 },
        { device = "pump-1", name = "", value = 1 },
      }
      for _, command in ipairs(commands) do
        local client = operator()
        command.type = "command"
        client:send(command)
        assert_refused("bad_command", client)
      end
      local many = {}
      for i = 1, 17 do many["value" .. i] = i end
      for _, values in ipairs { { speed = "fast" }, { [("x"):rep(33)] = 1 }, { 1 }, many } do
        local pump = device "pump-1"
        pump:send { type = "report", values = values }
        assert_refused("bad_report", pump)
      end
      local pump = device "pump-1"
      pump:send { type = "done", id = "1" }
      assert_refused("bad_answer", pump)
      pump = device "pump-1"
      pump:send { type = "command", device = "lamp-1", name = "speed", value = 1 }
      assert_refused("unknown", pump)
      for _, text in ipairs {
        "", "7", "{", '{"type":"report"}', '{"type":"command"}', '{"type":{}}',
      } do
        local client = app:connect { gateway = 2 }
        client:send(text)
        assert_refused("unknown", client)
      end
    end)
  end)

  it("answer the page's heartbeat", function()
    local client = operator()
    client:send { type = "ping" }
    assert.same({ type = "pong" }, reply(client))
  end)
end)

-- Reload under load: nothing lost, doubled, reordered or disconnected.
local bridge = require "bridge"
local cjson = require "cjson"
local loop = require "loop"
local process = require "process"
local testbed = require "testbed"

local echo = [[
Events = {}
function Events.onMessage(client_id, message) Gateway.sendToCurrentClient(message) end
]]

describe("reload", function()
  local app

  before_each(function() app = testbed.start { script = echo, workers = { count = 2 } } end)

  after_each(function()
    bridge.close()
    app:stop()
  end)

  it("loses, doubles and reorders nothing, ten times under load", function()
    local load = process.spawn {
      testbed.gwload, "-k", "-c", "100", "-i", "4", "-t", "600", "-w", "0", "echo", "127.0.0.1:" .. app.port[1],
    }
    local function answers() return app:counters("gateway", 0).messages_out end
    for i = 1, 10 do
      local before = answers()
      loop.poll("traffic", function() return answers() > before + 200 end)
      app:write_script(echo .. "-- version " .. i .. "\n")
      local code, out = app:cli "reload"
      assert.equal(0, code, out)
    end
    load:kill "sigint" -- it waits for the answers that it has not got
    assert.equal(0, load:wait(), load.out)
    local result = cjson.decode(load.out:match "{.*}")
    assert.equal(0, result.lost)
    assert.equal(0, result.duplicated)
    assert.equal(0, result.reordered)
    assert.equal(0, result.closed)
    assert.is_true(result.messages > 1000)
  end)

  it("gives living connections the new behaviour", function()
    local c = bridge.connect(app:url())
    c:send "a"
    assert.equal("a", c:receive())
    app:write_script [[
      Events = {}
      function Events.onMessage(id, message) Gateway.sendToClient(id, "new " .. message) end
    ]]
    local code, out = app:cli "reload"
    assert.equal(0, code, out)
    c:send "a"
    assert.equal("new a", c:receive())
    c:close()
  end)

  it("refuses a broken script with file, line and message, and keeps the old one", function()
    local c = bridge.connect(app:url())
    local broken = {
      { "Events = {\nfunction oops\n", "events.lua:2:" },
      { "error('at load')", "events.lua:1: at load" },
      { "Events = nil", "Events" },
      { "Events = { onMessage = 42 }", "onMessage" },
      { "Events = { onMessage = function() end }\nfunction Events.onWorkerStart()\n  error 'no start'\nend", "events.lua:3: no start" },
    }
    for _, case in ipairs(broken) do
      app:write_script(case[1])
      local code, out = app:cli "reload"
      assert.equal(1, code, out)
      assert.matches(case[2], out, 1, true)
      local code_check, out_check = app:cli "check"
      assert.equal(2, code_check, out_check)
      assert.matches(case[2], out_check, 1, true)
      c:send "still"
      assert.equal("still", c:receive())
    end
    c:close()
  end)

  it("runs the old script also in a worker that crashes after a refused reload", function()
    local helper = app.dir .. "/scripts/greeting.lua"
    testbed.write_file(helper, "return 'good '")
    app:write_script [[
      local greeting = require "greeting"
      Events = {}
      function Events.onMessage(id, message) Gateway.sendToClient(id, greeting .. message) end
    ]]
    assert.equal(0, (app:cli "reload"))
    local c = bridge.connect(app:url())
    os.remove(helper)
    app:write_script "require 'greeting'\nEvents = { onMessage = oops( }"
    assert.equal(1, (app:cli "reload"))
    for _, p in ipairs(app:status().processes) do
      if p.role == "worker" then process.run { "kill", "-9", tostring(p.pid) } end
    end
    loop.poll("two new workers", function()
      local count = 0
      for _, p in ipairs(app:status().processes) do
        if p.role == "worker" and p.state == "ready" and p.restarts == 1 then count = count + 1 end
      end
      return count == 2
    end)
    assert.equal(2, select(2, app:log():gsub("the script on disk does not load, running the one that ran before", "")))
    c:send "morning"
    assert.equal("good morning", c:receive())
    app:write_script(echo)
    assert.equal(0, (app:cli "reload"))
    c:send "new"
    assert.equal("new", c:receive())
    c:close()
  end)

  it("lets a waiting handler finish in the old script, then runs the next event in the new", function()
    app:write_script [[
      Events = {}
      function Events.onMessage(id, message)
        Timer.sleep(0.5)
        Gateway.sendToClient(id, "old " .. message)
      end
    ]]
    assert.equal(0, (app:cli "reload"))
    local c = bridge.connect(app:url())
    c:send "1"
    c:send "2"
    app:write_script [[
      Events = {}
      function Events.onMessage(id, message) Gateway.sendToClient(id, "new " .. message) end
    ]]
    assert.equal(0, (app:cli "reload"))
    local first = c:receive()
    assert.truthy(first == "old 1" or first == "new 1", first)
    assert.equal("new 2", c:receive():gsub("old 2", "new 2"), nil)
    c:close()
  end)

  it("fails without waiting for an onWorkerStart that never ends, and can be had again", function()
    app:write_script [[
      Events = { onMessage = print }
      function Events.onWorkerStart(worker)
        if worker.id == 0 then error "no database" end
        Timer.sleep(1e9)
      end
    ]]
    local code, out = app:cli "reload"
    assert.equal(1, code)
    assert.matches("no database", out, 1, true)
    app:write_script(echo)
    code, out = app:cli "reload"
    assert.equal(0, code, out)
  end)

  it("reports a reload that cannot be had", function()
    app.master:kill "sigint"
    assert.equal(0, app.master:wait())
    local code, out = app:cli "reload"
    assert.equal(1, code)
    assert.matches("not running", out, 1, true)
  end)

  it("reloads on SIGUSR1 and SIGUSR2 too", function()
    local c = bridge.connect(app:url())
    for _, signal in ipairs { "sigusr1", "sigusr2" } do
      app:write_script(echo:gsub("message%) end", "'" .. signal .. "') end"))
      app.master:kill(signal)
      loop.poll("the new script", function()
        c:send "x"
        return c:receive() == signal
      end)
    end
    c:close()
  end)
end)

-- start -d, status, connections, restart, stop, log rotation.
local bridge = require "bridge"
local loop = require "loop"
local testbed = require "testbed"

local echo = [[
Events = {}
function Events.onWorkerStart() print("worker starts") end
function Events.onMessage(client_id, message)
  Gateway.bindUid(client_id, "u-" .. message)
  Gateway.sendToCurrentClient(message)
end
]]

describe("a daemon", function()
  local app

  setup(function()
    app = testbed.new { script = echo, gateways = { { count = 2 } } , workers = { count = 2 } }
    local code, out = app:cli("start", "-d")
    assert.equal(0, code, out)
    assert.matches("Gateway1", out, 1, true)
  end)

  teardown(function()
    bridge.close()
    app:cli "stop"
    local log = testbed.read_file(app.dir .. "/log/gwrun.log") or ""
    assert.is_nil(log:find("Sanitizer", 1, true), log)
    app:remove()
  end)

  it("serves clients and shows them", function()
    local c = bridge.connect(app:url())
    c:send "ann"
    assert.equal("ann", c:receive())
    local code, out = app:cli "connections"
    assert.equal(0, code)
    assert.matches("u-ann", out, 1, true)
    assert.matches("127.0.0.1", out, 1, true)
    c:close()
  end)

  it("tells the status to people and to machines", function()
    local out
    -- A moment ago it started; on a busy machine a worker may still be connecting.
    loop.poll("nothing to complain of", function()
      local code
      code, out = app:cli "status"
      return code == 0
    end)
    for _, text in ipairs { "ChatWorker", "Gateway1", "register" } do assert.matches(text, out, 1, true) end
    local status = app:status()
    assert.equal(5, #status.processes)
  end)

  it("writes its log to a file and opens it again on SIGHUP", function()
    local path = app.dir .. "/log/gwrun.log"
    loop.poll("a log line", function() return (testbed.read_file(path) or ""):find("worker starts", 1, true) end)
    os.rename(path, path .. ".1")
    os.execute("kill -HUP " .. app:status().pid)
    loop.poll("a new log file", function() return testbed.read_file(path) end)
    app:write_script(echo .. "\n")
    assert.equal(0, (app:cli "reload"))
    loop.poll("a line in the new file", function()
      return (testbed.read_file(path) or ""):find("worker starts", 1, true)
    end)
  end)

  it("restarts, and refuses to when the configuration is broken", function()
    local before = app:status().pid
    local good = testbed.read_file(app.dir .. "/conf/gwrun.lua")
    testbed.write_file(app.dir .. "/conf/gwrun.lua", "return { nonsense = 1 }")
    local code, out = app:cli "restart"
    assert.equal(2, code, out)
    assert.equal(before, app:status().pid)
    testbed.write_file(app.dir .. "/conf/gwrun.lua", good)
    code, out = app:cli "restart"
    assert.equal(0, code, out)
    assert.not_equal(before, app:status().pid)
    local c = bridge.connect(app:url())
    c:send "back"
    assert.equal("back", c:receive())
    c:close()
  end)

  it("never gives a client id twice, restarts included", function()
    local function id_of_a_client()
      app:write_script [[
        Events = {}
        function Events.onMessage(client_id) Gateway.sendToCurrentClient(client_id) end
      ]]
      assert.equal(0, (app:cli "reload"))
      local ids = {}
      for i = 1, 4 do
        local c = bridge.connect(app:url())
        c:send "?"
        ids[i] = c:receive()
        c:close()
      end
      return ids
    end
    local seen = {}
    for _ = 1, 2 do
      for _, id in ipairs(id_of_a_client()) do
        assert.is_nil(seen[id], id)
        seen[id] = true
      end
      assert.equal(0, (app:cli "restart"))
    end
  end)

  it("says goodbye with 1001 and stops, with nothing to worry about in the log", function()
    local path = app.dir .. "/log/gwrun.log"
    local c = bridge.connect(app:url())
    local before = #testbed.read_file(path)
    local code, out = app:cli "stop"
    assert.equal(0, code, out)
    assert.equal(1001, c:closed().code)
    local log = testbed.read_file(path):sub(before + 1)
    assert.matches("stopping", log, 1, true)
    assert.is_nil(log:match " warn " or log:match " error ", log)
    assert.equal(1, (app:cli "status"))
  end)

  it("is started by restart, too", function()
    app:cli "stop"
    local code, out = app:cli("restart", "-d")
    assert.equal(0, code, out)
    assert.matches("nothing runs: starting\n", out, 1, true)
    assert.equal(5, #app:status().processes)
  end)
end)

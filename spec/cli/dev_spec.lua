-- gwrun dev: everything in one process, the script loaded again on every save.
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local function script(reply)
  return ([[
    Events = {}
    function Events.onMessage(id, message) Gateway.sendToClient(id, %q .. message) end
    function Events.onClose() Log.notice "a client left" end
    function Events.onWorkerStop() Log.notice "the script ends" end
  ]]):format(reply)
end

describe("gwrun dev", function()
  local app, dev

  before_each(function()
    app = testbed.new { gateways = { { listen = "text", count = 2 } }, workers = { count = 3 }, script = script "old " }
    dev = process.spawn({ testbed.program, "dev" }, { cwd = app.dir })
    dev:wait_output "clients can connect"
  end)

  after_each(function()
    dev:kill "sigkill"
    app:remove()
  end)

  local function ends_well()
    dev:kill "sigint"
    assert.equal(0, dev:wait(), dev.out)
    assert.is_nil(dev.out:find("Sanitizer", 1, true), dev.out)
    assert.is_nil(dev.out:find("left open", 1, true), dev.out)
  end

  it("loads a saved script without a command and keeps the connections", function()
    local c = tcp.connect(app.port[1])
    c:send "a\n"
    c:receive "old a\n"
    app:write_script(script "new ")
    dev:wait_output "script reloaded"
    c:send "b\n"
    c:receive "new b\n"
    c:close()
    ends_well()
  end)

  it("reports a broken script and goes on with the old one", function()
    local c = tcp.connect(app.port[1])
    app:write_script "Events = {\nfunction"
    dev:wait_output "scripts/events.lua:2:"
    dev:wait_output "> 2 | function"
    c:send "a\n"
    c:receive "old a\n"
    app:write_script(script "mended ")
    dev:wait_output "script reloaded"
    c:send "b\n"
    c:receive "mended b\n"
    c:close()
    ends_well()
  end)

  it("waits for a better script when the first one is broken", function()
    ends_well()
    app:write_script "error 'not yet'"
    dev = process.spawn({ testbed.program, "dev" }, { cwd = app.dir })
    dev:wait_output "events.lua:1: not yet"
    app:write_script(script "at last ")
    dev:wait_output "clients can connect"
    local c = tcp.connect(app.port[1])
    c:send "a\n"
    c:receive "at last a\n"
    c:close()
    ends_well()
  end)

  it("gives up a script that does not start for the one that is saved next", function()
    local stuck = script "stuck " .. [[
      function Events.onWorkerStart() Log.notice "it waits" Timer.sleep(3600) end
    ]]
    app:write_script(stuck)
    dev:wait_output "it waits"
    app:write_script(script "better ")
    dev:wait_output "script reloaded"
    local c = tcp.connect(app.port[1])
    c:send "a\n"
    c:receive "better a\n"
    c:close()
    ends_well()
    app:write_script(stuck)
    dev = process.spawn({ testbed.program, "dev" }, { cwd = app.dir })
    dev:wait_output "it waits"
    app:write_script(script "at last ")
    dev:wait_output "clients can connect"
    ends_well()
  end)

  it("shows the source around an error, and only the script's own callers", function()
    app:write_script [[
Events = {}
local function reply(id)
  Gateway.sendToClient(id, greetng)
end
function Events.onMessage(id)
  gwrun.parallel(function() reply(id) end)
  return reply(id)
end
]]
    dev:wait_output "script reloaded"
    local c = tcp.connect(app.port[1])
    c:send "a\n"
    dev:wait_output "onMessage"
    dev:wait_output "called from"
    c:close()
    ends_well()
    assert.matches("\n    scripts/events.lua:3: bad argument #2 to 'sendToClient'", dev.out, 1, true)
    assert.matches("\n        2 | local function reply(id)\n" ..
      "      > 3 |   Gateway.sendToClient(id, greetng)\n" ..
      "          |           ^^^^^^^^^^^^\n" ..
      "        4 | end\n", dev.out, 1, true)
    assert.matches("called from\n    \tscripts/events.lua:6: in function", dev.out, 1, true)
    assert.is_nil(dev.out:find "async.lua:%d", dev.out)
  end)

  it("tells clients and script when Ctrl-C ends it", function()
    local c = tcp.connect(app.port[1])
    c:send "a\n"
    c:receive "old a\n"
    ends_well()
    c:wait_end()
    c:close()
    assert.matches("a client left.*the script ends", dev.out)
  end)

  it("says which port is in use", function()
    local second = process.spawn({ testbed.program, "dev" }, { cwd = app.dir })
    assert.equal(1, second:wait(), second.out)
    assert.matches("the port is in use", second.out, 1, true)
    ends_well()
  end)

  it("logs without colours where no terminal is", function()
    assert.is_nil(dev.out:find("\27", 1, true))
    ends_well()
  end)
end)

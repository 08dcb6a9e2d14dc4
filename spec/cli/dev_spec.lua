-- gwrun dev: everything in one process, the script loaded again on every save.
local bridge = require "bridge"
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

  it("shows the line that sends a browser what is not UTF-8", function()
    local web = testbed.new {
      script = [[
        local function tell(message)
          Gateway.sendToAll("caf" .. message)
          Gateway.sendToAll("caf" .. message, nil, nil, { binary = true }) -- is right
        end
        Events = {}
        function Events.onMessage(id, message) tell(message) end
      ]],
      gateways = { { listen = "websocket" }, { listen = "text" } },
    }
    local other = process.spawn({ testbed.program, "dev" }, { cwd = web.dir })
    for i = 1, 2 do other:wait_output("clients can connect name=Gateway" .. i) end
    local page, telnet = bridge.connect(web:url(1)), tcp.connect(web.port[2])
    telnet:send "\xe9\n"
    assert.equal("caf\u{fffd}", page:receive "caf")
    telnet:receive "caf\xe9\n"
    other:wait_output "message is not UTF-8"
    other:wait_output "> 2 |           Gateway.sendToAll"
    other:wait_output "scripts/events.lua:6: in function"
    bridge.close()
    telnet:close()
    other:kill "sigint"
    assert.equal(0, other:wait(), other.out)
    web:remove()
    ends_well()
  end)
end)

it("gwrun dev runs a worker of each kind, and programs, and loads all again", function()
  local app = testbed.new {
    gateways = {
      { listen = "text", workers = "Chat" }, { listen = "text", workers = "Billing" },
      { listen = "text", workers = "PHP's" },
    },
    config = function(c)
      c.workers = {
        { name = "Chat", script = "scripts/events.lua", count = 3 },
        { name = "Billing", script = "scripts/billing/events.lua" },
        { name = "PHP's", count = 0 },
      }
      c.programs = {
        { name = "feed", file = "scripts/feed.lua" },
        { name = "once", file = "scripts/once.lua", restart = "never" },
      }
    end,
  }
  local function write(name, text) testbed.write_file(app.dir .. "/scripts/" .. name, text) end
  process.run { "mkdir", app.dir .. "/scripts/billing" }
  write("events.lua", script "chat ")
  write("billing/events.lua", script "billing ")
  write("feed.lua", "print 'feed one' Timer.add(0.01, function() Gateway.sendToAll 'one' end)")
  write("once.lua", "print 'once' os.exit(4)")
  local dev = process.spawn({ testbed.program, "dev" }, { cwd = app.dir })
  finally(function()
    dev:kill "sigkill"
    app:remove()
  end)
  for i = 1, 2 do dev:wait_output("clients can connect name=Gateway" .. i) end
  dev:wait_output(("serves text://127.0.0.1:%d\n"):format(app.port[2]))
  dev:wait_output(("serves text://127.0.0.1:%d once its workers join\n"):format(app.port[3]))
  dev:wait_output "name=once exit_status=4"
  dev:wait_output "print: feed one"
  local chat, billing = tcp.connect(app.port[1]), tcp.connect(app.port[2])
  chat:send "a\n"
  chat:receive "chat a\n"
  billing:send "a\n"
  billing:receive "billing a\n"
  billing:receive "one\n"
  write("feed.lua", "print 'feed two' Timer.add(0.01, function() Gateway.sendToAll 'two' end)")
  dev:wait_output "program begun again name=feed"
  dev:wait_output "script reloaded name=Billing"
  chat:receive "two\n"
  write("feed.lua", "oops")
  dev:wait_output "program not begun again, the old one goes on name=feed"
  chat:receive "two\n"
  dev:kill "sigint"
  assert.equal(0, dev:wait(), dev.out)
  assert.is_nil(dev.out:find("left open", 1, true), dev.out)
  assert.equal(1, select(2, dev.out:gsub("print: once", "")))
end)

-- Programs that the master keeps running beside gateways and workers.
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local script = [[
local shared = require "gwrun.shared"
Events = {}
function Events.onMessage(client_id, message)
  if message == "join" then
    Gateway.joinGroup(client_id, "prices")
    return Gateway.sendToCurrentClient "joined"
  end
  Gateway.sendToCurrentClient(tostring(shared.get(message)))
end
]]

local feed = [[
local shared = require "gwrun.shared"
local sent = 0
print("begun", ...)
io.write "plain\n"
Timer.add(0.02, function()
  sent = sent + 1
  shared.set("sent", "many")
  Gateway.sendToGroup("prices", "VERSION " .. arg[1])
end)
]]

local function version(text, n) return (text:gsub("VERSION", n)) end

--- A project with programs: name → text of its file, or { text =, restart = }.
local function project(programs)
  local list = {}
  local app = testbed.new {
    gateways = { { listen = "text" } },
    script = script,
    config = function(c)
      for name, program in pairs(programs) do
        if type(program) == "string" then program = { text = program } end
        list[#list + 1] = {
          name = name, file = "scripts/" .. name .. ".lua", restart = program.restart, args = program.args,
        }
        programs[name] = program
      end
      c.programs = list
    end,
  }
  for name, program in pairs(programs) do
    testbed.write_file(app.dir .. "/scripts/" .. name .. ".lua", program.text)
  end
  return app
end

local function find(app, name)
  for _, p in ipairs(app:status().processes) do
    if p.role == "program" and p.name == name then return p end
  end
end

local function wait_state(app, name, state)
  return loop.poll(name .. " to be " .. state, function()
    local p = find(app, name)
    return p.state == state and p
  end)
end

describe("a program", function()
  local app

  after_each(function() app:stop() end)

  local function write(name, text) testbed.write_file(app.dir .. "/scripts/" .. name .. ".lua", text) end

  it("publishes to clients with a timer, gets its args, shares the workers' table and logs what it prints", function()
    app = project { feed = { text = version(feed, "one"), args = { "EUR", "x" } } }
    app:up()
    app:wait_log "begun\tEUR\tx"
    app:wait_log "[OK]"
    assert.matches("%d%d:%d%d:%d%d%.%d+ %[%d+ program/0%] notice print: begun\tEUR\tx event=\"[^\n\"]+\"\n", app:log())
    app:wait_log "\nplain\n"
    local client = tcp.connect(app.port[1])
    client:send "join\n"
    client:receive "joined\n"
    client:receive "one EUR\n"
    client:receive "one EUR\n"
    client:close()
    client = tcp.connect(app.port[1])
    client:send "sent\n"
    client:receive "many\n"
    client:close()
    local p = find(app, "feed")
    assert.equal("ready", p.state)
    assert.same({ 1, 1 }, { p.counters.gateways, p.counters.timers })
  end)

  it("is started again when it ends or is killed, and waits when that is often", function()
    app = project { feed = version(feed, "one"), short = "print 'short again'" }
    app:up()
    wait_state(app, "short", "back-off")
    local first = find(app, "feed")
    process.run { "kill", "-9", tostring(first.pid) }
    loop.poll("another one", function()
      local p = find(app, "feed")
      return p.state == "ready" and p.pid ~= first.pid
    end)
    assert.matches("signal=9", find(app, "feed").last_end)
    -- It runs again for a moment from time to time.
    loop.poll("status to name it as waiting", function()
      local code, out = app:cli "status"
      return code == 1 and out:find "program/%d short: back%-off"
    end)
  end)

  it("is done when it ends well, or at all, if its restart says so", function()
    app = project {
      once = { text = "os.exit(3)", restart = "never" },
      good = { text = "print 'good is done'", restart = "on-failure" },
      bad = { text = "print 'bad again' error 'no prices'", restart = "on-failure" },
    }
    app:up()
    wait_state(app, "good", "ended")
    assert.matches("exit_status=3", wait_state(app, "once", "failed").last_end)
    wait_state(app, "bad", "back-off")
    assert.matches("scripts/bad.lua:1: no prices", app:log(), 1, true)
    assert.matches("scripts/bad.lua:1: no prices", find(app, "bad").last_end, 1, true)
    local code, out = app:cli "status"
    assert.equal(1, code)
    assert.matches("program/%d once: failed", out)
    assert.is_nil(out:find("good: ", 1, true))
    local _, times = app:log():gsub("good is done", "")
    assert.equal(1, times)
    code, out = app:cli("reload", "good")
    assert.equal(0, code)
    assert.matches("^started 1 that had ended %(see gwrun status%) in", out)
    loop.poll("it to run again", function() return select(2, app:log():gsub("good is done", "")) == 2 end)
  end)

  it("begins again from its file at a reload, unless that is broken or it is never started again", function()
    app = project {
      feed = { text = version(feed, "one"), args = "EUR" },
      once = { text = "print 'once' Timer.add(3600, function() end)", restart = "never" },
    }
    app:up()
    local client = tcp.connect(app.port[1])
    client:send "join\n"
    client:receive "one EUR\n"
    local pid = find(app, "feed").pid
    write("feed", version(feed, "two"))
    local code, out = app:cli "reload"
    assert.equal(0, code, out)
    assert.matches("reloaded 1 worker and 1 program in", out)
    client:receive "two EUR\n"
    write("feed", "oops")
    code, out = app:cli "reload"
    assert.equal(1, code)
    assert.matches("scripts/feed.lua:1", out, 1, true)
    code, out = app:cli("reload", "feed")
    assert.equal(1, code)
    assert.matches("scripts/feed.lua:1", out, 1, true)
    client:receive "two EUR\n"
    write("feed", version(feed, "three"))
    assert.equal(0, (app:cli("reload", "feed")))
    client:receive "three EUR\n"
    client:close()
    assert.equal(pid, find(app, "feed").pid)
    assert.equal(1, select(2, app:log():gsub("print: once", "")))
  end)

  it("that computes for ever is killed at a stop", function()
    app = project { busy = "print 'computing' while true do end" }
    app.config.stop_timeout, app.config.drain_time = 0.5, 0.1
    app:save_config()
    app:up()
    app:wait_log "print: computing"
    app.master:kill "sigint"
    app.master:wait()
    assert.matches("child does not stop, killing it child=program/0", app:log(), 1, true)
  end)
end)

it("the program of docs/exec.md publishes quotes", function()
  local page = testbed.read_file "docs/exec.md":match "\n## Programs that are kept running\n(.-)\n## "
  local programs = load("local " .. page:match "```lua\n(programs = .-),\n```" .. " return programs")()
  local app = testbed.new {
    gateways = { { listen = "text" } },
    script = "Events = {} function Events.onConnect(id) Gateway.joinGroup(id, 'EURUSD') end",
    config = function(c) c.programs = programs end,
  }
  finally(function() app:stop() end)
  testbed.write_file(app.dir .. "/" .. programs[1].file, page:match "```lua\n(%-%- scripts/feed.lua.-)\n```")
  app:up()
  local client = tcp.connect(app.port[1])
  assert.matches("^EURUSD 1%.%d%d%d%d\n$", client:receive "\n")
  client:close()
end)

describe("gwrun check", function()
  it("finds programs that do not compile, and names that are taken", function()
    local app = project { feed = "for" }
    finally(function() app:stop() end)
    local code, out = app:cli "check"
    assert.equal(2, code)
    assert.matches("the program does not compile: scripts/feed.lua:1", out, 1, true)
    assert.equal(2, (app:cli "start"))
    app.config.programs[1].name = "ChatWorker"
    app.config.programs[2] = { name = "x", file = "none.lua", restart = "sometimes" }
    app:save_config()
    code, out = app:cli "check"
    assert.equal(2, code)
    assert.matches('programs[1].name: "ChatWorker" is the name of workers, too; give each its own', out, 1, true)
    assert.matches('programs[2].restart: is "sometimes"; give "always", "on-failure" or "never"', out, 1, true)
    assert.matches("programs[2].file: ", out, 1, true)
  end)
end)

-- Everything a person can get wrong at start: one clear line, the right status.
local process = require "process"
local testbed = require "testbed"
local tcp = require "tcp"
local uv = require "luv"

describe("a mistake at start", function()
  local app

  before_each(function() app = testbed.new { script = "Events = {}\nfunction Events.onMessage() end\n" } end)
  after_each(function()
    app:cli "stop"
    app:remove()
  end)

  local function start_fails(status, ...)
    local code, out = app:cli "start"
    assert.equal(status, code, out)
    for _, text in ipairs { ... } do assert.matches(text, out, 1, true) end
    return out
  end

  it("names an unknown key and what was meant", function()
    app.config.gateways[1].counnt = 2
    app:save_config()
    start_fails(2, "conf/gwrun.lua", "gateways[1]", "counnt", "count")
  end)

  it("names the line of a syntax error in the configuration", function()
    testbed.write_file(app.dir .. "/conf/gwrun.lua", "return {\n  register = = 1\n}\n")
    start_fails(2, "conf/gwrun.lua:2:")
  end)

  it("names the file and line of a broken script", function()
    app:write_script "Events = {}\nfunction Events.onMessage(\n"
    start_fails(2, "events.lua:3:")
  end)

  it("prints the traceback of a failing onWorkerStart and stops", function()
    app:write_script "Events = {}\nfunction Events.onMessage() end\nfunction Events.onWorkerStart()\n  error 'no database'\nend\n"
    start_fails(1, "events.lua:4: no database")
  end)

  it("names a port in use", function()
    local holder = uv.new_tcp()
    holder:bind("127.0.0.1", app.port[1])
    holder:listen(1, function() end)
    local out = start_fails(1, tostring(app.port[1]), "in use")
    assert.equal(1, select(2, out:gsub("\n", "\n")), out)
    holder:close()
  end)

  it("names a certificate that cannot be read", function()
    app.config.gateways[1].listen = "wss://127.0.0.1:" .. app.port[1]
    app.config.gateways[1].tls = { cert = "missing.pem", key = "missing.key" }
    app:save_config()
    start_fails(2, "missing.pem")
  end)

  it("refuses a second start and leaves the first alone", function()
    app:up()
    local out = start_fails(1, "already running", tostring(app.master.pid))
    assert.equal(1, select(2, out:gsub("\n", "\n")), out)
    tcp.connect(app.port[1]):close()
    app.master:kill "sigint"
    assert.equal(0, app.master:wait())
  end)

  it("says that nothing is running", function()
    for _, command in ipairs { "stop", "status", "reload", "connections" } do
      local code, out = app:cli(command)
      assert.equal(1, code, command)
      assert.matches("not running", out, 1, true)
    end
  end)

  it("knows its commands", function()
    local code, out = app:cli "statsu"
    assert.equal(2, code)
    assert.matches("status", out, 1, true)
    for _, command in ipairs { "start", "stop", "restart", "reload", "status", "connections", "check", "dev", "new", "exec", "version" } do
      local help_code, help = app:cli(command, "--help")
      assert.equal(0, help_code, command)
      assert.matches("gwrun " .. command, help, 1, true)
    end
    assert.equal(2, (app:cli("start", "--nonsense")))
    local version_code, version = app:cli "version"
    assert.equal(0, version_code)
    assert.matches("gwrun %d+%.%d+", version)
  end)

  it("checks what is right", function()
    local code, out = app:cli "check"
    assert.equal(0, code, out)
  end)

  it("shows the source around a script's error, in colours on a terminal", function()
    app:write_script "Events = {}\nfunction Events.onMessage() end\nEvents.onWorkerStart = load 'absent.field = 1'\n"
    local code, out = app:cli "check"
    assert.equal(2, code, out)
    assert.matches('[string "absent.field = 1"]:1: attempt to index a nil value', out, 1, true)
    app:write_script "Events = {}\nabsent.field = 1\n"
    code, out = app:cli "check"
    assert.equal(2, code, out)
    assert.equal("scripts/events.lua:2: attempt to index a nil value (global 'absent')\n" ..
      "    1 | Events = {}\n  > 2 | absent.field = 1\n      | ^^^^^^\n", out)
    local function on_terminal(command, env)
      return select(2, process.run({ "script", "-qec", testbed.program .. " " .. command, "/dev/null" },
        { cwd = app.dir, env = env })):gsub("\r", "")
    end
    for _, command in ipairs { "check", "start" } do
      assert.matches("\27[1mabsent.field = 1\27[m\n", on_terminal(command, { NO_COLOR = "" }), 1, true)
    end
    assert.equal(out, (on_terminal("check", { NO_COLOR = "1" })))
  end)

  it("says where the configuration is looked for", function()
    local code, out = process.run({ testbed.program, "start" }, { cwd = app.dir .. "/www" })
    assert.equal(2, code, out)
    assert.matches("conf/gwrun.lua", out, 1, true)
  end)
end)

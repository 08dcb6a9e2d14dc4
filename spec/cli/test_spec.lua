-- gwrun test: the command, and what specs with its harness are good for.
local process = require "process"
local testbed = require "testbed"
local uv = require "luv"

local script_path, spec_path = "scripts/events.lua", "spec/scripts/events_spec.lua"

describe("gwrun test", function()
  local dir

  before_each(function() dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-test-XXXXXX")) end)
  after_each(function() process.run { "rm", "-rf", dir } end)

  local function run(options, ...) return process.run({ testbed.program, "test", ... }, options) end

  local function write(name, text)
    testbed.write_file(dir .. "/" .. name, text)
    return dir .. "/" .. name
  end

  it("says how it is used", function()
    local code, out = run(nil, "--help")
    assert.equal(0, code)
    assert.matches("usage: gwrun test", out, 1, true)
  end)

  it("ends with 0 when all specs pass and with 1 when one fails", function()
    local good = write("good_spec.lua", "it('works', function() end)")
    local bad = write("bad_spec.lua", "it('works', function() error 'no' end)")
    local code, out = run(nil, "-o", "TAP", good)
    assert.equal(0, code, out)
    assert.matches("ok 1 - works", out, 1, true)
    code, out = run(nil, "-o", "TAP", "--", good, bad)
    assert.equal(1, code)
    assert.matches("1..2", out, 1, true)
    assert.equal(1, (run(nil, dir .. "/none_spec.lua")))
  end)

  it("runs what .busted names, or spec/, when no file is given", function()
    process.run { "mkdir", "-p", dir .. "/spec", dir .. "/other" }
    write("spec/a_spec.lua", "it('from spec', function() end)")
    write("other/b_spec.lua", "it('from other', function() end)")
    local _, out = run({ cwd = dir }, "-o", "TAP")
    assert.matches("from spec", out, 1, true)
    write(".busted", "return { _all = { ROOT = { 'other' } } }")
    _, out = run({ cwd = dir }, "-o", "TAP")
    assert.matches("from other", out, 1, true)
    assert.not_matches("from spec", out, 1, true)
  end)

  it("names the package when busted is missing", function()
    local code, out = run({ env = { LUA_PATH = dir .. "/?.lua" } }, spec_path)
    assert.equal(2, code)
    assert.matches("apt install lua-busted", out, 1, true)
  end)

  it("may have as many descriptors as the machine lets it, as gwrun start", function()
    local spec = write("a_spec.lua", [[
      local testing = require "gwrun.testing"
      it("connects", function()
        local app = testing.start { text = "Events = { onMessage = print }" }
        for _ = 1, 100 do app:connect() end
        assert.equal(100, #app:clients())
      end)
    ]])
    local code, out = process.run { "sh", "-c", 'ulimit -Sn 100 && exec "$0" test "$1"',
      testbed.program, spec }
    assert.equal(0, code, out)
  end)

  it("shows the script's own error where a spec runs into it", function()
    local spec = write("a_spec.lua", [[
      local testing = require "gwrun.testing"
      it("calls", function()
        local app = testing.start { text = "Events = {} function Events.onMessage() error 'boom' end" }
        app:connect():send "x"
      end)
    ]])
    local code, out = run(nil, spec)
    assert.equal(1, code)
    assert.matches("handler failed event=onMessage", out, 1, true)
    assert.matches("script.lua:1: boom", out, 1, true)
  end)

  it("shows the script's log when asked to", function()
    local _, quiet = run(nil, spec_path)
    assert.not_matches("new client", quiet, 1, true)
    local code, out = run(nil, "--log", spec_path)
    assert.equal(0, code, out)
    assert.matches("notice print: [^\n]*new client: client_id:7f", out)
  end)

  it("tells which lines no spec has run", function()
    local code, out = run(nil, "--coverage", spec_path)
    assert.equal(0, code)
    assert.matches("\n100 %%  scripts/events.lua\n", out)
    code, out = run(nil, "--coverage", "--filter=ignores", spec_path)
    assert.equal(0, code)
    assert.matches("\n %d%d %%  scripts/events.lua  not run: [^\n]*42%-47", out)
    local spec = write("a_spec.lua", [[
      local testing = require "gwrun.testing"
      it("fails", function()
        testing.start { script = "scripts/events.lua" }
        error "no"
      end)
    ]])
    code, out = run(nil, "--coverage", spec)
    assert.equal(1, code)
    assert.matches("%%  scripts/events.lua  not run: ", out)
  end)

  it("ends apps that a spec left running", function()
    local spec = write("a_spec.lua", [[
      local testing = require "gwrun.testing"
      for i = 1, 3 do
        it("starts " .. i, function()
          local app = testing.start { script = "scripts/events.lua" }
          app:connect()
          app:run "Timer.add(1, print)"
        end)
      end
    ]])
    local code, out = run(nil, spec)
    assert.equal(0, code, out)
  end)

  it("runs 200 specs with two gateways and two clients each in a few seconds", function()
    local spec = write("many_spec.lua", [[
      local testing = require "gwrun.testing"
      for i = 1, 200 do
        it("talks " .. i, function()
          local app = testing.start { script = "scripts/events.lua", gateways = 2 }
          local alice, bob = app:connect(), app:connect()
          bob:received()
          alice:send "hi"
          app:advance(5)
          assert.equal("hi", bob:json()[1].text)
          app:stop()
        end)
      end
    ]])
    local began = uv.hrtime()
    local code, out = run({ seconds = 120 }, spec)
    assert.equal(0, code, out)
    assert.matches("200 successes", out, 1, true)
    -- 1.7 s on two cores; with sanitizers and beside other work far more
    assert.is_true((uv.hrtime() - began) / 1e9 < 60)
  end)

  it("runs the examples of docs/testing.md", function()
    local count = 0
    for block in testbed.read_file("docs/testing.md"):gmatch "\n```lua\n(.-)\n```" do
      count = count + 1
      if not block:find "describe%(" then
        block = ('local testing = require "gwrun.testing"\nit("is as written", function()\n%s\nend)'):format(block)
      end
      local code, out = run(nil, write("example_spec.lua", block))
      assert.equal(0, code, out)
      assert.matches("1 success ", out, 1, true)
    end
    assert.is_true(count >= 6)
  end)

  describe("with the specs of the chat demo", function()
    local text = testbed.read_file(script_path)

    local function passes(script)
      local code, out = run({ env = { EVENTS_SCRIPT = write("events.lua", script) } }, spec_path)
      assert.is_true(code == 0 or code == 1, out)
      return code == 0
    end

    it("passes", function() assert.is_true(passes(text)) end)

    it("notices every text that is changed", function()
      local count = 0
      for from, literal in text:gmatch '()("[^"\n]*")' do
        local line = text:sub(1, from):match "[^\n]*$"
        local is_comment = line:find("--", 1, true)
        -- an empty message would not be said in any case
        if not is_comment and not line:find 'if message == "$' then
          local mutation = text:sub(1, from - 1) .. literal:sub(1, -2) .. '~"' .. text:sub(from + #literal)
          assert.is_false(passes(mutation), line .. literal:sub(2))
          count = count + 1
        end
      end
      assert.is_true(count > 20)
    end)

    it("notices every call of the gateway that is removed", function()
      local count = 0
      for from, call in text:gmatch "\n()%s+(Gateway%.%w+[^\n]*)" do
        local mutation = text:sub(1, from - 1) .. text:sub(from):gsub("[^\n]*", "", 1)
        assert.is_false(passes(mutation), call)
        count = count + 1
      end
      assert.is_true(count >= 7)
    end)
  end)
end)

-- The options of gwrun's commands.
local process = require "process"
local testbed = require "testbed"

describe("gwrun", function()
  local function run(...) return process.run { testbed.program, ... } end

  it("takes -d for --daemon or --live, as the command has it, and neither for the other", function()
    for _, case in ipairs {
      { "start", "--live" }, { "restart", "--live" }, { "status", "--daemon" }, { "stop", "-d" },
      { "connections", "--live" },
    } do
      local code, out = run(case[1], case[2])
      assert.equal(2, code, out)
      assert.equal(('gwrun: %s: wrong option "%s"; gwrun %s --help lists them\n'):format(case[1],
        case[2], case[1]), out)
    end
    for _, case in ipairs {
      { "start", "-d" }, { "start", "--daemon" }, { "restart", "-d" }, { "status", "-d" },
      { "status", "--live" },
    } do
      local code, out = run(case[1], case[2], "-c", "no/such.lua")
      assert.equal(2, code, out)
      assert.matches("no/such.lua: cannot be read", out, 1, true)
    end
  end)

  it("helps with a command as the command's --help does", function()
    local code, list = run "help"
    assert.equal(0, code)
    assert.equal(list, select(2, run "--help"))
    for name in list:gmatch "\n  (%l+) " do
      local _, text = run(name, "--help")
      code = run("help", name)
      assert.equal(0, code)
      assert.equal(text, select(2, run("help", name)))
    end
    assert.same({ 2, 'gwrun: there is no command "statsu"; did you mean "status"?\n' }, { run("help", "statsu") })
    assert.equal(2, (run("help", "child")))
  end)
end)

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
end)

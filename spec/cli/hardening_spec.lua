-- How the program is linked: what makes its mistakes harder to use.
local process = require "process"
local testbed = require "testbed"

local function readelf(what)
  local code, out = process.run { "readelf", "-W", what, testbed.program }
  assert(code == 0, out)
  return out
end

describe("the program", function()
  it("lies at another address each time, and its tables cannot be written", function()
    local out = readelf "-hld"
    assert.matches("Type:%s+DYN", out)
    assert.matches("GNU_RELRO", out, 1, true)
    assert.matches("BIND_NOW", out, 1, true)
    assert.matches("GNU_STACK[^\n]+ RW  0x", out)
  end)

  it("looks after its stack and the sizes of its buffers", function()
    local out = readelf "--dyn-syms"
    assert.matches("__stack_chk_fail", out, 1, true)
    if not testbed.sanitized then assert.matches("__snprintf_chk", out, 1, true) end
  end)
end)

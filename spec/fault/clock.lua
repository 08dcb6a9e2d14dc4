-- A clock of whole systems that can be put ahead while they run (clock.c).
local process = require "process"
local testbed = require "testbed"

local M = {}
M.__index = M

--- In that folder; env is what processes have to have in their environment.
function M.new(folder)
  local self = setmetatable({ path = folder .. "/clock", ahead = 0 }, M)
  local library = folder .. "/clock.so"
  local code, out = process.run { "cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o",
    library, "spec/fault/clock.c" }
  assert(code == 0, out)
  testbed.write_file(self.path, string.pack("i8", 0))
  self.env = { LD_PRELOAD = library, LAB_CLOCK = self.path }
  if testbed.sanitized then
    self.env.ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0"
  end
  return self
end

--- So many seconds pass at once.
function M:advance(seconds)
  self.ahead = self.ahead + seconds * 1000000000
  local file = assert(io.open(self.path, "r+b"))
  file:write(string.pack("i8", self.ahead))
  file:close()
end

return M

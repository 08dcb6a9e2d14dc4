-- A server in JavaScript for specs: it prints its port, and ends when it is told to.
local process = require "process"

local M = {}
M.__index = M

--- spec/support/PROGRAM.js with these words, nil for none.
function M.start(program, words, env)
  local self = setmetatable({}, M)
  self.server = process.spawn({ "node", "spec/support/" .. program .. ".js", table.unpack(words) }, { env = env })
  self.server:wait_output " ready"
  self.port = math.tointeger(tonumber(self.server.out:match "port=(%d+)"))
  return self
end

function M:stop()
  self.server:kill "sigkill"
  self.server:wait()
end

return M

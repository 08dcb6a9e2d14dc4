-- A server of bytes for specs, see socketserver.js.
local process = require "process"

local M = {}
M.__index = M

--- With a certificate and its key (files) it speaks TLS; plain: when it is asked to.
function M.start(cert, key, plain)
  local self = setmetatable({}, M)
  self.server = process.spawn({ "node", "spec/support/socketserver.js", cert, key, plain and "plain" })
  self.server:wait_output " ready"
  self.port = tonumber(self.server.out:match "port=(%d+)")
  return self
end

function M:stop()
  self.server:kill "sigkill"
  self.server:wait()
end

return M

-- A web server for specs to ask, see httpserver.js.
local process = require "process"

local M = {}
M.__index = M

--- With a certificate and its key (files) it speaks TLS.
function M.start(cert, key)
  local self = setmetatable({}, M)
  self.server = process.spawn { "node", "spec/support/httpserver.js", cert, key }
  self.server:wait_output " ready"
  self.port = self.server.out:match "port=(%d+)"
  self.url = (cert and "https" or "http") .. "://127.0.0.1:" .. self.port
  return self
end

function M:stop()
  self.server:kill "sigkill"
  self.server:wait()
end

return M

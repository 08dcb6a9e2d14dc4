-- A web server for specs to ask, see httpserver.js.
local nodeserver = require "nodeserver"

local M = {}

--- With a certificate and its key (files) it speaks TLS.
function M.start(cert, key)
  local self = nodeserver.start("httpserver", { cert, key })
  self.url = (cert and "https" or "http") .. "://127.0.0.1:" .. self.port
  return self
end

return M

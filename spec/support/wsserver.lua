-- A websocket server for specs, see wsserver.js.
local nodeserver = require "nodeserver"
local uv = require "luv"

local M = {}

local modules = os.getenv "SPEC_NODE_MODULES" or "spec/node_modules"

--- With a certificate and its key (files) it speaks TLS.
function M.start(cert, key)
  local self = nodeserver.start("wsserver", { cert, key }, { NODE_PATH = uv.fs_realpath(modules) })
  self.url = (cert and "wss" or "ws") .. "://127.0.0.1:" .. self.port
  return self
end

return M

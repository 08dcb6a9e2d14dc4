-- A websocket server for specs, see wsserver.js.
local process = require "process"
local uv = require "luv"

local M = {}
M.__index = M

local modules = os.getenv "SPEC_NODE_MODULES" or "spec/node_modules"

--- With a certificate and its key (files) it speaks TLS.
function M.start(cert, key)
  local self = setmetatable({}, M)
  self.server = process.spawn({ "node", "spec/support/wsserver.js", cert, key },
    { env = { NODE_PATH = uv.fs_realpath(modules) } })
  self.server:wait_output " ready"
  self.port = self.server.out:match "port=(%d+)"
  self.url = (cert and "wss" or "ws") .. "://127.0.0.1:" .. self.port
  return self
end

function M:stop()
  self.server:kill "sigkill"
  self.server:wait()
end

return M

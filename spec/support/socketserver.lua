-- A server of bytes for specs, see socketserver.js.
local nodeserver = require "nodeserver"

local M = {}

--- With a certificate and its key (files) it speaks TLS; plain: when it is asked to.
function M.start(cert, key, plain) return nodeserver.start("socketserver", { cert, key, plain and "plain" }) end

return M

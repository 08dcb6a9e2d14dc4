-- A raw TCP client for specs.
local uv = require "luv"
local loop = require "loop"

local M = {}
M.__index = M

--- from: an address of this machine, 127.0.0.9, to come from.
function M.connect(port, host, from)
  local self = setmetatable({ data = "", socket = uv.new_tcp() }, M)
  if from then assert(self.socket:bind(from, 0)) end
  local failed
  self.socket:connect(host or "127.0.0.1", port, function(err)
    failed = err
    self.connected = not err
  end)
  loop.wait("a connection to port " .. port, function() return self.connected or failed end)
  if failed then
    self.socket:close()
    error("connect to port " .. port .. ": " .. failed, 2)
  end
  self.socket:read_start(function(err, data)
    if data then
      self.data = self.data .. data
    else
      self.ended = err or "eof"
    end
  end)
  return self
end

function M:send(data) self.socket:write(data) end

--- Wait for the plain text and return everything up to and with it.
function M:receive(text, seconds)
  local first, last
  loop.wait(function() return "“" .. text .. "” in “" .. self.data .. "”" .. (self.ended or "") end, function()
    first, last = self.data:find(text, 1, true)
    return first
  end, seconds)
  local got = self.data:sub(1, last)
  self.data = self.data:sub(last + 1)
  return got
end

--- Wait until the other side has closed; returns what had come before.
function M:wait_end(seconds)
  loop.wait(function() return "the end of “" .. self.data .. "”" end, function() return self.ended end, seconds)
  return self.data
end

function M:close()
  if not self.socket:is_closing() then self.socket:close() end
end

return M

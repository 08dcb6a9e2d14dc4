-- A TCP proxy that spoils: it cuts into chunks of one byte, stalls, half-closes and
-- resets what goes through it. In the driver's own loop, like everything here.
local uv = require "luv"

local M = {}
M.__index = M

local CHUNKS = 200 -- bytes of a read that go one by one; the rest follows as one

-- Both ends of a connection through it are gone.
local function drop(self, pair, reset)
  if not self.pairs[pair] then return end
  self.pairs[pair] = nil
  for _, socket in ipairs(pair) do
    if not socket:is_closing() then
      if not (reset and socket:close_reset(function() end)) and not socket:is_closing() then socket:close() end
    end
  end
end

local function forward(self, to, data)
  if self.mode ~= "chunks" then return to:write(data) end
  local first = math.min(#data, CHUNKS)
  for i = 1, first do
    if not to:try_write(data:sub(i, i)) then return to:write(data:sub(i)) end
  end
  if #data > first then to:write(data:sub(first + 1)) end
end

local function pump(self, pair, from, to)
  from:read_start(function(err, data)
    if data then
      forward(self, to, data)
    elseif err then
      drop(self, pair, true)
    else
      pair.ended = (pair.ended or 0) + 1
      if pair.ended == 2 then return drop(self, pair) end
      to:shutdown(function() end)
    end
  end)
end

local function start_pumps(self, pair)
  pump(self, pair, pair[1], pair[2])
  pump(self, pair, pair[2], pair[1])
end

local function accept(self)
  local near, far = uv.new_tcp(), uv.new_tcp()
  assert(self.server:accept(near))
  near:nodelay(true)
  local pair = { near, far }
  self.pairs[pair] = true
  self.accepted = self.accepted + 1
  far:connect(self.host, self.port, function(err)
    if err then return drop(self, pair, true) end
    if not self.pairs[pair] then return end
    far:nodelay(true)
    pair.up = true
    if self.mode ~= "stall" then start_pumps(self, pair) end
  end)
end

--- Listen at host:port and pass everything to to_host:to_port.
function M.new(host, port, to_host, to_port)
  local self = setmetatable({ server = uv.new_tcp(), host = to_host, port = to_port, pairs = {}, accepted = 0,
    mode = "pass" }, M)
  assert(self.server:bind(host, port))
  assert(self.server:listen(512, function() accept(self) end))
  return self
end

--- "pass"; "chunks": one byte a write; "stall": nothing goes either way, and nobody
--- is told.
function M:set(mode)
  self.mode = mode
  for pair in pairs(self.pairs) do
    if mode == "stall" then
      for _, socket in ipairs(pair) do socket:read_stop() end
    elseif pair.up then
      start_pumps(self, pair)
    end
  end
end

--- Reset all connections through it, or close them in order; how many.
function M:cut(how)
  local count = 0
  for pair in pairs(self.pairs) do
    count = count + 1
    drop(self, pair, how == "reset")
  end
  return count
end

--- End one direction of every connection, as a peer that has nothing to say any more;
--- how many.
function M:half_close()
  local count = 0
  for pair in pairs(self.pairs) do
    if pair.up then
      pair[2]:shutdown(function() end)
      count = count + 1
    end
  end
  return count
end

function M:close()
  self:cut "reset"
  self.server:close()
end

return M

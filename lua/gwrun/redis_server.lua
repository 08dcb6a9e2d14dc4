-- Part of gwrun.redis: one server. Ordinary commands of a worker share one
-- connection, on which any number can be under way; what blocks or watches gets a
-- connection of its own.
--
-- Run by redis.lua with the core, what gwrun's modules share and redis_commands.lua.
local core, common, commands = ...
local async = common.async
local error = common.raise.error

-- A connection of one's own, while it is lent: it runs commands as a server does.

local Own = { is_own = true }
Own.__index = Own

function Own:call(seconds, _, ...) return self.conn:call(seconds, ...) end

function Own:pipeline(seconds, batch) return self.conn:pipeline(seconds, batch) end

function Own:exec(seconds, batch) return commands.exec(self.conn, seconds, batch) end

local Server = {}
Server.__index = Server

-- The pool has them as weak keys: whoever computes for too long is ended
-- without giving his back.
local function open(self)
  local conn = core.open(self.conf)
  self.pool[conn] = true
  return conn
end

local function count(pool)
  local n = 0
  for _ in pairs(pool) do n = n + 1 end
  return n
end

-- A connection in an unknown state is not used again.
local function give_back(self, conn, usable)
  if not usable then
    conn:close()
    self.pool[conn] = nil
    conn = open(self)
  end
  local waiter = table.remove(self.waiters, 1)
  if waiter then
    waiter.conn = conn
    waiter.ticket:set()
  elseif self.closed then
    conn:close()
  else
    self.idle[#self.idle + 1] = conn
  end
end

-- Who waits may be cut short, also when it was given a connection just now.
local Waiter = {}

function Waiter:__close()
  for i, w in ipairs(self.server.waiters) do
    if w == self then table.remove(self.server.waiters, i) end
  end
  if self.conn then give_back(self.server, self.conn, true) end
end

local function take(self, timeout)
  if self.closed then error("redis: the connection is closed", 0) end
  local idle = table.remove(self.idle)
  if idle then return idle end
  if count(self.pool) < self.conf.pool_size then return open(self) end
  local waiter <close> = setmetatable({ server = self, ticket = async.ticket() }, Waiter)
  table.insert(self.waiters, waiter)
  waiter.ticket:wait(timeout)
  local conn = waiter.conn
  if conn then
    waiter.conn = nil
    return conn
  end
  return nil, "redis: all " .. self.conf.pool_size .. " connections are in use", "etimedout"
end

-- Run f(own) with a connection of its own; that is used again only if f says so with
-- its first result. keys say where, where there are several servers.
function Server:own(seconds, _, f)
  local conn, message, code = take(self, seconds)
  if not conn then return nil, message, code end
  local results = table.pack(pcall(f, setmetatable({ conn = conn }, Own)))
  give_back(self, conn, results[1] and results[2])
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 3, results.n)
end

-- Run a command; waits: it does so at the server.
function Server:call(seconds, waits, ...)
  if not waits then return self.conn:call(seconds, ...) end
  local words = table.pack(...)
  return self:own(seconds, nil, function(own)
    local reply, message, code, unsent = own.conn:call(seconds, table.unpack(words, 1, words.n))
    return message == nil, reply, message, code, unsent
  end)
end

-- Run several, with none in between.
function Server:pipeline(seconds, batch) return self.conn:pipeline(seconds, batch) end

-- The same as a transaction.
function Server:exec(seconds, batch) return commands.exec(self.conn, seconds, batch) end

-- A function(seconds) for subscriptions: how core.open() reaches a server, or nil,
-- message, code.
function Server:listener()
  local conf = self.conf
  return function() return conf end
end

function Server:close()
  self.closed = true
  self.conn:close()
  for _, conn in ipairs(self.idle) do conn:close() end
  self.idle = {}
end

-- conf: as for core.open(), with pool_size.
return function(conf)
  return setmetatable({
    conn = core.open(conf), conf = conf, idle = {}, pool = setmetatable({}, { __mode = "k" }),
    waiters = {},
  }, Server)
end

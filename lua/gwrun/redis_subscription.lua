-- Part of gwrun.redis: subscriptions. Each has a connection and a coroutine of its own,
-- which calls the handler for one message after the other.
--
-- Run by redis.lua with the core and what gwrun's modules share.
local core, common = ...
local async, error = common.async, common.raise.error

local retry_min, retry_max = 0.1, 5 -- seconds between a subscription's connects
local ping_after = 15 -- seconds of silence on a subscription

local Subscription = {}
Subscription.__index = Subscription

local function listen(self)
  local command = { self.command }
  table.move(self.names, 1, #self.names, 2, command)
  return self.conn:listen(self.seconds, { command })
end

local function deliver(self, message)
  self.heard = true
  local kind = message[1]
  local ok, err = true, nil
  if kind == "message" then
    ok, err = xpcall(self.handler, debug.traceback, message[3], message[2])
  elseif kind == "pmessage" then
    ok, err = xpcall(self.handler, debug.traceback, message[4], message[3], message[2])
  elseif kind == "subscribe" or kind == "psubscribe" then
    self.confirmed = self.confirmed + 1
    if self.confirmed == #self.names then self.ready:set() end
  end
  if not ok then async._report("redis: handler of a subscription failed", err) end
end

-- One connection's life; returns why it ended.
local function receive(self)
  local conf, message = self.listener(self.seconds)
  if not conf or self.closed then return message end
  self.conn = core.open(setmetatable({ push = true, tells_unsent = false }, { __index = conf }))
  self.confirmed = 0
  local ok, why = listen(self)
  while ok do
    message, why = self.conn:next()
    if not message then break end
    if self.closed or not async.is_serving() then return "closed" end
    if message.error then
      why = message.error
      break
    end
    self.wait = retry_min
    deliver(self, message)
  end
  return why
end

local function run_subscription(self)
  while not self.closed and async.is_serving() do
    local why = receive(self)
    if self.conn then self.conn:close() end
    if self.closed or not async.is_serving() then return end
    Log.warn(("redis: subscription lost, connecting anew: %s"):format(why))
    Timer.sleep(self.wait * (0.5 + math.random() / 2))
    self.wait = math.min(self.wait * 2, retry_max)
  end
end

local function start_subscription(self)
  async.spawn(function()
    self.reader = coroutine.running()
    run_subscription(self)
  end)
end

-- A connection on which nothing comes, not even the answer to a ping, is dead;
-- so is the reader when the handler has computed for too long.
local function watch_silence(self)
  local conn, asked
  while not self.ended:wait(ping_after) do
    if coroutine.status(self.reader) == "dead" then
      if self.conn then self.conn:close() end
      start_subscription(self)
    elseif not self.conn then
      asked = false
    elseif self.heard or self.conn ~= conn then
      conn, asked = self.conn, false
    elseif asked then
      self.conn:close()
    else
      asked = true
      pcall(self.conn.listen, self.conn, self.seconds, { { "PING" } }) -- it may be closed
    end
    self.heard = false
  end
end

-- Wait until the server has confirmed it for the first time.
function Subscription:waitReady(seconds)
  return self.ready:wait(seconds or self.seconds)
end

function Subscription:close()
  self.closed = true
  self.ended:set()
  if self.conn then self.conn:close() end
end

-- listener: of a server or a cluster; seconds: for each attempt.
return function(listener, seconds, command, names, handler)
  if type(names) ~= "table" then names = { names } end
  if #names == 0 then error("redis: a list of channels expected", 3) end
  if type(handler) ~= "function" then error("redis: a function(message, channel) expected", 3) end
  local subscription = setmetatable({
    listener = listener, command = command, names = names, handler = handler, seconds = seconds,
    wait = retry_min, confirmed = 0, ready = async.ticket(), ended = async.ticket(),
  }, Subscription)
  start_subscription(subscription)
  async.spawn(function() watch_silence(subscription) end)
  return subscription
end

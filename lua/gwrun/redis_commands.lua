-- Part of gwrun.redis: what a command is. Which may not be used, which wait at the
-- server, how they collect for a pipeline or a transaction, and what EXEC answers.
--
-- Run by redis.lua with what gwrun's modules share.
local common = ...
local error = common.raise.error
local null = common.json.null

local M = {}

M.day = 86400 -- seconds; no call takes longer

-- Commands that wait at the server: the place of their limit in seconds.
local blocking = {
  BLPOP = "last", BRPOP = "last", BRPOPLPUSH = "last", BLMOVE = "last", BZPOPMIN = "last",
  BZPOPMAX = "last", BLMPOP = 1, BZMPOP = 1, WAIT = "ms", WAITAOF = "ms",
  XREAD = "option", XREADGROUP = "option",
}

-- Commands that change the connection, and what to use.
local refused = {
  SUBSCRIBE = "subscribe(channels, f)", PSUBSCRIBE = "psubscribe(patterns, f)",
  UNSUBSCRIBE = "subscription:close()", PUNSUBSCRIBE = "subscription:close()",
  SSUBSCRIBE = "subscribe(channels, f)", SUNSUBSCRIBE = "subscription:close()",
  MULTI = "multi(f)", EXEC = "multi(f)", DISCARD = "multi(f)", WATCH = "transaction(keys, f)",
  UNWATCH = "transaction(keys, f)", SELECT = "Redis.connect { db = … }",
  AUTH = "Redis.connect { password = … }", HELLO = "Redis.connect { … }",
  MONITOR = "redis-cli", SYNC = "redis-cli", PSYNC = "redis-cli",
  RESET = "close()", QUIT = "close()", ASKING = "a url of redis+cluster://",
  READONLY = "a url of redis+cluster://", READWRITE = "a url of redis+cluster://",
}

function M.check(name, level)
  if type(name) ~= "string" then
    error("redis: the command must be a string, not a " .. type(name), level + 1)
  end
  name = name:upper()
  if refused[name] then
    local text = "redis: %s would change the shared connection; use %s"
    error(text:format(name, refused[name]), level + 1)
  end
  return name
end

-- How many seconds a command may wait at the server; nil when it does not wait.
function M.block_time(name, ...)
  local where = blocking[name]
  if not where then return nil end
  local count = select("#", ...)
  local value
  if where == "option" then
    for i = 1, count - 1 do
      if tostring((select(i, ...))):upper() == "BLOCK" then value = (select(i + 1, ...)) end
    end
    if not value then return nil end
  else
    value = (select(where == 1 and 1 or count, ...))
  end
  local seconds = tonumber(value) or 0
  if where == "ms" or where == "option" then seconds = seconds / 1000 end
  return seconds > 0 and seconds or M.day -- 0 is for ever
end

local function pack_command(...)
  local words = { ... }
  for i = 1, select("#", ...) do
    if words[i] == nil then error(("redis: word %d of the command is a nil"):format(i), 3) end
  end
  return words
end

-- Make a table whose methods are commands; each is made when first used.
function M.with_commands(methods, run)
  return { __index = function(_, name)
    if methods[name] then return methods[name] end
    if type(name) ~= "string" then return nil end
    local command = name:upper()
    local function method(self, ...)
      return run(self, command, ...)
    end
    methods[name] = method
    return method
  end }
end

-- Collects commands for a pipeline or a transaction.

local Batch = {}
local batch_meta = M.with_commands(Batch, function(self, command, ...)
  M.check(command, 2)
  self[#self + 1] = pack_command(command, ...)
end)

function Batch.call(self, command, ...)
  self[#self + 1] = pack_command(M.check(command, 2), ...)
end

function M.collect(f, ...)
  if type(f) ~= "function" then
    error("redis: a function expected, got a " .. type(f))
  end
  local batch = setmetatable({}, batch_meta)
  f(batch, ...)
  return batch
end

-- The replies of MULTI … EXEC -> those of the commands.
local function unpack_exec(replies)
  local last = replies[#replies]
  if type(last) == "table" and last.error then
    for i = 2, #replies - 1 do -- the command that was refused says more
      local r = replies[i]
      if type(r) == "table" and r.error then return nil, r.error, r.code end
    end
    return nil, last.error, last.code
  end
  if last == null then return nil, "redis: a watched key was changed", "eagain" end
  return last
end

local function as_transaction(batch)
  local list = { { "MULTI" } }
  table.move(batch, 1, #batch, 2, list)
  list[#list + 1] = { "EXEC" }
  return list
end

-- Run the batch as a transaction on a connection of lredis.c.
function M.exec(conn, seconds, batch)
  local replies, message, code, unsent = conn:pipeline(seconds, as_transaction(batch))
  if not replies then return nil, message, code, unsent end
  return unpack_exec(replies)
end

return M

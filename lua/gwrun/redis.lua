-- gwrun.redis: every Redis command as a method, pipelines, transactions, scripts
-- and subscriptions. Calls wait while other clients' events go on.
--
-- Where commands go is redis_server.lua's, or redis_cluster.lua's: both have call,
-- pipeline, exec, own, listener and close.
--
-- Loaded by lualib/linit.c when a script first needs it, with the core (lredis.c),
-- what gwrun's modules share, the table to fill, and a function that runs a further
-- file.
local core, common, M, part = ...
local raise = common.raise
local error = raise.error

local commands = part("redis_commands", common)
local open_server = part("redis_server", core, common, commands)
local subscribe = part("redis_subscription", core, common)
local read_options = part("redis_options", core, common)

M.null = common.json.null

local open_cluster -- redis_cluster.lua, once a script needs it

local attempts = 10 -- of a transaction whose keys are changed by others

local Client = {}

local function to_map(list, message, code)
  if type(list) ~= "table" then return list, message, code end
  local map = {}
  for i = 1, #list, 2 do map[list[i]] = list[i + 1] end
  return map
end

local function call(self, command, ...)
  local seconds = commands.block_time(command, ...)
  local limit = math.min((seconds or 0) + self.seconds, commands.day)
  return self.server:call(limit, seconds ~= nil, command, ...)
end

local client_meta = commands.with_commands(Client, function(self, command, ...)
  commands.check(command, 2)
  return call(self, command, ...)
end)

function Client:call(command, ...)
  return call(self, commands.check(command, 2), ...)
end

function Client:hgetall(key)
  return to_map(call(self, "HGETALL", key))
end

local function new_client(server, scripts, seconds)
  return setmetatable({ server = server, scripts = scripts, seconds = seconds }, client_meta)
end

-- The same client with another limit for each call.
function Client:within(seconds)
  return new_client(self.server, self.scripts, seconds)
end

function Client:pipeline(f)
  local batch = commands.collect(f)
  if #batch == 0 then return {} end
  return self.server:pipeline(self.seconds, batch)
end

function Client:multi(f)
  local batch = commands.collect(f)
  if #batch == 0 then return {} end
  return self.server:exec(self.seconds, batch)
end

local function try_transaction(self, own, keys, f)
  local ok, message, code, unsent = own:call(self.seconds, false, "WATCH", table.unpack(keys))
  if not ok then return false, nil, message, code, unsent end
  local losses = own.conn:losses()
  local reader = new_client(own, self.scripts, self.seconds)
  local batch = commands.collect(function(tx) f(tx, reader) end)
  if #batch == 0 then
    return (own:call(self.seconds, false, "UNWATCH")) == "OK", {}
  end
  if own.conn:losses() ~= losses then -- and with it the watch
    return false, nil, "redis: the connection was lost during the transaction", "econnreset"
  end
  local replies
  replies, message, code, unsent = own:exec(self.seconds, batch)
  return replies ~= nil or code == "eagain", replies, message, code, unsent
end

-- f(tx, r) reads with r, which waits, and writes with tx, which collects. When
-- one of keys was changed meanwhile it runs again.
function Client:transaction(keys, f)
  if self.server.is_own then error("redis: a transaction within a transaction", 2) end
  if type(keys) ~= "table" then keys = { keys } end
  raise.check(f, "function", 2, "transaction")
  local result, message, code
  for _ = 1, attempts do
    result, message, code = self.server:own(self.seconds, keys, function(own)
      return try_transaction(self, own, keys, f)
    end)
    if result or code ~= "eagain" then break end
  end
  return result, message, code
end

-- Run a script (EVALSHA, or EVAL where the server does not know it yet).
function Client:script(text, keys, args)
  raise.check(text, "string", 1, "script")
  if keys ~= nil then raise.check(keys, "table", 2, "script") end
  if args ~= nil then raise.check(args, "table", 3, "script") end
  local words = { #(keys or {}) }
  table.move(keys or {}, 1, words[1], 2, words)
  table.move(args or {}, 1, #(args or {}), #words + 1, words)
  if not self.scripts[text] then
    local sha, message, code = call(self, "SCRIPT", "LOAD", text)
    if not sha then return nil, message, code end
    self.scripts[text] = sha
  end
  local reply, message, code = call(self, "EVALSHA", self.scripts[text], table.unpack(words))
  if code ~= "noscript" then return reply, message, code end
  return call(self, "EVAL", text, table.unpack(words))
end

function Client:close() self.server:close() end

function Client:subscribe(channels, handler)
  return subscribe(self.server:listener(), self.seconds, "SUBSCRIBE", channels, handler)
end

function Client:psubscribe(patterns, handler)
  return subscribe(self.server:listener(), self.seconds, "PSUBSCRIBE", patterns, handler)
end

-- A client for one server, for the master that sentinels name, or for a cluster. It
-- connects when it is first used, and again when the connection was lost.
function M.connect(options)
  local conf = read_options(options)
  if conf.cluster and not open_cluster then
    open_cluster = part("redis_cluster", core, common, commands, open_server, part)
  end
  return new_client(conf.cluster and open_cluster(conf) or open_server(conf), {}, conf.timeout)
end

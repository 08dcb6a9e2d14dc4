-- gwrun.redis: every Redis command as a method, pipelines, transactions, scripts
-- and subscriptions. Calls wait while other clients' events go on.
--
-- Ordinary commands of a worker share one connection, on which any number can be
-- under way; what blocks or watches gets a connection of its own.
--
-- Loaded by lualib/linit.c when a script first needs it, with the core (lredis.c),
-- what gwrun's modules share, and the table to fill.
local core, common, M = ...
local async, raise = common.async, common.raise
local error = raise.error
local null = common.json.null

M.null = null

local defaults = {
  host = "127.0.0.1", -- or "/path" of a unix socket
  port = 6379,
  user = false,
  password = false,
  db = 0,
  timeout = 5, -- seconds for each call
  connect_timeout = 3,
  pool_size = 8, -- connections for what blocks or watches, at most
}

local retry_min, retry_max = 0.1, 5 -- seconds between a subscription's connects
local ping_after = 15 -- seconds of silence on a subscription
local attempts = 10 -- of a transaction whose keys are changed by others
local day = 86400 -- seconds; no call takes longer

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
  RESET = "close()", QUIT = "close()",
}

local function check(name, level)
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
local function block_time(name, ...)
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
  return seconds > 0 and seconds or day -- 0 is for ever
end

local function pack_command(...)
  local words = { ... }
  for i = 1, select("#", ...) do
    if words[i] == nil then error(("redis: word %d of the command is a nil"):format(i), 3) end
  end
  return words
end

-- Make a table whose methods are commands; each is made when first used.
local function with_commands(methods, run)
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
local batch_meta = with_commands(Batch, function(self, command, ...)
  check(command, 2)
  self[#self + 1] = pack_command(command, ...)
end)

function Batch.call(self, command, ...)
  self[#self + 1] = pack_command(check(command, 2), ...)
end

local function collect(f, ...)
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
  local commands = { { "MULTI" } }
  table.move(batch, 1, #batch, 2, commands)
  commands[#commands + 1] = { "EXEC" }
  return commands
end

-- Connections of one's own.

-- shared.pool has them as weak keys: whoever computes for too long is ended
-- without giving his back.
local function open(shared)
  local conn = core.open(shared.conf)
  shared.pool[conn] = true
  return conn
end

local function count(pool)
  local n = 0
  for _ in pairs(pool) do n = n + 1 end
  return n
end

-- A connection in an unknown state is not used again.
local function give_back(shared, conn, usable)
  if not usable then
    conn:close()
    shared.pool[conn] = nil
    conn = open(shared)
  end
  local waiter = table.remove(shared.waiters, 1)
  if waiter then
    waiter.conn = conn
    waiter.ticket:set()
  elseif shared.closed then
    conn:close()
  else
    shared.idle[#shared.idle + 1] = conn
  end
end

-- Who waits may be cut short, also when it was given a connection just now.
local Waiter = {}

function Waiter:__close()
  for i, w in ipairs(self.shared.waiters) do
    if w == self then table.remove(self.shared.waiters, i) end
  end
  if self.conn then give_back(self.shared, self.conn, true) end
end

local function take(shared, timeout)
  if shared.closed then error("redis: the connection is closed", 0) end
  local idle = table.remove(shared.idle)
  if idle then return idle end
  if count(shared.pool) < shared.conf.pool_size then return open(shared) end
  local waiter <close> = setmetatable({ shared = shared, ticket = async.ticket() }, Waiter)
  table.insert(shared.waiters, waiter)
  waiter.ticket:wait(timeout)
  local conn = waiter.conn
  if conn then
    waiter.conn = nil
    return conn
  end
  return nil, "redis: all " .. shared.conf.pool_size .. " connections are in use", "etimedout"
end

-- Run f(conn) with a connection of its own; the connection is used again only if
-- f says so with its first result.
local function with_connection(self, f)
  local conn, message, code = take(self.shared, self.seconds)
  if not conn then return nil, message, code end
  local results = table.pack(pcall(f, conn))
  give_back(self.shared, conn, results[1] and results[2])
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 3, results.n)
end

-- The client.

local Client = {}

local function to_map(list, message, code)
  if type(list) ~= "table" then return list, message, code end
  local map = {}
  for i = 1, #list, 2 do map[list[i]] = list[i + 1] end
  return map
end

local function call(self, command, ...)
  local seconds = blocking[command] and block_time(command, ...)
  local limit = math.min((seconds or 0) + self.seconds, day)
  if not seconds or self.shared.is_own then
    return self.shared.conn:call(limit, command, ...)
  end
  local args = table.pack(...)
  return with_connection(self, function(conn)
    local reply, message, code = conn:call(limit, command, table.unpack(args, 1, args.n))
    return message == nil, reply, message, code
  end)
end

local client_meta = with_commands(Client, function(self, command, ...)
  check(command, 2)
  return call(self, command, ...)
end)

function Client:call(command, ...)
  return call(self, check(command, 2), ...)
end

function Client:hgetall(key)
  return to_map(self.shared.conn:call(self.seconds, "HGETALL", key))
end

-- The same client with another limit for each call.
function Client:within(seconds)
  return setmetatable({ shared = self.shared, seconds = seconds }, client_meta)
end

function Client:pipeline(f)
  local batch = collect(f)
  if #batch == 0 then return {} end
  return self.shared.conn:pipeline(self.seconds, batch)
end

function Client:multi(f)
  local batch = collect(f)
  if #batch == 0 then return {} end
  local replies, message, code = self.shared.conn:pipeline(self.seconds, as_transaction(batch))
  if not replies then return nil, message, code end
  return unpack_exec(replies)
end

-- The same client, on a connection of its own.
local function view(self, conn)
  local conf, scripts = self.shared.conf, self.shared.scripts
  return setmetatable({
    shared = { conn = conn, is_own = true, conf = conf, scripts = scripts }, seconds = self.seconds,
  }, client_meta)
end

local function try_transaction(self, conn, keys, f)
  local ok, message, code = conn:call(self.seconds, "WATCH", table.unpack(keys))
  if not ok then return false, nil, message, code end
  local losses = conn:losses()
  local batch = collect(function(tx) f(tx, view(self, conn)) end)
  if #batch == 0 then
    return (conn:call(self.seconds, "UNWATCH")) == "OK", {}
  end
  if conn:losses() ~= losses then -- and with it the watch
    return false, nil, "redis: the connection was lost during the transaction", "econnreset"
  end
  local replies
  replies, message, code = conn:pipeline(self.seconds, as_transaction(batch))
  if not replies then return false, nil, message, code end
  return true, unpack_exec(replies)
end

-- f(tx, r) reads with r, which waits, and writes with tx, which collects. When
-- one of keys was changed meanwhile it runs again.
function Client:transaction(keys, f)
  if self.shared.is_own then error("redis: a transaction within a transaction", 2) end
  if type(keys) ~= "table" then keys = { keys } end
  raise.check(f, "function", 2, "transaction")
  local result, message, code
  for _ = 1, attempts do
    result, message, code = with_connection(self, function(conn)
      return try_transaction(self, conn, keys, f)
    end)
    if result or code ~= "eagain" then break end
  end
  return result, message, code
end

-- Run a script (EVALSHA, or EVAL when the server does not know it yet).
function Client:script(text, keys, args)
  raise.check(text, "string", 1, "script")
  if keys ~= nil then raise.check(keys, "table", 2, "script") end
  if args ~= nil then raise.check(args, "table", 3, "script") end
  local words = { #(keys or {}) }
  table.move(keys or {}, 1, words[1], 2, words)
  table.move(args or {}, 1, #(args or {}), #words + 1, words)
  local sha = self.shared.scripts[text]
  if sha then
    local reply, message, code = self:evalsha(sha, table.unpack(words))
    if code ~= "noscript" then return reply, message, code end
  end
  local loaded, message, code = self.shared.conn:call(self.seconds, "SCRIPT", "LOAD", text)
  if not loaded then return nil, message, code end
  self.shared.scripts[text] = loaded
  return self:evalsha(loaded, table.unpack(words))
end

function Client:close()
  local shared = self.shared
  shared.closed = true
  shared.conn:close()
  for _, conn in ipairs(shared.idle) do conn:close() end
  shared.idle = {}
end

-- Subscriptions: each has a connection and a coroutine of its own, which calls
-- the handler for one message after the other.

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
  self.confirmed = 0
  local ok, why = listen(self)
  while ok do
    local message
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
    self.conn = core.open(self.conf)
    local why = receive(self)
    self.conn:close()
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
      self.conn:close()
      start_subscription(self)
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

local function subscribe(self, command, names, handler)
  if type(names) ~= "table" then names = { names } end
  if #names == 0 then error("redis: a list of channels expected", 3) end
  if type(handler) ~= "function" then error("redis: a function(message, channel) expected", 3) end
  local conf = setmetatable({ push = true }, { __index = self.shared.conf })
  local subscription = setmetatable({
    conf = conf, command = command, names = names, handler = handler, seconds = self.seconds,
    wait = retry_min, confirmed = 0, ready = async.ticket(), ended = async.ticket(),
  }, Subscription)
  start_subscription(subscription)
  async.spawn(function() watch_silence(subscription) end)
  return subscription
end

function Client:subscribe(channels, handler)
  return subscribe(self, "SUBSCRIBE", channels, handler)
end

function Client:psubscribe(patterns, handler)
  return subscribe(self, "PSUBSCRIBE", patterns, handler)
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

local types = {
  host = "string", user = "string", password = "string", url = "string", ca_file = "string",
  cert_file = "string", key_file = "string", server_name = "string", verify = "boolean",
  sentinel_user = "string", sentinel_password = "string",
}
-- What a url says itself, and what only some urls make use of.
local in_url = { "host", "port", "user", "password", "db" }
local for_tls = { "ca_file", "cert_file", "key_file", "server_name", "verify" }
local for_sentinels = { "sentinel_user", "sentinel_password" }

local limits = {
  port = { 1, 65535 }, db = { 0, 0x7fffffff }, pool_size = { 1, 10000 },
  timeout = { 0.001, 86400 }, connect_timeout = { 0.001, 86400 },
}
local whole = { port = true, db = true, pool_size = true }

local function check_range(name, value, level)
  local limit = limits[name]
  if limit and not (value >= limit[1] and value <= limit[2] and
      (not whole[name] or math.tointeger(value))) then
    error(("redis: option '%s' must be a %snumber from %s to %s"):format(
      name, whole[name] and "whole " or "", limit[1], limit[2]), level + 1)
  end
end

local function check_options(options, level)
  for name, value in pairs(options) do
    if defaults[name] == nil and not types[name] then
      error(("redis: unknown option '%s'"):format(name), level + 1)
    end
    if type(value) ~= (types[name] or "number") then
      error(("redis: option '%s' must be a %s"):format(name, types[name] or "number"), level + 1)
    end
    check_range(name, value, level + 1)
  end
end

local function refuse(options, names, text, level)
  for _, name in ipairs(names) do
    if options[name] ~= nil then error(text:format(name), level + 1) end
  end
end

-- Read the url, and the files for TLS, into conf.
local function resolve(conf, options, level)
  local place = {}
  if options.url then
    local message
    place, message = core.parse(options.url)
    if not place then error("redis: url: " .. message, level + 1) end
    refuse(options, in_url, "redis: the url has option '%s' already", level + 1)
    for _, name in ipairs(in_url) do conf[name] = place[name] end
    if place.master then conf.master, conf.hosts = place.master, place.hosts end
  end
  if place.tls then
    local trust, message = core.trust {
      ca_file = options.ca_file, cert_file = options.cert_file, key_file = options.key_file,
      insecure = options.verify == false,
    }
    if not trust then error("redis: " .. message, level + 1) end
    conf.trust = trust
  else
    refuse(options, for_tls, "redis: option '%s' is for a url that begins with rediss", level + 1)
  end
  if not place.master then
    refuse(options, for_sentinels, "redis: option '%s' is for a url of sentinels", level + 1)
  end
end

-- A client for one server, or for the master that sentinels name. It connects when
-- it is first used, and again when the connection was lost.
function M.connect(options)
  if type(options) == "string" then options = { url = options } end
  if options ~= nil then raise.check(options, "table", 1, "connect") end
  options = options or {}
  check_options(options, 2)
  local conf = {}
  for name, value in pairs(defaults) do conf[name] = value or nil end
  for name, value in pairs(options) do conf[name] = value end
  resolve(conf, options, 2)
  return setmetatable({
    shared = {
      conn = core.open(conf), conf = conf, idle = {}, pool = setmetatable({}, { __mode = "k" }),
      waiters = {}, scripts = {},
    },
    seconds = conf.timeout,
  }, client_meta)
end

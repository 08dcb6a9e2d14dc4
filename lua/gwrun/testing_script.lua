-- What a script finds in gwrun test instead of the world: the test's clock, and
-- fakes in the place of the cores of Mysql, Redis, Http, Socket and Websocket. Its
-- Lua halves (query builder, transactions, JSON) are the real ones.
--
-- Loaded by cli/lscript.c with the core, in each worker's state before anything
-- else.
local core = ...

local M = { mysql = {}, redis = {}, http = {} }

-- The clock on the wall; gwrun.now() has it, too.

local time, date = os.time, os.date

function os.time(t)
  if t ~= nil then return time(t) end
  return math.floor(package.loaded.gwrun.now())
end

function os.date(format, t) return date(format or "%c", t or os.time()) end

-- app:run(): what the test gives is a chunk's text, or the name of a global
-- function.

local function pack_results(ok, ...)
  if ok then return { true, n = select("#", ...), ... } end
  return { false, (...) }
end

function M.run(id, text, ...)
  local chunk, message = load(text, "=app:run", "t")
  if not chunk then
    core.post("result", id, { false, message })
    return
  end
  core.post("result", id, pack_results(xpcall(chunk, debug.traceback, ...)))
end

-- Mysql: pool:run() and the bookkeeping of transactions.

local Pool = {}
Pool.__index = Pool

function M.mysql.open(conf)
  return setmetatable({ conf = { database = conf.database, host = conf.host }, holds = {} }, Pool)
end

local handlers = setmetatable({}, { __mode = "k" }) -- by coroutine

function M.mysql.handler()
  local co = coroutine.running()
  if not handlers[co] or handlers[co]:ended() then handlers[co] = core.lifetime() end
  return handlers[co]
end

-- The hold of the running coroutine; it ends with it.
local function find_hold(self)
  local co = coroutine.running()
  local hold = self.holds[co]
  if hold and hold.life:ended() then
    self.holds[co], hold = nil, nil
  end
  return hold, co
end

function Pool:hold()
  local hold, co = find_hold(self)
  if hold then return nil end
  self.last = (self.last or 0) + 1
  self.holds[co] = { id = self.last, life = core.lifetime() }
  return self.last
end

function Pool:held()
  local hold = find_hold(self)
  return hold and hold.id
end

function Pool:release(id)
  for co, hold in pairs(self.holds) do
    if hold.id == id then self.holds[co] = nil end
  end
end

function Pool:run(sql, params, seconds, column, hold)
  local held = find_hold(self)
  if self.closed and not held then error("the database was closed", 0) end
  if hold and not (held and held.id == hold) then
    error("the transaction is over, or another handler's", 0)
  end
  return core.ask("mysql", seconds, sql, params or { n = 0 }, column)
end

function Pool:counts() -- luacheck: no self
  return 0, 0, 0
end

function Pool:close() self.closed = true end

-- Redis: a connection's calls.

local Connection = {}
Connection.__index = Connection

-- One server, also for a script that has a cluster.
function M.redis.parse(url)
  local place, message = core.parse_redis(url)
  if place then place.cluster = nil end
  return place, message
end

function M.redis.trust() return true end

function M.redis.open()
  local self = setmetatable({}, Connection)
  self.id = ("%p"):format(self) -- no other worker has it
  return self
end

local function check_open(self)
  if self.closed then error("connection is closed", 3) end
end

local function reply(value)
  if type(value) == "table" and value.error then return nil, value.error, value.code end
  if value == package.loaded["gwrun.json"].null then return nil end
  return value
end

function Connection:call(seconds, ...)
  check_open(self)
  local replies, message, code = core.ask("redis", seconds, self.id, { { ... } })
  if not replies then return nil, message, code end
  return reply(replies[1])
end

function Connection:pipeline(seconds, commands)
  check_open(self)
  return core.ask("redis", seconds, self.id, commands)
end

function Connection:losses() return 0 end -- luacheck: no self

function Connection:listen(seconds, commands)
  check_open(self)
  return core.ask("redis_listen", seconds, self.id, commands)
end

function Connection:next()
  if self.closed then return nil, "redis: the connection was closed", "ecanceled" end
  return core.ask("redis_next", math.huge, self.id)
end

function Connection:close()
  if not self.closed then core.post("redis_close", self.id) end
  self.closed = true
end

-- Websocket.

M.websocket = { user_agent = "gwrun" }

function M.websocket.open(request)
  local conn = {}
  conn.id = ("%p"):format(conn) -- no other worker has it
  local seconds = request.connect_timeout
  local protocol, message, code = core.ask("websocket_open", seconds, conn.id, request)
  if not protocol then return nil, message, code end
  return conn, protocol
end

function M.websocket.receive(conn, seconds)
  local message, binary, code, number, reason =
    core.ask("websocket_receive", seconds or math.huge, conn.id)
  if number then conn.number, conn.reason = number, reason end
  return message, binary, code
end

function M.websocket.send(conn, message)
  if conn.number then return nil, "the connection is closed", "eof" end
  if conn.closing then return nil, "the connection is closing", "enotconn" end
  core.post("websocket_send", conn.id, message)
  return true
end

function M.websocket.close(conn, code, reason)
  if not conn.closing then core.post("websocket_close", conn.id, code or 1000, reason or "") end
  conn.closing = true
end

function M.websocket.closed(conn) return conn.number, conn.reason end

-- Socket.

M.socket = {}

function M.socket.open(request)
  local conn = {}
  conn.id = ("%p"):format(conn) -- no other worker has it
  local ok, message, code = core.ask("socket_open", request.connect_timeout, conn.id, request)
  if not ok then return nil, message, code end
  return conn
end

function M.socket.start_tls(request, conn)
  if conn.closed then return nil, "the connection is closed", "enotconn" end
  local ok, message, code = core.ask("socket_tls", request.connect_timeout, conn.id)
  if not ok then return nil, message, code end
  return conn
end

function M.socket.read(conn, delimiter, count, any, line, seconds)
  if conn.closed then return nil, "the connection is closed", "enotconn" end
  local wish = { delimiter = delimiter, count = count, any = any, line = line }
  return core.ask("socket_read", seconds or math.huge, conn.id, wish)
end

function M.socket.write(conn, data)
  if conn.closed then return nil, "the connection is closed", "enotconn" end
  core.post("socket_write", conn.id, data)
  return true
end

function M.socket.close(conn)
  if not conn.closed then core.post("socket_close", conn.id) end
  conn.closed = true
end

-- Http.

function M.http.request(options)
  local status, head, body, url = core.ask("http", options.timeout, options)
  if type(body) == "table" then body = table.concat(body) end
  return status, head, body, url
end

function M.http.stream(options)
  local status, head, body, url = core.ask("http", options.timeout, options)
  if not status then return nil, head, body end
  if type(body) ~= "table" then body = { body ~= "" and body or nil } end
  return { chunks = body, at = 0 }, status, head, url
end

function M.http.read(stream)
  if stream.closed then return nil, "http: the response was closed", "ecanceled" end
  stream.at = stream.at + 1
  local chunk = stream.chunks[stream.at]
  if chunk then return chunk end
  return nil, "http: the response is over", "eof"
end

function M.http.close(stream) stream.closed = true end

return M

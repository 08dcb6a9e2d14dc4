-- A server of bytes for gwrun.testing, in memory: the spec sees who connects and
-- what they write, and says what they read.
local Server, Conn = {}, {}
Server.__index, Conn.__index = Server, Conn

-- What a read of the script's gets of the bytes that are there, and how many it
-- takes; nothing: more must come; nil, true: it never will fit.
local function find(data, wish)
  if not wish.delimiter then
    local n = wish.any and math.min(wish.count, #data) or wish.count
    if #data > 0 and #data >= n then return data:sub(1, n), n end
    return nil
  end
  local first, last = data:find(wish.delimiter, 1, true)
  if not first then
    return nil, #data >= wish.count + #wish.delimiter + (wish.line and 1 or 0)
  end
  local text = data:sub(1, first - 1)
  if wish.line then text = text:gsub("\r$", "") end
  if #text > wish.count then return nil, true end
  return text, last
end

local function answer(self, ...)
  local job = self.job
  self.job = nil
  self.finish(job, true, ...)
end

-- Give the script's read() what there is: its bytes, or the end.
local function serve(self)
  local job = self.job
  if not job or job.done then return end
  local bytes, taken = find(self.data, self.wish)
  if bytes then
    self.data = self.data:sub(taken + 1)
    answer(self, bytes)
  elseif taken then
    answer(self, nil, "what was to be read is larger than the limit", "emsgsize")
  elseif self.ended then
    answer(self, nil, self.ended.message, self.ended.code)
  end
end

local function finish(self, code, message)
  if self.ended then return end
  self.ended = { code = code, message = message }
  serve(self)
end

--- The server writes.
function Conn:say(data)
  if type(data) ~= "string" then error("testing.socket: bytes are text", 2) end
  if self.ended then error("testing.socket: the connection has ended", 2) end
  self.data = self.data .. data
  serve(self)
end

--- The server closes it.
function Conn:close() finish(self, "eof", "the peer has closed the connection") end

--- The connection is lost.
function Conn:drop() finish(self, "econnreset", "the connection was lost") end

-- What lua/gwrun/testing_fakes.lua passes on from the script. A connection's id is
-- the script's.

function Server:_open(id, options, done)
  local request = {
    host = options.host, port = options.port, tls = options.tls or false,
    server_name = options.name, verify = not options.insecure,
  }
  local conn = setmetatable({ request = request, tls = request.tls, sent = "", data = "" }, Conn)
  local ok, message, code
  if self.accept then ok, message, code = self.accept(request, conn) end
  if ok == nil and message then return done(nil, message, code or "econnrefused") end
  self.by_id[id] = conn
  table.insert(self.connections, conn)
  return done(true)
end

function Server:_read(id, wish, job, done)
  local conn = self.by_id[id]
  conn.job, conn.finish, conn.wish = job, done, wish
  serve(conn)
end

function Server:_write(id, data)
  local conn = self.by_id[id]
  if conn.ended then return end
  conn.sent = conn.sent .. data
  if self.on_data then self.on_data(conn, data) end
end

function Server:_start_tls(id, done)
  local conn = self.by_id[id]
  if conn.ended then return done(nil, conn.ended.message, conn.ended.code) end
  if conn.data ~= "" then return done(nil, "bytes have come in front of TLS", "eproto") end
  conn.tls = true
  return done(true)
end

function Server:_close(id)
  local conn = self.by_id[id]
  conn.closed = true
  finish(conn, "ecanceled", "the connection was closed")
end

--- testing.socket { accept = f(request, conn), onData = f(conn, data) }
return function(options)
  if options ~= nil and type(options) ~= "table" then
    error("testing.socket: a table of functions expected", 2)
  end
  options = options or {}
  return setmetatable({
    accept = options.accept, on_data = options.onData, connections = {}, by_id = {},
  }, Server)
end

-- A server of websockets for gwrun.testing, in memory: the spec sees who connects
-- and what they send, and says what they hear.
local Server, Conn = {}, {}
Server.__index, Conn.__index = Server, Conn

-- Give the script's receive() what there is: a message, or the end.
local function serve(self)
  local job = self.job
  if not job or job.done then return end
  local message = table.remove(self.queue, 1)
  local ended = self.ended
  if message then
    self.job = nil
    self.finish(job, true, message.data, message.binary)
  elseif ended then
    self.job = nil
    self.finish(job, true, nil, ended.message, ended.err, ended.code, ended.reason)
  end
end

local function finish(self, err, message, code, reason)
  if self.ended then return end
  self.ended = { err = err, message = message, code = code, reason = reason or "" }
  serve(self)
end

--- The server sends a message.
function Conn:say(message, binary)
  if type(message) ~= "string" then error("testing.websocket: a message is text", 2) end
  if self.ended then error("testing.websocket: the connection has ended", 2) end
  table.insert(self.queue, { data = message, binary = binary or false })
  serve(self)
end

--- The server closes it with a code (1000) and a reason.
function Conn:close(code, reason)
  finish(self, "eof", "the connection is closed", code or 1000, reason)
end

--- The connection is lost.
function Conn:drop() finish(self, "econnreset", "the connection was lost", 1006) end

--- The last message that the script has sent on it.
function Conn:last() return self.sent[#self.sent] end

-- What lua/gwrun/testing_fakes.lua passes on from the script. A connection's id is
-- the script's.

local function request_of(options)
  local request = { headers = {}, protocols = {} }
  request.url = options.name .. (options.path:match "%?.*$" or "")
  for _, line in ipairs(options.headers) do
    local name, value = line:match "^([^:]+): (.*)$"
    request.headers[name:lower()] = value
  end
  for name in (options.protocols or ""):gmatch "[^, ]+" do table.insert(request.protocols, name) end
  return request
end

function Server:_open(id, options, done)
  local request = request_of(options)
  local conn = setmetatable({ request = request, sent = {}, queue = {} }, Conn)
  local protocol, message, code
  if self.accept then protocol, message, code = self.accept(request, conn) end
  if protocol == nil and message then return done(nil, message, code or "eproto") end
  self.by_id[id] = conn
  table.insert(self.connections, conn)
  return done(type(protocol) == "string" and protocol or "")
end

function Server:_receive(id, job, done)
  local conn = self.by_id[id]
  conn.job, conn.finish = job, done
  serve(conn)
end

function Server:_send(id, message)
  local conn = self.by_id[id]
  if conn.ended then return end
  table.insert(conn.sent, message)
  if self.on_message then self.on_message(conn, message) end
end

function Server:_close(id, code, reason)
  local conn = self.by_id[id]
  conn.closed = conn.closed or { code = code, reason = reason }
  finish(conn, "eof", "the connection is closed", code, reason)
end

--- testing.websocket { accept = f(request, conn), onMessage = f(conn, message) }
return function(options)
  if options ~= nil and type(options) ~= "table" then
    error("testing.websocket: a table of functions expected", 2)
  end
  options = options or {}
  return setmetatable({
    accept = options.accept, on_message = options.onMessage, connections = {}, by_id = {},
  }, Server)
end

-- gwrun.socket: streams of bytes to other servers, over TCP or TLS, for protocols
-- that are written in Lua. Calls wait while other clients' events go on.
--
-- Loaded by lualib/linit.c when a script first needs it, with the core
-- (lsocket.c), what gwrun's modules share, and the table to fill.
local core, common, M = ...
local raise = common.raise
local error = raise.error

local defaults = {
  connect_timeout = 10, -- seconds until it is open, TLS included
  max_queue = 16 * 1024 * 1024, -- bytes to be sent
}

local read_max = 16 * 1024 * 1024 -- bytes of one read, as lsocket.h has it
local read_limit = 64 * 1024 -- bytes of a line, and of what readUntil() reads

local limits = {
  timeout = { 0.001, 86400 },
  connect_timeout = { 0.001, 3600 },
  max_queue = { 1, 1024 * 1024 * 1024 },
}

local known = { tls = "boolean", server_name = "string", ca_file = "string", verify = "boolean" }
local known_to_tls = { server_name = "string", ca_file = "string", verify = "boolean" }
local known_to_read = { timeout = { 0, 86400 }, limit = { 1, read_max } }

local function fail(text, ...) error("socket: " .. text:format(...), 2) end

local function check(options, kinds, ranges)
  if type(options) ~= "table" then fail "a table of options expected" end
  for name, value in pairs(options) do
    local kind, range = kinds[name], ranges[name]
    if not kind and not range then fail("unknown option '%s'", tostring(name)) end
    if range and (type(value) ~= "number" or not (value >= range[1] and value <= range[2])) then
      fail("option '%s' must be a number from %s to %s", name, range[1], range[2])
    end
    if kind and type(value) ~= kind then fail("option '%s' must be a %s", name, kind) end
  end
  return options
end

local function check_text(value, what)
  if type(value) == "number" then value = tostring(value) end
  if type(value) ~= "string" then fail("%s is text, got a %s", what, type(value)) end
  return value
end

local Stream = {}
Stream.__index = Stream
Stream.__name = "socket"

local function failure(name, message, code)
  return nil, ("socket: %s: %s"):format(name, message), code
end

-- What a read or a write has brought, or nil, message, code with whom it was.
local function result(self, value, message, code)
  if value == nil then return failure(self.name, message, code) end
  return value
end

local none = {}

local function read(self, delimiter, count, any, line, options)
  local timeout = options.timeout or self.timeout
  return result(self, core.read(self.core, delimiter, count, any, line, timeout))
end

--- sock:read(n | "line" | "any", options) -> bytes | nil, message, code
function Stream:read(what, options)
  options = options == nil and none or check(options, none, known_to_read)
  local limit = options.limit and math.floor(options.limit)
  if what == "line" then return read(self, "\n", limit or read_limit, false, true, options) end
  if what == "any" then return read(self, nil, limit or read_limit, true, false, options) end
  local count = math.tointeger(what)
  if type(what) ~= "number" or not count or count < 1 or count > read_max then
    fail("a number of bytes from 1 to %d, \"line\" or \"any\" expected", read_max)
  end
  return read(self, nil, count, false, false, options)
end

--- sock:readUntil(text, options) -> what is in front of it | nil, message, code
function Stream:readUntil(text, options)
  options = options == nil and none or check(options, none, known_to_read)
  if type(text) ~= "string" or text == "" or #text > read_limit then
    fail "a text to read until expected"
  end
  local limit = options.limit and math.floor(options.limit)
  return read(self, text, limit or read_limit, false, false, options)
end

--- for line in sock:lines() do … end
function Stream:lines(options)
  return function()
    local line, message, code = self:read("line", options)
    if line then return line end
    self.ended = { message = message, code = code }
    return nil
  end
end

--- sock:write(data) -> true | nil, message, code
function Stream:write(data)
  return result(self, core.write(self.core, check_text(data, "what is sent")))
end

-- What core.open() and core.start_tls() need to know of certificates.
local function trust_of(options, host)
  return { name = options.server_name or host, ca_file = options.ca_file,
    insecure = options.verify == false }
end

--- sock:starttls(options) -> true | nil, message, code
function Stream:starttls(options)
  local request = trust_of(check(options or none, known_to_tls, none), self.host)
  request.connect_timeout = self.connect_timeout
  local conn, message, code = core.start_tls(request, self.core)
  if not conn then return failure(self.name, message, code) end
  return true
end

--- sock:close(): what waits to be sent is sent.
function Stream:close() core.close(self.core) end

Stream.__close = Stream.close

-- What a host and a port are called, in messages.
local function name_of(host, port)
  if host:find("/", 1, true) then return host end
  return (host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(host, port)
end

--- Socket.connect(host, port, options) -> sock | nil, message, code
function M.connect(host, port, options)
  raise.check(host, "string", 1, "connect")
  host = check_text(host, "a host")
  if host == "" or #host > 255 or host:find "[%z\1-\32\127]" then fail "bad host" end
  local number = host:find("/", 1, true) and 0 or math.tointeger(tonumber(port))
  if not number or number < 0 or number > 65535 or (number == 0 and port) then
    fail "a port from 1 to 65535 expected"
  end
  options = check(options or none, known, limits)
  local request, name = trust_of(options, host), name_of(host, number)
  request.host, request.port, request.tls = host, number, options.tls
  for key, value in pairs(defaults) do request[key] = options[key] or value end
  local conn, message, code = core.open(request)
  if not conn then return failure(name, message, code) end
  return setmetatable({
    core = conn, name = name, host = host, timeout = options.timeout,
    connect_timeout = request.connect_timeout,
  }, Stream)
end

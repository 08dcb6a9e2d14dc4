-- gwrun.websocket: websockets to other servers. Calls wait while other clients'
-- events go on.
--
-- Loaded by lualib/linit.c when a script first needs it, with the core
-- (lwebsocket.c), what gwrun's modules share, and the table to fill.
local core, common, M = ...
local async, raise = common.async, common.raise
local error = raise.error

local defaults = {
  connect_timeout = 10, -- seconds until it is open
  max_message = 8 * 1024 * 1024, -- bytes of one from the server
  max_queue = 16 * 1024 * 1024, -- bytes to be sent
  ping_interval = 30, -- seconds; 0: none
  idle_timeout = 90, -- seconds without a sign of life; 0: never
}

local limits = {
  timeout = { 0.001, 86400 },
  connect_timeout = { 0.001, 3600 },
  max_message = { 1, 1024 * 1024 * 1024 },
  max_queue = { 1, 1024 * 1024 * 1024 },
  ping_interval = { 0, 86400 },
  idle_timeout = { 0, 86400 },
}

local known = { headers = "table", protocols = true, ca_file = "string", verify = "boolean" }

local function fail(text, ...) error("websocket: " .. text:format(...), 2) end

local function check(options, more)
  for name, value in pairs(options) do
    local limit, kind = limits[name], known[name] or more and more[name]
    if type(kind) == "table" then limit, kind = kind, nil end
    if not limit and not kind then fail("unknown option '%s'", tostring(name)) end
    if limit and (type(value) ~= "number" or not (value >= limit[1] and value <= limit[2])) then
      fail("option '%s' must be a number from %s to %s", name, limit[1], limit[2])
    end
    if kind and kind ~= true and type(value) ~= kind then
      fail("option '%s' must be a %s", name, kind)
    end
  end
end

local token = "^[%w!#$%%&'*+%-.^_`|~]+$"

-- The handshake's own, and what would make another request of it.
local ours = { host = 1, connection = 1, upgrade = 1, te = 1, trailer = 1, expect = 1,
  ["content-length"] = 1, ["transfer-encoding"] = 1 }

local function header_lines(headers)
  local lines, agent = {}, true
  for name, value in pairs(headers or {}) do
    if type(name) ~= "string" or not name:match(token) then
      fail("bad header name '%s'", tostring(name))
    end
    local lower = name:lower()
    if ours[lower] or lower:find("^sec%-websocket%-") then
      fail("header '%s' is the handshake's own", name)
    end
    agent = agent and lower ~= "user-agent"
    for _, v in ipairs(type(value) == "table" and value or { value }) do
      if type(v) ~= "string" and type(v) ~= "number" then
        fail("header '%s' is a %s", name, type(v))
      end
      v = tostring(v)
      if v:find "[%z\1-\8\10-\31\127]" then fail("header '%s' has a control character", name) end
      lines[#lines + 1] = name .. ": " .. v
    end
  end
  if agent then lines[#lines + 1] = "User-Agent: " .. core.user_agent end
  table.sort(lines)
  return lines
end

local function protocol_list(protocols)
  if protocols == nil then return nil end
  local list = type(protocols) == "table" and protocols or { protocols }
  for _, name in ipairs(list) do
    if type(name) ~= "string" or not name:match(token) then
      fail("bad subprotocol '%s'", tostring(name))
    end
  end
  if #list == 0 then return nil end
  return table.concat(list, ", ")
end

-- Host and port of "host", "host:port", "[v6]:port".
local function split_host(authority)
  local host, rest = authority:match "^%[([%x:.]+)%](.*)$"
  if not host then host, rest = authority:match "^([%w._-]+)(.*)$" end
  if not host then return nil end
  if rest == "" then return host end
  local port = math.tointeger(tonumber(rest:match "^:(%d+)$"))
  if not port or port < 1 or port > 65535 then return nil end
  return host, port
end

-- What a url means: the fields of core.open(), and its text without the query,
-- in which secrets may be. nil, message, code.
local function parse(url)
  local scheme, authority, path = url:match "^(%a[%w+.-]*)://([^/?#]*)(.*)$"
  if not scheme then return nil, "a url such as wss://example.com/path expected", "einval" end
  scheme = scheme:lower()
  if scheme ~= "ws" and scheme ~= "wss" then
    return nil, "neither ws:// nor wss://", "eprotonosupport"
  end
  local host, port = split_host(authority)
  if not host or path:find "[^!-~]" or path:find("#", 1, true) then
    return nil, "bad url (a name and a password go into a header)", "einval"
  end
  if path:sub(1, 1) ~= "/" then path = "/" .. path end
  return {
    tls = scheme == "wss", host = host, port = port or (scheme == "wss" and 443 or 80), path = path,
    name = scheme .. "://" .. authority .. path:match "^[^?]*",
  }
end

-- nil, message, code of a connection's, with its url.
local function failure(name, message, code)
  return nil, ("websocket: %s: %s"):format(name, message), code
end

local Socket = {}
Socket.__index = Socket
Socket.__name = "websocket"

-- What brought no message. Keeps how it was closed.
local function ended(self, message, code)
  local number, reason = core.closed(self.core)
  if number then self.closed = { code = number, reason = reason } end
  return failure(self.url, message, code)
end

local function receive(self, timeout)
  local message, binary, code = core.receive(self.core, timeout)
  if message == nil then return ended(self, binary, code) end
  return message, binary
end

--- ws:receive(timeout) -> message, binary | nil, message, code
function Socket:receive(timeout)
  if timeout ~= nil and (type(timeout) ~= "number" or not (timeout >= 0 and timeout <= 86400)) then
    fail "a timeout in seconds expected, from 0 to 86400"
  end
  return receive(self, timeout or self.timeout)
end

--- for message, binary in ws:messages() do … end
function Socket:messages()
  return function()
    local message, binary = receive(self)
    if message == nil then return nil end
    return message, binary
  end
end

--- ws:send(message, { binary = true }) -> true | nil, message, code
function Socket:send(message, options)
  if type(message) ~= "string" and type(message) ~= "number" then
    fail("a message is text, got a %s", type(message))
  end
  if options ~= nil and type(options) ~= "table" then fail "a table of options expected" end
  local ok, why, code = core.send(self.core, tostring(message), options and options.binary or false)
  if ok then return true end
  return ended(self, why, code)
end

--- ws:close(code, reason)
function Socket:close(code, reason) core.close(self.core, code, reason) end

Socket.__close = function(self) core.close(self.core) end

-- What core.open() needs. nil, message, code when the url is none.
local function prepare(url, options, more)
  if options ~= nil and type(options) ~= "table" then fail "a table of options expected" end
  options = options or {}
  check(options, more)
  local request, why, code = parse(url)
  if not request then return nil, "websocket: " .. why, code end
  for name, value in pairs(defaults) do request[name] = options[name] or value end
  if options.ping_interval == 0 and not options.idle_timeout then request.idle_timeout = 0 end
  request.headers = header_lines(options.headers)
  request.protocols = protocol_list(options.protocols)
  request.ca_file = options.ca_file
  request.insecure = options.verify == false
  request.timeout = options.timeout
  return request
end

local function open(request)
  local conn, protocol, code = core.open(request)
  if not conn then return failure(request.name, protocol, code) end
  return setmetatable({
    core = conn, url = request.name, timeout = request.timeout,
    protocol = protocol ~= "" and protocol or nil,
  }, Socket)
end

--- Websocket.connect(url, options) -> ws | nil, message, code
function M.connect(url, options)
  raise.check(url, "string", 1, "connect")
  local request, why, code = prepare(url, options)
  if not request then return nil, why, code end
  return open(request)
end

-- Feeds: a coroutine keeps a connection, and each connection has one of its own,
-- which calls the functions for one message after the other.

local feed_waits = { min_wait = 1, max_wait = 30 } -- seconds between two connections
local feed_options = {
  onOpen = "function", onMessage = "function", onClose = "function",
  min_wait = { 0.001, 86400 }, max_wait = { 0.001, 86400 },
}

local Feed = {}
Feed.__index = Feed

local function goes_on(self) return not self.closed and async.is_serving() end

local function call(f, ...)
  if not f then return end
  local ok, err = xpcall(f, debug.traceback, ...)
  if not ok then async._report("websocket: a function of a feed failed", err) end
end

-- One connection's life. What ended it stays in self.why and self.code.
local function live(self)
  local ws, why, code = open(self.request)
  if not ws then
    self.why, self.code = why, code
    return
  end
  self.ws = ws
  if goes_on(self) then call(self.onOpen, ws) end
  while goes_on(self) do
    local message, binary, number = ws:receive()
    if message == nil then
      self.why, self.code = binary, number
      return
    end
    self.wait = self.min_wait
    if goes_on(self) then call(self.onMessage, ws, message, binary) end
  end
  self.why, self.code = "the feed was closed", "ecanceled"
end

-- Run it beside this, and wait until it is over, also when a function of the
-- script's has computed for too long and was ended.
local function live_beside(self)
  local ticket = async.ticket()
  self.why, self.code = "its function was ended", nil
  async.spawn(function()
    async._at_end(ticket)
    live(self)
  end)
  ticket:wait()
end

local function keep(self)
  while goes_on(self) do
    live_beside(self)
    local ws, seconds = self.ws, self.wait * (0.5 + math.random() / 2)
    self.ws = nil
    if ws then
      ws:close()
      call(self.onClose, ws, {
        message = self.why, code = self.code, closed = ws.closed,
        wait = goes_on(self) and seconds or nil,
      })
    end
    if not goes_on(self) then return end
    Log.warn(("%s, connecting anew"):format(self.why))
    self.ended:wait(seconds)
    self.wait = math.min(self.wait * 2, self.max_wait)
  end
end

--- feed:close(code, reason)
function Feed:close(code, reason)
  self.closed = true
  self.ended:set()
  if self.ws then self.ws:close(code, reason) end
end

--- Websocket.feed(url, options) -> feed
function M.feed(url, options)
  raise.check(url, "string", 1, "feed")
  local request, why = prepare(url, options, feed_options)
  if not request then error(why, 2) end
  options = options or {}
  local self = setmetatable({ request = request, url = request.name, ended = async.ticket() }, Feed)
  for name in pairs(feed_options) do self[name] = options[name] or feed_waits[name] end
  self.max_wait = math.max(self.min_wait, self.max_wait)
  self.wait = self.min_wait
  async.spawn(keep, self)
  return self
end

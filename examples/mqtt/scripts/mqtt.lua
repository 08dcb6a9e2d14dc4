-- A publisher of MQTT 3.1.1 (OASIS, 2014) on gwrun.socket: connects, publishes with QoS
-- 0 and 1, pings. It subscribes to nothing.
--
-- A coroutine reads what the broker says. Whatever that breaks the protocol with ends
-- the connection: client.lost tells why, and who waits for an answer hears it.
local M = {}

local PACKET_MAX = 1024 -- bytes; a broker has no more to say to a publisher
local INFLIGHT_MAX = 1000 -- messages that wait for their acknowledgement
local ANSWER = 10 -- seconds the broker has

local CONNECT, CONNACK, PUBLISH, PUBACK = 0x10, 0x20, 0x30, 0x40
local PINGREQ, PINGRESP, DISCONNECT = 0xC0, 0xD0, 0xE0

local refusals = {
  "the broker does not speak MQTT 3.1.1", "the broker does not take this client id",
  "the broker is not available", "the broker does not take this name and password",
  "the broker does not let this client in",
}

local Client = {}
Client.__index = Client

-- ---- packets ----

local function text(s) return string.pack(">s2", s) end

local function packet(kind, body)
  local length, n = "", #body
  repeat
    local digit = n & 0x7F
    n = n >> 7
    length = length .. string.char(n > 0 and digit | 0x80 or digit)
  until n == 0
  return string.char(kind) .. length .. body
end

-- Seven bits a byte, four bytes at most.
local function read_length(sock)
  local length = 0
  for shift = 0, 21, 7 do
    local byte, message, code = sock:read(1, { timeout = ANSWER })
    if not byte then return nil, message, code end
    length = length | (byte:byte() & 0x7F) << shift
    if byte:byte() < 0x80 then return length end
  end
  return nil, "mqtt: a length of more than four bytes", "eproto"
end

-- kind, body | nil, message, code. Only the first byte may be long in coming.
local function read_packet(sock, timeout)
  local kind, message, code = sock:read(1, { timeout = timeout })
  if not kind then return nil, message, code end
  local length
  length, message, code = read_length(sock)
  if not length then return nil, message, code end
  if length > PACKET_MAX then return nil, "mqtt: a packet of " .. length .. " bytes", "emsgsize" end
  if length == 0 then return kind:byte(), "" end
  local body
  body, message, code = sock:read(length, { timeout = ANSWER })
  if not body then return nil, message, code end
  return kind:byte(), body
end

local function connect_packet(options)
  local flags, body = 0x02, text(options.client_id or "") -- a clean session
  if options.username then flags, body = flags | 0x80, body .. text(options.username) end
  if options.password then flags, body = flags | 0x40, body .. text(options.password) end
  local head = text "MQTT" .. string.pack(">BBI2", 4, flags, options.keepalive)
  return packet(CONNECT, head .. body)
end

-- ---- a connection ----

-- Nothing more comes of it, and who waits hears that.
local function lose(self, message, code)
  if self.lost then return end
  self.lost = { message = message, code = code }
  Timer.del(self.pings)
  self.sock:close()
  for _, waiting in pairs(self.inflight) do waiting.ticket:set() end
end

local function take(self, kind, body)
  if kind == PINGRESP and body == "" then
    self.silent = 0
  elseif kind == PUBACK and #body == 2 then
    local waiting = self.inflight[string.unpack(">I2", body)]
    if waiting then -- else it was waited for no longer
      waiting.done = true
      waiting.ticket:set()
    end
  else
    local message = ("mqtt: the broker sent a packet 0x%02X of %d bytes"):format(kind, #body)
    lose(self, message, "eproto")
  end
end

local function listen(self)
  while not self.lost do
    local kind, body, code = read_packet(self.sock, nil)
    if kind then take(self, kind, body) else lose(self, body, code) end
  end
end

local function ping(self)
  self.silent = self.silent + 1
  if self.silent > 2 then
    return lose(self, "mqtt: the broker does not answer pings", "etimedout")
  end
  self.sock:write(packet(PINGREQ, ""))
end

--- mqtt.connect { host, port = 1883, tls, ca_file, client_id, username, password,
--- keepalive = 60 } -> client | nil, message, code. Waits.
function M.connect(options)
  options = setmetatable({ keepalive = options.keepalive or 60 }, { __index = options })
  local port = options.port or (options.tls and 8883 or 1883)
  local sock, message, code = Socket.connect(options.host, port, {
    tls = options.tls, ca_file = options.ca_file, connect_timeout = ANSWER, max_queue = 1024 * 1024,
  })
  if not sock then return nil, message, code end
  sock:write(connect_packet(options))
  local kind, body
  kind, body, code = read_packet(sock, ANSWER)
  if not kind then message = body
  elseif kind ~= CONNACK or #body ~= 2 or body:byte() > 1 then
    message, code = "mqtt: the broker does not speak MQTT", "eproto"
  elseif body:byte(2) ~= 0 then
    message, code = "mqtt: " .. (refusals[body:byte(2)] or "the broker refuses"), "eacces"
  end
  if message then
    sock:close()
    return nil, message, code
  end
  local self = setmetatable({ sock = sock, inflight = {}, count = 0, last = 0, silent = 0 }, Client)
  self.pings = Timer.add(options.keepalive / 2, function() ping(self) end)
  gwrun.spawn(listen, self)
  return self
end

-- An id that no message under way has.
local function next_id(self)
  repeat self.last = self.last % 65535 + 1 until not self.inflight[self.last]
  return self.last
end

--- client:publish(topic, payload, { qos = 0 or 1, retain }) -> true | nil, message, code.
--- With qos 1 it waits until the broker has the message.
function Client:publish(topic, payload, options)
  local qos, flags = options and options.qos or 0, options and options.retain and 1 or 0
  if topic == "" or #topic > 65535 or topic:find "[%z+#]" then
    error("mqtt: a topic is text without +, # and NUL", 2)
  end
  if self.lost then return nil, self.lost.message, self.lost.code end
  if qos == 0 then return self.sock:write(packet(PUBLISH | flags, text(topic) .. payload)) end
  if self.count >= INFLIGHT_MAX then return nil, "mqtt: the broker is too slow", "enobufs" end

  local id, waiting = next_id(self), { ticket = gwrun.ticket() }
  local body = text(topic) .. string.pack(">I2", id) .. payload
  local ok, message, code = self.sock:write(packet(PUBLISH | 0x02 | flags, body))
  if not ok then return nil, message, code end
  self.inflight[id], self.count = waiting, self.count + 1
  local _ <close> = setmetatable({}, { __close = function() -- also when a deadline cuts
    self.inflight[id], self.count = nil, self.count - 1
  end })
  waiting.ticket:wait(ANSWER)
  if waiting.done then return true end
  if self.lost then return nil, self.lost.message, self.lost.code end
  return nil, "mqtt: the broker did not acknowledge", "etimedout"
end

function Client:close()
  if self.lost then return end
  self.sock:write(packet(DISCONNECT, ""))
  lose(self, "mqtt: the connection was closed", "ecanceled")
end

return M

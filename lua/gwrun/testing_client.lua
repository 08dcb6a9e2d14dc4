-- Clients of an app of gwrun.testing.
local cjson = require "cjson"
local flow = require "gwrun.testing_flow"
local protocols = require "gwrun.testing_protocols"

local M = {}

local Client = {}
Client.__index = Client
Client.__name = "gwrun.testing.client"

local function next_gateway(app, number)
  local there = app.sim:gateways()
  if number then
    if not there[number] then error(("app:connect: gateway %s does not run"):format(number), 4) end
    return number
  end
  for _ = 1, #there do
    app.turn = (app.turn or 0) % #there + 1
    if there[app.turn] then return app.turn end
  end
  error("app:connect: no gateway runs", 4)
end

-- Write all, while the gateway reads.
local function write_all(app, client, bytes)
  local from = 1
  while from <= #bytes and client.fd do
    local taken = app.sim:send(client.fd, bytes, from)
    if not taken then break end
    from = from + taken
    if taken == 0 then
      local before = from
      flow.settle(app)
      taken = client.fd and app.sim:send(client.fd, bytes, from)
      if taken == 0 then error("the gateway does not read from this client", 0) end
      from = before + (taken or 0)
    end
  end
end

local connect_options = {
  gateway = "number", path = "string", headers = "table", subprotocol = "string", ip = "string",
}

--- Connect; gateways take turns unless one is named by its number. A WebSocket
--- that is refused is closed, with its HTTP status in client.closed.status.
function M.connect(app, options)
  flow.check(app, 3)
  options = options or {}
  for name, value in pairs(options) do
    local kind = connect_options[name]
    if not kind then error(("app:connect: there is no option %q"):format(tostring(name)), 3) end
    if type(value) ~= kind then error(("app:connect: %s must be a %s"):format(name, kind), 3) end
  end
  flow.act(app)
  local number = next_gateway(app, options.gateway)
  app.last_port = app.last_port + 1
  local protocol = protocols[app.entries[number].listen]
  local fd, message = app.sim:connect(number, options.ip or "127.0.0.1", app.last_port)
  if not fd then error("app:connect: " .. message, 3) end
  local client = setmetatable({
    app = app, fd = fd, port = app.last_port, gateway = number, protocol = protocol,
    rest = "", pieces = {}, inbox = {},
  }, Client)
  app.open[#app.open + 1] = client
  local greeting = protocol.greeting(options)
  if greeting ~= "" then write_all(app, client, greeting) end
  while not client.id and app.sim:turn() do
    client.id = app.sim:client_id(number, client.port)
  end
  flow.act(app)
  return client
end

-- What the protocol tells.

function Client:message(text) self.inbox[#self.inbox + 1] = text end

function Client:reply(bytes)
  if self.fd then self.app.sim:send(self.fd, bytes, 1) end
end

function Client:ended(code, reason) self.closed = { code = code, reason = reason } end

local function check_open(client)
  flow.check(client.app, 3)
  flow.act(client.app)
  if client.closed or not client.fd then
    local closed = client.closed or {}
    error(("the client is closed: %s %s")
      :format(closed.status or closed.code or "", closed.reason or ""), 3)
  end
end

--- Send a message; a table as JSON.
function Client:send(message, options)
  check_open(self)
  if type(message) == "table" then message = cjson.encode(message) end
  local binary = options and options.binary
  write_all(self.app, self, self.protocol.encode(tostring(message), binary))
  flow.act(self.app)
end

--- Bytes as they are, to see what the gateway makes of them.
function Client:send_raw(bytes)
  check_open(self)
  write_all(self.app, self, bytes)
  flow.act(self.app)
end

--- The messages since the last call: a list of strings.
function Client:received()
  flow.check(self.app, 2)
  flow.act(self.app)
  local messages = self.inbox
  self.inbox = {}
  return messages
end

--- The last of them, or nil.
function Client:last()
  local messages = self:received()
  return messages[#messages]
end

--- All of them, decoded from JSON.
function Client:json()
  local list = self:received()
  for i, text in ipairs(list) do
    local ok, value = pcall(cjson.decode, text)
    if not ok then error(("message %d is no JSON: %s"):format(i, text), 2) end
    list[i] = value
  end
  return list
end

--- Leave as a browser does: with a Close frame on a WebSocket.
function Client:close(code, reason)
  flow.check(self.app, 2)
  if not self.fd then return end
  if self.protocol.goodbye and self.upgraded then
    self.said_goodbye = true
    write_all(self.app, self, self.protocol.goodbye(code or 1000, reason))
    flow.settle(self.app)
  end
  self:vanish()
end

--- Leave without a word.
function Client:vanish()
  flow.check(self.app, 2)
  if self.fd then
    self.app.sim:hang_up(self.fd)
    self.fd = nil
    self.closed = self.closed or { code = 1006, reason = "" }
  end
  flow.act(self.app)
end

return M

-- Clients of an app of gwrun.testing.
local flow = require "gwrun.testing_flow"
local json = require "gwrun.json"
local protocols = require "gwrun.testing_protocols"

local M = {}

local first_port = 40001 -- of the first client, counted up; then again

local Client = {}
Client.__index = Client
Client.__name = "gwrun.testing.client"

-- workers: whose client it is to be; nil: anybody's.
local function next_gateway(app, number, workers)
  local there = app.sim:gateways()
  if number then
    if not there[number] then error(("app:connect: gateway %s does not run"):format(number), 4) end
    return number
  end
  for _ = 1, #there do
    app.turn = (app.turn or 0) % #there + 1
    if there[app.turn] and (not workers or app.entries[app.turn].workers == workers) then
      return app.turn
    end
  end
  local wanted = workers and (" with workers = %q"):format(workers) or ""
  error(("app:connect: no gateway%s runs"):format(wanted), 4)
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

-- What is wrong with the options of a call, at the level that called it.
local function check_options(call, kinds, options, level)
  local function blame(text, ...) error(call .. ": " .. text:format(...), level + 2) end
  if type(options) ~= "table" then blame("a table of options expected, got a %s", type(options)) end
  for name, value in pairs(options) do
    local kind = kinds[name]
    if not kind then blame("there is no option %q", tostring(name)) end
    if type(value) ~= kind and kind ~= "any" then blame("%s must be a %s", name, kind) end
  end
end

-- A connection, for the call of that name.
local function dial(app, call, gateway, ip, protocol)
  local port = first_port + app.connected % (65536 - first_port)
  local fd, message = app.sim:connect(gateway, ip or "127.0.0.1", port)
  if not fd then error(call .. ": " .. message, 4) end
  app.connected = app.connected + 1
  local client = setmetatable({
    app = app, number = app.connected, fd = fd, port = port, gateway = gateway,
    protocol = protocol, rest = "", pieces = {}, inbox = {},
  }, Client)
  app.open[fd] = client
  return client
end

local connect_options = {
  gateway = "number", path = "string", headers = "table", subprotocol = "string", ip = "string",
  workers = "string", stream = "boolean",
}

--- Connect; gateways take turns unless one is named by its number, or the workers
--- whose clients it has. A WebSocket that is refused is closed, with its HTTP
--- status in client.closed.status.
function M.connect(app, options)
  flow.check(app, 3)
  options = options or {}
  check_options("app:connect", connect_options, options, 3)
  flow.act(app)
  local gateway = next_gateway(app, options.gateway, options.workers)
  local protocol = options.stream and protocols.sse or protocols[app.entries[gateway].listen]
  local client = dial(app, "app:connect", gateway, options.ip, protocol)
  app.nameless[client.number] = client
  local greeting = protocol.greeting(options)
  if greeting ~= "" then write_all(app, client, greeting) end
  while not client.id and app.sim:turn() do
    flow.name_clients(app)
  end
  if options.stream then -- the script may take its time
    flow.wait_until(app, function()
      flow.name_clients(app)
      return client.id or not client.fd
    end, "onRequest")
  end
  flow.act(app)
  return client
end

local request_options = {
  gateway = "number", workers = "string", ip = "string", method = "string", path = "string",
  headers = "table", body = "string", form = "table", json = "any",
}

local function escape(text)
  return (tostring(text):gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function form_text(form)
  local parts = {}
  for name, value in pairs(form) do parts[#parts + 1] = escape(name) .. "=" .. escape(value) end
  table.sort(parts)
  return table.concat(parts, "&")
end

-- The body, and the type that it has by itself.
local function body_of(options)
  if options.json ~= nil then return json.encode(options.json), "application/json" end
  if options.form then return form_text(options.form), "application/x-www-form-urlencoded" end
  return options.body
end

local function request_text(options)
  local body, content_type = body_of(options)
  local method = options.method or (body and "POST" or "GET")
  local headers = { host = "localhost", ["content-type"] = content_type, connection = "close" }
  for name, value in pairs(options.headers or {}) do headers[name:lower()] = value end
  if body then headers["content-length"] = #body end
  local names, lines = {}, {}
  for name in pairs(headers) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do lines[#lines + 1] = name .. ": " .. headers[name] .. "\r\n" end
  return method, ("%s %s HTTP/1.1\r\n%s\r\n%s"):format(
    method, options.path or "/", table.concat(lines), body or "")
end

local Answer = {}
Answer.__index = Answer

function Answer:json() return json.decode(self.body) end

local function exchange(app, options)
  flow.act(app)
  local gateway = next_gateway(app, options.gateway, options.workers)
  local method, text = request_text(options)
  local client = dial(app, "app:request", gateway, options.ip, protocols.http)
  client.headless = method == "HEAD"
  write_all(app, client, text)
  flow.wait_until(app, function() return client.answered or not client.fd end, "the answer")
  if client.fd then flow.hang_up(app, client) end
  flow.act(app)
  return setmetatable({
    status = client.status, headers = client.headers, body = client.body,
  }, Answer)
end

--- Ask as no client does, and wait for the answer: time passes as it must.
function M.request(app, options)
  flow.check(app, 3)
  options = options or {}
  check_options("app:request", request_options, options, 3)
  return exchange(app, options)
end

local api_options = { gateway = "number", ip = "string", headers = "table", key = "string" }

-- The first listener with api = true.
local function api_gateway(app)
  for i, entry in ipairs(app.entries) do
    if entry.api then return i end
  end
  error("app:api: no listener has the push API; give one of them api = true", 4)
end

--- Call the push API.
function M.api(app, call, params, options)
  flow.check(app, 3)
  options = options or {}
  check_options("app:api", api_options, options, 3)
  if type(call) ~= "string" then error("app:api: the name of a call expected", 3) end
  local gateway = options.gateway or api_gateway(app)
  local api = app.entries[gateway] and app.entries[gateway].api or {}
  local headers = { authorization = "Bearer " .. (options.key or app.api_key or "") }
  for name, value in pairs(options.headers or {}) do headers[name:lower()] = value end
  return exchange(app, {
    gateway = gateway, ip = options.ip, path = (api.path or "/api") .. "/" .. call,
    headers = headers, json = params or {},
  })
end

-- What the protocol tells.

function Client:message(text, binary, event, id)
  self.inbox[#self.inbox + 1] = { text = text, binary = binary, event = event, id = id }
end

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

local send_options = { binary = "boolean" }

--- Send a message; a table as JSON.
function Client:send(message, options)
  check_open(self)
  if type(message) ~= "string" then message = json.encode(message) end
  options = options or {}
  check_options("client:send", send_options, options, 2)
  write_all(self.app, self, self.protocol.encode(message, options.binary))
  flow.act(self.app)
end

--- Bytes as they are, to see what the gateway makes of them.
function Client:send_raw(bytes)
  check_open(self)
  write_all(self.app, self, bytes)
  flow.act(self.app)
end

--- The messages since the last call, with their types: a list of
--- { text = "…", binary = true, false or nil }.
function Client:messages()
  flow.check(self.app, 2)
  flow.act(self.app)
  local messages = self.inbox
  self.inbox = {}
  return messages
end

--- The messages since the last call: a list of strings.
function Client:received()
  local list = self:messages()
  for i, message in ipairs(list) do list[i] = message.text end
  return list
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
    local value = json.decode(text)
    if value == nil then error(("message %d is no JSON: %s"):format(i, text), 2) end
    list[i] = value
  end
  return list
end

-- What its gateway has of a client: a query of Gateway's.
local function ask(client, query)
  flow.check(client.app, 3)
  if not client.id then return nil end
  return (client.app:run(("return (Gateway.%s(...))"):format(query), client.id))
end

--- Its session; nil once it is gone.
function Client:session() return ask(self, "getSession") end

--- Its uid, or nil.
function Client:uid() return ask(self, "getUidByClientId") end

--- The groups that it is in, sorted; nil once it is gone.
function Client:groups() return ask(self, "getGroupsByClientId") end

--- Leave as a browser does: with a Close frame on a WebSocket, which has no code
--- unless one is given (the script sees 1005).
function Client:close(code, reason)
  flow.check(self.app, 2)
  if not self.fd then return end
  if self.protocol.goodbye and self.upgraded then
    self.said_goodbye = true
    write_all(self.app, self, self.protocol.goodbye(code or reason and 1000, reason))
    flow.settle(self.app)
  end
  self:vanish()
end

--- Leave without a word.
function Client:vanish()
  flow.check(self.app, 2)
  if self.fd then
    flow.hang_up(self.app, self)
    self.closed = self.closed or { code = 1006, reason = "" }
  end
  flow.act(self.app)
end

return M

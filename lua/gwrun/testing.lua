-- gwrun.testing: a whole system inside a spec. Real gateways and workers on one
-- loop, clients without a network, a clock that stands still until it is moved.
--
-- Runs in gwrun test, on a core of C (cli/ltesting.c). After each call of an
-- app or a client, everything that follows from it has happened.
local core = require "gwrun.testing.core"
local fakes = require "gwrun.testing_fakes"
local protocols = require "gwrun.testing_client"
local cjson = require "cjson"

local M = { redis = require "gwrun.testing_redis", sleep = fakes.sleep }

local App, Client = {}, {}
App.__index, Client.__index = App, Client
App.__name, Client.__name = "gwrun.testing.app", "gwrun.testing.client"

local patience = 60 -- seconds on the app's clock that a script may take to start

-- ---- what happens ----

-- The script's errors and lines out of the log.
local function read_log(app)
  local failure
  for _, line in ipairs(app.sim:log()) do
    local level, who, text = table.unpack(line)
    if not who then
      if failure then app.failures[#app.failures] = failure .. "\n" .. text end
    elseif who == "print" or who == "script" then
      failure = nil
      app.lines[#app.lines + 1] = { level = who == "print" and "print" or level, text = text }
    elseif level == "error" then
      failure = text
      app.failures[#app.failures + 1] = text
    else
      failure = nil
    end
  end
end

local function read_client(app, client)
  local data, ended = app.sim:receive(client.fd)
  client.protocol.feed(client, data)
  if not ended then return end
  app.sim:hang_up(client.fd)
  client.fd = nil
  if not client.closed then
    client.closed = { code = 1006, reason = client.refusal or "", status = client.status }
  end
end

-- What gateways have sent; false when there is nothing.
local function read_clients(app)
  local fds, by_fd = {}, {}
  for _, client in ipairs(app.open) do
    if client.fd and not client.slow then
      fds[#fds + 1] = client.fd
      by_fd[client.fd] = client
    end
  end
  local readable = app.sim:readable(fds)
  for _, fd in ipairs(readable) do read_client(app, by_fd[fd]) end
  return #readable > 0
end

local function read_inbox(app)
  local questions = app.sim:inbox()
  for _, question in ipairs(questions) do
    if question[1] == "result" then
      app.results[question[2]] = question[3]
    else
      fakes.ask(app, question)
    end
  end
  return #questions > 0
end

local function forget_closed(app)
  local open = {}
  for _, client in ipairs(app.open) do
    if client.fd then open[#open + 1] = client end
    if client.fd and not client.id then
      client.id = app.sim:client_id(client.gateway, client.port)
    end
  end
  app.open = open
end

-- Until nothing is left to do.
local function settle(app)
  repeat
    if not app.sim:settle() then
      error("the script does not come to rest: something in it goes on without waiting", 0)
    end
    local busy = read_clients(app)
    busy = read_inbox(app) or busy
  until not busy
  forget_closed(app)
  read_log(app)
end

-- Raise what went wrong in the script or a fake, unless errors are collected.
local function complain(app)
  local failure = app.failures[1]
  if app.collects or failure == nil then return end
  app.failures = {}
  error(type(failure) == "string" and "the script: " .. failure or failure, 0)
end

local function check(app, level)
  if not app.sim then error("the app was stopped", level + 1) end
end

local function act(app)
  settle(app)
  complain(app)
end

local function step(app, milliseconds)
  local moved = app.sim:step(math.min(milliseconds, fakes.wait_time(app)))
  fakes.wake(app, moved)
  settle(app)
  return moved
end

-- Time passes until done() or there was too much of it.
local function wait_until(app, done, what)
  local left = patience * 1000
  settle(app)
  while not done() do
    if left <= 0 then error(("%s takes more than %d s"):format(what, patience), 0) end
    left = left - math.max(1, step(app, left))
  end
end

-- ---- configuration ----

local function write(value, out)
  if type(value) ~= "table" then
    if type(value) == "function" then
      error("testing.start: a function cannot be in the configuration; for router, give "
        .. '"least", "random", "hash_ip" or "hash_uid"', 0)
    end
    out[#out + 1] = ("%q"):format(value)
    return out
  end
  out[#out + 1] = "{"
  for key, item in pairs(value) do
    out[#out + 1] = "["
    write(key, out)
    out[#out + 1] = "]="
    write(item, out)
    out[#out + 1] = ","
  end
  out[#out + 1] = "}"
  return out
end

local function merge(into, from)
  for key, value in pairs(from or {}) do
    if type(value) == "table" and type(into[key]) == "table" then
      merge(into[key], value)
    else
      into[key] = value
    end
  end
  return into
end

-- gateways = 2, or { "text", { listen = "websocket", max_queue = 4096 } }.
local function gateway_entries(given)
  local entries = {}
  if given == nil then given = 1 end
  if type(given) == "number" then
    for i = 1, given do entries[i] = { listen = "websocket" } end
    return entries
  end
  for i, entry in ipairs(given) do
    if type(entry) == "string" then entry = { listen = entry } end
    entries[i] = merge({ listen = "websocket" }, entry)
    if not protocols[entries[i].listen] then
      error(("testing.start: gateways[%d]: listen is %s; give \"websocket\", \"text\", \"frame\" "
        .. "or \"tcp\""):format(i, tostring(entries[i].listen)), 0)
    end
  end
  return entries
end

local function configuration(options, entries, register, ports)
  local address = "127.0.0.1:" .. register
  local config = {
    register = { listen = address },
    gateways = {},
    workers = { name = "Worker", count = options.workers or 1,
      script = options.script or package.searchpath("gwrun.testing", package.path) },
  }
  for i, entry in ipairs(entries) do
    config.gateways[i] = merge({ name = "Gateway" .. i, start_port = ports[i][2] }, entry)
    config.gateways[i].listen = ("%s://127.0.0.1:%d"):format(entry.listen, ports[i][1])
  end
  merge(config, options.config)
  return "return " .. table.concat(write(config, {}))
end

local known = {
  script = "string", text = "string", gateways = true, workers = "number", config = "table",
  time = "number", errors = "string", mysql = "function", redis = true, http = "function",
}

local function check_options(options)
  for name, value in pairs(options) do
    local kind = known[name]
    if not kind then error(("testing.start: there is no option %q"):format(tostring(name)), 3) end
    if kind ~= true and type(value) ~= kind then
      error(("testing.start: option %s must be a %s"):format(name, kind), 3)
    end
  end
  if not options.script and not options.text then
    error("testing.start: give script = \"file\", or text = \"Lua text\"", 3)
  end
  if options.errors and options.errors ~= "collect" and options.errors ~= "raise" then
    error("testing.start: errors is \"raise\" or \"collect\"", 3)
  end
end

local function read_file(path)
  local file = io.open(path, "rb")
  local text = file and file:read "a"
  if file then file:close() end
  return text
end

--- Start a system; the one before it ends.
function M.start(options)
  check_options(options)
  local entries = gateway_entries(options.gateways)
  local app = setmetatable({
    entries = entries, open = {}, all = {}, lines = {}, failures = {}, results = {},
    collects = options.errors == "collect", last_result = 0, last_port = 40000,
  }, App)
  fakes.install(app, options)
  local sim = assert(core.new(#entries))
  app.sim = sim
  local text = options.text
  if options.script and not read_file(options.script) then text = nil end
  local ok, message =
    sim:start(configuration(options, entries, sim:ports()), options.time or os.time(), text)
  if not ok then
    sim:close()
    error(message:gsub("\n$", ""), 0)
  end
  wait_until(app, function() return not sim:busy() end, "onWorkerStart")
  message = sim:failure()
  if message then
    sim:close()
    error("the script cannot be loaded: " .. message, 0)
  end
  complain(app)
  return app
end

-- ---- the app ----

--- The time that the script sees, in seconds since 1970.
function App:now()
  check(self, 2)
  return self.sim:now()
end

--- Let seconds pass; timers run at their times and in their order.
function App:advance(seconds)
  check(self, 2)
  if type(seconds) ~= "number" or seconds < 0 then error("app:advance: seconds expected", 2) end
  act(self)
  local left = math.floor(seconds * 1000 + 0.5)
  while left > 0 do
    left = left - step(self, left)
    complain(self)
  end
end

--- What print() and Log wrote since the last call: a list of texts; of one level
--- ("print", "error", "warn", "notice", "info") when that is given.
function App:log(level)
  check(self, 2)
  settle(self)
  local texts = {}
  for _, line in ipairs(self.lines) do
    if not level or line.level == level then texts[#texts + 1] = line.text end
  end
  self.lines = {}
  return texts
end

--- What went wrong in the script since the last call: a list of texts.
function App:errors()
  check(self, 2)
  settle(self)
  local failures = self.failures
  self.failures = {}
  return failures
end

--- Run Lua text in the first worker's state and return what it returns; it finds
--- the other arguments in "...".
function App:run(text, ...)
  check(self, 2)
  act(self)
  self.last_result = self.last_result + 1
  local id = self.last_result
  local worker
  for i, there in ipairs(self.sim:workers()) do
    if there and not worker then worker = i end
  end
  if not worker then error("app:run: no worker is there", 2) end
  self.sim:run(worker, id, text, ...)
  act(self)
  local result = self.results[id]
  if not result then error("app:run: it waits for time to pass; use gwrun.spawn() for that", 2) end
  self.results[id] = nil
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n + 1)
end

--- Load the script anew, or from this text: true | false, why the old one goes on.
function App:reload(text)
  check(self, 2)
  act(self)
  self.sim:prepare(text)
  wait_until(self, function() return not self.sim:busy() end, "onWorkerStart")
  local message = self.sim:verdict()
  act(self)
  return message == nil, message
end

function App:kill_gateway(number)
  check(self, 2)
  act(self)
  self.sim:kill_gateway(number)
  act(self)
end

function App:start_gateway(number)
  check(self, 2)
  if self.sim:gateways()[number] then error("gateway " .. number .. " runs", 2) end
  assert(self.sim:start_gateway(number))
  wait_until(self, function() return self.sim:together() end, "finding the gateway again")
  complain(self)
end

function App:kill_worker(number)
  check(self, 2)
  act(self)
  self.sim:kill_worker(number)
  act(self)
end

function App:start_worker(number)
  check(self, 2)
  if self.sim:workers()[number] then error("worker " .. number .. " runs", 2) end
  self.sim:start_worker(number)
  wait_until(self, function() return not self.sim:busy() end, "onWorkerStart")
  local message = self.sim:failure()
  if message then error("the script cannot be loaded: " .. message, 0) end
  complain(self)
end

--- The clients that are connected.
function App:clients()
  check(self, 2)
  act(self)
  local list = {}
  for _, client in ipairs(self.open) do
    if not client.closed then list[#list + 1] = client end
  end
  return list
end

--- The client does not read any more, so its queue fills; false: it does again.
function App:slow(client, slow)
  check(self, 2)
  client.slow = slow ~= false
  act(self)
end

--- The client does not answer pings any more.
function App:freeze(client, frozen)
  check(self, 2)
  client.frozen = frozen ~= false
end

--- End: clients leave, onWorkerStop runs. Raises what went wrong until then.
function App:stop()
  if not self.sim then return end
  local sim = self.sim
  for _, client in ipairs(self.open) do
    sim:hang_up(client.fd)
    client.fd, client.closed = nil, client.closed or { code = 1006, reason = "" }
  end
  settle(self)
  sim:stop_workers()
  local ok, message = pcall(wait_until, self, function() return not sim:busy() end, "stopping")
  sim:close()
  self.sim = nil
  if not ok then error(message, 0) end
  complain(self)
end

-- ---- clients ----

local function next_gateway(app, number)
  local there = app.sim:gateways()
  if number then
    if not there[number] then error(("app:connect: gateway %s does not run"):format(number), 3) end
    return number
  end
  for _ = 1, #there do
    app.turn = (app.turn or 0) % #there + 1
    if there[app.turn] then return app.turn end
  end
  error("app:connect: no gateway runs", 3)
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
      settle(app)
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
function App:connect(options)
  check(self, 2)
  options = options or {}
  for name, value in pairs(options) do
    local kind = connect_options[name]
    if not kind then error(("app:connect: there is no option %q"):format(tostring(name)), 2) end
    if type(value) ~= kind then error(("app:connect: %s must be a %s"):format(name, kind), 2) end
  end
  act(self)
  local number = next_gateway(self, options.gateway)
  self.last_port = self.last_port + 1
  local protocol = protocols[self.entries[number].listen]
  local fd, message = self.sim:connect(number, options.ip or "127.0.0.1", self.last_port)
  if not fd then error("app:connect: " .. message, 2) end
  local client = setmetatable({
    app = self, fd = fd, port = self.last_port, gateway = number, protocol = protocol,
    rest = "", pieces = {}, inbox = {},
  }, Client)
  self.open[#self.open + 1] = client
  local greeting = protocol.greeting(options)
  if greeting ~= "" then write_all(self, client, greeting) end
  while not client.id and self.sim:turn() do
    client.id = self.sim:client_id(number, client.port)
  end
  act(self)
  return client
end

-- What the protocol tells.

function Client:message(text) self.inbox[#self.inbox + 1] = text end

function Client:reply(bytes)
  if self.fd then self.app.sim:send(self.fd, bytes, 1) end
end

function Client:ended(code, reason) self.closed = { code = code, reason = reason } end

local function check_open(client)
  check(client.app, 3)
  act(client.app)
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
  act(self.app)
end

--- Bytes as they are, to see what the gateway makes of them.
function Client:send_raw(bytes)
  check_open(self)
  write_all(self.app, self, bytes)
  act(self.app)
end

--- The messages since the last call: a list of strings.
function Client:received()
  check(self.app, 2)
  act(self.app)
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
  check(self.app, 2)
  if not self.fd then return end
  if self.protocol.goodbye and self.upgraded then
    self.said_goodbye = true
    write_all(self.app, self, self.protocol.goodbye(code or 1000, reason))
    settle(self.app)
  end
  self:vanish()
end

--- Leave without a word.
function Client:vanish()
  check(self.app, 2)
  if self.fd then
    self.app.sim:hang_up(self.fd)
    self.fd = nil
    self.closed = self.closed or { code = 1006, reason = "" }
  end
  act(self.app)
end

return M

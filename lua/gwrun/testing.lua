-- gwrun.testing: a whole system inside a spec. Real gateways and workers on one
-- loop, clients without a network, a clock that stands still until it is moved.
--
-- Runs in gwrun test, on a core of C (cli/ltesting.c). After each call of an
-- app or a client, everything that follows from it has happened.
local clients = require "gwrun.testing_client"
local core = require "gwrun.testing.core"
local fakes = require "gwrun.testing_fakes"
local flow = require "gwrun.testing_flow"
local protocols = require "gwrun.testing_protocols"

local M = {
  redis = require "gwrun.testing_redis", websocket = require "gwrun.testing_websocket",
  socket = require "gwrun.testing_socket",
  sleep = fakes.sleep,
}

local App = {}
App.__index = App
App.__name = "gwrun.testing.app"

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
    entries[i].listen = tostring(entries[i].listen):lower()
    if not protocols[entries[i].listen] then
      error(("testing.start: gateways[%d]: listen is %s; give \"websocket\", \"http\", \"text\", "
        .. "\"frame\" or \"tcp\""):format(i, entries[i].listen), 0)
    end
    local port = entries[i].port
    if port and (math.type(port) ~= "integer" or port < 1 or port > 65535) then
      error(("testing.start: gateways[%d]: port is %s; give a number from 1 to 65535")
        :format(i, tostring(port)), 0)
    end
  end
  return entries
end

-- In place of the file of a script that is a text.
local no_file = debug.getinfo(1, "S").source:sub(2)

-- workers = 2, or { { name = "Chat", script = "chat.lua" }, { name = "Billing", text = "…" } }:
-- the configuration's workers, and the list of texts.
local function worker_entries(options)
  local given = options.workers
  if type(given) ~= "table" then
    local entry = { name = "Worker", count = given or 1, script = options.script or no_file }
    return entry, { options.text or false }
  end
  local entries, texts = {}, {}
  for i, entry in ipairs(given) do
    entries[i] = merge({ script = no_file }, entry)
    entries[i].text = nil
    texts[i] = entry.text or false
  end
  return entries, texts
end

local function configuration(options, entries, workers, register, ports)
  local address = "127.0.0.1:" .. register
  local config = {
    register = { listen = address },
    gateways = {},
    workers = workers,
  }
  for i, entry in ipairs(entries) do
    config.gateways[i] = merge({ name = "Gateway" .. i, start_port = ports[i][2] }, entry)
    config.gateways[i].listen = ("%s://127.0.0.1:%d"):format(entry.listen, ports[i][1])
    config.gateways[i].port = nil
  end
  config.programs = options.programs
  merge(config, options.config)
  return "return " .. table.concat(write(config, {}))
end

-- A listener with api = true has the push API, for one key that may make all calls. Its
-- file must be there while the configuration is read.
local function write_keys(app, entries)
  local name
  for _, entry in ipairs(entries) do
    if entry.api == true then
      if not name then
        name, app.api_key = os.tmpname(), "the-key-of-a-spec"
        local file = assert(io.open(name, "w"))
        file:write("spec ", app.api_key, " ", core.api_calls, "\n")
        file:close()
      end
      entry.api = { keys_file = name }
    end
  end
  return name
end

local known = {
  script = "string", text = "string", gateways = true, workers = true, config = "table",
  programs = "table",
  time = "number", errors = "string", mysql = "function", redis = true, http = "function",
  websocket = "table", socket = "table",
}

local function check_script(where, has)
  if (has.script == nil) == (has.text == nil) then
    error(("testing.start: %sgive script = \"file\", or text = \"Lua text\""):format(where), 4)
  end
end

local function check_workers(options)
  local given = options.workers
  if given ~= nil and type(given) ~= "number" and type(given) ~= "table" then
    error("testing.start: option workers must be a number, or a list of kinds", 4)
  end
  if type(given) ~= "table" then return check_script("", options) end
  if options.script or options.text then
    error("testing.start: with a list of workers each of them has its own script or text", 4)
  end
  for i, entry in ipairs(given) do
    if type(entry) ~= "table" then
      error(("testing.start: workers[%d] must be a table"):format(i), 4)
    end
    check_script(("workers[%d]: "):format(i), entry)
  end
end

local function check_options(options)
  for name, value in pairs(options) do
    local kind = known[name]
    if not kind then error(("testing.start: there is no option %q"):format(tostring(name)), 3) end
    if kind ~= true and type(value) ~= kind then
      error(("testing.start: option %s must be a %s"):format(name, kind), 3)
    end
  end
  check_workers(options)
  if options.errors and options.errors ~= "collect" and options.errors ~= "raise" then
    error("testing.start: errors is \"raise\" or \"collect\"", 3)
  end
end

--- Start a system; the one before it ends.
function M.start(options)
  check_options(options)
  local entries = gateway_entries(options.gateways)
  local app = setmetatable({
    entries = entries, open = {}, nameless = {}, lines = {}, failures = {}, results = {},
    collects = options.errors == "collect", last_result = 0, connected = 0,
  }, App)
  fakes.install(app, options)
  local sim = assert(core.new(#entries))
  app.sim = sim
  for i, entry in ipairs(entries) do
    if entry.port then sim:show_port(i, entry.port) end
  end
  local workers, texts = worker_entries(options)
  local keys_file = write_keys(app, entries)
  local config = configuration(options, entries, workers, sim:ports())
  app.kinds = workers[1] and workers or { workers }
  local ok, message = sim:start(config, options.time or os.time(), texts)
  if keys_file then os.remove(keys_file) end
  if not ok then
    sim:close()
    error(message:gsub("\n$", ""), 0)
  end
  flow.wait_until(app, function() return not sim:busy() end, "onWorkerStart")
  message = sim:failure()
  if message then
    sim:close()
    error("the script cannot be loaded: " .. message, 0)
  end
  sim:open_programs()
  flow.settle(app)
  flow.complain(app)
  return app
end

-- ---- the app ----

--- The time that the script sees, in seconds since 1970.
function App:now()
  flow.check(self, 2)
  return self.sim:now()
end

--- Let seconds pass; timers run at their times and in their order.
function App:advance(seconds)
  flow.check(self, 2)
  if type(seconds) ~= "number" or seconds < 0 then error("app:advance: seconds expected", 2) end
  flow.act(self)
  local left = math.floor(seconds * 1000 + 0.5)
  while left > 0 do
    left = left - flow.step(self, left)
    flow.complain(self)
  end
end

--- What print() and Log wrote since the last call: a list of texts; of one level
--- ("print", "error", "warn", "notice", "info") when that is given.
function App:log(level)
  flow.check(self, 2)
  flow.settle(self)
  local texts = {}
  for _, line in ipairs(self.lines) do
    if not level or line.level == level then texts[#texts + 1] = line.text end
  end
  self.lines = {}
  return texts
end

--- What went wrong in the script since the last call: a list of texts.
function App:errors()
  flow.check(self, 2)
  flow.settle(self)
  local failures = self.failures
  self.failures = {}
  return failures
end

-- The kind of workers of that name, by its place.
local function find_kind(app, name, what)
  local names = {}
  for i, kind in ipairs(app.kinds) do
    if kind.name == name then return i end
    names[i] = kind.name
  end
  error(("%s: no workers are named %s, only %s"):format(what, name, table.concat(names, ", ")), 3)
end

-- A worker by its number, or as "Chat:1"; the first of a kind as "Chat".
local function worker_number(app, which, what)
  if type(which) ~= "string" then return which end
  local name, slot = which:match "^(.*):(%d+)$"
  local index = find_kind(app, name or which, what)
  local number = 1 + (tonumber(slot) or 0)
  if number > (app.kinds[index].count or 1) then
    error(("%s: there is no worker %s"):format(what, which), 3)
  end
  for i = 1, index - 1 do number = number + (app.kinds[i].count or 1) end
  return number
end

local function run(app, worker, what, text, ...)
  flow.act(app)
  app.last_result = app.last_result + 1
  local id = app.last_result
  app.sim:run(worker, id, text, ...)
  flow.act(app)
  local result = app.results[id]
  if not result then error(what .. ": it waits for time to pass; use gwrun.spawn() for that", 3) end
  app.results[id] = nil
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n + 1)
end

--- Run Lua text in the first worker's state and return what it returns; it finds
--- the other arguments in "...".
function App:run(text, ...)
  flow.check(self, 2)
  for i, there in ipairs(self.sim:workers()) do
    if there then return run(self, i, "app:run", text, ...) end
  end
  error("app:run: no worker is there", 2)
end

--- The same in one worker: its number, "Chat:1", or "Chat" for the first of them.
function App:run_in(worker, text, ...)
  flow.check(self, 2)
  local number = worker_number(self, worker, "app:run_in")
  if not self.sim:workers()[number] then error("app:run_in: that worker is not there", 2) end
  return run(self, number, "app:run_in", text, ...)
end

--- Load the scripts anew, or that of the workers of one name; from this text when
--- it is given: true | false, why the old ones go on.
function App:reload(text, name)
  flow.check(self, 2)
  local kind = type(name) == "string" and find_kind(self, name, "app:reload") -- else of text:gsub()
  if text and not kind then
    if #self.kinds > 1 then error("app:reload: name the workers whose script that is", 2) end
    kind = 1
  end
  flow.act(self)
  self.sim:prepare(kind or nil, text)
  flow.wait_until(self, function() return not self.sim:busy() end, "onWorkerStart")
  local message = self.sim:verdict()
  flow.act(self)
  return message == nil, message
end

function App:kill_gateway(number)
  flow.check(self, 2)
  flow.act(self)
  self.sim:kill_gateway(number)
  flow.act(self)
end

function App:start_gateway(number)
  flow.check(self, 2)
  if self.sim:gateways()[number] then error("gateway " .. number .. " runs", 2) end
  assert(self.sim:start_gateway(number))
  flow.wait_until(self, function() return self.sim:together() end, "finding the gateway again")
  flow.complain(self)
end

function App:kill_worker(worker)
  flow.check(self, 2)
  local number = worker_number(self, worker, "app:kill_worker")
  flow.act(self)
  self.sim:kill_worker(number)
  flow.act(self)
end

function App:start_worker(worker)
  flow.check(self, 2)
  local number = worker_number(self, worker, "app:start_worker")
  if self.sim:workers()[number] then error("worker " .. worker .. " runs", 2) end
  self.sim:start_worker(number)
  flow.wait_until(self, function() return not self.sim:busy() end, "onWorkerStart")
  local message = self.sim:failure()
  if message then error("the script cannot be loaded: " .. message, 0) end
  flow.complain(self)
end

--- A new client; gateways take turns unless one is named by its number, or the
--- workers whose clients it has. A WebSocket that is refused is closed, with its
--- HTTP status in closed.status.
function App:connect(options)
  return (clients.connect(self, options)) -- no tail call: errors count the levels up to the spec
end

--- The answer to a request: { status, headers, body, json() }. Time passes until
--- it is there.
function App:request(options)
  return (clients.request(self, options))
end

--- The answer to a call of the push API, on a listener with api = true; options as of
--- app:request, and key in place of the one that may make all calls.
function App:api(call, params, options)
  return (clients.api(self, call, params, options))
end

--- The clients that are connected.
function App:clients()
  flow.check(self, 2)
  flow.act(self)
  local list = {}
  for _, client in pairs(self.open) do
    if not client.closed then list[#list + 1] = client end
  end
  return flow.in_order(list)
end

--- The client does not read any more, so its queue fills; false: it does again.
function App:slow(client, slow)
  flow.check(self, 2)
  if client.fd then self.sim:watch(client.fd, slow == false) end
  flow.act(self)
end

--- The client does not answer pings any more.
function App:freeze(client, frozen)
  flow.check(self, 2)
  client.frozen = frozen ~= false
end

--- End: clients leave, onWorkerStop runs. Raises what went wrong until then.
function App:stop()
  if not self.sim then return end
  local sim = self.sim
  local list = {}
  for _, client in pairs(self.open) do list[#list + 1] = client end
  for _, client in ipairs(flow.in_order(list)) do
    flow.hang_up(self, client)
    client.closed = client.closed or { code = 1006, reason = "" }
  end
  flow.settle(self)
  sim:stop_workers()
  local ok, message = pcall(flow.wait_until, self, function() return not sim:busy() end, "stopping")
  sim:close()
  self.sim = nil
  if not ok then error(message, 0) end
  flow.complain(self)
end

return M

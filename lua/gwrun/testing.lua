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

local M = { redis = require "gwrun.testing_redis", sleep = fakes.sleep }

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
  if (options.script == nil) == (options.text == nil) then
    error("testing.start: give script = \"file\", or text = \"Lua text\"", 3)
  end
  if options.errors and options.errors ~= "collect" and options.errors ~= "raise" then
    error("testing.start: errors is \"raise\" or \"collect\"", 3)
  end
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
  local config = configuration(options, entries, sim:ports())
  local ok, message = sim:start(config, options.time or os.time(), options.text)
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

--- Run Lua text in the first worker's state and return what it returns; it finds
--- the other arguments in "...".
function App:run(text, ...)
  flow.check(self, 2)
  flow.act(self)
  self.last_result = self.last_result + 1
  local id = self.last_result
  local worker
  for i, there in ipairs(self.sim:workers()) do
    if there and not worker then worker = i end
  end
  if not worker then error("app:run: no worker is there", 2) end
  self.sim:run(worker, id, text, ...)
  flow.act(self)
  local result = self.results[id]
  if not result then error("app:run: it waits for time to pass; use gwrun.spawn() for that", 2) end
  self.results[id] = nil
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n + 1)
end

--- Load the script anew, or from this text: true | false, why the old one goes on.
function App:reload(text)
  flow.check(self, 2)
  flow.act(self)
  self.sim:prepare(text)
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

function App:kill_worker(number)
  flow.check(self, 2)
  flow.act(self)
  self.sim:kill_worker(number)
  flow.act(self)
end

function App:start_worker(number)
  flow.check(self, 2)
  if self.sim:workers()[number] then error("worker " .. number .. " runs", 2) end
  self.sim:start_worker(number)
  flow.wait_until(self, function() return not self.sim:busy() end, "onWorkerStart")
  local message = self.sim:failure()
  if message then error("the script cannot be loaded: " .. message, 0) end
  flow.complain(self)
end

--- A new client; gateways take turns unless one is named by its number. A
--- WebSocket that is refused is closed, with its HTTP status in closed.status.
function App:connect(options) return clients.connect(self, options) end

--- The clients that are connected.
function App:clients()
  flow.check(self, 2)
  flow.act(self)
  local list = {}
  for _, client in ipairs(self.open) do
    if not client.closed then list[#list + 1] = client end
  end
  return list
end

--- The client does not read any more, so its queue fills; false: it does again.
function App:slow(client, slow)
  flow.check(self, 2)
  client.slow = slow ~= false
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
  for _, client in ipairs(self.open) do
    sim:hang_up(client.fd)
    client.fd, client.closed = nil, client.closed or { code = 1006, reason = "" }
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

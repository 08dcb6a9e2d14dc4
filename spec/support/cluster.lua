-- Cells of a cluster: systems on free ports that share a Redis, and people who run Lua in them.
local cjson = require "cjson"
local loop = require "loop"
local tcp = require "tcp"
local testbed = require "testbed"

local M = {}

local script = [[
local cjson = require "cjson"
cjson.encode_sparse_array(true)
cjson.encode_invalid_numbers "null"
Events = {}
function Events.onMessage(client_id, text)
  local chunk, message = load(text, "=spec")
  local results = chunk and table.pack(pcall(chunk, client_id)) or { false, message, n = 2 }
  local list = {}
  for i = 1, results.n do list[i] = results[i] == nil and cjson.null or results[i] end
  Gateway.sendToCurrentClient("=" .. cjson.encode(list))
end
]]

-- A client of a cell, who runs Lua there and hears what it is sent.
local Person = {}
Person.__index = Person

function M.person(cell, gateway)
  return setmetatable({ client = tcp.connect(cell.port[gateway or 1]), heard = {} }, Person)
end

-- The next line that is an answer; those that are not are kept.
function Person:run(text, ...)
  self.client:send((select("#", ...) > 0 and text:format(...) or text):gsub("\n", " ") .. "\n")
  while true do
    local line = self.client:receive("\n", 60):gsub("\n$", "")
    if line:sub(1, 1) == "=" then
      local results = cjson.decode(line:sub(2))
      if not results[1] then error(results[2], 2) end
      return table.unpack(results, 2)
    end
    self.heard[#self.heard + 1] = line
  end
end

function Person:hear()
  if #self.heard > 0 then return table.remove(self.heard, 1) end
  return (self.client:receive("\n", 60):gsub("\n$", ""))
end

local function numbers(cell, role)
  local list = {}
  for _, process in ipairs(cell:status().processes) do
    if process.role == role then list[#list + 1] = process end
  end
  return list
end

function M.sum(cell, role, name)
  local total = 0
  for _, process in ipairs(numbers(cell, role)) do
    local value = (process.counters or {})[name] or 0 -- it may not answer in time
    total = total + (value == true and 1 or value == false and 0 or value)
  end
  return total
end

-- The same when every one of them has answered.
function M.exact_sum(cell, role, name)
  local total
  loop.poll("all to answer", function()
    total = 0
    for _, process in ipairs(numbers(cell, role)) do
      if not process.counters then return false end
      total = total + process.counters[name]
    end
    return true
  end, 60)
  return total
end

-- All gateways together hear so many uids and groups, and have written them.
function M.wait_names(redis, count)
  loop.poll(count .. " names", function()
    local heard = 0
    for _, kind in ipairs { "u", "g" } do
      for _ in redis:cli("pubsub", "channels", "chat:" .. kind .. ":*"):gmatch "[^\n]+" do heard = heard + 1 end
    end
    local written = redis:cli("eval", "return #redis.call('KEYS', 'chat:u:*') + #redis.call('KEYS', 'chat:g:*')", 0)
    return heard == count and tonumber(written) == count
  end, 60)
end

--- A cell that is not started. options: script, more of it; gateways and workers, other ones;
--- engine, another one; config, a function that may change the configuration.
function M.new(redis, name, options)
  options = options or {}
  return testbed.new {
    script = script .. (options.script or ""),
    gateways = options.gateways or { { listen = "text", count = 2 } },
    workers = options.workers or { count = 2 },
    config = function(config)
      config.cluster = { engine = options.engine or "unix://" .. redis.path, name = "chat", cell = name }
      if options.config then options.config(config) end
    end,
  }
end

function M.start(redis, name, options)
  local cell = M.new(redis, name, options)
  cell:up()
  return cell
end

--- Wait until its gateways (2) and workers (2) have joined.
function M.wait_up(cell, gateways, workers)
  loop.poll("the cluster", function()
    return M.sum(cell, "gateway", "engine_up") == (gateways or 2) and M.sum(cell, "worker", "engine_up") == (workers or 2)
  end, 60)
end

return M

-- What bench/cells measures with: a Redis of its own, cells of gwrun, nodes of Socket.IO,
-- and the load. All on free ports of 127.0.0.1; what was started ends with the program.
local uv = require "luv"

local M = {}

local opened = {} -- what runs, in the order of its start

--- Stop these, or all.
function M.stop(list)
  list = list or opened
  for _, it in ipairs(list) do it.process:kill(it.signal) end
  for _, it in ipairs(list) do
    pcall(it.process.wait, it.process, 120)
    if it.dir then M.process.run { "rm", "-rf", it.dir } end
    it.stopped = true
  end
  local left = {}
  for _, it in ipairs(opened) do
    if not it.stopped then left[#left + 1] = it end
  end
  opened = left
end

--- Run main(lab, words) for the program arg[0], with `BUILD` as its first word; its exit
--- status is the program's. The working folder is the source's.
function M.run(main)
  local here = arg[0]:match "^(.*)/[^/]*$" or "."
  local build = assert(uv.fs_realpath(arg[1] or here .. "/../../build"))
  assert(uv.chdir(here .. "/../.."))
  package.path = "./?.lua;./spec/support/?.lua;" .. package.path
  uv.os_setenv("GWRUN_BUILD", build)
  M.build = build
  M.cjson, M.loop, M.process = require "cjson", require "loop", require "process"
  M.testbed, M.redisserver = require "testbed", require "redisserver"
  M.interrupted = uv.new_signal()
  M.interrupted:start("sigint", function()
    M.stop()
    os.exit(130)
  end)
  local ok, message = xpcall(main, debug.traceback)
  M.stop()
  if not ok then io.stderr:write(message, "\n") end
  os.exit(ok and 0 or 1)
end

--- A number from the environment.
function M.number(name, default) return tonumber(os.getenv(name) or default) end

function M.median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  return sorted[(#sorted + 1) // 2]
end

function M.redis()
  local port = M.testbed.ports()
  local redis = M.redisserver.start { "--port", tostring(port), "--bind", "127.0.0.1" }
  redis.port, redis.pid = port, redis.server.pid
  opened[#opened + 1] = { process = redis.server, signal = "sigkill", dir = redis.dir }
  return redis
end

local started = 0 -- systems so far, for their names

--- Every process of the system.
local function pids_of(system)
  local status = system:status()
  local pids = { status.pid }
  for _, p in ipairs(status.processes) do pids[#pids + 1] = p.pid end
  return pids
end

--- Start systems that share bench/cells/events.lua, all at once; config(t, i) may change the
--- configuration of each. They have pids and address, of the first gateway.
function M.systems(count, gateways, workers, config)
  local script = assert(M.testbed.read_file "bench/cells/events.lua")
  local list = {}
  for i = 1, count do
    local system = M.testbed.new {
      script = script,
      gateways = { { count = gateways, ping_interval = 0, idle_timeout = 0 } },
      workers = { count = workers },
      config = function(t)
        started = started + 1
        t.workers.name = "Worker" .. started -- other machines would have other addresses
        if config then config(t, started) end
      end,
    }
    system.master = M.process.spawn(system:command "start", { cwd = system.dir })
    system.process, system.signal = system.master, "sigint"
    opened[#opened + 1] = system
    list[i] = system
  end
  for _, system in ipairs(list) do
    system.master:wait_output("Press Ctrl+C", 600)
    system.pids = pids_of(system)
    system.address = "127.0.0.1:" .. system.port[1]
  end
  return list
end

--- Wait until wanted(counters) is true of every process of that role of the systems.
local function wait_for(list, role, what, wanted)
  for _, system in ipairs(list) do
    M.loop.poll(what, function()
      for _, p in ipairs(system:status().processes) do
        if p.role == role and not (p.counters and wanted(p.counters)) then return false end
      end
      return true
    end, 600)
  end
end

--- Every worker of the systems has links to so many gateways.
function M.wait_linked(list, gateways)
  wait_for(list, "worker", "all links", function(counters) return counters.gateways == gateways end)
end

--- The same as cells of a cluster, once all have joined.
function M.cells(redis, count, gateways, workers)
  local list = M.systems(count, gateways, workers, function(t, i)
    local url = "redis://127.0.0.1:" .. redis.port
    t.cluster = { engine = url, name = "bench", cell = "cell" .. i }
  end)
  M.wait_linked(list, gateways)
  for _, role in ipairs { "gateway", "worker" } do
    wait_for(list, role, "all cells", function(counters) return counters.engine_up end)
  end
  return list
end

--- Nodes of Socket.IO, in the same form.
function M.nodes(redis, count, adapter)
  local list = {}
  for i = 1, count do
    local node = M.process.spawn({ "node", "bench/cells/node.js", tostring(redis.port), adapter },
      { env = { NODE_ENV = "production" } })
    list[i] = { process = node, signal = "sigkill", pids = { node.pid } }
    opened[#opened + 1] = list[i]
  end
  for _, node in ipairs(list) do
    node.process:wait_output(" ready", 120)
    node.address = "127.0.0.1:" .. node.process.out:match "port=(%d+)"
  end
  return list
end

--- Run gwcross over the nodes, or cells; groups: the pids of each name whose CPU is told.
--- Returns what it printed.
function M.load(nodes, groups, what, options)
  local words = { M.build .. "/gwcross", table.unpack(options) }
  for name, pids in pairs(groups) do
    table.move({ "-p", name .. "=" .. table.concat(pids, ",") }, 1, 2, #words + 1, words)
  end
  words[#words + 1] = what
  for _, node in ipairs(nodes) do words[#words + 1] = node.address end
  local code, out = M.process.run(words, { seconds = 600 })
  assert(code == 0, out)
  return M.cjson.decode(out)
end

return M

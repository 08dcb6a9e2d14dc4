-- make soak SECONDS=… SEED=…: rounds of faults chosen by the seed, on four systems in
-- turn. In one anything may happen; in another no process ends, so that its memory
-- can be watched; in one the links between processes of a single machine break; and in
-- one hours pass, while a process is stopped. For
-- root a fourth one, on machines in network namespaces, has its rounds beside them
-- (machines.lua). Prints each round, the accounts and the memory's
-- slopes; exit status 1 when a promise was broken.
local uv = require "luv"
local faults = require "spec.fault.faults"
local lab = require "spec.fault.lab"
local net = require "spec.fault.net"
local process = require "process"
local testbed = require "testbed"

local seconds = tonumber(arg[1]) or 600
local seed = math.tointeger(tonumber(arg[2])) or os.time()

local WATCHED = 1800 -- seconds of watching from which a slope is a fact
local SLOPE = 1024 * 1024 -- bytes an hour

-- Faults that end no process.
local gentle = {
  "broken_script_refused", "client_way_closed", "client_way_half_closed", "client_way_in_bytes", "client_way_reset",
  "client_way_stalled", "clients_left", "clients_reset", "clients_slow_and_silent", "gateway_frozen",
  "gateway_out_of_descriptors", "links_closed", "links_destroyed", "links_half_closed", "links_in_bytes",
  "links_reset", "master_frozen", "one_gateways_links_stalled", "register_frozen", "reloaded", "slow_script_loaded",
  "stampede", "worker_frozen", "worker_out_of_descriptors",
}

local function all(...)
  local names = {}
  for _, list in ipairs { ... } do
    table.move(faults.names(list), 1, #faults.names(list), #names + 1, names)
  end
  return names
end

local began = uv.hrtime()
local function elapsed() return (uv.hrtime() - began) / 1e9 end

local broken_count, rounds, done = 0, 0, {}
local samples = {} -- by role and pid: { second, bytes }

local function watch(system)
  for _, p in ipairs(system.system:processes()) do
    local key = ("%s/%d pid=%d"):format(p.role, p.slot, p.pid)
    samples[key] = samples[key] or {}
    table.insert(samples[key], { elapsed(), p.counters.memory })
  end
end

-- Least squares over the second half: bytes an hour.
local function slope(list)
  local n, sx, sy, sxx, sxy = 0, 0, 0, 0, 0
  for i = #list // 2 + 1, #list do
    local x, y = list[i][1], list[i][2]
    n, sx, sy, sxx, sxy = n + 1, sx + x, sy + y, sxx + x * x, sxy + x * y
  end
  local divisor = n * sxx - sx * sx
  return divisor > 0 and (n * sxy - sx * sy) / divisor * 3600 or 0
end

local function round(system, names)
  local chosen = {}
  for i = 1, 1 + system.random(3) do chosen[i] = names[system.random(#names)] end
  rounds = rounds + 1
  print(("%6.0f s round %d: %s"):format(elapsed(), rounds, table.concat(chosen, ", ")))
  system:begin_round()
  for _, name in ipairs(chosen) do
    faults.run(system, name)
    done[name] = (done[name] or 0) + 1
  end
  local broken, figures, counted = system:settle()
  for _, line in ipairs(figures) do print("         figure: " .. line) end
  for _, line in ipairs(broken) do print("         BROKEN: " .. line) end
  print(("         clients=%d messages=%d answers=%d closes=%d"):format(counted.connects, counted.messages,
    counted.answers, counted.closes))
  broken_count = broken_count + #broken
end

-- The rounds on machines of their own, or nil where only root may have those.
local function start_machines()
  local machines, reason = net.add(("gwsoak%d"):format(uv.os_getpid()))
  if not machines then
    print("no machines, cables and lost packets: " .. reason)
    return nil
  end
  local command = machines:clients()
  for _, word in ipairs { "lua5.4", "spec/fault/machines.lua", machines.name } do command[#command + 1] = word end
  local random, names = lab.stream(seed), faults.names(faults.net)
  for _ = 1, seconds // 15 + 1 do command[#command + 1] = names[random(#names)] end
  machines.rounds = process.spawn(command)
  return machines
end

-- They are as many as can be done in the time; what is too many is waited for.
local function end_machines(machines)
  local code = machines.rounds:wait(seconds + 600)
  machines:remove()
  print(machines.rounds.out)
  if code ~= 0 then broken_count = broken_count + 1 end
end

local function soak(systems)
  systems.calm = lab.start { seed = seed, elsewhere = 2 }
  systems.wild = lab.start { seed = seed + 1, elsewhere = 2 }
  systems.near = lab.start { seed = seed + 2, proxied = true }
  systems.hours = lab.start { seed = seed + 3, elsewhere = 1, clock = true,
    config = function(c) c.hang_timeout = 3600 end }
  local names, near, hours = all(faults.here, faults.between), all(faults.near), {}
  for _, name in ipairs(all(faults.hour)) do
    if not name:find "^worker_.*without_links" then hours[#hours + 1] = name end -- it has no proxies of its own
  end
  repeat
    round(systems.wild, names)
    round(systems.near, near)
    round(systems.hours, hours)
    round(systems.calm, gentle)
    watch(systems.calm)
  until elapsed() > seconds
end

local function report(systems)
  print(("seed %d, %d rounds in %.0f s"):format(seed, rounds, elapsed()))
  for _, name in ipairs(all(faults.here, faults.near, faults.between, faults.hour)) do
    print(("  fault %-44s %d"):format(name, done[name] or 0))
  end
  for which, system in pairs(systems) do
    local names = {}
    for name in pairs(system.totals) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do print(("  %-5s %-16s %d"):format(which, name, system.totals[name])) end
  end
  local keys = {}
  for key in pairs(samples) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local list = samples[key]
    local rise = slope(list)
    local watched = list[#list][1] - list[1][1]
    local bad = watched >= WATCHED and not testbed.sanitized and rise > SLOPE
    print(("  memory %-24s %8.1f kB, %+9.1f kB an hour over %.0f s%s"):format(key, list[#list][2] / 1024, rise / 1024,
      watched, bad and " RISES" or ""))
    if bad then broken_count = broken_count + 1 end
  end
end

io.stdout:setvbuf "line"
print(("seed %d"):format(seed))
local systems = {}
local machines = start_machines()

-- Who stops it gets no accounts, and nothing stays but the folders in /tmp.
local function interrupted()
  print "soak: interrupted"
  process.end_all()
  if machines then machines:remove() end
  os.exit(130, false)
end
for _, name in ipairs { "sigint", "sigterm" } do
  local signal = uv.new_signal()
  signal:start(name, interrupted)
  signal:unref()
end

local ok, message = xpcall(soak, debug.traceback, systems)
report(systems)
if not ok then print("BROKEN: " .. message) end
for _, system in pairs(systems) do
  local stopped, why = pcall(system.stop, system)
  if ok and not stopped then
    ok = false
    print("BROKEN: " .. why)
  end
end
if machines and not ok then machines.rounds:kill() end -- what was found is to be mended first
if machines then end_machines(machines) end
process.end_all()
print(ok and broken_count == 0 and "soak: all promises kept" or "soak: promises broken: " .. broken_count)
os.exit(ok and broken_count == 0 and 0 or 1, false)

-- make soak-cells SECONDS=… SEED=…: rounds of faults chosen by the seed, on five cells
-- (cells.lua) on machines in network namespaces, for root. Prints each round and its
-- accounts; exit status 1 when a promise was broken.
local lab = require "spec.fault.cells_lab"
local net = require "spec.fault.net"
local process = require "process"
local uv = require "luv"

local seconds = tonumber(arg[1]) or 600
local seed = math.tointeger(tonumber(arg[2])) or os.time()

io.stdout:setvbuf "line"
print(("seed %d"):format(seed))
local machines, reason = net.add(("gwcells%d"):format(uv.os_getpid()), lab.MACHINES)
if not machines then
  print("soak-cells: network namespaces need root: " .. reason)
  os.exit(1, false)
end
local command = machines:clients()
for _, word in ipairs { "lua5.4", "spec/fault/cells.lua", machines.name, seed, seconds } do
  command[#command + 1] = tostring(word)
end
local rounds = process.spawn(command)
rounds.on_output = function(_, data) io.stdout:write(data) end
for _, name in ipairs { "sigint", "sigterm" } do
  local signal = uv.new_signal()
  signal:start(name, function() rounds:kill() end)
  signal:unref()
end
local code = rounds:wait(seconds + 900)
machines:remove()
print(code == 0 and "soak-cells: all promises kept" or "soak-cells: promises broken")
os.exit(code == 0 and 0 or 1, false)

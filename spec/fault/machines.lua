-- Rounds on two machines in network namespaces; runs where their clients are
-- (ip netns exec …): machines.lua NAME FAULT[,FAULT…] …, a round for each word.
-- Prints "ROUND ok" or "ROUND broken: …", and figures.
local faults = require "spec.fault.faults"
local lab = require "spec.fault.lab"
local net = require "spec.fault.net"
local process = require "process"
local uv = require "luv"

local function round(system, word)
  system:begin_round()
  for name in word:gmatch "[^,]+" do faults.run(system, name, faults.net) end
  local broken, figures, counted = system:settle()
  for _, line in ipairs(figures) do print("# " .. line) end
  assert(#broken == 0, table.concat(broken, "\n"))
  assert(counted.messages > 80, "hardly a message")
end

local ended = uv.new_signal()
ended:start("sigterm", function()
  process.end_all()
  os.exit(130, false)
end)
ended:unref()

io.stdout:setvbuf "line"
local system = lab.start { seed = 3, net = net.named(arg[1]), workers = { count = 1 }, elsewhere = 2 }
local failed = false
for i = 2, #arg do
  local ok, message = xpcall(round, debug.traceback, system, arg[i])
  print(arg[i] .. (ok and " ok" or " broken: " .. tostring(message)))
  failed = failed or not ok
end
local ok, message = pcall(system.stop, system)
print(ok and "stop ok" or "stop broken: " .. message)
process.end_all()
os.exit(ok and not failed and 0 or 1, false)

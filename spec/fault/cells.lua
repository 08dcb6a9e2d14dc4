-- Rounds on five cells in network namespaces; runs where their clients are (ip netns
-- exec …): cells.lua NAME SEED FAULT[+FAULT…][,FAULT…] …, a round for each word; or
-- cells.lua NAME SEED SECONDS, rounds by random.
-- Prints "ROUND ok" or "ROUND broken: …" behind the figures of each.
local cells_faults = require "spec.fault.cells_faults"
local cells_lab = require "spec.fault.cells_lab"
local net = require "spec.fault.net"
local process = require "process"
local uv = require "luv"

local function print_counted(counted)
  local names = {}
  for name in pairs(counted) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do names[i] = name .. "=" .. counted[name] end
  print("# " .. table.concat(names, " "))
end

local function play(lab, word)
  lab:begin_round()
  for names in word:gmatch "[^,]+" do cells_faults.run(lab, names) end
  local broken, figures, counted = lab:settle()
  for _, r in ipairs(lab.recoveries) do print(("# %s: crossing again after %.1f s"):format(r.name, r.seconds)) end
  print(("# %.0f s"):format(lab.now() - lab.began))
  print_counted(counted)
  for _, line in ipairs(figures) do print("# " .. line) end
  assert(#broken == 0, table.concat(broken, "\n"))
end

io.stdout:setvbuf "line"
local failed, lab = false, nil

-- Who stops it gets no accounts, and nothing stays but the folders in /tmp.
for _, name in ipairs { "sigint", "sigterm" } do
  local signal = uv.new_signal()
  signal:start(name, function()
    process.end_all()
    os.exit(130, false)
  end)
  signal:unref()
end

local function round(word)
  local ok, message = xpcall(play, debug.traceback, lab, word)
  print(word .. (ok and " ok" or " broken: " .. tostring(message)))
  failed = failed or not ok
end

local function rounds()
  lab = cells_lab.start { seed = tonumber(arg[2]), net = net.named(arg[1], cells_lab.MACHINES) }
  local seconds = tonumber(arg[3])
  if not seconds then
    for i = 3, #arg do round(arg[i]) end
    return
  end
  local over = lab.now() + seconds
  repeat
    local steps = {}
    for i = 1, 1 + lab.random(2) do steps[i] = cells_faults.choose(lab.random) end
    round(table.concat(steps, ","))
  until lab.now() > over
end

local ok, message = xpcall(rounds, debug.traceback)
if ok then ok, message = pcall(lab.stop, lab) end
print(ok and "stop ok" or "stop broken: " .. message)
process.end_all()
os.exit(ok and not failed and 0 or 1, false)

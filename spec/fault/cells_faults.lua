-- The faults of cells and of what joins them, by name. Each is done under traffic, and is
-- over when it returns; one that takes long returns a function that waits for its end, so
-- that others can be done meanwhile. Then all processes have joined and something
-- crosses from each cell to each within `bound` seconds.
local loop = require "loop"
local faults = require "spec.fault.faults"
local uv = require "luv"

local M = { here = {}, bound = {}, free = {}, cells = {} }

local here = M.here

local BRIEF = 3 -- seconds that everybody waits out
local LONG = 20 -- seconds after which a cell is forgotten (15)
local BACK = 20 -- bound: tries to come back are up to 5 s apart, and each waits up to 5 s
local RECORD = 45 -- bound: the record of a killed cell holds for 15 s, and then as BACK

-- cells: how many it takes for itself, 1 if nil; 0: what it strikes is not theirs.
local function define(name, bound, fault, cells) here[name], M.bound[name], M.cells[name] = fault, bound, cells or 1 end

-- One that may cost nobody a gap.
local function define_free(name, fault, cells)
  define(name, BACK, fault, cells)
  M.free[name] = true
end

local function pids_of(cell)
  local pids = { cell.system.first.master.pid }
  for _, p in ipairs(cell.system:processes()) do pids[#pids + 1] = p.pid end
  return pids
end

local function signal_all(pids, name)
  for _, pid in ipairs(pids) do uv.kill(pid, name) end
end

local function add(counts, cell) counts["cell" .. cell.number] = (counts["cell" .. cell.number] or 0) + 1 end

-- Whoever was not heard of for 15 seconds looks gone.
local function may_be_gone(lab, cell)
  add(lab.may_be_gone, cell)
end

-- All processes of a cell at once: none of them may learn that another one is dead.
local function kill_cell(lab, cell)
  cell:fault "machine_off"
  cell:strike_all()
  local pids = pids_of(cell)
  signal_all(pids, "sigstop")
  signal_all(pids, "sigkill")
  cell.system:bury(1)
  add(lab.killed, cell)
end

define("cell_killed", RECORD, function(lab)
  local cell = lab:choose_cell()
  kill_cell(lab, cell)
  lab:traffic(100)
  return function() cell.system:power_on(1) end
end)

-- Its processes leave one after the other.
define("cell_stopped_and_started", BACK, function(lab) faults.here.stopped_and_started(lab:choose_cell()) end)

-- Single roles of a cell. One of its processes is not heard of any more, so it may be
-- told of should the cell stop in order meanwhile.
for _, name in ipairs { "worker_killed", "all_workers_killed", "gateway_killed", "register_killed", "worker_ended", "reloaded" } do
  define(name .. "_in_a_cell", BACK, function(lab) faults.here[name](lab:choose_cell()) end)
end

-- kill -9 of a master alone: its children see that and leave, or are killed.
define("master_killed_in_a_cell", RECORD, function(lab)
  local cell = lab:choose_cell()
  may_be_gone(lab, cell)
  faults.here.master_killed(cell)
end)

-- A function that waits until so many seconds have passed since now and then runs
-- finish(), and when that will be.
local function after(lab, seconds, finish)
  local over = lab.now() + seconds
  return function()
    loop.pass(math.max(0, over - lab.now()))
    finish()
  end, over
end

local function freeze_cell(lab, cell, seconds)
  for _, name in ipairs { "worker_stalled", "gateway_frozen", "register_frozen", "master_frozen" } do cell:fault(name) end
  local pids = pids_of(cell)
  signal_all(pids, "sigstop")
  return after(lab, seconds, function() signal_all(pids, "sigcont") end)
end

for _, role in ipairs { "gateway", "worker" } do
  define(role .. "_frozen_in_a_cell", BACK, function(lab)
    local cell = lab:choose_cell()
    local pid = cell.system:processes(role)[1].pid
    cell:fault(role .. "_frozen")
    lab.signal(pid, "sigstop")
    return after(lab, BRIEF, function() lab.signal(pid, "sigcont") end)
  end)
end

define("cell_frozen", BACK, function(lab) return freeze_cell(lab, lab:choose_cell(), BRIEF) end)

-- For longer than its record holds.
define("cell_frozen_for_long", BACK, function(lab)
  local cell = lab:choose_cell()
  may_be_gone(lab, cell)
  return freeze_cell(lab, cell, LONG)
end)

---- Redis ----

define("redis_master_killed", BACK, function(lab)
  local master = lab.redis:master()
  lab.redis.kill(master)
  lab.redis:wait_other(master)
  lab:traffic(100)
  lab.redis:revive(master)
end, 0)

-- Nobody misses it so soon.
define("redis_master_frozen", BACK, function(lab)
  local server = lab.redis:master().process
  server:kill "sigstop"
  loop.pass(2)
  server:kill "sigcont"
end, 0)

-- Until there is another master; then it thaws and is one, too, for some seconds.
define("redis_master_frozen_until_replaced", 2 * BACK, function(lab)
  local master = lab.redis:master()
  master.process:kill "sigstop"
  lab.redis:wait_other(master)
  lab:traffic(100)
  master.process:kill "sigcont"
end, 0)

-- Back before sentinels miss it, without anything that it had.
define("redis_master_restarted_empty", BACK, function(lab)
  local master = lab.redis:master()
  lab.redis.kill(master)
  lab.redis:revive(master, "master")
  for cell, times in pairs(lab.killed) do -- it may not know of them any more
    lab.may_be_gone[cell], lab.killed[cell] = (lab.may_be_gone[cell] or 0) + times, nil
  end
end, 0)

-- Records and claims of all cells expire meanwhile, and none of them is gone.
define("redis_frozen_for_long", 2 * BACK, function(lab)
  for _, server in ipairs(lab.redis.servers) do server.process:kill "sigstop" end
  return after(lab, LONG, function()
    for _, server in ipairs(lab.redis.servers) do server.process:kill "sigcont" end
  end)
end, 0)

define_free("redis_replica_killed", function(lab)
  local replica = lab.redis:replica()
  lab.redis.kill(replica)
  lab:traffic(100)
  lab.redis:revive(replica)
end, 0)

define_free("sentinel_killed", function(lab)
  local sentinel = lab.redis.sentinels[lab.random(3)]
  lab.redis.kill(sentinel)
  lab:traffic(100)
  lab.redis:revive_sentinel(sentinel)
end, 0)

define("subscriptions_cut", BACK, function(lab)
  lab.redis:ask(lab.redis:master(), "client", "kill", "type", "pubsub")
end, 0)

-- A gateway reads nothing for some seconds, and Redis has more for it than it keeps.
define("pubsub_limit_hit", BACK, function(lab)
  local cell, master = lab:choose_cell(), lab.redis:master()
  local gateway = cell.system:processes("gateway")[1]
  local function inboxes() return lab.redis:ask(master, "pubsub", "channels", "lab:at:*") end
  local port, inbox = (":%d\n"):format(cell.system:inner_port(gateway.slot)), nil
  loop.poll("the gateway to hear", function()
    for line in inboxes():gmatch "[^\n]+\n" do
      if line:sub(-#port) == port then inbox = line:sub(1, -2) end
    end
    return inbox
  end)
  cell:fault "gateway_frozen"
  lab.redis:ask(master, "config", "set", "client-output-buffer-limit", "pubsub 64kb 0 0")
  lab.signal(gateway.pid, "sigstop")
  loop.poll("Redis to cut a gateway", function()
    lab.redis:ask(master, "eval", "for i = 1, 50000 do redis.call('PUBLISH', KEYS[1], '?') end", "1", inbox)
    return not inboxes():find(inbox .. "\n", 1, true)
  end)
  lab:traffic(100)
  lab.signal(gateway.pid, "sigcont")
  lab.redis:ask(master, "config", "set", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
end)

---- what is between them ----

-- Packets vanish the ways that the list has, for so long.
local function vanish(lab, ways, seconds)
  for _, way in ipairs(ways) do lab.net:lose(way[1], way[2], true) end
  return after(lab, seconds, function()
    for _, way in ipairs(ways) do lab.net:lose(way[1], way[2], false) end
  end)
end

local function both(a, b) return { { a, b }, { b, a } } end

local function append(list, more) table.move(more, 1, #more, #list + 1, list) end

define("cell_cut_from_redis", BACK, function(lab)
  return vanish(lab, both(lab:choose_cell().number, lab.redis:master().machine), BRIEF)
end)

define("cell_cut_from_redis_for_long", BACK, function(lab)
  local cell = lab:choose_cell()
  may_be_gone(lab, cell)
  return vanish(lab, both(cell.number, lab.redis:master().machine), LONG)
end)

define("packets_to_redis_vanish", BACK, function(lab)
  return vanish(lab, { { lab:choose_cell().number, lab.redis:master().machine } }, 2 * BRIEF)
end)

define("packets_from_redis_vanish", BACK, function(lab)
  return vanish(lab, { { lab.redis:master().machine, lab:choose_cell().number } }, 2 * BRIEF)
end)

-- The cable of a cell, out of the switch.
define("cell_cable_out", BACK, function(lab)
  local cell = lab:choose_cell()
  lab.net:cable(cell.number, false)
  return after(lab, BRIEF, function() lab.net:cable(cell.number, true) end)
end)

define_free("cell_cut_from_sentinels", function(lab)
  local cell, ways = lab:choose_cell(), {}
  for _, sentinel in ipairs(lab.redis.sentinels) do append(ways, both(cell.number, sentinel.machine)) end
  return vanish(lab, ways, BRIEF)
end)

define_free("cells_cut_from_each_other", function(lab)
  local a, b = lab:choose_cell(), lab:choose_cell()
  return vanish(lab, both(a.number, b.number), BRIEF)
end, 2)

define_free("redis_master_cut_from_replica", function(lab)
  return vanish(lab, both(lab.redis:master().machine, lab.redis:replica().machine), BRIEF)
end, 0)

-- The sentinels choose another master, and two cells stay with the old one.
define("redis_master_alone_with_two_cells", 2 * BACK, function(lab)
  local master, replica, ways = lab.redis:master(), lab.redis:replica(), {}
  local near = { [lab:choose_cell().number] = true, [lab:choose_cell().number] = true }
  for _, cell in ipairs(lab.cells) do
    append(ways, both(cell.number, near[cell.number] and replica.machine or master.machine))
    may_be_gone(lab, cell)
  end
  append(ways, both(master.machine, replica.machine))
  for _, sentinel in ipairs(lab.redis.sentinels) do append(ways, both(sentinel.machine, master.machine)) end
  local heal = vanish(lab, ways, 2 * BRIEF)
  lab.redis:wait_other(master)
  heal()
end, 0)

--- Faults at once ("ONE+ANOTHER") with traffic before them, and what it took until all
--- was well again.
function M.run(lab, words)
  local ends, bound, free = {}, 0, true
  lab:traffic(100)
  local gaps = lab:count_gaps()
  for name in words:gmatch "[^+]+" do lab:fault(name) end -- asks all cells, while they answer
  for name in words:gmatch "[^+]+" do
    local finish, over = assert(here[name], name)(lab)
    if finish then ends[#ends + 1] = { finish = finish, over = over or 0 } end
    bound, free = math.max(bound, M.bound[name]), free and M.free[name]
  end
  table.sort(ends, function(a, b) return a.over < b.over end)
  for _, fault in ipairs(ends) do fault.finish() end
  local began = lab.now()
  lab:wait_joined(3 * bound)
  lab:wait_crossing(3 * bound)
  table.insert(lab.recoveries, { name = words, seconds = lab.now() - began, bound = bound })
  if free then table.insert(lab.free, { name = words, gaps = lab:count_gaps() - gaps }) end
  for _, cell in ipairs(lab.cells) do cell:wait_healthy() end
  lab.redis:wait_whole()
  lab.taken = {}
end

--- Faults that can be done at once, chosen by random(n): "ONE+ANOTHER". One of them at
--- most strikes Redis, and a cell or two are left alone.
function M.choose(random)
  local all, chosen, cells, outside = M.names(), {}, 0, false
  for _ = 1, random(3) do
    local name = all[random(#all)]
    local fits = M.cells[name] > 0 or not outside
    for _, other in ipairs(chosen) do fits = fits and other ~= name end
    if fits and cells + M.cells[name] <= 3 then
      chosen[#chosen + 1], cells, outside = name, cells + M.cells[name], outside or M.cells[name] == 0
    end
  end
  return table.concat(chosen, "+")
end

--- The names of all, in one order.
function M.names() return faults.names(here) end

return M

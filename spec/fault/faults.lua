-- The faults, by name. Each is done under traffic and is over when it returns; what
-- it may cost is known to spec/fault/promises.lua by the words given to lab:fault().
-- The list `here` needs one machine, `near` one whose own links go through proxies,
-- `between` a second one behind the proxies, `net` a second one in a network namespace,
-- `hour` clocks that can be put ahead (spec/fault/hour_spec.lua).
local loop = require "loop"
local net_of = require "spec.fault.net"
local process = require "process"
local testbed = require "testbed"
local uv = require "luv"

local M = { here = {}, near = {}, between = {}, net = {}, hour = {} }

local TALK = 40 -- answers between two faults

local here, near, between, net, hour = M.here, M.near, M.between, M.net, M.hour

local function any(lab, role, where)
  local list = {}
  for _, p in ipairs(lab.system:processes(role)) do
    if not where or where(p) then list[#list + 1] = p end
  end
  return assert(list[lab.random(#list)], "no " .. role)
end

local function kill_gateway(lab)
  local gateway = any(lab, "gateway")
  lab:strike(lab.system:inner_port(gateway.slot))
  lab.signal(gateway.pid, "sigkill")
end

-- What a worker had begun is known where it shares its machine with the gateways.
local function kill_worker(lab, worker)
  lab:fault(worker.machine == 1 and "worker_killed" or "far_worker_killed")
  lab.signal(worker.pid, "sigkill")
end

function here.worker_killed(lab) kill_worker(lab, any(lab, "worker")) end

function here.all_workers_killed(lab)
  for _, p in ipairs(lab.system:processes "worker") do kill_worker(lab, p) end
end

function here.gateway_killed(lab)
  lab:fault "gateway_killed"
  kill_gateway(lab)
end

function here.gateway_and_worker_killed(lab)
  lab:fault "gateway_killed"
  local worker = any(lab, "worker")
  kill_gateway(lab)
  kill_worker(lab, worker)
end

function here.register_killed(lab)
  lab:fault "register_killed"
  lab.signal(any(lab, "register").pid, "sigkill")
end

-- kill -9 of the master: the whole machine ends, and is started again.
function here.master_killed(lab)
  lab:fault "master_killed"
  lab:strike_all()
  lab.system:behead(1)
  lab.system:power_on(1)
end

function here.power_lost(lab)
  lab:fault "machine_off"
  lab:strike_all()
  lab.system:power_off(1)
  lab.system:power_on(1)
end

-- Power is lost and the machine booted anew. Its books are on a disk: damage(text,
-- random) is what each has become meanwhile.
local function boot(lab, damage)
  lab:fault "machine_off"
  lab:fault "booted"
  if damage then lab:fault "book_damaged" end
  lab:strike_all()
  lab.system:power_off(1)
  if damage then
    for _, path in ipairs(lab.system:books(1)) do
      testbed.write_file(path, damage(testbed.read_file(path), lab.random))
    end
  end
  lab.system:boot(1)
end

function here.booted_anew(lab) boot(lab) end

local BLOCK = 65536 -- of a book

function here.booted_with_cut_books(lab)
  boot(lab, function(text, random) return text:sub(1, random(#text)) end)
end

function here.booted_with_garbled_books(lab)
  boot(lab, function(_, random)
    local words = {}
    for i = 1, 2 * BLOCK / 4 do words[i] = string.pack("I4", random(1 << 31)) end
    return table.concat(words)
  end)
end

-- Behind the head, which has to be whole for anything to be read.
function here.booted_with_flipped_words(lab)
  boot(lab, function(text, random)
    for _ = 1, 40 do
      local at = BLOCK + random(4096)
      text = text:sub(1, at) .. string.pack("I4", random(1 << 31)) .. text:sub(at + 5)
    end
    return text
  end)
end

function here.stopped_and_started(lab)
  lab:fault "stopped"
  lab:strike_all()
  lab.system:shut_down(1)
  lab.system:power_on(1)
end

-- An orderly end of one worker; the master starts another one.
function here.worker_ended(lab)
  lab:fault "worker_ended"
  lab.signal(any(lab, "worker").pid, "sigterm")
end

-- Frozen while others get answers, and thawed before anybody minds; where there are
-- no others, or this machine is slow, the master kills it (hang_timeout).
local function freeze(lab, role, name)
  lab:fault(name)
  local pid = any(lab, role).pid
  lab.signal(pid, "sigstop")
  local ok, message = pcall(lab.traffic, lab, TALK)
  if not uv.kill(pid, "sigcont") then lab:fault(role .. "_killed") end
  assert(ok, message)
end

function here.worker_frozen(lab) freeze(lab, "worker", "worker_frozen") end
-- Frozen until every gateway has found it stalled and given what it had not begun to
-- the others; thawed under traffic. Those of other machines are not watched.
function here.worker_stalled(lab)
  lab:fault "worker_stalled"
  local pid = any(lab, "worker", function(p) return p.machine == 1 end).pid
  lab.signal(pid, "sigstop")
  local ok, message = pcall(function()
    loop.poll("a worker to be stalled", function()
      for _, p in ipairs(lab.system:processes "gateway") do
        local c = p.counters
        if not c or (c.workers_stalled == 0 and c.workers > 1) then return false end
      end
      return true
    end)
    lab:traffic(TALK)
  end)
  if not uv.kill(pid, "sigcont") then lab:fault "worker_killed" end -- by the master
  assert(ok, message)
end

function here.gateway_frozen(lab) freeze(lab, "gateway", "gateway_frozen") end
function here.register_frozen(lab) freeze(lab, "register", "register_frozen") end

function here.master_frozen(lab)
  lab:fault "master_frozen"
  local master = lab.system.first.master
  master:kill "sigstop"
  local ok, message = pcall(lab.traffic, lab, TALK)
  master:kill "sigcont"
  assert(ok, message)
end

-- The process gets no descriptor any more until what is done meanwhile has been done.
local function bound_files(pid, meanwhile)
  local used, free = {}, 0
  local scan = assert(uv.fs_scandir(("/proc/%d/fd"):format(pid)))
  for name in function() return uv.fs_scandir_next(scan) end do used[tonumber(name)] = true end
  while used[free] do free = free + 1 end
  local _, limits = process.run { "prlimit", "--pid", tostring(pid), "--nofile", "--noheadings", "--output=SOFT,HARD" }
  local soft, hard = limits:match "(%d+)%s+(%d+)"
  local function limit(files)
    return process.run { "prlimit", "--pid", tostring(pid), ("--nofile=%s:%s"):format(files, hard) } == 0
  end
  assert(limit(free), limits)
  local ok, message = pcall(meanwhile)
  limit(soft) -- or it is gone
  assert(ok, message)
end

-- Clients go, and those who come cannot be accepted; the others talk on.
function here.gateway_out_of_descriptors(lab)
  lab:fault "out_of_descriptors"
  bound_files(any(lab, "gateway").pid, function()
    here.clients_reset(lab)
    lab.crowd:stampede(20)
    lab:traffic(TALK)
  end)
end

-- No link to the next worker can be accepted.
function here.gateway_out_of_descriptors_and_worker_killed(lab)
  lab:fault "out_of_descriptors"
  bound_files(any(lab, "gateway").pid, function()
    here.worker_killed(lab)
    lab:traffic(TALK)
  end)
end

-- A script that cannot be loaded for want of a descriptor is refused.
function here.worker_out_of_descriptors(lab)
  lab:fault "out_of_descriptors"
  bound_files(any(lab, "worker").pid, function()
    lab.system.first:cli "reload"
    lab:traffic(TALK)
  end)
  here.reloaded(lab)
end

-- Nothing can be started in a killed worker's place until it has some again.
function here.master_out_of_descriptors(lab)
  lab:fault "out_of_descriptors"
  local worker = any(lab, "worker", function(p) return p.machine == 1 end)
  lab:fault "worker_killed"
  bound_files(lab.system.first.master.pid, function()
    lab.signal(worker.pid, "sigkill")
    lab:traffic(TALK)
  end)
end

function here.reloaded(lab)
  lab:fault "reloaded"
  local code, out = lab.system.first:cli "reload"
  assert(code == 0, out)
end

function here.broken_script_refused(lab)
  lab:fault "broken_script_refused"
  lab.system:write_script "Events = {} function Events.onMessage( end"
  local code, out = lab.system.first:cli "reload"
  lab.system:write_script(lab.system.script)
  assert(code ~= 0, out)
end

-- A load that takes longer than what waits for it: the old script goes on meanwhile.
function here.slow_script_loaded(lab)
  lab:fault "slow_script_loaded"
  lab.system:write_script(lab.system.script .. "\nlocal t = os.clock() while os.clock() - t < 0.5 do end")
  local code, out = lab.system.first:cli "reload"
  lab.system:write_script(lab.system.script)
  assert(code == 0, out)
end

function here.clients_reset(lab)
  lab:fault "clients_reset"
  for _ = 1, 4 do
    local life = lab.crowd:anyone(lab.random)
    if life then lab.crowd.leave(life, "reset") end
  end
end

function here.clients_left(lab)
  lab:fault "clients_left"
  for _ = 1, 4 do
    local life = lab.crowd:anyone(lab.random)
    if life then lab.crowd.leave(life, "in order") end
  end
end

-- Everybody is gone and back, and a hundred more come with them.
function here.stampede(lab)
  lab:fault "stampede"
  lab.crowd:stampede(100)
end

-- Some do not read, others say nothing; the rest goes on.
function here.clients_slow_and_silent(lab)
  lab:fault "clients_slow_and_silent"
  local slow = lab.crowd:anyone(lab.random)
  local silent = lab.crowd:anyone(lab.random)
  if slow then slow.socket:read_stop() end
  if silent then silent.silent = true end
  lab:traffic(TALK)
  if slow then slow:read_on() end
  if silent then silent.silent = nil end
end

function here.client_way_reset(lab)
  lab:fault "client_way_reset"
  for i, way in ipairs(lab.ways) do
    lab:strike("way" .. i)
    way:cut "reset"
  end
end

function here.client_way_closed(lab)
  lab:fault "client_way_closed"
  for i, way in ipairs(lab.ways) do
    lab:strike("way" .. i)
    way:cut "in order"
  end
end

function here.client_way_half_closed(lab)
  lab:fault "client_way_half_closed"
  for i, way in ipairs(lab.ways) do
    lab:strike("way" .. i)
    way:half_close()
  end
end

local function spoil(lab, list, mode, name)
  lab:fault(name)
  for _, way in ipairs(list) do way:set(mode) end
  lab:traffic(TALK)
  for _, way in ipairs(list) do way:set "pass" end
end

function here.client_way_in_bytes(lab) spoil(lab, lab.ways, "chunks", "client_way_in_bytes") end
function here.client_way_stalled(lab) spoil(lab, lab.ways, "stall", "client_way_stalled") end

function between.links_in_bytes(lab) spoil(lab, lab.system.links, "chunks", "links_in_bytes") end

function between.links_reset(lab)
  lab:fault "link_cut"
  for _, link in ipairs(lab.system.links) do lab:links_broke(link:cut "reset") end
end

function between.links_closed(lab)
  lab:fault "link_cut"
  for _, link in ipairs(lab.system.links) do lab:links_broke(link:cut "in order") end
end

function between.links_half_closed(lab)
  lab:fault "link_cut"
  for _, link in ipairs(lab.system.links) do lab:links_broke(link:half_close()) end
end

function between.one_gateways_links_stalled(lab)
  spoil(lab, { lab.system.links[1] }, "stall", "link_stalled")
end

-- The kernel aborts the gateways' sockets, both ends of a link at once and without a
-- proxy's help; where it cannot, their proxies reset them.
local function destroy_links(lab)
  if not net_of.can_destroy() then
    for _, link in ipairs(lab.system.links) do lab:links_broke(link:cut "reset") end
    return
  end
  for _, g in ipairs(lab.system.first.config.gateways) do
    for port = g.start_port, g.start_port + g.count - 1 do
      lab:links_broke(net_of.destroy(port, lab.system.first.prefix))
    end
  end
end

function between.links_destroyed(lab)
  lab:fault "link_cut"
  destroy_links(lab)
end

function near.own_links_destroyed(lab)
  lab:fault "near_link_cut"
  destroy_links(lab)
end

-- Links between processes of one machine that live on.
local function cut_near(lab, how)
  lab:fault "near_link_cut"
  for _, link in ipairs(lab.system.links) do lab:links_broke(how(link)) end
end

function near.own_links_reset(lab)
  cut_near(lab, function(link) return link:cut "reset" end)
end

function near.own_links_closed(lab)
  cut_near(lab, function(link) return link:cut "in order" end)
end

function near.own_links_half_closed(lab)
  cut_near(lab, function(link) return link:half_close() end)
end

-- A worker loses its links while it is stopped, in the middle of anything; the others
-- get what it has not begun, and it thaws when that is long done.
function near.worker_frozen_as_its_links_break(lab)
  local pid = any(lab, "worker").pid
  lab:fault "worker_killed" -- by the master, where all this takes longer than hang_timeout
  lab.signal(pid, "sigstop")
  local ok, message = pcall(function()
    near.own_links_reset(lab)
    lab:traffic(TALK)
  end)
  uv.kill(pid, "sigcont")
  assert(ok, message)
end

function near.own_links_reset_and_worker_killed(lab)
  near.own_links_reset(lab)
  here.worker_killed(lab)
end

-- One process dies while the links are broken as well.
function between.links_reset_and_worker_killed(lab)
  between.links_reset(lab)
  here.worker_killed(lab)
end

-- A worker of the other machine is stopped as its links break, and thaws when nobody
-- waits for it any more; or while somebody does, where nothing has come for it.
function between.far_worker_frozen_as_its_links_break(lab)
  local pid = any(lab, "worker", function(p) return p.machine == 2 end).pid
  lab:fault "far_worker_stopped"
  lab:fault "far_worker_killed" -- by the master, where all this takes longer than hang_timeout
  lab.signal(pid, "sigstop")
  local ok, message = pcall(function()
    between.links_reset(lab)
    lab:traffic(TALK)
    loop.poll("the gateways to give it up", function()
      for _, p in ipairs(lab.system:processes "gateway") do
        if not p.counters or p.counters.events_held > 0 then return false end
      end
      return true
    end, 90)
  end)
  uv.kill(pid, "sigcont")
  assert(ok, message)
end

-- The second machine has only workers.
function between.workers_machine_off(lab)
  lab:fault "machine_off"
  lab:fault "link_cut"
  lab.system:power_off(2)
  lab:traffic(TALK)
  lab.system:power_on(2)
end

-- All links of the second machine may break.
local function partition(lab)
  lab:fault "partition"
  local elsewhere = 0
  for _, p in ipairs(lab.system:processes "worker") do elsewhere = elsewhere + (p.machine - 1) end
  lab:links_broke(elsewhere * #lab.system:processes "gateway")
end

-- Between machines whose links go through nothing of ours.
function net.links_destroyed(lab)
  partition(lab)
  destroy_links(lab)
end

-- The second machine's cable is out for a moment.
function net.cable_out(lab)
  partition(lab)
  lab.system.net:cable(2, false)
  lab:traffic(TALK)
  lab.system.net:cable(2, true)
end

-- Packets vanish, both ways or one, and nobody gets an error.
local function vanish(lab, ...)
  partition(lab)
  for _, way in ipairs { ... } do lab.system.net:lose(way[1], way[2], true) end
  lab:traffic(TALK)
  for _, way in ipairs { ... } do lab.system.net:lose(way[1], way[2], false) end
end

function net.packets_vanish(lab) vanish(lab, { 1, 2 }, { 2, 1 }) end
function net.packets_to_workers_vanish(lab) vanish(lab, { 1, 2 }) end
function net.packets_to_gateways_vanish(lab) vanish(lab, { 2, 1 }) end

-- The cable is out until the gateways have given the workers behind it up.
function net.cable_out_until_noticed(lab)
  partition(lab)
  lab.system.net:cable(2, false)
  loop.poll("the workers to say which gateways do not answer", function()
    for _, p in ipairs(lab.system.apps[2]:status().processes) do
      if #(p.links or {}) < #lab.system:processes "gateway" then return false end
    end
    return true
  end, 90)
  loop.poll("the gateways to miss the workers", function()
    for _, p in ipairs(lab.system:processes "gateway") do
      if not p.counters or p.counters.workers > 1 then return false end
    end
    return true
  end, 90)
  lab:traffic(TALK)
  lab.system.net:cable(2, true)
end

-- The workers' machine loses power: not even a FIN leaves it; it is back at once.
function net.workers_machine_off(lab)
  lab:fault "machine_off"
  lab.system.net:cable(2, false)
  lab.system:power_off(2)
  lab:traffic(TALK)
  lab.system.net:cable(2, true)
  lab.system:power_on(2)
end

local MINUTES = 59

-- The process stands still for an hour while the others talk on and their clocks go.
local function stop_for_an_hour(lab, pid, meanwhile)
  lab.signal(pid, "sigstop")
  local ok, message = pcall(function()
    if meanwhile then meanwhile(lab) end
    for _ = 1, MINUTES do
      lab.system.clock:advance(60)
      lab:traffic(4)
    end
  end)
  lab.signal(pid, "sigcont")
  assert(ok, message)
  for _, app in ipairs(lab.system.apps) do assert(app:status().uptime_ms > MINUTES * 60000, "an hour has passed") end
end

local function of_machine(i)
  return function(p) return p.machine == i end
end

function hour.worker_frozen_for_an_hour(lab)
  lab:fault "worker_stalled"
  stop_for_an_hour(lab, any(lab, "worker", of_machine(1)).pid)
end

function hour.gateway_frozen_for_an_hour(lab)
  lab:fault "gateway_frozen"
  stop_for_an_hour(lab, any(lab, "gateway").pid)
end

function hour.far_worker_frozen_for_an_hour(lab)
  lab:fault "far_worker_stopped"
  stop_for_an_hour(lab, any(lab, "worker", of_machine(2)).pid)
end

function hour.worker_frozen_for_an_hour_without_links(lab)
  lab:fault "worker_stalled"
  stop_for_an_hour(lab, any(lab, "worker").pid, near.own_links_reset)
end

function hour.far_worker_frozen_for_an_hour_without_links(lab)
  lab:fault "far_worker_stopped"
  stop_for_an_hour(lab, any(lab, "worker", of_machine(2)).pid, between.links_reset)
end

--- One fault with talk before and behind it; list: which one has it, where several do.
function M.run(lab, name, list)
  for _, other in ipairs { here, near, between, hour, net } do list = list or (other[name] and other) end
  lab:traffic(TALK)
  assert(list[name], name)(lab)
  lab:traffic(TALK)
  lab:wait_healthy()
end

--- The names of a list, in one order.
function M.names(list)
  local names = {}
  for name in pairs(list) do names[#names + 1] = name end
  table.sort(names)
  return names
end

return M

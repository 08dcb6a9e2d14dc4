-- The laboratory's cells: five systems joined by Redis, each a laboratory of its own
-- (lab.lua) whose inner accounts must balance as ever, and people who send to whoever is
-- in any of them. What crossed is held against what was sent by cells_ledger.lua.
local loop = require "loop"
local testbed = require "testbed"
local uv = require "luv"
local ledger = require "spec.fault.cells_ledger"
local inner = require "spec.fault.ledger"
local lab = require "spec.fault.lab"
local promises = require "spec.fault.promises"
local cells_promises = require "spec.fault.cells_promises"
local redis = require "spec.fault.cells_redis"

local M = {}
M.__index = M

M.CELLS = 5
M.MACHINES = M.CELLS + 5 -- with two servers and three sentinels

local PATIENCE = 90
local TIDINGS = 60 -- seconds in which a script is told of a cell that is gone, or of a gap
local PEOPLE = 4 -- of each cell
local INNER = { "echo", "session", "ask", "other" }
local CROSSING = { "all", "client", "client", "client", "uid", "uid", "uids", "group", "group", "groups" }

--- Seconds since 1970, as the scripts have it.
function M.now()
  local seconds, microseconds = uv.gettimeofday()
  return seconds + microseconds / 1e6
end

-- Uids are in all cells, groups in all or in two.
local function names_of(cell, person)
  return ("u%d,all,g%d,h%d"):format(person, cell % 2, (cell + person) % 3)
end

local function target_of(self, kind)
  local random = self.random
  if kind == "uid" then return "u" .. random(PEOPLE) end
  if kind == "uids" then return ("u%d,u%d"):format(random(PEOPLE), random(PEOPLE)) end
  if kind == "group" then return ({ "all", "g0", "g1", "h0", "h1", "h2" })[random(6)] end
  if kind == "groups" then return ("g%d,h%d,h0"):format(random(2) - 1, random(2)) end
  local life = self.cells[random(#self.cells)].crowd:anyone(random)
  return life and life.id
end

local function choose(self, cell, life)
  if life.sent == 0 then return "enter " .. names_of(cell, tonumber(life.person.name:match "%-(%d+)")) end
  if self.random(3) == 1 then
    local action = INNER[self.random(#INNER)]
    local target = action == "other" and self.cells[cell].crowd:anyone(self.random)
    return target and "other " .. target.id or action == "other" and "echo" or action
  end
  local kind = CROSSING[self.random(#CROSSING)]
  if kind == "all" then return "all" end
  local target = target_of(self, kind)
  return target and kind .. " " .. target or "echo"
end

-- Something with a name has come; of those that cross, whose it is and when it was sent.
local function on_other(self, cell, life, name)
  local from, sent = name:match "^(%d)%-.*%-([%d.]+)$"
  if not from then return end
  life.came = life.came or {}
  table.insert(life.came, name)
  self.newest[from .. cell] = math.max(self.newest[from .. cell] or 0, tonumber(sent))
end

-- The machine of a cell, as lab.lua knows machines.
local function machine(net, i) return { prefix = { net.prefix[i] }, address = { net.address[i] } } end

local function start_cell(self, i)
  local path = ("%s/crossings%d"):format(self.redis.dir, i)
  testbed.write_file(path, "")
  local cell = lab.start {
    seed = self.random(1 << 20), net = machine(self.net, i), people = PEOPLE, workers = { count = 2 },
    gateways = { { listen = i % 2 == 0 and "websocket" or "text", count = i == 1 and 2 or 1 } },
    more = ("CELL, CROSSINGS = %d, %q\n"):format(i, path) .. testbed.read_file "spec/fault/scripts/cells.lua",
    choose = function(_, life) return choose(self, i, life) end,
    on_other = function(life, name) on_other(self, i, life, name) end,
    on_end = function(life) life.ended_at = M.now() end,
    config = function(c)
      c.cluster = { engine = self.redis:url(), name = "lab", cell = "cell" .. i }
      c.register.listen = c.register.listen:gsub("^[%d.]+", "127.0.0.1")
      c.register_address = { c.register.listen }
      -- some have addresses, the others numbers in their clients' ids
      if i > 3 then c.gateways[1].lan_ip = "127.0.0.1" end
    end,
  }
  cell.number, cell.crossings = i, path
  return cell
end

--- seed: of what is chosen; net: M.MACHINES machines of spec/fault/net.lua.
function M.start(options)
  local self = setmetatable({ random = lab.stream(options.seed), net = options.net, cells = {}, newest = {}, totals = {},
    may_be_gone = {} }, M)
  self.redis = redis.start(self.net, M.CELLS + 1)
  for i = 1, M.CELLS do self.cells[i] = start_cell(self, i) end
  self:wait_joined()
  return self
end

--- Wait until every process of every cell has joined.
function M:wait_joined(seconds)
  for _, cell in ipairs(self.cells) do
    loop.poll(function() return "cell " .. cell.number .. " to join: " .. cell.system:tail() end, function()
      for _, p in ipairs(cell.system:processes()) do
        if (p.role == "gateway" or p.role == "worker") and not (p.counters and p.counters.engine_up) then return false end
      end
      return true
    end, seconds or PATIENCE)
  end
end

--- Everything that a cell's processes have logged.
function M.log_of(cell)
  local parts = table.move(cell.system.logs, 1, #cell.system.logs, 1, {})
  local app = cell.system.first
  if app.master and parts[#parts] ~= app:log() then parts[#parts + 1] = app:log() end
  return table.concat(parts)
end

--- One of the cells that no fault of now has taken for itself.
function M:choose_cell()
  local free = {}
  for i, cell in ipairs(self.cells) do
    if not self.taken[i] then free[#free + 1] = cell end
  end
  local cell = free[self.random(#free)]
  self.taken[cell.number] = true
  return cell
end

--- Wait until `count` more answers have come in all cells together.
function M:traffic(count)
  local function answers()
    local sum = 0
    for _, cell in ipairs(self.cells) do sum = sum + cell.crowd.answers end
    return sum
  end
  local goal = answers() + count
  loop.wait("more answers", function() return answers() >= goal end, PATIENCE)
end

--- Say that a fault is done in this round, and keep the counters of now.
function M:fault(name)
  self.faults[name] = true
  for _, cell in ipairs(self.cells) do cell:fault(name) end
end

--- Wait until something that was sent from now on has come from every cell in every other
--- one; how long that took, in seconds.
function M:wait_crossing(seconds)
  local began = M.now()
  local function missing()
    local list = {}
    for from = 1, M.CELLS do
      for to = 1, M.CELLS do
        if from ~= to and (self.newest[("%d%d"):format(from, to)] or 0) < began then list[#list + 1] = from .. ">" .. to end
      end
    end
    return list
  end
  loop.wait(function() return "crossing: " .. table.concat(missing(), " ") end, function() return #missing() == 0 end, seconds)
  return M.now() - began
end

-- What the scripts of all cells have written.
local function crossing_lines(self)
  local parts = {}
  for _, cell in ipairs(self.cells) do parts[#parts + 1] = testbed.read_file(cell.crossings) end
  return table.concat(parts):gmatch "[^\n]+"
end

local function logs_of(self)
  local logs = {}
  for i, cell in ipairs(self.cells) do logs[i] = M.log_of(cell) end
  return logs
end

--- How often a process of a cell went away so far.
function M:count_gaps()
  local _, count = table.concat(logs_of(self)):gsub("the cluster is away", "")
  return count
end

-- The processes that are not there any more, by pid.
local function dead_of(self)
  local dead = {}
  for _, cell in ipairs(self.cells) do
    local living = {}
    for _, p in ipairs(cell.system:processes()) do living[p.pid] = true end
    for pid in pairs(cell.seen) do
      if not living[pid] then dead[tostring(pid)] = true end
    end
  end
  return dead
end

-- Wait until scripts have been told of cells that are gone and of gaps, or for too long.
local function wait_tidings(self)
  local dead = dead_of(self)
  pcall(loop.poll, "all to be told", function()
    local book = ledger.read(crossing_lines(self), { add = function() end })
    for cell, times in pairs(self.killed) do
      if #(book.gone[cell] or {}) < times then return false end
    end
    return #ledger.untold(book, ledger.all_absences(logs_of(self)), dead, self.began) == 0
  end, TIDINGS)
end

--- A page of the ledger begins.
function M:begin_round()
  self.faults, self.taken, self.recoveries, self.free = {}, {}, {}, {}
  self.killed = {}
  self.began = M.now()
  for _, cell in ipairs(self.cells) do testbed.write_file(cell.crossings, "") end
  for _, cell in ipairs(self.cells) do cell:begin_round() end
  self:wait_crossing(PATIENCE)
end

-- All that the crowds have heard.
local function said(self)
  local parts = {}
  for _, cell in ipairs(self.cells) do
    parts[#parts + 1] = (" %d %d %d"):format(cell.crowd.sent, cell.crowd.answers, cell.crowd.others)
  end
  return table.concat(parts)
end

-- What each worker, by its pid, has counted as lost since the round began.
local function lost_of(self)
  local lost = {}
  for _, cell in ipairs(self.cells) do
    for pid, p in pairs(cell.seen) do
      if p.role == "worker" then
        lost[tostring(pid)] = (p.counters.engine_lost or 0) - ((cell.base[pid] or {}).engine_lost or 0)
      end
    end
  end
  return lost
end

local function sum_of(self, role, name)
  local sum = 0
  for _, cell in ipairs(self.cells) do
    for pid, p in pairs(cell.seen) do
      if p.role == role then sum = sum + (p.counters[name] or 0) - ((cell.base[pid] or {})[name] or 0) end
    end
  end
  return sum
end

-- What was counted of sends inside cells that did not arrive.
local function inside_of(self)
  local sum = 0
  for role, names in pairs(inner.SEND_COUNTERS) do
    for _, name in ipairs(names) do sum = sum + sum_of(self, role, name) end
  end
  return sum
end

-- The lives of all cells, and which gateway each had.
local function lives_of(self)
  local list = {}
  for i, cell in ipairs(self.cells) do
    local slots = {}
    for _, p in ipairs(cell.system:processes "gateway") do slots[cell.system:inner_port(p.slot)] = p.slot end
    for token, life in pairs(cell.crowd.lives) do
      list[#list + 1] = { cell = i, token = token, id = life.id, came = life.came or {}, ended_at = life.ended_at,
        ended = life.ended, gateway = life.id and ("%d gateway/%d"):format(i, slots[tonumber(life.id:sub(9, 12), 16)] or -1) }
    end
  end
  return list
end

--- End the round: the lines of broken promises, of figures, and what was counted.
function M:settle()
  wait_tidings(self)
  for _, cell in ipairs(self.cells) do cell.crowd:hush() end
  for _, cell in ipairs(self.cells) do
    cell:wait_healthy()
    cell.system:wait_quiet(function() return said(self) end)
  end
  local broken, figures = {}, {}
  for i, cell in ipairs(self.cells) do
    local own, unpromised, counted = cell:settle()
    for _, line in ipairs(own) do broken[#broken + 1] = ("cell %d: %s"):format(i, line) end
    for _, line in ipairs(unpromised) do figures[#figures + 1] = ("cell %d: %s"):format(i, line) end
    self.totals.messages = (self.totals.messages or 0) + counted.messages
  end
  local logs = logs_of(self)
  local findings, counted, book = ledger.judge {
    lines = crossing_lines(self), lives = lives_of(self), logs = logs, lost = lost_of(self), dead = dead_of(self),
    killed = self.killed, may_be_gone = self.may_be_gone, free = self.free, recoveries = self.recoveries,
    faulty = sum_of(self, "gateway", "engine_faulty"), inside = inside_of(self), began = self.began,
  }
  for cell, list in pairs(book.gone) do -- who only may be gone may be told of in a later round, too
    local told = #list - (self.killed[cell] or 0)
    self.may_be_gone[cell] = math.max(0, (self.may_be_gone[cell] or 0) - math.max(0, told))
  end
  local more, unpromised = promises.hold(findings, self.faults, cells_promises.rows)
  table.move(more, 1, #more, #broken + 1, broken)
  table.move(unpromised, 1, #unpromised, #figures + 1, figures)
  for name, value in pairs(counted) do self.totals[name] = (self.totals[name] or 0) + value end
  if #broken > 0 and os.getenv "LAB_KEEP" then -- to look at
    for i, cell in ipairs(self.cells) do
      testbed.write_file(("%s/log%d"):format(os.getenv "LAB_KEEP", i), logs[i])
      testbed.write_file(("%s/crossings%d"):format(os.getenv "LAB_KEEP", i), testbed.read_file(cell.crossings))
    end
    for _, list in ipairs { self.redis.servers, self.redis.sentinels } do
      for _, node in ipairs(list) do
        testbed.write_file(("%s/redis%d"):format(os.getenv "LAB_KEEP", node.machine), node.process.out)
      end
    end
  end
  return broken, figures, counted
end

M.signal = lab.signal

function M:stop()
  for _, cell in ipairs(self.cells) do cell:stop() end
  self.redis:stop()
end

return M

-- A laboratory: a whole system, people who talk to it, and rounds of faults whose
-- accounts must balance. Faults are paced by counted answers, never by time.
local loop = require "loop"
local testbed = require "testbed"
local uv = require "luv"
local ledger = require "spec.fault.ledger"
local people = require "spec.fault.people"
local promises = require "spec.fault.promises"
local proxy = require "spec.fault.proxy"
local systems = require "spec.fault.system"

local M = {}
M.__index = M

local SILENCE = 6 -- seconds without a line of the log after which nothing more comes
local PATIENCE = 90

local actions = { "echo", "echo", "session", "pause 3", "other", "ask", "join lab" }

--- What the next message of a life asks for.
local function choose_action(self, life)
  if life.sent == 1 then return "join lab" end
  if life.person.action then return life.person.action end
  local action = actions[self.random(#actions)]
  if action ~= "other" then return action end
  local target = self.crowd:anyone(self.random)
  return target and "other " .. target.id or "echo"
end

--- A stream of numbers of its own: random(n) is 1 to n.
function M.stream(seed)
  local state = seed * 2 + 1
  return function(n)
    state = state * 6364136223846793005 + 1442695040888963407
    return (state >> 33) % n + 1
  end
end

-- Whether a fault explains that this connection has ended: its gateway was struck, or
-- the way to its listener, after it had begun.
local function excuse(self, life)
  local born = tonumber(life.token:match "%d+$")
  if (self.struck[life.person.listener] or 0) >= born then return true end
  return not life.id or (self.struck[tonumber(life.id:sub(9, 12), 16)] or 0) >= born
end

-- A few for each listener; every second one comes through a proxy.
local function invite(self, count)
  local list = {}
  for i, g in ipairs(self.system.first.config.gateways) do
    local way = proxy.new("127.0.0.1", testbed.ports(), self.system.host, self.system.ports[i])
    self.ways[i] = way
    local spoiled = way.server:getsockname().port
    for j = 1, count do
      local person = { name = ("p%d-%d"):format(i, j), protocol = g.listen:match "^%a+",
        host = self.system.host, port = self.system.ports[i] }
      if j % 2 == 0 then person.host, person.port, person.listener = "127.0.0.1", spoiled, "way" .. i end
      list[#list + 1] = person
    end
  end
  return list
end

--- options:
---   seed      of what is chosen
---   people    how many for each listener; default 6
---   choose    function(lab, life) in place of the usual choice of actions
---   on_other, on_end  as of people.new
---   and those of spec/fault/system.lua
function M.start(options)
  local self = setmetatable({ random = M.stream(options.seed or 1), ways = {}, totals = {}, earlier = {} }, M)
  options.gateways = options.gateways or { { listen = "text", count = 2 }, { listen = "websocket" } }
  options.workers = options.workers or { count = 2 }
  self.system = systems.start(options)
  self.path = self.system.path
  self.crowd = people.new {
    people = invite(self, options.people or 6),
    next_action = function(life) return (options.choose or choose_action)(self, life) end,
    on_other = options.on_other, on_end = options.on_end,
    excuse = function(life) return excuse(self, life) end,
  }
  return self
end

--- Wait until `count` more answers have come.
function M:traffic(count)
  local goal = self.crowd.answers + count
  loop.wait(function() return ("%d more answers; %s"):format(goal - self.crowd.answers, self.system:tail()) end,
    function() return self.crowd.answers >= goal end, PATIENCE)
end

--- Another person at the first listener until the round ends, who does as person says (name, window, action).
function M:invite(person)
  person.protocol = person.protocol or "text"
  person.host, person.port = self.system.host, self.system.ports[1]
  person.guest = true
  self.crowd.people[#self.crowd.people + 1] = person
  return person
end

--- Say that a fault of that name is done in this round, and keep the counters of now:
--- those of processes that end would be lost.
function M:fault(name)
  self.faults[name] = true
  for _, p in ipairs(self.system:processes()) do
    if p.counters then self.seen[p.pid] = p end
  end
end

--- So many links between workers and gateways break.
function M:links_broke(count) self.links = self.links + count end

--- A fault is about to take all clients of a gateway, or all that came a way.
function M:strike(key) self.struck[key] = self.crowd.births end

function M:strike_all()
  for _, p in ipairs(self.system:processes "gateway") do self:strike(self.system:inner_port(p.slot)) end
end

function M:wait_healthy() self.system:wait_healthy() end

local function lines_of(self) return testbed.read_file(self.path):gmatch "[^\n]+" end

-- Wait until onClose has begun for everybody, or until the log has been silent.
local function wait_closes(self)
  local size, since = -1, nil
  loop.poll("the last onClose", function()
    local now = uv.fs_stat(self.path).size
    if now == size and uv.now() - since <= SILENCE * 1000 then return false end
    if now == size then return true end
    size, since = now, uv.now()
    local open = 0
    for line in lines_of(self) do
      if line:find "^B %d+ connect " then open = open + 1 end
      if line:find "^B %d+ close " then open = open - 1 end
    end
    return open <= 0
  end, 2 * PATIENCE)
end

--- A page of the ledger begins, and people come.
function M:begin_round()
  testbed.write_file(self.path, "")
  self.faults, self.struck, self.seen, self.base, self.links = {}, {}, {}, {}, 0
  for _, p in ipairs(self.system:processes()) do self.base[p.pid] = p.counters or {} end
  self.crowd:forget()
end

-- What each process counted since the round began, and whose end was not in order.
local function collect(self)
  local counters, living, dead = { gateway = {}, worker = {} }, {}, {}
  for _, p in ipairs(self.system:processes()) do
    living[p.pid] = true
    self.seen[p.pid] = p
  end
  for pid, p in pairs(self.seen) do
    local list = counters[p.role]
    if list and (living[pid] or p.role == "worker") then
      local delta = {}
      for name, value in pairs(p.counters) do
        if type(value) == "number" then delta[name] = value - ((self.base[pid] or {})[name] or 0) end
      end
      list[#list + 1] = delta
    end
  end
  for line in lines_of(self) do
    local pid = line:match "^%u (%d+)"
    if pid and not living[tonumber(pid)] then dead[pid] = true end
  end
  return counters, dead
end

--- End the round: everybody goes, and the accounts are made. Returns the lines of
--- broken promises, those of figures, and what was counted.
function M:settle()
  local function said() return (" %d %d %d"):format(self.crowd.sent, self.crowd.answers, self.crowd.present) end
  self.crowd:hush()
  self:wait_healthy()
  self.system:wait_quiet(said)
  self.crowd:dismiss()
  loop.wait("everybody to go", function() return self.crowd.present == 0 end, PATIENCE)
  wait_closes(self)
  self.system:wait_quiet(said)
  local counters, dead = collect(self)
  local findings, counted, figures, clients = ledger.judge {
    lines = lines_of(self), lives = self.crowd.lives, counters = counters, dead = dead, earlier = self.earlier,
    links = self.links > 0 and self.links or nil,
    away = self.faults.partition, booted = self.faults.booted,
    cut = self.faults.link_cut or self.faults.near_link_cut or self.faults.partition or self.faults.machine_off,
  }
  for _, list in ipairs { counted, figures } do
    for name, value in pairs(list) do self.totals[name] = (self.totals[name] or 0) + value end
  end
  for id in pairs(clients) do self.earlier[id] = true end
  local broken, unpromised = promises.hold(findings, self.faults)
  if #broken > 0 and os.getenv "LAB_KEEP" then -- to look at
    testbed.write_file(os.getenv "LAB_KEEP" .. "/callbacks", testbed.read_file(self.path))
    testbed.write_file(os.getenv "LAB_KEEP" .. "/log", self.system:tail())
  end
  return broken, unpromised, counted
end

function M:stop()
  self.crowd:close()
  for _, way in ipairs(self.ways) do way:close() end
  self.system:stop()
end

--- Send a signal to a process of the system.
function M.signal(pid, name) assert(uv.kill(pid, name)) end

return M

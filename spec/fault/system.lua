-- Whole systems for the laboratory: one machine, or a second one with workers.
-- "Machines" are masters of their own: on loopback, where nothing but a proxy is
-- between them, or in network namespaces (spec/fault/net.lua).
local loop = require "loop"
local process = require "process"
local testbed = require "testbed"
local uv = require "luv"
local clocks = require "spec.fault.clock"
local proxy = require "spec.fault.proxy"

local M = {}
M.__index = M

local PATIENCE = 90 -- seconds for what ought to happen at once

--- options:
---   gateways, workers, config  as of testbed.new
---   elsewhere   how many workers a second machine has; without net its links, and
---               those of the first machine, go through proxies
---   proxied     the links of its own machine go through the proxies as well
---   clock       whether their clocks can be put ahead (spec/fault/clock.lua): self.clock
---   before      function(testbed) that makes what the first machine needs
---   prefix      words in front of its commands
---   front       by listener: the port where its clients come, in place of its own
---   net         namespaces for both machines, of spec/fault/net.lua
---   more        Lua behind the text of the script
---   log, script  where the script writes, and its text
-- The links of the first machine's gateways, each through a proxy at 127.0.0.2. Its
-- own workers come by a unix socket unless something else is in its place.
local function add_links(self, proxied)
  for _, g in ipairs(self.first.config.gateways) do
    for i = 0, g.count - 1 do
      local port = g.start_port + i
      self.links[#self.links + 1] = proxy.new("127.0.0.2", port, "127.0.0.1", port)
      if proxied then
        local run = self.first.dir .. "/run"
        for _, folder in ipairs { run, run .. "/links", ("%s/links/127.0.0.2-%d"):format(run, port) } do
          uv.fs_mkdir(folder, 493) -- 0755
        end
      end
    end
  end
end

local function first_machine(self, options)
  local net = self.net
  return testbed.new {
    gateways = options.gateways,
    workers = options.workers,
    prefix = net and net.prefix[1] or options.prefix,
    config = function(c)
      c.log = { level = "info" }
      if net then
        c.secret_key = "lab"
        c.register.listen = c.register.listen:gsub("^127.0.0.1", net.address[1])
        c.register_address = { c.register.listen }
      end
      for _, g in ipairs(c.gateways) do
        if net then
          g.lan_ip, g.listen = net.address[1], g.listen:gsub("127.0.0.1", "0.0.0.0")
        elseif options.elsewhere or options.proxied then
          g.lan_ip, g.inner_listen = "127.0.0.2", "127.0.0.1"
        end
      end
      if options.config then options.config(c) end
    end,
  }
end

-- Only workers.
local function second_machine(self, options)
  return testbed.new {
    workers = { name = "Elsewhere", count = options.elsewhere },
    prefix = self.net and self.net.prefix[2],
    config = function(c)
      c.log, c.hang_timeout = { level = "info" }, self.first.config.hang_timeout
      c.register, c.gateways, c.secret_key = nil, nil, self.first.config.secret_key
      c.register_address = self.first.config.register_address
    end,
  }
end

function M.start(options)
  local self = setmetatable({ apps = {}, links = {}, logs = {}, strangers = 0, boots = 0, net = options.net }, M)
  self.first = first_machine(self, options)
  if options.before then options.before(self.first) end
  self.apps[1] = self.first
  if not self.net and (options.elsewhere or options.proxied) then add_links(self, options.proxied) end
  if options.elsewhere then
    self.apps[2] = second_machine(self, options)
  end
  if options.clock then
    self.clock = clocks.new(self.first.dir)
    for _, app in ipairs(self.apps) do app.env = self.clock.env end
  end
  self.ports = table.move(options.front or {}, 1, #self.first.port, 1, {})
  for i, port in ipairs(self.first.port) do self.ports[i] = self.ports[i] or port end
  self.host = self.net and self.net.address[1] or "127.0.0.1"
  self.path = self.first.dir .. "/callbacks"
  testbed.write_file(self.path, "")
  self.script = ("LOG = %q\n"):format(self.path) .. testbed.read_file "spec/fault/scripts/events.lua"
    .. (options.more or "")
  self:write_script(self.script)
  for i in ipairs(self.apps) do self:power_on(i) end
  self:wait_healthy()
  return self
end

function M:write_script(text)
  for _, app in ipairs(self.apps) do app:write_script(text) end
end

--- Start a machine whose processes are all gone.
function M:power_on(i)
  local app = self.apps[i]
  app.master = process.spawn(app:command "start", { cwd = app.dir, env = app.env })
  app.master:wait_output("Press Ctrl+C", PATIENCE)
end

--- The same, and the machine was booted anew.
function M:boot(i)
  self.boots = self.boots + 1
  local env = { GWRUN_TEST_BOOT = "boot " .. self.boots }
  for key, value in pairs(self.clock and self.clock.env or {}) do env[key] = value end
  self.apps[i].env = env
  self:power_on(i)
end

--- The files of the books of a machine that is off.
function M:books(i)
  local list, folder = {}, self.apps[i].dir .. "/book"
  local scan = uv.fs_scandir(folder)
  for name in function() return scan and uv.fs_scandir_next(scan) end do list[#list + 1] = folder .. "/" .. name end
  table.sort(list)
  return list
end

--- All processes of a machine at once, and no word to anybody.
function M:power_off(i)
  local app = self.apps[i]
  local pids = {}
  for _, p in ipairs(app:status().processes) do pids[#pids + 1] = p.pid end
  app.master:kill "sigkill"
  for _, pid in ipairs(pids) do uv.kill(pid, "sigkill") end
  self:bury(i)
end

--- Wait for the end of a machine's processes that others have killed.
function M:bury(i)
  local app = self.apps[i]
  app.master:wait(PATIENCE)
  self.logs[#self.logs + 1] = app:log()
end

--- kill -9 of a master alone; its children end by themselves.
function M:behead(i)
  local app = self.apps[i]
  app.master:kill "sigkill"
  app.master:wait(PATIENCE)
  self.logs[#self.logs + 1] = app:log()
end

--- An orderly end of a machine.
function M:shut_down(i)
  local app = self.apps[i]
  app.master:kill "sigint"
  assert(app.master:wait(PATIENCE) == 0, app:log())
  self.logs[#self.logs + 1] = app:log()
end

--- What `gwrun status` says of the processes of all machines; role: only of those.
function M:processes(role)
  local list = {}
  for i, app in ipairs(self.apps) do
    for _, p in ipairs(app:status().processes) do
      if p.pid and (not role or p.role == role) then
        p.machine = i
        list[#list + 1] = p
      end
    end
  end
  return list
end

--- The inner port of a gateway, which stands in the ids of its clients.
function M:inner_port(slot)
  for _, g in ipairs(self.first.config.gateways) do
    if slot < g.count then return g.start_port + slot end
    slot = slot - g.count
  end
end

-- Whether everybody is ready and reaches everybody, strangers (workers that are not
-- ours) as well; the processes.
local function healthy(self)
  local list, count = {}, { gateway = 0, worker = 0, register = 0 }
  for i, app in ipairs(self.apps) do
    for _, p in ipairs(app:status().processes) do
      if p.state ~= "ready" or not p.counters then return nil end
      p.machine = i
      list[#list + 1] = p
      count[p.role] = count[p.role] + 1
    end
  end
  for _, p in ipairs(list) do
    local c = p.counters
    if p.role == "gateway" and c.workers ~= count.worker + self.strangers then return nil end
    if p.role == "worker" and c.gateways ~= count.gateway then return nil end
  end
  return list
end

function M:wait_healthy()
  return loop.poll(function() return "every process to be ready and linked:\n" .. self:tail() end,
    function() return healthy(self) end, PATIENCE)
end

-- Nothing is under way when this text stays the same; nil: something is.
local function rest(self)
  local parts = {}
  for _, p in ipairs(healthy(self) or { { role = "none" } }) do
    local c = p.counters
    if p.role == "none" then return nil end
    if p.role == "gateway" then
      if c.events_held + c.events_unbegun + c.clients_paused > 0 then return nil end
      parts[#parts + 1] = c.messages_in .. "/" .. c.messages_out .. "/" .. c.events
    elseif p.role == "worker" then
      if c.queued + c.coroutines > 0 then return nil end
      parts[#parts + 1] = c.events
    end
  end
  return table.concat(parts, " ")
end

--- Wait until all that was sent has been handled, or is lost. said() is a text that
--- changes as long as the clients get something.
function M:wait_quiet(said)
  local before
  loop.poll(function() return "quiet:\n" .. self:tail() end, function()
    local now = rest(self)
    now = now and now .. said()
    if now and now == before then return true end
    before = now
  end, PATIENCE)
end

--- The end of the logs, for messages.
function M:tail()
  local parts = {}
  for i, app in ipairs(self.apps) do parts[i] = app.master and app:log():sub(-3000) or "" end
  return table.concat(parts, "\n")
end

function M:stop()
  for i = #self.apps, 1, -1 do self.apps[i]:stop() end
  for _, link in ipairs(self.links) do link:close() end
  for _, log in ipairs(self.logs) do
    assert(not log:find("Sanitizer", 1, true) and not log:find("runtime error:", 1, true), log)
  end
end

return M

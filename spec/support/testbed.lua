-- A whole gwrun system on free ports, in a folder of its own.
local cjson = require "cjson"
local uv = require "luv"
local loop = require "loop"
local process = require "process"

local M = {}
M.__index = M

local build = os.getenv "GWRUN_BUILD" or "build"
local here = uv.cwd()
M.program = (build:sub(1, 1) == "/" and "" or here .. "/") .. build .. "/gwrun"
M.gwload = (build:sub(1, 1) == "/" and "" or here .. "/") .. build .. "/gwload"
M.sanitized = build:find "san" ~= nil

-- Below the kernel's own range, and far from another run's.
local next_port = 15000 + uv.os_getpid() * 61 % 12000 // 1 | 0

-- Bound for as long as we run, so that another run does not choose the same ports
-- before they are in use.
local claims = {}

local function claim(port)
  local udp = uv.new_udp()
  claims[#claims + 1] = udp
  return udp:bind("127.0.0.1", port)
end

--- The first of `count` ports in a row that nobody uses.
function M.ports(count)
  local first = next_port
  local port = first
  while port < first + (count or 1) do
    local socket = uv.new_tcp()
    local free = socket:bind("127.0.0.1", port) and socket:listen(1, function() end) and claim(port)
    socket:close()
    uv.run "nowait"
    port = port + 1
    if not free then first = port end
  end
  next_port = port
  return first
end

local function to_lua(value)
  if type(value) ~= "table" then return type(value) == "string" and ("%q"):format(value) or tostring(value) end
  local parts = {}
  for i, v in ipairs(value) do parts[i] = to_lua(v) end
  for k, v in pairs(value) do
    if math.type(k) ~= "integer" then parts[#parts + 1] = ("[%q] = %s"):format(k, to_lua(v)) end
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

function M.write_file(path, text)
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
end

function M.read_file(path)
  local f = io.open(path)
  if not f then return nil end
  local text = f:read "a"
  f:close()
  return text
end

--- A folder with a configuration and a script, not started. options:
---   script    text of scripts/events.lua; default: the demo's
---   gateways  list of tables; listen, lan_ip and start_port are filled in.
---             Their ports: self.port[i]
---   workers   table; default one worker
---   prefix    words in front of gwrun's commands, such as ip netns exec …
---   config    function(t) that may change the configuration at last
function M.new(options)
  options = options or {}
  local self = setmetatable({ port = {}, prefix = options.prefix or {} }, M)
  self.dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-XXXXXX"))
  for _, d in ipairs { "conf", "scripts", "www" } do assert(uv.fs_mkdir(self.dir .. "/" .. d, 493)) end
  local register = "127.0.0.1:" .. M.ports()
  local config = {
    register = { listen = register },
    register_address = { register },
    gateways = {},
    workers = { name = "ChatWorker", count = 1, script = "scripts/events.lua" },
    book_dir = self.dir .. "/book",
  }
  for k, v in pairs(options.workers or {}) do config.workers[k] = v end
  for i, g in ipairs(options.gateways or { {} }) do
    local gateway = { name = "Gateway" .. i, count = 1, lan_ip = "127.0.0.1" }
    for k, v in pairs(g) do gateway[k] = v end
    self.port[i] = M.ports()
    gateway.listen = (g.listen or "websocket") .. "://127.0.0.1:" .. self.port[i]
    gateway.start_port = M.ports(gateway.count)
    config.gateways[i] = gateway
  end
  if options.config then options.config(config) end
  self.config = config
  self:save_config()
  self:write_script(options.script or M.read_file "scripts/events.lua")
  return self
end

function M:save_config() M.write_file(self.dir .. "/conf/gwrun.lua", "return " .. to_lua(self.config) .. "\n") end

--- The chat page in www.
function M:write_page()
  for _, f in ipairs { "index.html", "style.css", "chat.js", "gwclient.js" } do
    M.write_file(self.dir .. "/www/" .. f, M.read_file("www/" .. f))
  end
end

function M:write_script(text) M.write_file(self.dir .. "/scripts/events.lua", text) end

--- A folder of a system that is a file system in memory of its own, of that size (as
--- mount has it), for the system's processes only; it goes with them. make(system)
--- makes the folder, prefix are words in front of its commands; without a prefix there
--- is a reason why not.
function M.small_disk(folder, size)
  local mount = ("mount -t tmpfs -o size=%s,mode=0700 tmpfs "):format(size)
  local code, out = process.run { "unshare", "--mount", "sh", "-c", mount .. "/mnt" }
  if code ~= 0 then return { reason = "a file system of its own needs root: " .. out } end
  return {
    make = function(system) assert(uv.fs_mkdir(system.dir .. "/" .. folder, 448)) end,
    prefix = { "unshare", "--mount", "sh", "-c",
      ('if [ "$2" = start ]; then %s"%s" || exit; fi; exec "$@"'):format(mount, folder), "sh" },
  }
end

function M:command(...)
  local words = table.move(self.prefix, 1, #self.prefix, 1, {})
  return table.move({ self.program, ... }, 1, 1 + select("#", ...), #words + 1, words)
end

--- Run a gwrun command in the folder to its end: exit code, output.
function M:cli(...)
  return process.run(self:command(...), { cwd = self.dir, seconds = 60 })
end

--- A new system, running in the foreground and ready for clients.
function M.start(options)
  local self = M.new(options)
  self:up()
  return self
end

function M:up(seconds)
  self.master = process.spawn(self:command "start", { cwd = self.dir, env = self.env })
  self.master:wait_output("Press Ctrl+C", seconds)
  self:wait_linked(seconds)
end

function M:log() return self.master.out end

function M:wait_log(text, seconds) self.master:wait_output(text, seconds) end

--- What `gwrun status --json` says, once the master answers: on a busy machine it
--- may take longer than the command waits.
function M:status()
  local code, out
  loop.poll("an answer of the master", function()
    code, out = self:cli("status", "--json")
    return not out:find("does not answer; is it stopped", 1, true)
  end)
  assert(code <= 1 and out:sub(1, 1) == "{", out) -- 1: it has problems
  local status = cjson.decode(out)
  status.pid = math.tointeger(status.pid)
  for _, p in ipairs(status.processes) do p.pid = math.tointeger(p.pid) end
  return status
end

--- The counters of a process, asked for until it has answered in time.
function M:counters(role, slot)
  return loop.poll("the counters of " .. role .. "/" .. slot, function()
    for _, p in ipairs(self:status().processes) do
      if p.role == role and p.slot == slot then return p.counters end
    end
  end)
end

--- Wait until every worker reaches every gateway. Being ready does not say so: a
--- gateway is when its first worker has come, a worker when its script is loaded.
function M:wait_linked(seconds)
  local gateways = 0
  for _, g in ipairs(self.config.gateways or {}) do gateways = gateways + (g.count or 1) end
  if gateways < 2 or (self.config.workers or {}).count == 1 then return end
  loop.poll("all workers to reach " .. gateways .. " gateways", function()
    for _, p in ipairs(self:status().processes) do
      if p.role == "worker" and (p.counters or {}).gateways ~= gateways then return false end
    end
    return true
  end, seconds)
end

function M:url(i) return "ws://127.0.0.1:" .. self.port[i or 1] .. "/" end

--- Stop it (if it runs) and remove the folder. Asserts a clean exit: no leak, no
--- crash in any process.
function M:stop()
  if self.master and self.master.code == nil then
    self.master:kill "sigint"
    local code = self.master:wait()
    assert(code == 0, "gwrun start ended with " .. code .. ":\n" .. self.master.out)
  end
  if self.master then
    assert(not self.master.out:find("Sanitizer", 1, true), self.master.out)
    assert(not self.master.out:find("runtime error:", 1, true), self.master.out)
  end
  self:remove()
end

function M:remove()
  process.run { "rm", "-rf", self.dir }
end

--- Pids of the children of that role, from the status.
function M:pids(role)
  local pids = {}
  for _, p in ipairs(self:status().processes) do
    if p.role == role then pids[#pids + 1] = p.pid end
  end
  return pids
end

return M

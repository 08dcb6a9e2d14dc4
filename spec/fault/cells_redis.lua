-- What joins the cells: a Redis master, its replica and three sentinels, each on a
-- machine of its own (spec/fault/net.lua).
local loop = require "loop"
local process = require "process"
local testbed = require "testbed"
local uv = require "luv"

local M = {}
M.__index = M

local PATIENCE = 60 -- seconds for what ought to happen at once

M.MASTER = "cells" -- the name that the sentinels know it by
M.DOWN_MS = 3000 -- without an answer until sentinels want another master

local function start(self, node, words)
  local command = table.move(self.net.prefix[node.machine], 1, #self.net.prefix[node.machine], 1, {})
  node.process = process.spawn(table.move(words, 1, #words, #command + 1, command), { cwd = self.dir })
end

-- It begins empty: what a replica has written of its master's data is not read.
local function start_server(self, node, of)
  local file = ("redis%d.rdb"):format(node.machine)
  os.remove(self.dir .. "/" .. file)
  local words = { self.dir .. "/redis-server", "--port", tostring(self.port), "--bind", node.address,
    "--protected-mode", "no", "--dbfilename", file, "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0",
    "--repl-timeout", "10" }
  if of then table.move({ "--replicaof", of, tostring(self.port) }, 1, 3, #words + 1, words) end
  start(self, node, words)
  node.process:wait_output("Ready to accept connections", PATIENCE)
end

-- It writes what it knows into its file, and reads that when it starts again.
local function start_sentinel(self, node)
  local path = ("%s/sentinel%d.conf"):format(self.dir, node.machine)
  if not testbed.read_file(path) then testbed.write_file(path, table.concat({
    "port " .. self.sentinel_port, "bind " .. node.address, "protected-mode no", "dir " .. self.dir,
    ("sentinel monitor %s %s %d 2"):format(M.MASTER, self.servers[1].address, self.port),
    ("sentinel down-after-milliseconds %s %d"):format(M.MASTER, M.DOWN_MS),
    ("sentinel failover-timeout %s 6000"):format(M.MASTER), "",
  }, "\n")) end
  start(self, node, { self.dir .. "/redis-sentinel", path })
  node.process:wait_output("+monitor master", PATIENCE)
end

local function cli(address, port, ...)
  local _, out = process.run { "timeout", "2", "redis-cli", "-h", address, "-p", tostring(port), ... }
  return out
end

--- What a server answers; ask a living one.
function M:ask(server, ...) return cli(server.address, self.port, ...) end

-- A field of INFO.
local function info(self, server, name) return self:ask(server, "info"):match("\n" .. name .. ":([^\r\n]*)") end

--- The server that most sentinels take for the master, or nil.
function M:master()
  local votes, best = {}, nil
  for _, sentinel in ipairs(self.sentinels) do
    local address = cli(sentinel.address, self.sentinel_port, "sentinel", "get-master-addr-by-name", M.MASTER):match "^[%d.]+"
    if address then
      votes[address] = (votes[address] or 0) + 1
      if not best or votes[address] > votes[best] then best = address end
    end
  end
  for _, server in ipairs(self.servers) do
    if server.address == best then return server end
  end
  return nil
end

--- The server that is not the master.
function M:replica()
  local master = self:master()
  return self.servers[1] == master and self.servers[2] or self.servers[1]
end

--- Wait until there is a master with a replica that follows it, and all sentinels know both.
function M:wait_whole()
  loop.poll("a master, a replica and three sentinels", function()
    local master, replica = self:master(), self:replica()
    if not master then return false end
    if info(self, master, "role") ~= "master" or info(self, replica, "master_link_status") ~= "up" then return false end
    if info(self, replica, "master_host") ~= master.address then return false end
    for _, sentinel in ipairs(self.sentinels) do
      local state = cli(sentinel.address, self.sentinel_port, "sentinel", "master", M.MASTER)
      if not state:find "\nflags\nmaster\n" or not state:find "\nnum%-other%-sentinels\n2\n"
        or not state:find "\nnum%-slaves\n1\n" or not state:find("\nip\n" .. master.address .. "\n", 1, true) then
        return false
      end
    end
    return true
  end, PATIENCE)
end

--- kill -9 of a server.
function M.kill(server)
  server.process:kill "sigkill"
  server.process:wait()
end

--- Start a server again, as the other one's replica, or as a master.
function M:revive(server, role)
  local other = self.servers[1] == server and self.servers[2] or self.servers[1]
  start_server(self, server, role ~= "master" and other.address or nil)
end

--- Start a sentinel again.
function M:revive_sentinel(sentinel) start_sentinel(self, sentinel) end

--- Wait until the sentinels have made another server the master.
function M:wait_other(than)
  return loop.poll("another master", function()
    local master = self:master()
    return master and master ~= than and info(self, master, "role") == "master" and master
  end, PATIENCE)
end

--- Three sentinels, then servers, on the machines of net from `first` on.
function M.start(net, first)
  local self = setmetatable({ net = net, servers = {}, sentinels = {} }, M)
  self.dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-cells-XXXXXX"))
  for _, name in ipairs { "redis-server", "redis-sentinel" } do
    assert(uv.fs_symlink("/usr/bin/redis-check-rdb", self.dir .. "/" .. name)) -- see spec/support/redisserver.lua
  end
  self.port, self.sentinel_port = testbed.ports(), testbed.ports()
  for i = first, first + 4 do
    local list = i < first + 2 and self.servers or self.sentinels
    list[#list + 1] = { machine = i, address = net.address[i] }
  end
  start_server(self, self.servers[1])
  start_server(self, self.servers[2], self.servers[1].address)
  for _, sentinel in ipairs(self.sentinels) do start_sentinel(self, sentinel) end
  self:wait_whole()
  return self
end

--- For cluster.engine.
function M:url()
  local hosts = {}
  for i, sentinel in ipairs(self.sentinels) do hosts[i] = sentinel.address .. ":" .. self.sentinel_port end
  return ("redis+sentinel://%s/%s"):format(table.concat(hosts, ","), M.MASTER)
end

function M:stop()
  for _, list in ipairs { self.sentinels, self.servers } do
    for _, node in ipairs(list) do
      node.process:kill "sigkill"
      node.process:wait()
    end
  end
  process.run { "rm", "-rf", self.dir }
end

return M

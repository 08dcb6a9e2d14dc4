-- A Redis Cluster of the spec's own: three masters that share the slots evenly, and
-- replicas; on free ports of 127.0.0.1, each node with a folder of its own.
local loop = require "loop"
local redisserver = require "redisserver"
local testbed = require "testbed"

local M = {}
M.__index = M

local function start_node(args)
  local port = testbed.ports(2)
  local node = redisserver.start {
    "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--bind", "127.0.0.1",
    "--cluster-port", tostring(port + 1), "--cluster-node-timeout", "2000",
    "--cluster-allow-replica-migration", "no", args.tls and "--tls-port" or "--port", tostring(port),
    table.unpack(args),
  }
  node.port = port
  node.id = node:cli("cluster", "myid"):match "%x+"
  return node
end

--- args: more of redis-server's options, and replicas: how many there are (0), tls: no
--- other clients.
function M.start(args)
  args = args or {}
  local self = setmetatable({ nodes = {} }, M)
  for i = 1, 3 + (args.replicas or 0) do
    local node = start_node(args)
    self.nodes[i] = node
    node:cli("cluster", "set-config-epoch", tostring(i))
    if i > 1 then node:cli("cluster", "meet", "127.0.0.1", tostring(self.nodes[1].port), tostring(self.nodes[1].port + 1)) end
  end
  for i, first in ipairs { 0, 5462, 10923 } do
    self.nodes[i]:cli("cluster", "addslotsrange", tostring(first), tostring(({ 5461, 10922, 16383 })[i]))
  end
  self:wait_nodes()
  for i = 4, #self.nodes do
    loop.poll("a node to be a replica", function()
      return self.nodes[i]:cli("cluster", "replicate", self.nodes[i - 3].id):find "OK"
    end)
  end
  self:wait_replicas()
  return self
end

function M:wait_nodes()
  for _, node in ipairs(self.nodes) do
    loop.poll("the cluster to be whole", function()
      local info = node:cli("cluster", "info")
      return info:find "cluster_state:ok" and info:find("cluster_known_nodes:" .. #self.nodes .. "%D")
    end, 60)
  end
end

function M:wait_replicas()
  for i = 4, #self.nodes do
    loop.poll("replicas", function() return self.nodes[i]:cli("info", "replication"):find "master_link_status:up" end, 60)
    for _, node in ipairs(self.nodes) do
      loop.poll("all to know them", function()
        return node:cli("cluster", "nodes"):find(self.nodes[i].id .. " [^\n]*slave " .. self.nodes[i - 3].id)
      end, 60)
    end
  end
end

--- The address for scripts; of some nodes, by their numbers.
function M:url(login, ...)
  local list = {}
  for i, number in ipairs { ... } do list[i] = "127.0.0.1:" .. self.nodes[number].port end
  return "redis+cluster://" .. (login or "") .. table.concat(list, ",")
end

--- The node that has a slot, and another master.
function M:owner(slot)
  local owner, other
  for _, node in ipairs(self.nodes) do
    if node.server.code == nil then
      local line = node:cli("cluster", "nodes"):match "[^\n]*myself,master[^\n]*"
      local has = false
      for first, last in (line or ""):gmatch " (%d+)%-?(%d*)%f[ \0]" do
        has = has or slot >= tonumber(first) and slot <= (tonumber(last) or tonumber(first))
      end
      if has then owner = node elseif line then other = other or node end
    end
  end
  return owner, other
end

function M:slot(key) return math.tointeger(self.nodes[1]:cli("cluster", "keyslot", key)) end

--- Begin to move a slot: keys that are not in `from` are asked for at `to`.
function M.begin_move(slot, from, to)
  to:cli("cluster", "setslot", tostring(slot), "importing", from.id)
  from:cli("cluster", "setslot", tostring(slot), "migrating", to.id)
end

--- Move some of its keys; false when there are none left.
function M.move_keys(slot, from, to, count)
  local keys = {}
  for key in from:cli("cluster", "getkeysinslot", tostring(slot), tostring(count)):gmatch "[^\n]+" do keys[#keys + 1] = key end
  if #keys == 0 then return false end
  local out = from:cli("migrate", "127.0.0.1", tostring(to.port), "", "0", "5000", "keys", table.unpack(keys))
  assert(out:find "OK", out)
  return true
end

function M.end_move(slot, from, to)
  to:cli("cluster", "setslot", tostring(slot), "node", to.id)
  from:cli("cluster", "setslot", tostring(slot), "node", to.id)
end

function M.move(slot, from, to)
  M.begin_move(slot, from, to)
  while M.move_keys(slot, from, to, 10) do end
  M.end_move(slot, from, to)
end

function M:stop()
  for _, node in ipairs(self.nodes) do node:stop() end
end

return M

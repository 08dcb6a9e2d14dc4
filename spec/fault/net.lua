-- Machines as network namespaces: two, or as many as are asked for, each with a cable
-- into a switch that one more has, where the clients (and the driver) are. Needs root.
local loop = require "loop"
local process = require "process"
local uv = require "luv"

local M = {}
M.__index = M

local ip = "/usr/sbin/ip"

local function run(...)
  local code, out = process.run { ... }
  assert(code == 0, table.concat({ ... }, " ") .. ": " .. out)
end

--- The machines of that name, which add() has made, as many.
function M.named(name, count)
  local self = setmetatable({ name = name, prefix = {}, address = {}, hardware = {} }, M)
  for i = 1, count or 2 do
    self.prefix[i] = { ip, "netns", "exec", name .. i }
    self.address[i] = "10.78.0." .. i
    self.hardware[i] = ("02:00:00:00:00:%02x"):format(i)
  end
  return self
end

--- Words in front of a command that is to run where the clients are.
function M:clients() return { ip, "netns", "exec", self.name .. "c" } end

--- Make them, `count` (default 2); nil and the reason where that is not allowed.
function M.add(name, count)
  local self, clients = M.named(name, count), name .. "c"
  local code, out = process.run { ip, "netns", "add", clients }
  if code ~= 0 then return nil, out end
  code, out = process.run { ip, "-n", clients, "link", "add", "switch", "type", "bridge" }
  if code ~= 0 then
    process.run { ip, "netns", "del", clients }
    return nil, out
  end
  run(ip, "-n", clients, "addr", "add", "10.78.0.100/24", "dev", "switch")
  run(ip, "-n", clients, "link", "set", "switch", "up")
  run(ip, "-n", clients, "link", "set", "lo", "up")
  for i in ipairs(self.prefix) do
    local ns = name .. i
    run(ip, "netns", "add", ns)
    run(ip, "-n", clients, "link", "add", "port" .. i, "type", "veth", "peer", "name", "eth0",
      "address", self.hardware[i], "netns", ns)
    run(ip, "-n", clients, "link", "set", "port" .. i, "master", "switch", "up")
    run(ip, "-n", ns, "addr", "add", self.address[i] .. "/24", "dev", "eth0")
    run(ip, "-n", ns, "link", "set", "eth0", "up")
    run(ip, "-n", ns, "link", "set", "lo", "up")
  end
  return self
end

local ss = "/usr/bin/ss"
local can_destroy

-- How many sockets ss -K has ended: it prints each of them.
local function destroy(prefix, ...)
  local command = table.move(prefix, 1, #prefix, 1, {})
  for _, word in ipairs { ss, "-K", "-H", "-t", "-n", "-O", ... } do command[#command + 1] = word end
  local code, out = process.run(command)
  return code == 0 and select(2, out:gsub("[^\n]+", "")) or 0
end

--- Whether the kernel ends sockets of others for us (CONFIG_INET_DIAG_DESTROY, and
--- the right to): tried once, with a connection of our own.
function M.can_destroy()
  if can_destroy ~= nil then return can_destroy end
  local server, client, peer = uv.new_tcp(), uv.new_tcp(), uv.new_tcp()
  server:bind("127.0.0.1", 0)
  server:listen(1, function() server:accept(peer) end)
  local port = server:getsockname().port
  client:connect("127.0.0.1", port)
  loop.poll("a connection of our own", function() return peer:getpeername() and client:is_readable() end)
  destroy({}, "sport", "=", ":" .. port)
  local _, list = process.run { ss, "-H", "-t", "-n", "sport", "=", ":" .. port }
  can_destroy = not list:find("ESTAB", 1, true)
  for _, socket in ipairs { server, client, peer } do socket:close() end
  return can_destroy
end

--- End all connections to that port, at its end; how many.
function M.destroy(port, prefix) return destroy(prefix or {}, "sport", "=", ":" .. port) end

function M:remove()
  for i in ipairs(self.prefix) do process.run { ip, "netns", "del", self.name .. i } end
  process.run { ip, "netns", "del", self.name .. "c" }
end

--- Pull a machine's cable out of the switch, or plug it in.
function M:cable(i, plugged)
  run(ip, "-n", self.name .. "c", "link", "set", "port" .. i, plugged and "up" or "down")
end

--- Let all packets from one machine to the other vanish, or no longer: they go to a
--- hardware address that nobody has.
function M:lose(from, to, vanish)
  run(ip, "-n", self.name .. from, "neigh", "replace", self.address[to], "lladdr",
    vanish and "02:00:00:00:00:ff" or self.hardware[to], "dev", "eth0", "nud", "permanent")
end

return M

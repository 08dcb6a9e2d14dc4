-- A Redis server of the spec's own, on a unix socket in a folder of its own.
local loop = require "loop"
local process = require "process"
local uv = require "luv"

local M = {}
M.__index = M

--- args: more of redis-server's options.
function M.start(args)
  local self = setmetatable({ args = args or {} }, M)
  self.dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-redis-XXXXXX"))
  self.path = self.dir .. "/redis.sock"
  -- What redis-tools has is the server, too, under that name; the package of the
  -- server would start one for the whole machine.
  self.program = self.dir .. "/redis-server"
  assert(uv.fs_symlink("/usr/bin/redis-check-rdb", self.program))
  self:up()
  return self
end

function M:up()
  self.server = process.spawn {
    self.program, "--port", "0", "--unixsocket", self.path, "--save", "", "--appendonly", "no", "--dir", self.dir,
    table.unpack(self.args),
  }
  self.server:wait_output "ready to accept connections at"
end

function M:kill()
  self.server:kill "sigkill"
  self.server:wait()
end

--- Stop it from answering, and let it go on.
function M:freeze() self.server:kill "sigstop" end

function M:thaw() self.server:kill "sigcont" end

function M:cli(...)
  local code, out = process.run { "redis-cli", "-s", self.path, ... }
  assert(code == 0, out)
  return out
end

local Subscriber = {}
Subscriber.__index = Subscriber

--- Somebody who hears these channels.
function M:subscribe(...)
  local sub = setmetatable({ data = "", pipe = uv.new_pipe() }, Subscriber)
  sub.pipe:connect(self.path, function(err)
    assert(not err, err)
    sub.pipe:read_start(function(_, data) sub.data = sub.data .. (data or "") end)
  end)
  sub.pipe:write("SUBSCRIBE " .. table.concat({ ... }, " ") .. "\r\n")
  sub:wait("\r\n:" .. select("#", ...) .. "\r\n")
  return sub
end

--- Everything up to the text, once that has come.
function Subscriber:wait(text)
  local first
  loop.wait("“" .. text .. "”", function()
    first = self.data:find(text, 1, true)
    return first
  end, 60)
  return self.data:sub(1, first - 1)
end

function Subscriber:close() self.pipe:close() end

function M:wait_clients(count)
  loop.poll(count .. " clients", function() return self:cli("info", "clients"):match "connected_clients:(%d+)" == tostring(count) end)
end

--- A sentinel beside it, which watches the master on a port of this machine and
--- asks nobody before a fail-over; it finds nobody dead by itself.
function M.sentinel(port, master)
  local self = setmetatable({}, M)
  self.dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-sentinel-XXXXXX"))
  self.path = self.dir .. "/sentinel.sock"
  self.program = self.dir .. "/redis-sentinel"
  assert(uv.fs_symlink("/usr/bin/redis-check-rdb", self.program))
  local f = assert(io.open(self.dir .. "/sentinel.conf", "w"))
  f:write(("port %d\nbind 127.0.0.1\nunixsocket %s\ndir %s\n"):format(port, self.path, self.dir),
    ("sentinel monitor mymaster 127.0.0.1 %d 1\n"):format(master),
    "sentinel down-after-milliseconds mymaster 600000\n")
  f:close()
  self.server = process.spawn { self.program, self.dir .. "/sentinel.conf" }
  self.server:wait_output "+monitor master mymaster"
  return self
end

function M:stop()
  if self.server.code == nil then self:kill() end
  process.run { "rm", "-rf", self.dir }
end

return M

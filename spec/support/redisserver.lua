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

function M:wait_clients(count)
  loop.poll(count .. " clients", function() return self:cli("info", "clients"):match "connected_clients:(%d+)" == tostring(count) end)
end

function M:stop()
  if self.server.code == nil then self:kill() end
  process.run { "rm", "-rf", self.dir }
end

return M

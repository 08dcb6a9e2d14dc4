-- A MariaDB server of a spec's own: a private unix socket, a folder that goes
-- away with it.
local uv = require "luv"
local loop = require "loop"
local process = require "process"

local M = {}
M.__index = M

local as_root = uv.getuid() == 0 and "--user=root" or nil

--- A running server with an empty database "test".
function M.start()
  local self = setmetatable({}, M)
  self.dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-db-XXXXXX"))
  self.socket = self.dir .. "/socket"
  local code, out = process.run({
    "mariadb-install-db", "--no-defaults", "--datadir=" .. self.dir .. "/data",
    "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
    "--force", -- not to look up this machine's name, which /etc/hosts may not have
    "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M", as_root,
  }, { seconds = 120 })
  assert(code == 0, out)
  assert(uv.fs_mkdir(self.dir .. "/data/test", 448))
  self:up()
  return self
end

--- Start the server again, after kill().
function M:up()
  self.server = process.spawn {
    "/usr/sbin/mariadbd", "--no-defaults", "--datadir=" .. self.dir .. "/data",
    "--socket=" .. self.socket, "--pid-file=" .. self.dir .. "/pid", "--skip-networking",
    "--skip-log-bin", "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M",
    "--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=10",
    "--key-buffer-size=1M", "--performance-schema=0", as_root,
  }
  self.server:wait_output("ready for connections", 60)
end

function M:kill(signal)
  self.server:kill(signal or "sigkill")
  loop.wait("the end of mariadbd", function() return self.server.code end)
end

--- A port of this machine through which the server can be reached over TCP.
--- While self.frozen, nothing passes.
function M:port()
  local listener = uv.new_tcp()
  listener:bind("127.0.0.1", 0)
  listener:listen(16, function()
    local a, b = uv.new_tcp(), uv.new_pipe()
    listener:accept(a)
    b:connect(self.socket, function()
      for from, to in pairs { [a] = b, [b] = a } do
        from:read_start(function(_, data)
          if data and not self.frozen then to:write(data) end
          if not data then
            for _, handle in ipairs { a, b } do
              if not handle:is_closing() then handle:close() end
            end
          end
        end)
      end
    end)
  end)
  self.listener = listener
  return listener:getsockname().port
end

function M:stop()
  if self.listener then self.listener:close() end
  self:kill()
  process.run { "rm", "-rf", self.dir }
end

return M

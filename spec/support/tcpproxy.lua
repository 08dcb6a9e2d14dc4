-- A TCP proxy for specs: what comes from `host`:`port` goes on to `to`:`port`, from
-- another port than it came from. It runs on the spec's loop, so only while that
-- waits.
local uv = require "luv"

local M = {}
M.__index = M

local function pass_on(from, to)
  from:read_start(function(_, data)
    if data then
      to:write(data)
    else -- the end, or a reset: what came before is still passed on
      from:read_stop()
      if not to:is_closing() then to:shutdown(function() end) end
    end
  end)
end

function M.start(host, to, port)
  local self = setmetatable({ accepted = 0, sockets = {}, listener = uv.new_tcp() }, M)
  assert(self.listener:bind(host, port))
  assert(self.listener:listen(128, function(err)
    assert(not err, err)
    local near, far = uv.new_tcp(), uv.new_tcp()
    self.listener:accept(near)
    self.accepted = self.accepted + 1
    self.sockets[#self.sockets + 1] = near
    self.sockets[#self.sockets + 1] = far
    far:connect(to, port, function(failure)
      if failure then return near:close() end
      pass_on(near, far)
      pass_on(far, near)
    end)
  end))
  return self
end

--- End the links that there are; new ones may come.
function M:cut()
  for _, socket in ipairs(self.sockets) do
    if not socket:is_closing() then socket:close() end
  end
  self.sockets = {}
end

function M:stop()
  self:cut()
  self.listener:close()
end

return M

-- Child processes of specs, with their output collected.
local uv = require "luv"
local loop = require "loop"

local M = {}
M.__index = M

local running = {} -- by pid

--- Start args[1] with the rest. options: cwd, env (added to ours), stdin (true
--- for a pipe).
function M.spawn(args, options)
  options = options or {}
  local self = setmetatable({ out = "", args = args }, M)
  local env
  if options.env then
    local all = uv.os_environ()
    for k, v in pairs(options.env) do all[k] = v end
    env = {}
    for k, v in pairs(all) do env[#env + 1] = k .. "=" .. v end
  end
  local out, err = uv.new_pipe(), uv.new_pipe()
  self.stdin = options.stdin and uv.new_pipe() or nil
  self.open = 3 -- both pipes' ends and the exit
  local handle, pid = uv.spawn(args[1], {
    args = table.move(args, 2, #args, 1, {}),
    cwd = options.cwd,
    env = env,
    stdio = { self.stdin, out, err },
  }, function(code, signal)
    self.code, self.signal = code, signal
    running[self.pid] = nil
    self.open = self.open - 1
    self.handle:close()
  end)
  assert(handle, pid)
  self.handle, self.pid = handle, pid
  running[pid] = self
  for _, pipe in ipairs { out, err } do
    pipe:read_start(function(_, data)
      if data then
        self.out = self.out .. data
        if self.on_output then self:on_output(data) end
      else
        self.open = self.open - 1
        pipe:close()
      end
    end)
  end
  return self
end

--- Run to the end; returns the exit code (or -signal) and all output.
function M.run(args, options)
  local self = M.spawn(args, options)
  return self:wait(options and options.seconds), self.out
end

--- Wait for the exit (and, unless a daemon holds them, the ends of its output).
function M:wait(seconds)
  loop.wait(function() return table.concat(self.args, " ") .. " to exit; it said:\n" .. self.out end,
    function() return self.open == 0 end, seconds)
  return self.signal ~= 0 and -self.signal or self.code
end

--- Wait until the output holds the plain text.
function M:wait_output(text, seconds)
  loop.wait(function() return "“" .. text .. "” in:\n" .. self.out end,
    function() return self.out:find(text, 1, true) or (self.open == 0 and error(
      "exited before it said “" .. text .. "”:\n" .. self.out)) end, seconds)
end

function M:write(data) self.stdin:write(data) end

function M:kill(signal)
  if self.code == nil then uv.process_kill(self.handle, signal or "sigterm") end
end

--- Tell all that still run to end: a test that was skipped or that failed in its
--- middle has not.
function M.end_all()
  for _, process in pairs(running) do process:kill() end
end

return M

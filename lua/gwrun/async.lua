-- gwrun: functions that run side by side, and the modules by their names
-- (gwrun.redis is require "gwrun.redis").
--
-- Loaded by lualib/linit.c with the core (lspawn.c).
local core = ...

local M = { ticket = core.ticket, is_serving = core.is_serving, now = core.now }

package.loaded.gwrun = M
setmetatable(M, {
  __index = function(_, name) return package.loaded["gwrun." .. tostring(name)] end,
})

local function check_functions(name, ...)
  local list = table.pack(...)
  for i = 1, list.n do
    if type(list[i]) ~= "function" then
      local text = "bad argument #%d to '%s' (function expected, got %s)"
      error(text:format(i, name, type(list[i])), 3)
    end
  end
  return list
end

-- Run fn(...) beside this code, from the end of this turn on. What it raises is
-- logged.
function M.spawn(fn, ...)
  check_functions("spawn", fn)
  if select("#", ...) == 0 then return core.spawn(fn) end
  local args = table.pack(...)
  core.spawn(function() fn(table.unpack(args, 1, args.n)) end)
end

local function run_all(list)
  local results, left, ticket = {}, list.n, core.ticket()
  for i = 1, list.n do
    core.spawn(function()
      results[i] = table.pack(xpcall(list[i], debug.traceback))
      left = left - 1
      if left == 0 then ticket:set() end
    end)
  end
  if left > 0 then ticket:wait() end
  return results
end

-- Run all functions side by side and wait for the last one. Returns the first
-- result of each; raises the first error if one was raised.
function M.parallel(...)
  local list = check_functions("parallel", ...)
  local results = run_all(list)
  local values = {}
  for i = 1, list.n do
    if not results[i][1] then error(results[i][2], 0) end
    values[i] = results[i][2]
  end
  return table.unpack(values, 1, list.n)
end

-- The same, without raising: a list with what pcall() returned for each, packed:
-- { true, results …, n = } or { false, message and traceback, n = 2 }.
function M.settle(...)
  return run_all(check_functions("settle", ...))
end

return M

-- gwrun: functions that run side by side, functions whose waits are cut short,
-- and the modules by their names (gwrun.redis is require "gwrun.redis").
--
-- Loaded by lualib/linit.c with the core (lspawn.c, llimit.c).
local core = ...
local error = require("gwrun.raise").error

local M = {
  ticket = core.ticket, is_serving = core.is_serving, isServing = core.is_serving, now = core.now,
  _report = core.report, _at_end = core.at_end,
}

package.loaded.gwrun = M
local loaded, preload, require = package.loaded, package.preload, require
setmetatable(M, {
  __index = function(_, name)
    local module = "gwrun." .. tostring(name)
    return loaded[module] or preload[module] and require(module) or nil
  end,
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

-- What a wait raises that is cut short. Goes for a text in messages.
local Cut = { __name = "gwrun.cut" }
Cut.__index = Cut
function Cut:__tostring() return self.message end
function Cut.__concat(a, b) return tostring(a) .. tostring(b) end

local function cut_error(message, code)
  return setmetatable({ message = message, code = code }, Cut)
end

-- What pcall() returned under the limit that raises err.
local function under_limit(err, ok, ...)
  if ok then return ... end
  if (...) == err then return nil, err.message, err.code end
  error((...), 0)
end

-- Run fn(...). A wait in it that lasts longer raises an error, as all later ones
-- do: nil, message, "deadline".
function M.deadline(seconds, fn, ...)
  if type(seconds) ~= "number" or not (seconds >= 0.001 and seconds <= 1e9) then
    error("bad argument #1 to 'deadline' (seconds expected, at least 0.001)", 2)
  end
  if type(fn) ~= "function" then
    error("bad argument #2 to 'deadline' (function expected, got " .. type(fn) .. ")", 2)
  end
  local err = cut_error(("deadline of %.14g s passed"):format(seconds), "deadline")
  local _ <close> = core.deadline(err, seconds)
  return under_limit(err, pcall(fn, ...))
end

-- Run fn(...). When the client that is served here goes away, a wait in it raises
-- an error, as all later ones do: nil, message, "gone".
function M.whileConnected(fn, ...)
  check_functions("whileConnected", fn)
  local err = cut_error("the client is gone", "gone")
  local limit <close> = core.connected(err)
  if limit == false then
    error("whileConnected belongs to a client, and no client is served here", 2)
  end
  if not limit then return nil, err.message, err.code end
  return under_limit(err, pcall(fn, ...))
end

-- When this is cut short itself, the functions are.
local function run_all(list)
  local results, tickets, limits, is_left = {}, {}, {}, false
  local _ <close> = setmetatable({}, { __close = function()
    is_left = true
    for _, limit in pairs(limits) do limit:cut() end
  end })
  for i = 1, list.n do
    tickets[i] = core.ticket()
    core.spawn(function()
      core.at_end(tickets[i])
      if is_left then return end
      local limit <close> = core.limit(cut_error("nobody waits for it any more", "ecanceled"))
      limits[i] = limit
      results[i] = table.pack(xpcall(list[i], debug.traceback))
      limits[i] = nil
    end)
  end
  for i = 1, list.n do
    tickets[i]:wait()
    results[i] = results[i] or { false, "handler exceeded its limit on computing", n = 2 }
  end
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

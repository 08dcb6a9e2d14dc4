-- Waiting in specs: run the libuv loop until something is true or a deadline
-- passes. Nothing sleeps.
local uv = require "luv"

local M = {}

M.deadline = tonumber(os.getenv "SPEC_DEADLINE") or 30 -- seconds

--- Run the loop until predicate() is true; returns its value, or raises with
--- `what` (a string, or a function that makes one) after `seconds`.
function M.wait(what, predicate, seconds)
  local value = predicate()
  if value then return value end
  local expired = false
  local timer = uv.new_timer()
  timer:start(math.floor((seconds or M.deadline) * 1000), 0, function() expired = true end)
  repeat
    uv.run "once"
    value = predicate()
  until value or expired
  timer:close()
  if value then return value end
  error("waited in vain for " .. (type(what) == "function" and what() or what), 2)
end

--- Check predicate() every few milliseconds too: for what no event announces (a
--- process of another's, a file).
function M.poll(what, predicate, seconds)
  local timer = uv.new_timer()
  timer:start(20, 20, function() end)
  local ok, value = pcall(M.wait, what, predicate, seconds)
  timer:close()
  if not ok then error(value, 2) end
  return value
end

--- Let the loop run for `seconds`, to show that something does not happen.
function M.pass(seconds)
  local over = false
  local timer = uv.new_timer()
  timer:start(math.floor(seconds * 1000), 0, function() over = true end)
  repeat uv.run "once" until over
  timer:close()
end

return M

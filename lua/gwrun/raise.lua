-- Errors about what a script has given: they name the script's line, however many
-- of gwrun's own functions are in between, tail calls or not.
--
-- Loaded by lualib/linit.c before the other modules.
local getinfo = debug.getinfo
local error, pcall, type = error, pcall, type

-- A file's name without "./" in front.
local function name_of(source) return (source:gsub("^@%./", "@")) end

local folder = name_of(getinfo(1, "S").source):match "^(.*)gwrun/raise%.lua$"

local M = {}

-- "events.lua:12: " of the innermost code that is not gwrun's.
local function where()
  local level = 3
  while true do
    local at = getinfo(level, "Sl")
    if not at then return "" end
    if at.currentline > 0 and name_of(at.source):sub(1, #folder) ~= folder then
      return ("%s:%d: "):format(at.short_src, at.currentline)
    end
    level = level + 1
  end
end

-- error(), for which each level above 0 is the script's line.
function M.error(message, level)
  if level == 0 or type(message) ~= "string" then error(message, 0) end
  error(where() .. message, 0)
end

-- Raise unless the value is of that type; a number will do for a string.
function M.check(value, kind, arg, name)
  local is = type(value)
  if is == kind or (kind == "string" and is == "number") then return value end
  error(("%sbad argument #%d to '%s' (%s expected, got %s)"):format(
    where(), arg, name, kind, is), 0)
end

local function finish(name, shift, ok, ...)
  if ok then return ... end
  local message = ...
  if type(message) ~= "string" then error(message, 0) end
  error(where() .. message:gsub("^.-bad argument #(%d+) to '.-'", function(arg)
    return ("bad argument #%d to '%s'"):format(arg - shift, name)
  end), 0)
end

-- fn(...) for the function that the script knows by that name; fn has shift more
-- arguments in front.
function M.call(name, shift, fn, ...) return finish(name, shift, pcall(fn, ...)) end

return M

-- What a script may not do, because it would end or stop the worker with all
-- its clients, and why. Loaded by lualib/linit.c before the script. A program
-- (gwrun exec) gets its own exit() and may do most of it: nobody else waits.
local exit, has_system, loadfile, has_source = ...
local load = load

local function refuse(name, why)
  return function() error(name .. " is not available: " .. why, 2) end
end

local function restrict_worker()
  local command = "the whole worker would wait for the command; let another program run it"
  local input = "a worker has no standard input; open a file with io.open"

  os.exit = refuse("os.exit", "it would end the worker for all clients; return or call error() "
    .. "to end this handler, and use 'gwrun stop' to stop the system")
  os.execute = refuse("os.execute", command)
  io.popen = refuse("io.popen", command)
  io.read = refuse("io.read", input)
  io.stdin = nil
  debug.debug = refuse("debug.debug", input)
  debug.sethook = nil -- the limit on computing time is such a hook

  local lines = io.lines
  function io.lines(name, ...)
    if name == nil then error("io.lines needs a file name: " .. input, 2) end
    return lines(name, ...)
  end
end

local function prepare_program()
  os.exit = exit
  if has_system then return end
  for name in pairs(Gateway) do
    Gateway[name] = refuse("Gateway." .. name, "this program has joined no system; start it where "
      .. "conf/gwrun.lua is, or name that file: gwrun exec -c FILE")
  end
end

if exit then prepare_program() else restrict_worker() end
os.setlocale = refuse("os.setlocale", "it would change how the whole process writes numbers")

-- Compiled chunks can crash the process, so text only.

function _G.load(chunk, name, mode, ...)
  if mode and not mode:find("t", 1, true) then return nil, "only text chunks can be loaded" end
  return load(chunk, name, "t", ...)
end

function _G.loadfile(name, mode, ...)
  if name == nil then error("loadfile needs a file name", 2) end
  if mode and not mode:find("t", 1, true) then return nil, "only text chunks can be loaded" end
  return loadfile(name, "t", ...)
end

function _G.dofile(name)
  if name == nil then error("dofile needs a file name", 2) end
  local chunk, message = loadfile(name, "t")
  if not chunk then error(message, 2) end
  return chunk()
end

-- The same for require: the searcher of Lua files. They may be gone from disk.
local function search(name)
  for template in package.path:gmatch "[^;]+" do
    local path = template:gsub("%?", { ["?"] = name:gsub("%.", "/") })
    if has_source(path) then return path end
  end
  return package.searchpath(name, package.path)
end

package.searchers[2] = function(name)
  local path, tried = search(name)
  if not path then return tried end
  local chunk, message = loadfile(path, "t")
  if not chunk then
    error(("error loading module '%s' from file '%s':\n\t%s"):format(name, path, message), 0)
  end
  return chunk, path
end

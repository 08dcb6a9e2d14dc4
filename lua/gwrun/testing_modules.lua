-- Where the specs of gwrun test find gwrun's modules: require "gwrun.jwt" and the
-- others. What waits for somebody belongs into a script and raises here.
--
-- Runs in the test's state before busted (cli/cmd_test.c), with the folder of
-- gwrun's Lua files.
local lua_dir = ...

-- Modules that are built on a core, as lualib/linit.c loads them, and those that
-- fill a table which is there before.
local needs_core = { async = true, crypto = true }
local fills = { http = true, mysql = true, redis = true, socket = true, websocket = true }

local function refuse(module)
  return function()
    error(("%s: nothing can wait or connect in a spec; do it in the script, or with app:run()")
      :format(module), 3)
  end
end

-- Whose functions raise when they are called.
local function empty(module)
  return setmetatable({}, { __index = function() return refuse(module) end })
end

local function core_of(name)
  if name ~= "crypto" then return empty("gwrun." .. name) end
  local core = require "gwrun.testing.crypto"
  core.scrypt = refuse "gwrun.crypto"
  return core
end

-- gwrun.json is require "gwrun.json", also for whom that comes first.
local function add_names(gwrun)
  getmetatable(gwrun).__index = function(_, name)
    local ok, module = pcall(require, "gwrun." .. tostring(name))
    return ok and module or nil
  end
  return gwrun
end

-- What gwrun's modules share.
local common = setmetatable({}, {
  __index = function(_, name) return require("gwrun." .. name) end,
})

-- Further files of such a module.
local function run_part(name, ...)
  return loadfile(("%s/gwrun/%s.lua"):format(lua_dir, name))(...)
end

local function load_module(name, path)
  local chunk = assert(loadfile(path))
  if fills[name] then
    local module = {}
    chunk(core_of(name), common, module, run_part)
    return module
  end
  if name == "jwt" or name == "routes" then return chunk(common) end
  if not needs_core[name] then return chunk("gwrun." .. name, path) end
  local module = chunk(core_of(name))
  return name == "async" and add_names(module) or module
end

for _, name in ipairs { "cron", "log", "shared" } do
  package.preload["gwrun." .. name] = function() return empty("gwrun." .. name) end
end

table.insert(package.searchers, 2, function(full_name)
  local name = full_name == "gwrun" and "async" or full_name:match "^gwrun%.([%w_]+)$"
  if not name then return nil end
  local path = ("%s/gwrun/%s.lua"):format(lua_dir, name)
  local file = io.open(path)
  if not file then return ("\n\tno file '%s'"):format(path) end
  file:close()
  return function() return load_module(name, path) end, path
end)

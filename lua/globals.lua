-- The metatable that a script gives to its globals. The real one makes _SESSION
-- and _SERVER; from the moment the script asks for one of its own, what is not
-- there goes to that one, by a tail call, as if nothing were in between.
--
-- Loaded by lualib/lglobals.c. Returns what getmetatable(_G) and
-- setmetatable(_G, t) do.
local meta = debug.getmetatable(_G)
local read, write = meta.__index, meta.__newindex
local rawset, type = rawset, type
local own -- the script's

local function index(t, name)
  if name == "_SESSION" or name == "_SERVER" then return read(t, name) end
  local handler = own and own.__index
  if type(handler) == "function" then return handler(t, name) end
  if handler then return handler[name] end
end

local function new_index(t, name, value)
  if name == "_SESSION" or name == "_SERVER" then return write(t, name, value) end
  local handler = own and own.__newindex
  if type(handler) == "function" then return handler(t, name, value) end
  if handler then
    handler[name] = value
  else
    rawset(t, name, value)
  end
end

local function set(given)
  if own and own.__metatable then error("cannot change a protected metatable", 2) end
  own, meta.__index, meta.__newindex = given, index, new_index
  return _G
end

local function get()
  if not own then return nil end
  if own.__metatable ~= nil then return own.__metatable end
  return own
end

return get, set

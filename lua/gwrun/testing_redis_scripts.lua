-- Lua scripts of testing.redis(): EVAL, EVALSHA and SCRIPT. They run in a sandbox
-- as Redis has it, though in Lua 5.4 instead of 5.1.
local cjson = require "cjson"
local crypto = require "gwrun.crypto"

local not_in_scripts = {
  EVAL = true, EVALSHA = true, SCRIPT = true, MULTI = true, EXEC = true, WATCH = true,
  SUBSCRIBE = true, PSUBSCRIBE = true,
}

-- Commands whose "OK" is a status, { ok = "OK" } to scripts.
local status = {
  SET = true, SETEX = true, PSETEX = true, MSET = true, HMSET = true, RENAME = true,
  FLUSHALL = true, FLUSHDB = true, LSET = true, LTRIM = true, PING = true, TYPE = true,
  XGROUP = true,
}

local function to_script(value)
  if value == nil or value == cjson.null then return false end
  if type(value) ~= "table" then return value end
  local list = {}
  for i, item in ipairs(value) do list[i] = to_script(item) end
  return list
end

local function from_script(value)
  if value == true then return 1 end
  if not value then return nil end
  if type(value) == "number" then
    local whole = value < 0 and math.ceil(value) or math.floor(value)
    return math.tointeger(whole) or 0
  end
  if type(value) ~= "table" then return tostring(value) end
  if value.err then error({ reply = tostring(value.err) }, 0) end
  if value.ok then return tostring(value.ok) end
  local list = {}
  for i, item in ipairs(value) do -- up to the first nil, as Redis does
    local reply = from_script(item)
    list[i] = reply == nil and cjson.null or reply
  end
  return list
end

local function run(store, name, ...)
  if not_in_scripts[tostring(name):upper()] then
    return { err = "ERR This Redis command is not allowed from script" }
  end
  for i = 1, select("#", ...) do
    local kind = type((select(i, ...)))
    if kind ~= "string" and kind ~= "number" then
      return { err = "ERR Lua redis lib command arguments must be strings or integers" }
    end
  end
  local value, message = store:call(name, ...)
  if message then return { err = message } end
  if type(value) == "string" and status[tostring(name):upper()] then return { ok = value } end
  return to_script(value)
end

local function api_of(store)
  local redis = {
    LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
    log = function() end, replicate_commands = function() return true end,
    sha1hex = function(text) return crypto.sha1(text) end,
    error_reply = function(text) return { err = text } end,
    status_reply = function(text) return { ok = text } end,
    pcall = function(...) return run(store, ...) end,
  }
  function redis.call(...)
    local value = run(store, ...)
    if type(value) == "table" and value.err then error(value, 0) end
    return value
  end
  return redis
end

local shared = {
  "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget",
  "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "xpcall",
}

local function copy(t) return table.move(t, 1, #t, 1, setmetatable({}, { __index = t })) end

-- What a script finds; a global of its own is a mistake, to Redis too.
local function sandbox(store, keys, args)
  local env = {
    redis = api_of(store), KEYS = keys, ARGV = args, math = copy(math), string = copy(string),
    table = copy(table), unpack = table.unpack, cjson = copy(cjson),
  }
  for _, name in ipairs(shared) do env[name] = _G[name] end
  return setmetatable(env, {
    __newindex = function(_, name)
      error(("Script attempted to create global variable '%s'"):format(tostring(name)), 2)
    end,
    __index = function(_, name)
      error(("Script attempted to access nonexistent global variable '%s'")
        :format(tostring(name)), 2)
    end,
  })
end

return function(C, fail)
  local function eval(store, text, count, ...)
    local words = { ... }
    count = math.tointeger(tonumber(count))
    if not count then fail "ERR value is not an integer or out of range" end
    if count < 0 then fail "ERR Number of keys can't be negative" end
    if count > #words then fail "ERR Number of keys can't be greater than number of args" end
    local env = sandbox(store, table.move(words, 1, count, 1, {}),
      table.move(words, count + 1, #words, 1, {}))
    local chunk, message = load(text, "=user_script", "t", env)
    if not chunk then fail("ERR Error compiling script (new function): %s", message) end
    store.scripts[crypto.sha1(text)] = text
    local ok, value = pcall(chunk)
    if ok then return from_script(value) end
    if type(value) == "table" and value.err then fail("%s", value.err) end
    fail("ERR Error running script: %s", tostring(value))
  end

  C.EVAL, C.EVAL_RO = eval, eval

  function C.EVALSHA(store, sha, ...)
    local text = store.scripts[sha:lower()]
    if not text then fail "NOSCRIPT No matching script. Please use EVAL." end
    return eval(store, text, ...)
  end

  function C.SCRIPT(store, what, ...)
    what = what:upper()
    if what == "LOAD" then
      local sha = crypto.sha1((...))
      store.scripts[sha] = (...)
      return sha
    elseif what == "FLUSH" then
      store.scripts = {}
      return "OK"
    elseif what ~= "EXISTS" then
      fail("ERR testing.redis() does not know SCRIPT %s", what)
    end
    local list = {}
    for i, sha in ipairs { ... } do list[i] = store.scripts[sha:lower()] and 1 or 0 end
    return list
  end
end

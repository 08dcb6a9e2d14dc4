-- testing.redis(): Redis in memory, with the commands that scripts use most. One
-- for all workers of an app; keys end by the app's clock.
local null = require("cjson").null

local Store = {}

-- ---- keys ----

local function fail(text, ...) error({ reply = text:format(...) }, 0) end

local function find(store, key)
  local entry = store.entries[key]
  if entry and entry.ends and entry.ends <= store.now() then
    store.entries[key], entry = nil, nil
  end
  return entry
end

local empty = {
  string = function() return "" end, hash = function() return {} end,
  list = function() return {} end, set = function() return {} end, zset = function() return {} end,
  stream = function() return { entries = {}, groups = {}, ms = 0, seq = 0 } end,
}

-- The value at key if it is of this kind; nil when there is none.
local function get(store, key, kind)
  local entry = find(store, key)
  if not entry then return nil end
  if entry.kind ~= kind then
    fail "WRONGTYPE Operation against a key holding the wrong kind of value"
  end
  return entry.value
end

local function touch(store, key)
  store.versions[key] = (store.versions[key] or 0) + 1
  if store.on_change then store.on_change() end
end

-- The same, made when there is none; it is about to change.
local function make(store, key, kind)
  local value = get(store, key, kind)
  touch(store, key)
  if value == nil then
    value = empty[kind]()
    store.entries[key] = { kind = kind, value = value }
  end
  return value
end

local function put(store, key, kind, value, ends)
  touch(store, key)
  store.entries[key] = { kind = kind, value = value, ends = ends }
end

-- Redis keeps no empty list, hash or set.
local function drop_empty(store, key)
  local entry = store.entries[key]
  if entry and next(entry.value) == nil then store.entries[key] = nil end
end

local function sorted(t)
  local list = {}
  for key in pairs(t) do list[#list + 1] = key end
  table.sort(list)
  return list
end

local function integer(text)
  local n = math.tointeger(tonumber(text))
  if not n then fail "ERR value is not an integer or out of range" end
  return n
end

local function float(text)
  local n = tonumber((tostring(text):gsub("inf$", "huge")))
  if tostring(text):find "inf$" then n = tostring(text):find "^-" and -math.huge or math.huge end
  if not n then fail "ERR value is not a valid float" end
  return n
end

-- The shortest text that reads back the same, as the real client writes numbers.
local function number_text(n)
  if math.tointeger(n) then return ("%d"):format(n) end
  for digits = 15, 17 do
    local text = ("%." .. digits .. "g"):format(n)
    if tonumber(text) == n then return text end
  end
  return tostring(n)
end

-- A range's first and last place in a list of so many.
local function range(first, last, count)
  first, last = integer(first), integer(last)
  if first < 0 then first = math.max(count + first, 0) end
  if last < 0 then last = count + last end
  return first + 1, math.min(last + 1, count)
end

-- A pattern of KEYS and PSUBSCRIBE as one of Lua's.
local function glob(pattern)
  local text = pattern:gsub("[%^%$%(%)%%%.%+%-]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".")
  return "^" .. text .. "$"
end

local C = {} -- the commands

-- ---- any key ----

function C.PING(_, text) return text or "PONG" end

function C.ECHO(_, text) return text end

function C.TIME(store)
  local now = store.now()
  return { ("%d"):format(now // 1), ("%d"):format(now % 1 * 1000000 // 1) }
end

function C.DEL(store, ...)
  local n = 0
  for _, key in ipairs { ... } do
    if find(store, key) then
      store.entries[key], n = nil, n + 1
      touch(store, key)
    end
  end
  return n
end
C.UNLINK = C.DEL

function C.EXISTS(store, ...)
  local n = 0
  for _, key in ipairs { ... } do n = n + (find(store, key) and 1 or 0) end
  return n
end

function C.TYPE(store, key)
  local entry = find(store, key)
  return entry and entry.kind or "none"
end

function C.KEYS(store, pattern)
  local list = {}
  for _, key in ipairs(sorted(store.entries)) do
    if find(store, key) and key:find(glob(pattern)) then list[#list + 1] = key end
  end
  return list
end

function C.DBSIZE(store) return #C.KEYS(store, "*") end

function C.FLUSHALL(store)
  for key in pairs(store.entries) do touch(store, key) end
  store.entries = {}
  return "OK"
end
C.FLUSHDB = C.FLUSHALL

function C.RENAME(store, from, to)
  local entry = find(store, from)
  if not entry then fail "ERR no such key" end
  put(store, to, entry.kind, entry.value, entry.ends)
  touch(store, from)
  if from ~= to then store.entries[from] = nil end
  return "OK"
end

local function expire(store, key, seconds)
  local entry = find(store, key)
  if not entry then return 0 end
  touch(store, key)
  entry.ends = store.now() + seconds
  return 1
end

function C.EXPIRE(store, key, seconds) return expire(store, key, integer(seconds)) end

function C.PEXPIRE(store, key, ms) return expire(store, key, integer(ms) / 1000) end

function C.PERSIST(store, key)
  local entry = find(store, key)
  if not entry or not entry.ends then return 0 end
  touch(store, key)
  entry.ends = nil
  return 1
end

function C.PTTL(store, key)
  local entry = find(store, key)
  if not entry then return -2 end
  return entry.ends and math.floor((entry.ends - store.now()) * 1000 + 0.5) or -1
end

function C.TTL(store, key)
  local ms = C.PTTL(store, key)
  return ms < 0 and ms or (ms + 500) // 1000
end

-- ---- strings ----

function C.GET(store, key) return get(store, key, "string") end

function C.SET(store, key, value, ...)
  local words, old = { ... }, find(store, key)
  local ends, i = nil, 1
  while words[i] do
    local word = words[i]:upper()
    if word == "EX" or word == "PX" then
      ends = store.now() + integer(words[i + 1]) / (word == "PX" and 1000 or 1)
      i = i + 1
    elseif word == "NX" and old or word == "XX" and not old then
      return nil
    elseif word == "KEEPTTL" then
      ends = old and old.ends
    elseif word ~= "NX" and word ~= "XX" then
      fail("ERR testing.redis() does not know SET … %s", word)
    end
    i = i + 1
  end
  put(store, key, "string", value, ends)
  return "OK"
end

function C.SETEX(store, key, seconds, value) return C.SET(store, key, value, "EX", seconds) end

function C.PSETEX(store, key, ms, value) return C.SET(store, key, value, "PX", ms) end

function C.SETNX(store, key, value) return C.SET(store, key, value, "NX") and 1 or 0 end

function C.GETSET(store, key, value)
  local old = get(store, key, "string")
  put(store, key, "string", value)
  return old
end

function C.GETDEL(store, key)
  local old = get(store, key, "string")
  C.DEL(store, key)
  return old
end

function C.MGET(store, ...)
  local list = {}
  for i, key in ipairs { ... } do
    local entry = find(store, key)
    list[i] = entry and entry.kind == "string" and entry.value or null
  end
  return list
end

function C.MSET(store, ...)
  local words = { ... }
  for i = 1, #words, 2 do put(store, words[i], "string", words[i + 1]) end
  return "OK"
end

function C.APPEND(store, key, text)
  local value = make(store, key, "string") .. text
  store.entries[key].value = value
  return #value
end

function C.STRLEN(store, key) return #(get(store, key, "string") or "") end

function C.INCRBY(store, key, by)
  local n = integer(get(store, key, "string") or 0) + integer(by)
  make(store, key, "string")
  store.entries[key].value = ("%d"):format(n)
  return n
end

function C.INCR(store, key) return C.INCRBY(store, key, 1) end

function C.DECR(store, key) return C.INCRBY(store, key, -1) end

function C.DECRBY(store, key, by) return C.INCRBY(store, key, -integer(by)) end

function C.INCRBYFLOAT(store, key, by)
  local text = number_text(float(get(store, key, "string") or 0) + float(by))
  make(store, key, "string")
  store.entries[key].value = text
  return text
end

-- ---- hashes ----

function C.HSET(store, key, ...)
  local hash, words, added = make(store, key, "hash"), { ... }, 0
  for i = 1, #words, 2 do
    if hash[words[i]] == nil then added = added + 1 end
    hash[words[i]] = words[i + 1]
  end
  return added
end

function C.HMSET(store, ...)
  C.HSET(store, ...)
  return "OK"
end

function C.HSETNX(store, key, field, value)
  if (get(store, key, "hash") or {})[field] then return 0 end
  return C.HSET(store, key, field, value)
end

function C.HGET(store, key, field) return (get(store, key, "hash") or {})[field] end

function C.HMGET(store, key, ...)
  local hash, list = get(store, key, "hash") or {}, {}
  for i, field in ipairs { ... } do list[i] = hash[field] or null end
  return list
end

function C.HGETALL(store, key)
  local hash, list = get(store, key, "hash") or {}, {}
  for _, field in ipairs(sorted(hash)) do
    list[#list + 1] = field
    list[#list + 1] = hash[field]
  end
  return list
end

function C.HKEYS(store, key) return sorted(get(store, key, "hash") or {}) end

function C.HVALS(store, key)
  local hash, list = get(store, key, "hash") or {}, {}
  for i, field in ipairs(sorted(hash)) do list[i] = hash[field] end
  return list
end

function C.HLEN(store, key) return #C.HKEYS(store, key) end

function C.HEXISTS(store, key, field) return C.HGET(store, key, field) and 1 or 0 end

function C.HDEL(store, key, ...)
  local hash, n = get(store, key, "hash"), 0
  if not hash then return 0 end
  touch(store, key)
  for _, field in ipairs { ... } do
    if hash[field] then hash[field], n = nil, n + 1 end
  end
  drop_empty(store, key)
  return n
end

function C.HINCRBY(store, key, field, by)
  local n = integer(C.HGET(store, key, field) or 0) + integer(by)
  C.HSET(store, key, field, ("%d"):format(n))
  return n
end

-- ---- lists ----

function C.RPUSH(store, key, ...)
  local list = make(store, key, "list")
  for _, value in ipairs { ... } do list[#list + 1] = value end
  return #list
end

function C.LPUSH(store, key, ...)
  local list = make(store, key, "list")
  for _, value in ipairs { ... } do table.insert(list, 1, value) end
  return #list
end

local function pop(store, key, from_left, count)
  local list = get(store, key, "list")
  if not list then return nil end
  touch(store, key)
  local values = {}
  for i = 1, math.min(count and integer(count) or 1, #list) do
    values[i] = table.remove(list, from_left and 1 or #list)
  end
  drop_empty(store, key)
  return count and values or values[1]
end

function C.LPOP(store, key, count) return pop(store, key, true, count) end

function C.RPOP(store, key, count) return pop(store, key, false, count) end

function C.LLEN(store, key) return #(get(store, key, "list") or {}) end

function C.LRANGE(store, key, first, last)
  local list = get(store, key, "list") or {}
  first, last = range(first, last, #list)
  return table.move(list, first, last, 1, {})
end

function C.LINDEX(store, key, place)
  local list = get(store, key, "list") or {}
  local i = integer(place)
  return list[i < 0 and #list + i + 1 or i + 1]
end

function C.LTRIM(store, key, first, last)
  if get(store, key, "list") then
    store.entries[key].value = C.LRANGE(store, key, first, last)
    touch(store, key)
    drop_empty(store, key)
  end
  return "OK"
end

function C.LREM(store, key, count, value)
  local list, n, most = get(store, key, "list") or {}, 0, math.abs(integer(count))
  local from, to, by = 1, #list, 1
  if integer(count) < 0 then from, to, by = #list, 1, -1 end
  local kept = {}
  for i = from, to, by do
    if list[i] == value and (most == 0 or n < most) then
      n = n + 1
    else
      table.insert(kept, by == 1 and #kept + 1 or 1, list[i])
    end
  end
  if n > 0 then
    store.entries[key].value = kept
    touch(store, key)
    drop_empty(store, key)
  end
  return n
end

-- ---- sets ----

function C.SADD(store, key, ...)
  local set, n = make(store, key, "set"), 0
  for _, member in ipairs { ... } do
    if not set[member] then set[member], n = true, n + 1 end
  end
  return n
end

-- Take members out of a set or a sorted set; how many were there.
local function remove(store, key, kind, ...)
  local set, n = get(store, key, kind), 0
  if not set then return 0 end
  touch(store, key)
  for _, member in ipairs { ... } do
    if set[member] then set[member], n = nil, n + 1 end
  end
  drop_empty(store, key)
  return n
end

function C.SREM(store, key, ...) return remove(store, key, "set", ...) end

function C.SMEMBERS(store, key) return sorted(get(store, key, "set") or {}) end

function C.SISMEMBER(store, key, member)
  return (get(store, key, "set") or {})[member] and 1 or 0
end

function C.SCARD(store, key) return #C.SMEMBERS(store, key) end

local function combine(store, keys, wanted)
  local counts, list = {}, {}
  for i, key in ipairs(keys) do
    for member in pairs(get(store, key, "set") or {}) do
      local c = counts[member] or { n = 0 }
      c.n, c.first = c.n + 1, c.first or i
      counts[member] = c
    end
  end
  for _, member in ipairs(sorted(counts)) do
    if wanted(counts[member]) then list[#list + 1] = member end
  end
  return list
end

function C.SINTER(store, ...)
  local count = select("#", ...)
  return combine(store, { ... }, function(c) return c.n == count end)
end

function C.SUNION(store, ...) return combine(store, { ... }, function() return true end) end

function C.SDIFF(store, ...)
  return combine(store, { ... }, function(c) return c.n == 1 and c.first == 1 end)
end

-- ---- sorted sets ----

function C.ZADD(store, key, ...)
  local words = { ... }
  if not tonumber(words[1]) then
    fail("ERR testing.redis() does not know ZADD … %s", tostring(words[1]))
  end
  local set, added = make(store, key, "zset"), 0
  for i = 1, #words, 2 do
    if not set[words[i + 1]] then added = added + 1 end
    set[words[i + 1]] = float(words[i])
  end
  return added
end

function C.ZINCRBY(store, key, by, member)
  local set = make(store, key, "zset")
  set[member] = (set[member] or 0) + float(by)
  return number_text(set[member])
end

function C.ZSCORE(store, key, member)
  local score = (get(store, key, "zset") or {})[member]
  return score and number_text(score)
end

function C.ZREM(store, key, ...) return remove(store, key, "zset", ...) end

-- Members by score, then by name; backwards when so wanted.
local function ranked(store, key, backwards)
  local set = get(store, key, "zset") or {}
  local list = sorted(set)
  table.sort(list, function(a, b)
    if backwards then a, b = b, a end
    if set[a] ~= set[b] then return set[a] < set[b] end
    return a < b
  end)
  return list, set
end

local function with_scores(list, set, word)
  if not word then return list end
  if word:upper() ~= "WITHSCORES" then
    fail("ERR testing.redis() does not know this command with %s", word)
  end
  local out = {}
  for _, member in ipairs(list) do
    out[#out + 1] = member
    out[#out + 1] = number_text(set[member])
  end
  return out
end

local function zrange(store, backwards, key, first, last, word)
  local list, set = ranked(store, key, backwards)
  first, last = range(first, last, #list)
  return with_scores(table.move(list, first, last, 1, {}), set, word)
end

function C.ZRANGE(store, ...) return zrange(store, false, ...) end

function C.ZREVRANGE(store, ...) return zrange(store, true, ...) end

local function between(store, key, low, high)
  local function bound(text)
    local open = tostring(text):match "^%((.*)$"
    return float(open or text), open ~= nil
  end
  local least, above = bound(low)
  local most, below = bound(high)
  local list, set = ranked(store, key)
  local out = {}
  for _, member in ipairs(list) do
    local s = set[member]
    if s >= least and s <= most and not (above and s == least) and not (below and s == most) then
      out[#out + 1] = member
    end
  end
  return out, set
end

function C.ZRANGEBYSCORE(store, key, low, high, word)
  local list, set = between(store, key, low, high)
  return with_scores(list, set, word)
end

function C.ZCOUNT(store, key, low, high) return #(between(store, key, low, high)) end

function C.ZREMRANGEBYSCORE(store, key, low, high)
  local list = between(store, key, low, high)
  return #list > 0 and C.ZREM(store, key, table.unpack(list)) or 0
end

function C.ZCARD(store, key) return #(ranked(store, key)) end

local function rank(store, key, member, backwards)
  for i, name in ipairs((ranked(store, key, backwards))) do
    if name == member then return i - 1 end
  end
end

function C.ZRANK(store, key, member) return rank(store, key, member, false) end

function C.ZREVRANK(store, key, member) return rank(store, key, member, true) end

-- ---- subscriptions ----

local function push(subscriber, message)
  subscriber.queue[#subscriber.queue + 1] = message
  if subscriber.wake then subscriber.wake() end
end

function C.PUBLISH(store, channel, text)
  local n = 0
  for _, subscriber in ipairs(store.subscribers) do
    if subscriber.channels[channel] then
      n = n + 1
      push(subscriber, { "message", channel, text })
    end
    for _, pattern in ipairs(sorted(subscriber.patterns)) do
      if channel:find(glob(pattern)) then
        n = n + 1
        push(subscriber, { "pmessage", pattern, channel, text })
      end
    end
  end
  return n
end

local function find_subscriber(store, connection)
  for i, subscriber in ipairs(store.subscribers) do
    if subscriber.connection == connection then return subscriber, i end
  end
end

--- A connection's SUBSCRIBE, PSUBSCRIBE or PING; what it says comes by receive().
function Store:listen(connection, commands)
  local subscriber = find_subscriber(self, connection)
  if not subscriber then
    subscriber = { connection = connection, channels = {}, patterns = {}, queue = {} }
    table.insert(self.subscribers, subscriber)
  end
  for _, command in ipairs(commands) do
    local kind = command[1]:lower()
    local names = kind == "psubscribe" and subscriber.patterns or subscriber.channels
    if kind == "ping" then push(subscriber, { "pong", "" }) end
    for i = 2, #command do
      names[command[i]] = true
      push(subscriber, { kind, command[i], i - 1 })
    end
  end
end

--- The next message for a connection goes to deliver(), now or later; nil when
--- the connection is closed first.
function Store:receive(connection, deliver)
  local subscriber = find_subscriber(self, connection)
  if not subscriber then return deliver(nil) end
  local function wake()
    subscriber.wake = nil
    deliver(table.remove(subscriber.queue, 1))
  end
  if #subscriber.queue > 0 then return wake() end
  subscriber.wake = wake
end

--- A connection ends.
function Store:forget(connection)
  self.watches[connection] = nil
  local subscriber, i = find_subscriber(self, connection)
  if not subscriber then return end
  table.remove(self.subscribers, i)
  subscriber.queue = {}
  if subscriber.wake then subscriber.wake() end
end

-- ---- transactions ----

function Store:watch(connection, keys)
  local versions = self.watches[connection] or {}
  for _, key in ipairs(keys) do versions[key] = versions[key] or self.versions[key] or 0 end
  self.watches[connection] = versions
end

--- Has a watched key changed? They are watched no longer.
function Store:unwatch(connection)
  local changed = false
  for key, version in pairs(self.watches[connection] or {}) do
    changed = changed or version ~= (self.versions[key] or 0)
  end
  self.watches[connection] = nil
  return changed
end

-- ---- scripts and streams ----

require "gwrun.testing_redis_scripts"(C, fail)
local streams = require "gwrun.testing_redis_streams"(C, fail, get, make, function(store)
  return store.now()
end)

--- How long a command of a connection may wait: see testing_redis_streams.lua.
function Store:block_of(command) return streams.block_of(self, command) end

-- ---- calls ----

--- Run a command: its reply | nil, message.
function Store:call(name, ...)
  local f = C[tostring(name):upper()]
  if not f then
    return nil, ("ERR testing.redis() does not know %s; give redis = function(command, …)")
      :format(tostring(name))
  end
  local words = { ... }
  for i, word in ipairs(words) do
    words[i] = type(word) == "number" and number_text(word) or tostring(word)
  end
  local results = table.pack(pcall(f, self, table.unpack(words)))
  if results[1] then return results[2] end
  if type(results[2]) == "table" and results[2].reply then return nil, results[2].reply end
  return nil, ("ERR wrong arguments of %s (%s)"):format(name, tostring(results[2]))
end

local meta = {
  __name = "gwrun.testing.redis",
  -- store:get("key"), store:set("key", "value") … for the test
  __index = function(_, name)
    return Store[name] or function(self, ...)
      local value, message = self:call(name, ...)
      if message then error(message, 2) end
      return value
    end
  end,
}

--- A new one, empty.
local function new()
  return setmetatable({
    entries = {}, versions = {}, watches = {}, subscribers = {}, scripts = {}, now = os.time,
    on_change = false,
  }, meta)
end

return new

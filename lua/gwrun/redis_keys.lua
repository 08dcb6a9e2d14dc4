-- Part of gwrun.redis: which word of a command is its key, by which a Redis Cluster has
-- it at one of its nodes.
--
-- It is guessed, and learned when a node names the slot of another word (MOVED): a wrong
-- guess costs a detour, once, and no list of commands must be complete. Servers say it
-- with COMMAND INFO, too, but to some users only, in two ways, and for some commands so
-- deeply nested that hiredis refuses to read it.
--
-- Run by redis_cluster.lua with the core.
local core = ...

local words_max = 100 -- of a command are looked at for its key

local function after_numkeys(at)
  return function(words) return tonumber(words[at]) ~= 0 and at + 1 end
end

local function after_streams(words)
  for i = 2, words.n or #words do
    if tostring(words[i]):upper() == "STREAMS" then return i + 1 end
  end
end

-- Where a command's first key is, if that is not its second word; false: it has none,
-- and goes to the same node as all of these, so that SCAN's cursors mean something.
local key_at = {
  EVAL = after_numkeys(3), EVAL_RO = after_numkeys(3), EVALSHA = after_numkeys(3),
  EVALSHA_RO = after_numkeys(3), FCALL = after_numkeys(3), FCALL_RO = after_numkeys(3),
  XREAD = after_streams, XREADGROUP = after_streams,
  BITOP = 3, OBJECT = 3, XGROUP = 3, XINFO = 3, LMPOP = 3, ZMPOP = 3, ZUNION = 3, ZINTER = 3,
  ZDIFF = 3, ZINTERCARD = 3, SINTERCARD = 3, BLMPOP = 4, BZMPOP = 4,
}
for name in ([[ACL BGREWRITEAOF BGSAVE CLIENT CLUSTER COMMAND CONFIG DBSIZE DEBUG ECHO FLUSHALL
  FLUSHDB FUNCTION INFO KEYS LASTSAVE LATENCY MEMORY MODULE PING PUBLISH PUBSUB RANDOMKEY
  REPLICAOF ROLE SAVE SCAN SCRIPT SHUTDOWN SLAVEOF SLOWLOG SWAPDB TIME WAIT
  WAITAOF]]):gmatch "%S+" do
  key_at[name] = false
end

local Keys = {}
Keys.__index = Keys

-- The slot of a command's first key; nil when any node will do.
function Keys:slot_of(words)
  local at = self.learned[words[1]] or key_at[words[1]]
  if at == nil then at = 2 end
  if type(at) == "function" then at = at(words) end
  return at and core.slot(words[at]) or nil
end

-- A node has answered MOVED to a command whose key was taken to be in that slot.
function Keys:learn(words, guess, message)
  local slot = math.tointeger(message:match "^MOVED (%d+)")
  if slot == guess or type(key_at[words[1]]) == "function" then return end
  for i = 2, math.min(words.n or #words, words_max) do
    if core.slot(words[i]) == slot then
      self.learned[words[1]] = i
      return
    end
  end
end

return function()
  return setmetatable({ learned = {} }, Keys) -- by command
end

-- Part of gwrun.redis: commands for a Redis Cluster, which go to the node that has their
-- key's slot (redis_nodes.lua, redis_keys.lua), and on to another one when that says so:
-- MOVED (the slot is there now) or ASK (this key is there already). Only what was surely
-- not carried out is sent again.
--
-- Run by redis.lua with the core, what gwrun's modules share, redis_commands.lua,
-- redis_server.lua and a function that runs a further file.
local core, common, commands, open_server, part = ...
local async, null, error = common.async, common.json.null, common.raise.error
local now = common.async.now

local open_nodes = part("redis_nodes", common, open_server)
local new_keys = part("redis_keys", core)

local hops_max = 16 -- times that a command is sent, at most
local patience = 2 -- seconds that it waits in all for a cluster that is not ready
local batch_max = 5000 -- commands of a pipeline for one node in one go, with an ASKING each
local pause_min, pause_max = 0.05, 0.5 -- seconds between two attempts meanwhile

local Cluster = {}
Cluster.__index = Cluster

-- ---- what nodes say ----

-- Errors of a cluster that is not ready: nothing was carried out.
local unready = { tryagain = true, clusterdown = true, loading = true, masterdown = true }

-- What does not get better by itself, though the command never left.
local final = { eacces = true, ecanceled = true, enobufs = true }

-- What an error of server's means: "moved" or "ask" and another node; "wait"; or nil,
-- it is the answer.
local function judge(self, server, message, code, unsent)
  if code == "moved" or code == "ask" then
    local slot, host, port = message:match "^%u+ (%d+) (.*):(%d+)$"
    if not slot then return nil end
    if host == "" or host == "?" then host = server.conf.host end -- that does not know itself
    local place = { host = host, port = math.tointeger(port) }
    if code == "moved" then self.nodes:learn(math.tointeger(slot), place) end
    return code, self.nodes:at(place)
  end
  return (unready[code] or unsent and not final[code]) and "wait" or nil
end

-- A key may be asked for at the node that its slot moves to, a transaction may not.
local function as_whole(message, code)
  if code ~= "ask" then return message, code end
  return "TRYAGAIN Keys of the transaction are on their way to another node", "tryagain"
end

local crossslot = "CROSSSLOT Keys in request don't hash to the same slot"

local function explain(message, code)
  if code == "moved" or code == "ask" then
    return "redis: nodes of the cluster send it from one to the other: " .. message
  end
  if code ~= "crossslot" then return message end
  return message .. "; what belongs together has one {tag} in its keys: {user:1}:name, {user:1}:age"
end

-- A command on its way: how many seconds are left, and whether it may be sent again,
-- which waits a little.
local function new_trip(self, seconds)
  local ends, waited, hops, pause = now() + seconds, 0, 0, pause_min

  local function left() return math.max(ends - now(), 0.001) end

  -- is_ready: the next node is known, and it is sent there at once, a few times.
  local function may_go_on(is_ready)
    hops = hops + 1
    if self.nodes.closed or hops >= hops_max then return false end
    if is_ready and hops <= 3 then return true end
    local seconds_now = pause * (0.5 + math.random() / 2)
    if waited + seconds_now > patience or seconds_now >= left() then return false end
    async.ticket():wait(seconds_now)
    waited, pause = waited + seconds_now, math.min(pause * 2, pause_max)
    if not is_ready then self.nodes:refresh(left()) end
    return not self.nodes.closed
  end
  return left, may_go_on
end

-- Have f(server, seconds left, asking) done by the node that has the slot. f returns
-- reply, message, code, and unsent: nil when the server answered.
local function follow(self, slot, seconds, f)
  local left, may_go_on = new_trip(self, seconds)
  local server, message, code = self.nodes:find(slot, seconds)
  local asking = false
  while server do
    local reply, unsent, step, other
    reply, message, code, unsent = f(server, left(), asking)
    if message == nil then return reply end
    step, other = judge(self, server, message, code, unsent)
    if unsent ~= nil then self.nodes:doubt(server) end
    if step == nil then return nil, explain(message, code), code end
    if step == "wait" and not slot then self.nodes:avoid(server) end
    if not may_go_on(step ~= "wait") then break end
    asking = step == "ask"
    server = other
    if not server then server, message, code = self.nodes:find(slot, left()) end
  end
  return nil, explain(message, code), code
end

-- ---- commands ----

local function call_asking(server, seconds, waits, words)
  local function ask(own)
    local replies, message, code, unsent = own:pipeline(seconds, { { "ASKING" }, words })
    if not replies then return false, nil, message, code, unsent end
    local reply = replies[2]
    if type(reply) == "table" and reply.error then return true, nil, reply.error, reply.code end
    return true, reply ~= null and reply or nil
  end
  if waits then return server:own(seconds, nil, ask) end
  return select(2, ask(server))
end

function Cluster:call(seconds, waits, ...)
  local words = table.pack(...)
  local slot = self.keys:slot_of(words)
  return follow(self, slot, seconds, function(server, left, asking)
    if waits then left = seconds end -- at each node anew
    if asking then return call_asking(server, left, waits, words) end
    local results = table.pack(server:call(left, waits, table.unpack(words, 1, words.n)))
    if results[3] == "moved" then self.keys:learn(words, slot, results[2]) end
    return table.unpack(results, 1, results.n)
  end)
end

-- All keys of a transaction are in one slot: two nodes that send it away for different
-- ones say that they are not.
function Cluster:exec(seconds, batch)
  local slot, moved
  for _, words in ipairs(batch) do slot = slot or self.keys:slot_of(words) end
  return follow(self, slot, seconds, function(server, left)
    local result, message, code, unsent = commands.exec(server.conn, left, batch)
    local where = code == "moved" and message:match "^MOVED (%d+)"
    if where and moved and where ~= moved then return nil, crossslot, "crossslot" end
    moved = where or moved
    message, code = as_whole(message, code)
    return result, message, code, unsent
  end)
end

-- A connection to the node that has the keys' slot. What it says of a key in another one
-- is for the script; when this slot has moved, the transaction begins anew there.
local function bind(own, slot, nodes, server)
  local call = own.call
  function own:call(...)
    local reply, message, code, unsent = call(self, ...)
    if unsent ~= nil then nodes:doubt(server) end
    if code == "moved" and math.tointeger(message:match "^MOVED (%d+)") ~= slot then
      return nil, explain(crossslot, "crossslot"), "crossslot"
    end
    if code == "moved" or code == "ask" or unready[code] then
      self.failure = table.pack(false, nil, as_whole(message, code))
    end
    return reply, message, code, unsent
  end
end

function Cluster:own(seconds, keys, f)
  local slot = core.slot(keys[1])
  return follow(self, slot, seconds, function(server, left)
    return server:own(left, nil, function(own)
      bind(own, slot, self.nodes, server)
      local results = table.pack(pcall(f, own))
      if own.failure then return table.unpack(own.failure, 1, own.failure.n) end
      if not results[1] then error(results[2], 0) end
      results[4], results[5] = as_whole(results[4], results[5])
      return table.unpack(results, 2, results.n)
    end)
  end)
end

-- ---- pipelines ----

-- The commands that are still to be sent, by their nodes; those that it is asked for
-- before it has their slot apart. The core takes so many in one go.
local function group(self, batch, todo, seconds)
  local groups, by_key = {}, {}
  for _, item in ipairs(todo) do
    local server, message, code = item.server
    if not server then
      server, message, code = self.nodes:find(self.keys:slot_of(batch[item.i]), seconds)
    end
    if not server then return nil, message, code end
    local key = server.address .. (item.asking and "?" or "")
    local g = by_key[key]
    if not g or #g.commands >= batch_max then
      g = { server = server, items = {}, commands = {} }
      by_key[key], groups[#groups + 1] = g, g
    end
    if item.asking then g.commands[#g.commands + 1] = { "ASKING" } end
    g.commands[#g.commands + 1] = batch[item.i]
    item.at = #g.commands
    g.items[#g.items + 1] = item
  end
  return groups
end

local function send(g, seconds, results)
  local replies, message, code, unsent = g.server:pipeline(seconds, g.commands)
  for _, item in ipairs(g.items) do
    results[item.i] = replies and replies[item.at] or
      { error = message, code = code, unsent = unsent, is_lost = true }
  end
end

local function send_all(groups, seconds, results)
  if #groups == 1 then return send(groups[1], seconds, results) end
  local list = {}
  for i, g in ipairs(groups) do
    list[i] = function() send(g, seconds, results) end
  end
  async.parallel(table.unpack(list))
end

-- Those of a group that are sent again; whether all may be at once.
local function collect_again(self, g, batch, results, again)
  local is_ready = true
  for _, item in ipairs(g.items) do
    local r = results[item.i]
    local step, other
    if type(r) == "table" and r.error then
      step, other = judge(self, g.server, r.error, r.code, r.unsent)
      if r.unsent ~= nil then self.nodes:doubt(g.server) end
      r.error = explain(r.error, r.code)
    end
    if step == "moved" then
      local words = batch[item.i]
      self.keys:learn(words, self.keys:slot_of(words), r.error)
    elseif step == "wait" and not self.keys:slot_of(batch[item.i]) then
      self.nodes:avoid(g.server)
    end
    if step then
      again[#again + 1] = { i = item.i, server = other, asking = step == "ask" }
      is_ready = is_ready and step ~= "wait"
    end
  end
  return is_ready
end

-- What is wrong with words is said before nodes are sent theirs, each on its own.
local function check_words(batch)
  for _, words in ipairs(batch) do
    for i, word in ipairs(words) do
      if type(word) ~= "string" and type(word) ~= "number" then
        error(("word %d of the redis command is a %s"):format(i, type(word)), 2)
      end
    end
  end
end

-- Unless no node answered, each has its reply or its own failure.
local function conclude(results)
  local last
  for _, r in ipairs(results) do
    if not (type(r) == "table" and r.is_lost) then last = nil break end
    last = r
  end
  if last then return nil, last.error, last.code end
  for i, r in ipairs(results) do
    if type(r) == "table" and r.is_lost then results[i] = { error = r.error, code = r.code } end
  end
  return results
end

function Cluster:pipeline(seconds, batch)
  local left, may_go_on = new_trip(self, seconds)
  local results, todo = {}, {}
  check_words(batch)
  for i = 1, #batch do todo[i] = { i = i } end
  repeat
    local groups, message, code = group(self, batch, todo, left())
    if not groups then return nil, message, code end
    send_all(groups, left(), results)
    local again, is_ready = {}, true
    for _, g in ipairs(groups) do
      is_ready = collect_again(self, g, batch, results, again) and is_ready
    end
    table.sort(again, function(a, b) return a.i < b.i end)
    todo = again
  until #todo == 0 or not may_go_on(is_ready)
  return conclude(results)
end

function Cluster:listener()
  local nodes = self.nodes
  return function(seconds) return nodes:listening(seconds) end
end

function Cluster:close() self.nodes:close() end

-- conf: as for redis_nodes.lua
return function(conf)
  return setmetatable({ nodes = open_nodes(conf), keys = new_keys() }, Cluster)
end

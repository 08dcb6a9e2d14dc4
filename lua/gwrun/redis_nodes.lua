-- Part of gwrun.redis: the nodes of a Redis Cluster, each a server of redis_server.lua,
-- and the table that says which of them has a slot. The nodes say it (CLUSTER SLOTS),
-- first those of the configuration; it is asked for again when it proves wrong.
--
-- Run by redis_cluster.lua with what gwrun's modules share and redis_server.lua.
local common, open_server = ...
local async, null = common.async, common.json.null
local error, now = common.raise.error, common.async.now

local ask_seconds = 1 -- for each node that is asked for the table
local fresh_seconds = 0.5 -- after which a MOVED has it asked for again
local look_seconds = 0.05 -- at least between looks of those who wait for a better one

local Nodes = {}
Nodes.__index = Nodes

local function address_of(place) return place.host .. ":" .. place.port end

local function conf_of(self, place)
  local conf = { host = place.host, port = place.port, tells_unsent = true }
  return setmetatable(conf, { __index = self.conf })
end

-- The node at { host, port }, which need not be one of those known so far.
function Nodes:at(place)
  local address = address_of(place)
  local server = self.servers[address]
  if not server then
    server = open_server(conf_of(self, place))
    server.address = address
    self.servers[address] = server
  end
  return server
end

-- Where the slot is: { host, port }, or nil.
local function owner(self, slot)
  local moved = self.moved[slot]
  if moved then return moved end
  local low, high = 1, #self.ranges
  while low < high do
    local middle = (low + high + 1) // 2
    if self.ranges[middle].first <= slot then low = middle else high = middle - 1 end
  end
  local range = self.ranges[low]
  return range.first <= slot and slot <= range.last and range.master or nil
end

-- The node for what has no key; it stays the same, so that a SCAN sees one node's keys.
local function choose_any(self)
  local any, others = self.any, {}
  for _, master in ipairs(self.masters) do
    if not any or address_of(master) ~= address_of(any) then others[#others + 1] = master end
  end
  if #others > 0 then self.any = others[math.random(#others)] end
end

-- Keep what a node at that host answers: a list of first slot, last slot, and nodes
-- { host, port, … }, the master first. A node that does not know its own address tells
-- none: it is where it was asked.
local function keep_table(self, reply, host)
  local known = {}
  self.ranges, self.masters, self.moved = {}, {}, {}
  for i, entry in ipairs(reply) do
    local name = entry[3][1]
    if name == null or name == "" or name == "?" then name = host end
    local master = { host = name, port = entry[3][2] }
    self.ranges[i] = { first = entry[1], last = entry[2], master = master }
    if not known[address_of(master)] then self.masters[#self.masters + 1] = master end
    known[address_of(master)] = true
  end
  table.sort(self.ranges, function(a, b) return a.first < b.first end)
  for address in pairs(self.servers) do -- those end when nobody waits for them any more
    if not known[address] then self.servers[address] = nil end
  end
  if not (self.any and known[address_of(self.any)]) then choose_any(self) end
end

-- Whom to ask: the masters in any order, then those of the configuration.
local function places(self)
  local list = {}
  for i, master in ipairs(self.masters) do
    table.insert(list, math.random(i), master)
  end
  for i = 1, #self.conf.hosts, 2 do
    list[#list + 1] = { host = self.conf.hosts[i], port = self.conf.hosts[i + 1] }
  end
  return list
end

-- Nothing, or why none of them has told.
local function ask(self)
  local message, code
  for _, place in ipairs(places(self)) do
    if self.closed then return "redis: the connection is closed", "ecanceled" end
    local server = self:at(place)
    local reply
    reply, message, code = server.conn:call(ask_seconds, "CLUSTER", "SLOTS")
    if type(reply) == "table" and #reply > 0 then return keep_table(self, reply, place.host) end
    if reply then message, code = "no slot of the cluster has a node", "clusterdown" end
    local named = message:find "^redis "
    message = named and message or ("redis %s: %s"):format(server.address, message)
  end
  return message, code
end

-- In seconds, also when somebody has put the clock back.
local function since_asked(self) return math.abs(now() - self.asked) end

-- Ask beside whoever runs here; those in self.waiting are told.
local function begin(self)
  if self.asking then return end
  self.asking = true
  async.spawn(function()
    local _ <close> = setmetatable({}, { __close = function()
      local waiting = self.waiting
      self.asking, self.waiting, self.asked = false, {}, now()
      for _, ticket in ipairs(waiting) do ticket:set() end
    end })
    self.message, self.code = "redis: the cluster's nodes were not asked to the end", "etimedout"
    self.message, self.code = ask(self)
  end)
end

-- Wait for a new table, or for why there is none: message, code.
local function wait_for_table(self, seconds)
  local ticket = async.ticket()
  table.insert(self.waiting, ticket)
  begin(self)
  if ticket:wait(math.max(seconds, 0.001)) then return self.message, self.code end
  return "redis: no node of the cluster answers in time", "etimedout"
end

-- Get a better table than the one that has just proved wrong, if there is one.
function Nodes:refresh(seconds)
  if since_asked(self) > look_seconds then wait_for_table(self, seconds) end
end

-- The node for a slot, or for what has none: it, or nil, message, code.
function Nodes:find(slot, seconds)
  if self.closed then error("redis: the connection is closed", 2) end
  if not self.ranges then
    local message, code = wait_for_table(self, seconds)
    if not self.ranges then return nil, message, code end
  end
  return self:at(slot and owner(self, slot) or self.any)
end

-- A node says that the slot is there: { host, port }.
function Nodes:learn(slot, place)
  local known = owner(self, slot)
  if known and address_of(known) == address_of(place) then return end
  self.moved[slot] = place
  if since_asked(self) > fresh_seconds then begin(self) end
end

-- The server is of no use for what has no key.
function Nodes:avoid(server)
  if address_of(self.any) == server.address then choose_any(self) end
end

-- It did not answer: another one may have its place by now.
function Nodes:doubt(server)
  self:avoid(server)
  if since_asked(self) > fresh_seconds then begin(self) end
end

-- How core.open() reaches a node for a subscription, which hears from any of them what
-- is published at any other.
function Nodes:listening(seconds)
  if not self.ranges then
    local message, code = wait_for_table(self, seconds)
    if not self.ranges then return nil, message, code end
  elseif not self.closed and since_asked(self) > fresh_seconds then
    begin(self) -- the node that it had is gone, perhaps
  end
  return conf_of(self, self.masters[math.random(#self.masters)])
end

function Nodes:close()
  self.closed = true
  for _, server in pairs(self.servers) do server:close() end
  self.servers = {}
end

-- conf: as for redis_server.lua, and hosts: of some nodes; host, port, host, port …
return function(conf)
  return setmetatable({
    conf = conf, servers = {}, masters = {}, moved = {}, waiting = {}, asked = 0,
  }, Nodes)
end

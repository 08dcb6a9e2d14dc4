-- The same people, as clients of several protocols, in one cell or spread over three, and
-- callers who run Lua there: what each call returns, and the bytes that everybody gets of it.
local cluster = require "cluster"
local loop = require "loop"
local tcp = require "tcp"
local testbed = require "testbed"

local M = {}
M.__index = M

--- Lua for the names of all calls.
M.CALLS = "local list = {} for name in pairs(Gateway) do list[#list + 1] = name end return table.concat(list, ' ')"

M.listeners = { "websocket", "text", "frame" } -- of each cell, in this order

--- name, listener, the cell (in the world of three), uid and groups.
M.people = {
  { "ann", "websocket", 1, "ann", { "lobby", "two" } },
  { "bob", "text", 2, "shared", { "lobby", "7" } },
  { "cat", "frame", 3, "shared", { "lobby" } },
  { "dan", "websocket", 2, "1001", { "lobby", "房间" } },
  { "eve", "text", 3, "房间", { "two", "solo" } },
  { "fay", "frame", 1, "shared", { "7" } },
  { "gus", "websocket", 3, nil, {} },
  { "sue", "sse", 2, "sue", { "lobby", "two" } },
}

-- Runs the Lua of a line, and answers with what it returns as one line of text in which clients
-- have the names that WHO gives them.
local script = [=[
Events = {}
WHO = {}

local function order(a, b)
  if type(a) == type(b) then return a < b end
  return type(a) < type(b)
end

local function text_of(s)
  local named = s:gsub("%f[%x]" .. ("%x"):rep(20) .. "%f[%X]", WHO)
  named = named:gsub("%d+%.%d+%.%d+%.%d+:%d+", "<gateway>")
  return ("%q"):format(named):gsub("\\\n", "\\n")
end

local function dump(value)
  if type(value) == "string" then return (text_of(value)) end
  if type(value) ~= "table" then return type(value) == "number" and ("%s"):format(value) or tostring(value):match "^[^:]+" end
  local parts, list = {}, #value > 0
  for k, v in pairs(value) do
    parts[#parts + 1] = (list and math.type(k) == "integer") and dump(v) or "[" .. dump(k) .. "]=" .. dump(v)
  end
  table.sort(parts, order) -- which gateway answers first is nobody's promise
  return "{" .. table.concat(parts, ", ") .. "}"
end

function DUMP(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = dump((select(i, ...))) end
  local text = table.concat(parts, ", ")
  return #text > 200000 and text:sub(1, 200) .. "… and " .. #text .. " bytes in all" or text
end

function Events.onConnect(id) Gateway.sendToClient(id, "id " .. id .. "\n") end

local function run(text, id)
  local chunk, message = load(text, "=spec", "t", setmetatable({ me = id }, { __index = _G, __newindex = _G }))
  return chunk and DUMP(pcall(chunk)) or "syntax: " .. message
end

function Events.onRequest(request)
  if request.method == "POST" then return run(request.body) end
  return { stream = "sse" }
end

function Events.onMessage(id, text)
  if text ~= "" then Gateway.sendToClient(id, "=" .. run(text, id)) end
end
]=]

local MARK = "#end of the case#"

-- A client and the bytes that it has got.
local function connect(self, name, listener, cell, uri)
  local sse = listener == "sse"
  local system = self.cells[math.min(cell, #self.cells)]
  local port
  for i, one in ipairs(M.listeners) do
    if one == (sse and "websocket" or listener) then port = system.port[i] end
  end
  local client = tcp.connect(port)
  client.websocket = listener == "websocket"
  if sse then
    client:send "GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
  elseif listener == "websocket" then
    client:send("GET " .. (uri or "/") .. " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      .. "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
  end
  local id
  loop.wait(name .. "'s id", function()
    id = client.data:match("id (" .. ("%x"):rep(20) .. ")\n[\r\n]*")
    return id
  end, 60)
  client.data = client.data:gsub("^.*id " .. id .. "\n[\r\n]*", "")
  self.clients[name], self.ids[name] = client, id
  return client
end

--- cells: how many, with three workers together. options: config, a function that may change each
--- one's; script, more of it; workers, of each.
function M.start(redis, cells, options)
  local self = setmetatable({ redis = redis, cells = {}, clients = {}, ids = {} }, M)
  local gateways = {}
  for i, listen in ipairs(M.listeners) do gateways[i] = { listen = listen, ping_interval = 0 } end
  for i = 1, cells do
    self.cells[i] = testbed.start {
      script = script .. (options and options.script or ""), gateways = gateways,
      workers = { count = options and options.workers or 3 // cells },
      config = function(config)
        config.max_packet = 2 ^ 24 | 0 -- the least, so that what is beyond it is soon made
        if cells > 1 then
          config.cluster = { engine = "unix://" .. redis.path, name = "chat", cell = ("abc"):sub(i, i) }
        end
        if options and options.config then options.config(config) end
      end,
    }
  end
  if cells > 1 then
    for _, cell in ipairs(self.cells) do cluster.wait_up(cell, #M.listeners, 1) end
  end
  return self
end

--- Another client, who is forgotten at the end of the case.
function M:newcomer(name, listener, cell, uri) return connect(self, name, listener, cell, uri) end

function M:forget(name)
  self.clients[name]:close()
  self.clients[name], self.ids[name] = nil, nil
end

-- Lua that tells a worker the names of clients.
local function introduce(self)
  local parts = {}
  for name, id in pairs(self.ids) do parts[#parts + 1] = ("[%q]=%q,[%q]=%q"):format(id, "<" .. name .. ">", name, id) end
  return "WHO={" .. table.concat(parts, ",") .. "} "
end

--- Run Lua in the worker of somebody with a text connection: a function that waits for a line with
--- its results ("gone": the connection has ended). In it `who` has the clients' ids.
function M:ask_later(name, lua)
  local client = self.clients[name]
  client:send(introduce(self) .. "local who = WHO " .. lua:gsub("\n", " ") .. "\n")
  return function()
    local answer
    loop.wait(function() return "an answer to " .. lua .. "\n" .. client.data:sub(1, 2000) end, function()
      local first, last = client.data:find("=[^\n]*\n", client.data:sub(1, 1) == "=" and 1 or nil)
      if not first then return client.ended end
      answer = client.data:sub(first + 1, last - 1)
      client.data = client.data:sub(1, first - 1) .. client.data:sub(last + 1)
      return true
    end, 60)
    return answer or "gone"
  end
end

function M:ask(name, lua) return self:ask_later(name, lua)() end

--- Run Lua in a worker of the cell for nobody: the results.
function M:request(cell, lua)
  local client = tcp.connect(self.cells[math.min(cell, #self.cells)].port[1])
  local body = introduce(self) .. "local who = WHO " .. lua
  client:send(("POST /run HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
  local answer = client:wait_end(60):match "^HTTP/1.1 200 .-\r\n\r\n(.*)$"
  client:close()
  return answer
end

--- Wait until Redis has of every uid and group the gateways that have members of it. name: who is
--- asked which these are; nil: somebody is.
function M:settle(name)
  if #self.cells == 1 then return end
  local function ask(lua) return name and self:ask(name, lua) or self:request(1, lua) end
  local lua = [[
    local list, seen = {}, {}
    local function add(kind, word, id)
      local at = kind .. ":" .. word .. " " .. id:sub(1, 12)
      if not seen[at] then seen[at] = true list[#list + 1] = at end
    end
    for id in pairs(assert(Gateway.getAllClientIdList())) do
      local uid = Gateway.getUidByClientId(id)
      if uid then add("u", uid, id) end
      for _, group in ipairs(Gateway.getGroupsByClientId(id) or {}) do add("g", group, id) end
    end
    table.sort(list)
    return table.concat(list, "|")]]
  local eval = [[
    local list = {}
    for _, kind in ipairs { 'u', 'g' } do
      for _, key in ipairs(redis.call('KEYS', 'chat:' .. kind .. ':*')) do
        for _, at in ipairs(redis.call('HKEYS', key)) do
          local a, b, c, d, port = at:match('(%d+)%.(%d+)%.(%d+)%.(%d+):(%d+)')
          list[#list + 1] = key:sub(6) .. ' ' .. string.format('%02x%02x%02x%02x%04x', a, b, c, d, port)
        end
      end
    end
    table.sort(list)
    return table.concat(list, '|')]]
  local wanted, found
  loop.poll(function() return "Redis to have\n" .. wanted .. "\nand not\n" .. found end, function()
    wanted = ask(lua):match '^true, "(.*)"$'
    found = self.redis:cli("eval", eval, "0"):gsub("\n$", "")
    return wanted == found
  end, 60)
end

-- A websocket that is told to close says so, too.
local function answer_close(client)
  if client.answered or not client.websocket or not client.data:find "\x88[\2-\125]..[%g ]*$" then return end
  client.answered = true
  client:send "\x88\x80\0\0\0\0"
end

--- Everybody's bytes since the last call, by name, once everybody has got what the caller sent
--- before. Of a client that was closed: with the end.
function M:collect(name)
  self:ask(name, ("return Gateway.sendToAll(%q)"):format(MARK))
  local got = {}
  for who, client in pairs(self.clients) do
    local last
    loop.wait(function() return "all of " .. who .. ": " .. client.data:sub(1, 1000) end, function()
      last = select(2, client.data:find(MARK .. "[\r\n]*"))
      if not last then answer_close(client) end
      return last or client.ended
    end, 60)
    got[who] = client.data:sub(1, last or #client.data):gsub("\n:\n\n", "\n"):gsub("^:\n\n", "") -- an event stream's signs of life
    if client.ended then got[who] = got[who] .. "(end)" end
    client.data = last and client.data:sub(last + 1) or ""
  end
  return got
end

--- Everybody connects, gets uid, groups and session. caller: the cell of who asks.
function M:populate(caller)
  connect(self, "caller", "text", caller)
  for _, p in ipairs(M.people) do connect(self, p[1], p[2], p[3]) end
  loop.poll("all to be seen", function()
    return self:ask("caller", "return Gateway.getAllClientIdCount()") == "true, " .. #M.people + 1
  end, 60)
  for _, p in ipairs(M.people) do
    local lines = {
      ("local id = who.%s Gateway.setSession(id, { name = %q, deep = { list = { 1, 2.5, 'x' } } })"):format(p[1], p[1]),
    }
    if p[4] then lines[#lines + 1] = ("Gateway.bindUid(id, %q)"):format(p[4]) end
    for _, group in ipairs(p[5]) do lines[#lines + 1] = ("Gateway.joinGroup(id, %q)"):format(group) end
    self:ask("caller", table.concat(lines, " "))
  end
  local prefix = self.ids.cat:sub(1, 12)
  self.ids.never, self.ids.nowhere = prefix .. "7fffffff", "0a0000630b5400000001"
  self:settle "caller"
  self:collect "caller"
end

--- All are closed, and gone.
function M:disperse()
  for name, client in pairs(self.clients) do
    if name ~= "caller" then client:close() end
  end
  local caller = self.clients.caller
  self.clients, self.ids = { caller = caller }, { caller = self.ids.caller }
  if not caller then return end
  loop.poll("all to be gone", function()
    return self:ask("caller", "return Gateway.getAllClientIdCount()") == "true, 1"
  end, 60)
  self:settle "caller"
  self:forget "caller"
end

function M:stop()
  for _, client in pairs(self.clients) do client:close() end
  for _, cell in ipairs(self.cells) do cell:stop() end
end

return M

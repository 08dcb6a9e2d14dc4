-- The laboratory's clients. Each person lives one life after the other, a
-- connection each; a life numbers its messages and keeps what comes back. Nothing
-- here waits: the pace is a window of messages in flight, and tick() has those go
-- on whose answers were lost.
local uv = require "luv"

local M = {}
M.__index = M

-- To write to a connection that the other side has ended is an error, not our end.
local sigpipe = uv.new_signal()
sigpipe:start "sigpipe"
sigpipe:unref()

local WINDOW = 3
local WINDOW_STUCK = 24 -- in flight at most, however many were lost

local Life = {}
Life.__index = Life

-- The protocols: how a message goes out, and what has come in.
local protocols = {}

protocols.text = {
  open = function(life) life:ready() end,
  pack = function(text) return text .. "\n" end,
  --- The next whole message in life.data, or nil.
  take = function(life)
    local line, after = life.data:match("^([^\n]*)\n()", life.at)
    if line then life.at = after end
    return line
  end,
  bye = function(life) life.socket:shutdown() end,
}

-- A mask of zeros leaves the text as it is.
local function frame(opcode, text)
  local length = #text < 126 and string.char(0x80 | #text) or (">BI2"):pack(0x80 | 126, #text)
  return string.char(0x80 | opcode) .. length .. "\0\0\0\0" .. text
end

protocols.websocket = {
  open = function(life)
    life.socket:write(("GET /?life=%s HTTP/1.1\r\nHost: lab\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      .. "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"):format(life.token))
  end,
  pack = function(text) return frame(1, text) end,
  take = function(life)
    if not life.upgraded then
      local head, after = life.data:match("^(.-\r\n\r\n)()", life.at)
      if not head then return nil end
      if not head:find "^HTTP/1.1 101" then
        life.refused = true
        return nil
      end
      life.upgraded, life.at = true, after
      life:ready()
    end
    while #life.data >= life.at + 1 do
      local first, length = life.data:byte(life.at, life.at + 1)
      local from = life.at + 2
      if length == 126 then
        if #life.data < from + 1 then return nil end
        length, from = (">I2"):unpack(life.data, from)
      end
      if #life.data < from + length - 1 then return nil end
      life.at = from + length
      local payload = life.data:sub(from, from + length - 1)
      if first == 0x81 then return payload end
      if first == 0x89 then life.socket:write(frame(0xA, payload)) end
    end
    return nil
  end,
  bye = function(life) life.socket:write(frame(8, "\x03\xe8")) end,
}

--- The connection is one that messages can be sent on.
function Life:ready()
  self.open = true
  self:fill()
end

--- Ask for an action out of turn.
function Life:ask(action)
  self.sent = self.sent + 1
  if action == "session" then self.stored[self.sent] = true end
  self.crowd.sent = self.crowd.sent + 1
  self.socket:write(self.protocol.pack(("%s %d %s"):format(self.token, self.sent, action)))
end

local function outstanding(life) return life.sent - life.last end

--- Send until the window is full.
function Life:fill(window)
  local crowd = self.crowd
  while self.open and self.id and crowd.busy and not self.leaving and not self.silent
    and outstanding(self) < (window or self.person.window or WINDOW) do
    self:ask(crowd.next_action(self))
  end
end

local function on_message(life, text)
  local crowd = life.crowd
  local number = math.tointeger(tonumber(text:match "^r (%d+)$"))
  if number then
    life.got[number] = (life.got[number] or 0) + 1
    if number < life.last then life.reordered = life.reordered + 1 end
    life.last = math.max(life.last, number)
    life.answers = life.answers + 1
    if life.stored[number] then life.session = math.max(life.session or 0, number) end
    crowd.answers = crowd.answers + 1
    return life:fill()
  end
  local name = text:match "^o (%S+)$"
  if name then
    life.others[name] = (life.others[name] or 0) + 1
    crowd.others = crowd.others + 1
    if crowd.on_other then crowd.on_other(life, name) end
    return
  end
  life.id = assert(text:match "^hello (%x+)$", text)
  crowd.by_id[life.id] = life
  life:fill()
end

local function ended(life, how)
  if life.ended ~= "open" then return end
  local crowd = life.crowd
  life.open = false
  life.ended = life.leaving or (how == "end" and "lost")
  if life.ended == "lost" then life.excused = crowd.excuse(life) end
  if not life.id and life.sent == 0 then crowd.lives[life.token] = nil end -- nobody heard of it
  crowd.present = crowd.present - 1
  if crowd.on_end then crowd.on_end(life) end
  if not life.socket:is_closing() then life.socket:close() end
  life.person.life = nil
end

local function read(life, data)
  life.data = life.data:sub(life.at) .. data
  life.at = 1
  while life.ended == "open" do
    local text = life.protocol.take(life)
    if not text then break end
    on_message(life, text)
  end
  if life.refused then ended(life, "end") end
end

--- Read, at first or after a pause.
function Life:read_on()
  if self.ended ~= "open" then return end
  self.socket:read_start(function(_, data)
    if data then read(self, data) else ended(self, "end") end
  end)
end

local function begin(crowd, person)
  crowd.births = crowd.births + 1
  local life = setmetatable({
    crowd = crowd, person = person, protocol = protocols[person.protocol],
    token = ("%s.%d"):format(person.name, crowd.births),
    sent = 0, last = 0, answers = 0, got = {}, others = {}, stored = {}, reordered = 0, ended = "open",
    data = "", at = 1, socket = uv.new_tcp(),
  }, Life)
  crowd.lives[life.token], person.life = life, life
  crowd.present = crowd.present + 1
  life.socket:connect(person.host, person.port, function(err)
    if err then return ended(life, "end") end
    life:read_on()
    life.protocol.open(life)
  end)
end

--- options:
---   people       list of { name, host, port, protocol }, and what excuse() knows
---   next_action  function(life) that returns what a message asks for
---   excuse       function(life): whether a fault explains that its connection ended
---   on_other     function(life, name), when a send with a name has come; may be nil
---   on_end       function(life), when its connection has ended; may be nil
function M.new(options)
  local self = setmetatable({
    people = options.people, next_action = options.next_action, excuse = options.excuse,
    on_other = options.on_other, on_end = options.on_end,
    lives = {}, by_id = {}, births = 0, present = 0, sent = 0, answers = 0, others = 0, busy = false,
  }, M)
  self.timer = uv.new_timer()
  self.timer:start(50, 50, function() self:tick() end)
  return self
end

--- Those without a life get one, those that got nothing since the last tick go on.
function M:tick()
  if not self.busy then return end
  for _, person in ipairs(self.people) do
    local life = person.life
    if not life then
      begin(self, person)
    elseif life.last == life.last_at_tick then
      life:fill(math.min(outstanding(life) + 1, life.person.window or WINDOW_STUCK))
    end
    if life then life.last_at_tick = life.last end
  end
end

--- A living life, chosen by random(n); nil when there is none.
function M:anyone(random)
  local list = {}
  for _, person in ipairs(self.people) do
    if person.life and person.life.id and not person.life.leaving then list[#list + 1] = person.life end
  end
  return #list > 0 and list[random(#list)] or nil
end

--- End a life in the middle of its messages: "reset", or in order for its protocol.
function M.leave(life, how)
  life.leaving = "abrupt"
  if how == "reset" then
    life.socket:close_reset(function() end)
    ended(life)
  else
    life.protocol.bye(life)
  end
end

--- Everybody's connection is reset, and all come back at once with `count` others,
--- who stay until the round ends.
function M:stampede(count)
  local usual = #self.people
  for i = 1, count do
    local person = {}
    for k, v in pairs(self.people[i % usual + 1]) do person[k] = v end
    person.name, person.life, person.guest = person.name .. "g" .. i, nil, true
    self.people[#self.people + 1] = person
  end
  for _, person in ipairs(self.people) do
    if person.life then M.leave(person.life, "reset") end
  end
  self:tick()
end

--- No more messages.
function M:hush() self.busy = false end

--- Everybody goes, in order; present becomes 0.
function M:dismiss()
  for _, person in ipairs(self.people) do
    local life = person.life
    if life and life.id then
      life.leaving = "orderly"
      life.protocol.bye(life)
    elseif life then
      life.leaving = "abrupt"
      ended(life)
    end
  end
end

--- A new page of history: those who went are forgotten, others come.
function M:forget()
  self.lives, self.by_id = {}, {}
  for i = #self.people, 1, -1 do
    if self.people[i].guest then table.remove(self.people, i) end
  end
  self.busy = true
end

function M:close()
  self:hush()
  self.timer:close()
  for _, person in ipairs(self.people) do
    if person.life then
      person.life.leaving = "abrupt"
      ended(person.life)
    end
  end
end

return M

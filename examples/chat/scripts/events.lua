-- A chat with accounts: rooms, private messages, history. 有账号的聊天室。
-- Clients send { type = "say", … }, which calls actions.say. README.md lists
-- what goes over the wire.
local json = require "gwrun.json"
local shared = require "gwrun.shared"
local db = require "database"
local people = require "people"

Events = {}

local HISTORY = 50 -- messages shown on entering
local TEXT_MAX = 2000 -- letters of a message
local ROOM_MAX = 40 -- letters of a room's name
local ROOMS_MAX = 20 -- that one connection is in
local LOGINS, LOGIN_SECONDS = 10, 60 -- attempts from one address
local MESSAGES, MESSAGE_SECONDS = 20, 10 -- of one person

local function send(client_id, packet) Gateway.sendToClient(client_id, json.encode(packet)) end

local function refuse(client_id, reason) send(client_id, { type = "refused", reason = reason }) end

-- Whether it happened too often; counted for all workers of this machine. What
-- cannot be counted (the table may be full) counts as too often.
local function too_often(what, limit, seconds)
  local count = shared.incr(what, 1, seconds)
  return not count or count > limit
end

local function is_text(value, max)
  local length = type(value) == "string" and utf8.len(value)
  return length and length >= 1 and length <= max
end

local function room_place(room) return "room:" .. room end

-- The same place whoever of the two speaks.
local function pair_place(a, b) return ("pair:%d:%d"):format(math.min(a, b), math.max(a, b)) end

-- The last messages of a place, oldest first.
local function history(place)
  local rows = assert(db:query([[
    SELECT m.id, p.name AS `from`, m.text, m.time FROM messages m JOIN people p ON p.id = m.sender
    WHERE m.place = ? ORDER BY m.id DESC LIMIT ?]], { place, HISTORY }))
  local list = json.array {}
  for i = #rows, 1, -1 do list[#list + 1] = rows[i] end
  return list
end

-- Keep a message and return the packet that shows it.
local function record(kind, place, text, recipient)
  local time = os.time()
  local row = { place = place, sender = _SESSION.id, text = text, time = time }
  row.recipient = recipient
  local id = assert(db:insert("messages"):cols(row):query())
  return { type = kind, id = id, from = _SESSION.name, text = text, time = time }
end

-- Names of those in a room, each once.
local function names_in(place)
  local seen, names = {}, json.array {}
  for _, session in pairs(Gateway.getClientSessionsByGroup(place) or {}) do
    if session.name and not seen[session.name] then
      seen[session.name] = true
      names[#names + 1] = session.name
    end
  end
  table.sort(names)
  return names
end

-- Whom this person wrote to or got messages from, the last one first.
local function partners(id)
  return json.array(assert(db:column([[
    SELECT p.name FROM (
      SELECT sender AS person, id FROM messages WHERE recipient = :id
      UNION ALL SELECT recipient, id FROM messages WHERE sender = :id AND recipient IS NOT NULL
    ) m JOIN people p ON p.id = m.person
    GROUP BY p.id, p.name ORDER BY MAX(m.id) DESC LIMIT 20]], { id = id })))
end

-- Let the person in, or say why not.
local function enter(client_id, person, reason)
  if not person then return refuse(client_id, reason) end
  local welcome = { type = "welcome", name = person.name }
  welcome.token, welcome.partners = people.token(person), partners(person.id)
  _SESSION.id, _SESSION.name = person.id, person.name
  Gateway.bindUid(client_id, person.id) -- private messages reach all their windows
  send(client_id, welcome)
end

-- The same for who gives a name and a password.
local function try(client_id, find, packet)
  if too_often("login:" .. _SERVER.REMOTE_ADDR, LOGINS, LOGIN_SECONDS) then
    return refuse(client_id, "too_often")
  end
  enter(client_id, find(packet.name, packet.password))
end

local function position(list, value)
  for i, v in ipairs(list) do
    if v == value then return i end
  end
end

-- Tell a room that somebody left, unless another window of theirs is there.
local function tell_left(room, session)
  local place = room_place(room)
  local uids = Gateway.getUidListByGroup(place) or {}
  if uids[tostring(session.id)] then return end
  Gateway.sendToGroup(place, json.encode { type = "left", room = room, name = session.name })
end

-- What anybody can ask for …
local guest = {}

function guest.ping(client_id) send(client_id, { type = "pong" }) end

function guest.register(client_id, packet) try(client_id, people.register, packet) end

function guest.login(client_id, packet) try(client_id, people.login, packet) end

function guest.resume(client_id, packet) enter(client_id, people.resume(packet.token)) end

-- … and what those can who are logged in.
local member = { ping = guest.ping }

function member.join(client_id, packet)
  local room = packet.room
  if not is_text(room, ROOM_MAX) then return refuse(client_id, "bad_room") end
  local rooms = _SESSION.rooms or {}
  local place = room_place(room)
  if not position(rooms, room) then
    if #rooms >= ROOMS_MAX then return refuse(client_id, "too_many_rooms") end
    rooms[#rooms + 1] = room
    _SESSION.rooms = rooms
    Gateway.sendToGroup(place, json.encode { type = "joined", room = room, name = _SESSION.name })
  end
  -- Joined first, so that nothing is missed; the page drops what it gets twice.
  Gateway.joinGroup(client_id, place)
  send(client_id, {
    type = "history", room = room, messages = history(place), names = names_in(place),
  })
end

function member.leave(client_id, packet)
  local at = position(_SESSION.rooms or {}, packet.room)
  if not at then return refuse(client_id, "bad_room") end
  table.remove(_SESSION.rooms, at)
  Gateway.leaveGroup(client_id, room_place(packet.room))
  tell_left(packet.room, _SESSION)
end

function member.say(client_id, packet)
  local room = packet.room
  if not position(_SESSION.rooms or {}, room) then return refuse(client_id, "bad_room") end
  if not is_text(packet.text, TEXT_MAX) then return refuse(client_id, "bad_text") end
  if too_often("say:" .. _SESSION.id, MESSAGES, MESSAGE_SECONDS) then
    return refuse(client_id, "too_often")
  end
  local message = record("say", room_place(room), packet.text)
  message.room = room
  Gateway.sendToGroup(room_place(room), json.encode(message))
end

-- Open a conversation with one person.
function member.talk(client_id, packet)
  local other, reason = people.find(packet.with)
  if not other then return refuse(client_id, reason) end
  local place = pair_place(_SESSION.id, other.id)
  send(client_id, { type = "history", with = other.name, messages = history(place) })
end

function member.tell(client_id, packet)
  if not is_text(packet.text, TEXT_MAX) then return refuse(client_id, "bad_text") end
  if too_often("say:" .. _SESSION.id, MESSAGES, MESSAGE_SECONDS) then
    return refuse(client_id, "too_often")
  end
  local other, reason = people.find(packet.to)
  if not other then return refuse(client_id, reason) end
  local message = record("tell", pair_place(_SESSION.id, other.id), packet.text, other.id)
  message.to = other.name
  Gateway.sendToUid({ _SESSION.id, other.id }, json.encode(message))
end

function Events.onMessage(client_id, message)
  local packet = json.decode(message)
  local actions = _SESSION.id and member or guest
  local action = type(packet) == "table" and actions[packet.type]
  if not action then return refuse(client_id, "unknown") end
  local ok, problem = xpcall(action, debug.traceback, client_id, packet)
  if not ok then -- the page should not wait for ever; gwrun logs and counts it
    refuse(client_id, "failed")
    error(problem, 0)
  end
end

function Events.onClose(_, info)
  local session = info.session or {}
  for _, room in ipairs(session.rooms or {}) do tell_left(room, session) end
end

-- The chat demo: everything that happens to a client calls a function here.
-- 聊天示例:客户端的每个事件都会调用这里的一个函数。
-- Edit it and run "gwrun reload": nobody is disconnected.
local cjson = require "cjson" -- numbers become floats of 14 digits; gwrun.json keeps integers
local cjson_safe = require "cjson.safe" -- decode() gives nil instead of an error

Events = {}

local NAME_MAX = 64 -- bytes of a name or a room

-- A name or room that a client sent, or nil. Groups cannot be called "0".
local function short_text(value)
  if type(value) ~= "string" or #value > NAME_MAX then return nil end
  return value ~= "" and value ~= "0" and value or nil
end

-- What everybody gets is JSON: who, what to show, and details for the page.
local function notice(kind, client_id, message, details)
  local packet = details or {}
  packet.type, packet.client_id, packet.message = kind, client_id, message
  packet.name, packet.time = _SESSION.name, os.time()
  return cjson.encode(packet)
end

local function display_name(client_id) return _SESSION.name or client_id end

-- What the page can ask for: { "type": "join", … } calls actions.join.
local actions = {}

-- The page's heartbeat.
function actions.ping(client_id)
  Gateway.sendToClient(client_id, notice("pong", client_id, "pong"))
end

function actions.online(client_id)
  local details = { online = Gateway.getAllClientIdCount() }
  Gateway.sendToClient(client_id, notice("online", client_id, "online", details))
end

-- Say who you are, and enter a room if one is named.
function actions.join(client_id, packet)
  local room = short_text(packet.room)
  _SESSION.name = short_text(packet.name) -- kept with the connection
  if not room then return end
  Gateway.joinGroup(client_id, room)
  local message = display_name(client_id) .. " 加入了 joined " .. room
  Gateway.sendToGroup(room, notice("join", client_id, message, { room = room }))
end

-- Speak to a room, or to everybody.
function actions.say(client_id, packet)
  local text, room = packet.text, short_text(packet.room)
  if type(text) ~= "string" or text == "" then return end
  local details = { text = text, data = text, room = room }
  local message = notice("say", client_id, display_name(client_id) .. "说: " .. text, details)
  if room then
    Gateway.sendToGroup(room, message)
  else
    Gateway.sendToAll(message)
  end
end

function Events.onConnect(client_id)
  print("【新的客户端链接】 new client: client_id:" .. client_id)
  local online = Gateway.getAllClientIdCount() -- waits; other clients go on
  Gateway.sendToClient(client_id, notice("hello", client_id, "hello", { online = online }))
  local message = "欢迎" .. client_id .. "登录! welcome"
  Gateway.sendToAll(notice("welcome", client_id, message, { online = online }))
end

-- JSON from the page, or a plain line from telnet, which is said to everybody.
function Events.onMessage(client_id, message)
  if message == "" or message == "心跳" then return end -- 心跳: heartbeat
  if not utf8.len(message) then return end -- browsers would hang up on us
  local packet = cjson_safe.decode(message)
  local action = type(packet) == "table" and actions[packet.type]
  if not action then
    action, packet = actions.say, { text = message }
  end
  action(client_id, packet)
end

function Events.onClose(client_id)
  local online = Gateway.getAllClientIdCount()
  local message = display_name(client_id) .. " 退出了! has left"
  Gateway.sendToAll(notice("leave", client_id, message, { online = online }))
end

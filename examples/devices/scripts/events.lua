-- Devices report what they measure, operators watch and send commands. 设备监控。
-- Both send { type = "report", … }, which calls device.report or operator.…
local crypto = require "gwrun.crypto"
local json = require "gwrun.json"
local shared = require "gwrun.shared"
local keys = require "keys"

Events = {}

local LOGIN_SECONDS = 10 -- a connection that has not logged in by then is closed
local LOGINS = 60 -- attempts a minute from one address
local NAME_MAX = 32 -- bytes of a value's or command's name
local VALUES_MAX = 16 -- of one report

local function is_key(key, given)
  return key ~= nil and type(given) == "string" and crypto.equal(key, given)
end

local function is_name(name) return type(name) == "string" and name ~= "" and #name <= NAME_MAX end

local function send(client_id, packet) Gateway.sendToClient(client_id, json.encode(packet)) end

local function tell_operators(packet) Gateway.sendToGroup("operators", json.encode(packet)) end

local function uid_of(device) return "device:" .. device end

local function refuse(client_id, reason)
  Gateway.closeClient(client_id, json.encode { type = "refused", reason = reason })
end

-- What operators see of a device; its last report lies in its session.
local function state_of(device, session)
  local online = session ~= nil
  return {
    type = "device", device = device, online = online,
    values = online and session.values or nil, time = online and session.time or nil,
  }
end

-- What anybody can ask for.
local guest = {}

function guest.login(client_id, packet)
  local attempts = shared.incr("login:" .. _SERVER.REMOTE_ADDR, 1, 60)
  if not attempts or attempts > LOGINS then -- nil: the table is full
    return refuse(client_id, "too_often")
  end
  if packet.device == nil and is_key(keys.operator, packet.key) then
    _SESSION.role = "operator"
    Gateway.bindUid(client_id, "operator")
    Gateway.joinGroup(client_id, "operators")
    local online = {}
    for _, session in pairs(Gateway.getClientSessionsByGroup "devices" or {}) do
      online[session.device] = session
    end
    for device in pairs(keys.devices) do send(client_id, state_of(device, online[device])) end
    return
  end
  local device = packet.device
  if not is_name(device) or not is_key(keys.devices[device], packet.key) then
    return refuse(client_id, "wrong")
  end
  -- It lost its connection before we noticed: the new one takes over.
  for _, other in ipairs(Gateway.getClientIdByUid(uid_of(device)) or {}) do
    refuse(other, "replaced")
  end
  _SESSION.role, _SESSION.device, _SESSION.time = "device", device, os.time()
  Gateway.bindUid(client_id, uid_of(device))
  Gateway.joinGroup(client_id, "devices")
  send(client_id, { type = "welcome" })
  tell_operators(state_of(device, _SESSION))
end

local device = {}

-- { values = { temperature = 21.5, … } }; also the device's heartbeat.
function device.report(client_id, packet)
  local values, count = {}, 0
  for name, value in pairs(type(packet.values) == "table" and packet.values or {}) do
    count = count + 1
    if not is_name(name) or type(value) ~= "number" or count > VALUES_MAX then
      return refuse(client_id, "bad_report")
    end
    values[name] = value
  end
  _SESSION.values, _SESSION.time = values, os.time()
  tell_operators(state_of(_SESSION.device, _SESSION))
end

-- The answer to a command.
function device.done(client_id, packet)
  if math.type(packet.id) ~= "integer" then return refuse(client_id, "bad_answer") end
  tell_operators {
    type = "done", id = packet.id, device = _SESSION.device, ok = packet.ok == true,
  }
end

local operator = {}

-- The page's heartbeat.
function operator.ping(client_id) send(client_id, { type = "pong" }) end

-- { device =, name =, value = }: on to the device, and all operators see it.
function operator.command(client_id, packet)
  local to, name, value = packet.device, packet.name, packet.value
  if not is_name(to) or not keys.devices[to] or not is_name(name) or type(value) ~= "number" then
    return refuse(client_id, "bad_command")
  end
  local id = assert(shared.incr "commands")
  local command = { type = "command", id = id, name = name, value = value }
  if Gateway.isUidOnline(uid_of(to)) then
    Gateway.sendToUid(uid_of(to), json.encode(command))
  else
    command.offline = true
  end
  command.device = to
  tell_operators(command)
end

local actions = { device = device, operator = operator }

function Events.onConnect(client_id)
  Timer.once(LOGIN_SECONDS, function()
    -- Bound when it logged in; nil and a message when the gateway did not answer.
    local uid, problem = Gateway.getUidByClientId(client_id)
    if not uid and not problem then refuse(client_id, "too_late") end
  end)
end

function Events.onMessage(client_id, message)
  local packet = json.decode(message)
  local action = type(packet) == "table" and (actions[_SESSION.role] or guest)[packet.type]
  if not action then return refuse(client_id, "unknown") end
  action(client_id, packet)
end

function Events.onClose(_, info)
  local session = info.session or {}
  if session.role ~= "device" then return end
  if Gateway.isUidOnline(info.uid) then return end -- it is back already
  local state = state_of(session.device, nil)
  state.time, state.reason = os.time(), info.cause
  tell_operators(state)
end

-- Devices send lines of JSON. The first one says who it is:
--   {"device":"pump-7","proof":"…"}
-- where proof is the device's own key: what scripts/key.lua prints for its name. All
-- later ones are what it measures: {"temperature":21.5}. Commands come as lines, too.
local crypto = require "gwrun.crypto"
local json = require "gwrun.json"

Events = {}

local LOGIN_SECONDS = 10 -- a connection that has not said who it is by then is closed
local NAME = "^[%w_-]+$"

local file = assert(io.open "conf/device-key")
local key = assert(file:read "l", "conf/device-key is empty")
file:close()

local function tell_operators(packet) Gateway.sendToGroup("operators", json.encode(packet)) end

local function refuse(client_id, reason)
  Gateway.closeClient(client_id, json.encode { refused = reason })
end

local function login(client_id, packet)
  local name, proof = packet.device, packet.proof
  if type(name) ~= "string" or #name > 64 or not name:find(NAME) or type(proof) ~= "string"
    or not crypto.equal(proof, crypto.hmac("sha256", key, name)) then
    return refuse(client_id, "unknown")
  end
  -- It lost its connection before we noticed: the new one takes over.
  for _, other in ipairs(Gateway.getClientIdByUid("device:" .. name) or {}) do
    refuse(other, "replaced")
  end
  _SESSION.device = name
  Gateway.bindUid(client_id, "device:" .. name)
  Gateway.joinGroup(client_id, "devices")
  tell_operators { device = name, online = true }
end

function Events.onConnect(client_id)
  Timer.once(LOGIN_SECONDS, function()
    local session = Gateway.getSession(client_id)
    if session and not session.device then refuse(client_id, "who are you") end
  end)
end

function Events.onMessage(client_id, line)
  local packet = json.decode(line)
  if type(packet) ~= "table" then return refuse(client_id, "not JSON") end
  if not _SESSION.device then return login(client_id, packet) end
  tell_operators { device = _SESSION.device, values = packet }
end

function Events.onClose()
  local name = _SESSION.device
  if name and not Gateway.isUidOnline("device:" .. name) then
    tell_operators { device = name, online = false }
  end
end

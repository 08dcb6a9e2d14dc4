-- Operators' pages hear all that devices tell, and send commands:
--   {"device":"pump-7","command":"stop"}
local json = require "gwrun.json"

Events = {}

local function devices()
  local list = json.array {}
  for _, session in pairs(assert(Gateway.getClientSessionsByGroup "devices")) do
    list[#list + 1] = session.device
  end
  table.sort(list)
  return list
end

function Events.onConnect(client_id)
  Gateway.joinGroup(client_id, "operators")
  Gateway.sendToClient(client_id, json.encode { devices = devices() })
end

function Events.onMessage(client_id, message)
  local packet = json.decode(message)
  if type(packet) ~= "table" or type(packet.device) ~= "string" then return end
  local uid = "device:" .. packet.device
  if Gateway.isUidOnline(uid) then
    Gateway.sendToUid(uid, json.encode { command = packet.command })
  else
    Gateway.sendToClient(client_id, json.encode { device = packet.device, online = false })
  end
end

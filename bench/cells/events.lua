-- The same as node.js, in a cell.
local json = require "gwrun.json"

Events = {}

function Events.onWebSocketConnect(client_id, request)
  local uid, room = request.get.uid, request.get.room
  if uid then Gateway.bindUid(client_id, uid) end
  if room then Gateway.joinGroup(client_id, room) end
end

function Events.onMessage(_, message)
  local event, to, text = table.unpack(json.decode(message))
  if event == "uid" then
    Gateway.sendToUid(to, json.encode { "m", text })
  elseif event == "room" then
    Gateway.sendToGroup(to, json.encode { "m", text })
  else
    Gateway.sendToAll(json.encode { "m", to })
  end
end

-- Everything that happens to a client calls a function here. The events of one
-- client come one at a time; what waits (Timer.sleep, a query) holds up no other.
Events = {}

local NAME_MAX = 40 -- bytes

-- What the page asked for as ?name=…: never trust it.
local function clean_name(name)
  if type(name) ~= "string" or name == "" or #name > NAME_MAX then return "somebody" end
  return utf8.len(name) and name or "somebody" -- browsers hang up on what is no UTF-8
end

function Events.onWebSocketConnect(_, request)
  _SESSION.name = clean_name(request.get.name) -- kept with the connection
  Gateway.sendToAll(_SESSION.name .. " is here")
end

function Events.onMessage(_, message)
  if utf8.len(message) then Gateway.sendToAll(_SESSION.name .. ": " .. message) end
end

function Events.onClose()
  if _SESSION.name then Gateway.sendToAll(_SESSION.name .. " has left") end
end

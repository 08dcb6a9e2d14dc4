-- The most it can do with one: send it to everybody.
Events = {}

function Events.onMessage(_, message)
  Gateway.sendToAll(message)
end

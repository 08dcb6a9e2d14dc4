-- The least a script can do with a message: send it back.
Events = {}

function Events.onMessage(_, message)
  Gateway.sendToCurrentClient(message)
end

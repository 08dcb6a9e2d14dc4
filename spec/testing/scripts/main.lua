local helper = require "helping"
Events = {}
function Events.onMessage(client_id, text) Gateway.sendToClient(client_id, helper(text)) end

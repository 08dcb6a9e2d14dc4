-- Modules that have the names of files of gwrun's own.
local names = { "gateway", "prelude", "globals", "gwrun.misspelt", "gwrun.raise" }
Events = {}
function Events.onMessage(client_id)
  for i, name in ipairs(names) do names[i] = require(name).name end
  Gateway.sendToClient(client_id, table.concat(names, " "))
end

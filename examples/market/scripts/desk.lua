-- The desk, one line a command: "halt EURUSD", "resume EURUSD". What it says
-- reaches those who watch, although another kind of workers serves them.
local json = require "gwrun.json"
local shared = require "gwrun.shared"

Events = {}

local commands = {}

function commands.halt(symbol) shared.set("halted:" .. symbol, 1) end

function commands.resume(symbol) shared.set("halted:" .. symbol, nil) end

function Events.onMessage(client_id, line)
  local command, symbol = line:match "^(%w+) (%w+)$"
  if not commands[command] then
    return Gateway.sendToClient(client_id, "halt SYMBOL, or resume SYMBOL")
  end
  commands[command](symbol)
  Gateway.sendToGroup("quotes:" .. symbol, json.encode { type = command, symbol = symbol })
  Gateway.sendToClient(client_id, "done")
end

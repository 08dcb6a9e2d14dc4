-- Those who watch: {"watch":"EURUSD"} gives the last quote, then every new one.
local json = require "gwrun.json"
local shared = require "gwrun.shared"

Events = {}

function Events.onMessage(client_id, message)
  local ok, wish = pcall(json.decode, message)
  if not ok or type(wish) ~= "table" or type(wish.watch) ~= "string" then return end
  local price = shared.get("price:" .. wish.watch)
  Gateway.joinGroup(client_id, "quotes:" .. wish.watch)
  if price then
    local quote = json.encode { type = "quote", symbol = wish.watch, price = price }
    Gateway.sendToClient(client_id, quote)
  end
end

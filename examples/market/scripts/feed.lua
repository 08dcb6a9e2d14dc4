-- Publishes a quote of each symbol a second: a program that the master keeps
-- running. relay.lua listens to an exchange instead. 行情推送。
local json = require "gwrun.json"
local shared = require "gwrun.shared"

local function publish(symbol)
  if shared.get("halted:" .. symbol) then return end
  local price = (shared.get("price:" .. symbol) or 100.0) + math.random(-100, 100) / 100
  shared.set("price:" .. symbol, price) -- for who comes later, and for this program after a restart
  local quote = json.encode { type = "quote", symbol = symbol, price = price }
  Gateway.sendToGroup("quotes:" .. symbol, quote)
end

for _, symbol in ipairs(arg) do
  Timer.add(1, function() publish(symbol) end)
end

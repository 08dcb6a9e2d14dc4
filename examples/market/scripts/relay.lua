-- Relays a feed of quotes: one connection to an exchange, for all who watch here. A
-- program that the master keeps running; its arguments are the feed's url and the
-- symbols. 行情转发。
--
-- A feed may say a thousand prices a second of a symbol. Nobody can read that: the
-- last one of each goes out, four times a second. What is kept is one price for each
-- symbol that the arguments name, whatever the feed sends.
local json = require "gwrun.json"
local shared = require "gwrun.shared"

local url, symbols = arg[1], { table.unpack(arg, 2) }
local silence = tonumber(os.getenv "MARKET_SILENCE") or 30 -- seconds; then connect anew

local latest = {} -- by symbol; false: nothing new
for _, symbol in ipairs(symbols) do latest[symbol] = false end

local refused = 0

-- {"symbol":"EURUSD","price":1.08}, or nil: what a feed says is not to be trusted.
local function quote_of(message)
  local ok, quote = pcall(json.decode, message)
  if not ok or type(quote) ~= "table" or latest[quote.symbol] == nil then return nil end
  local price = quote.price
  if type(price) ~= "number" or not (price > 0 and price < 1e12) then return nil end
  return quote.symbol, price
end

local function publish()
  for _, symbol in ipairs(symbols) do
    local price = latest[symbol]
    if price and not shared.get("halted:" .. symbol) then
      latest[symbol] = false
      shared.set("price:" .. symbol, price) -- for who comes later
      local quote = json.encode { type = "quote", symbol = symbol, price = price }
      Gateway.sendToGroup("quotes:" .. symbol, quote)
    end
  end
end

-- One line a minute, however much nonsense comes.
local function complain()
  if refused > 0 then Log.warn(("the feed said %d things that are no quotes"):format(refused)) end
  refused = 0
end

Websocket.feed(url, {
  timeout = silence,
  connect_timeout = 5,
  max_message = 64 * 1024,
  min_wait = 0.2,
  max_wait = 10,
  onOpen = function(ws) ws:send(json.encode { subscribe = symbols }) end,
  onMessage = function(_, message)
    local symbol, price = quote_of(message)
    if symbol then latest[symbol] = price else refused = refused + 1 end
  end,
})
Timer.add(0.25, publish)
Timer.add(60, complain)

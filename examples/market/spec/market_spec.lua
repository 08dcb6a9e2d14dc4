-- The market without a network: run "gwrun test".
local testing = require "gwrun.testing"

describe("the market", function()
  local app

  before_each(function()
    app = testing.start {
      gateways = { { workers = "Quotes" }, { listen = "text", workers = "Desk" } },
      workers = {
        { name = "Quotes", script = "scripts/quotes.lua", count = 2 },
        { name = "Desk", script = "scripts/desk.lua" },
      },
      programs = { { name = "feed", file = "scripts/feed.lua", args = { "EURUSD", "XAUUSD" } } },
    }
  end)

  after_each(function() app:stop() end)

  local function watch(symbol)
    local client = app:connect { workers = "Quotes" }
    client:send { watch = symbol }
    return client
  end

  it("publishes a quote a second to those who watch the symbol", function()
    local euro, gold = watch "EURUSD", watch "XAUUSD"
    app:advance(3)
    local quotes = euro:json()
    assert.equal(3, #quotes)
    for _, quote in ipairs(quotes) do
      assert.same({ "quote", "EURUSD", "number" }, { quote.type, quote.symbol, type(quote.price) })
    end
    assert.equal(3, #gold:json())
  end)

  it("gives the last quote to who comes late", function()
    local early = watch "EURUSD"
    app:advance(1)
    local late = watch "EURUSD"
    assert.same(early:json(), late:json())
  end)

  it("stops while the desk has halted it", function()
    local client, desk = watch "EURUSD", app:connect { workers = "Desk" }
    desk:send "halt EURUSD"
    assert.equal("done", desk:last())
    app:advance(5)
    assert.same({ { type = "halt", symbol = "EURUSD" } }, client:json())
    desk:send "resume EURUSD"
    app:advance(1)
    local messages = client:json()
    assert.same({ "resume", "quote" }, { messages[1].type, messages[2].type })
    desk:send "sell everything"
    assert.equal("halt SYMBOL, or resume SYMBOL", desk:last())
  end)

  it("goes on from where it was when the feed begins again", function()
    local client = watch "EURUSD"
    app:advance(1)
    local before = client:json()[1].price
    assert.is_true(app:reload())
    app:advance(1)
    assert.is_true(math.abs(client:json()[1].price - before) <= 1)
  end)
end)

describe("the relay", function()
  local app, server

  before_each(function()
    server = testing.websocket()
    app = testing.start {
      gateways = { { workers = "Quotes" }, { listen = "text", workers = "Desk" } },
      workers = {
        { name = "Quotes", script = "scripts/quotes.lua" },
        { name = "Desk", script = "scripts/desk.lua" },
      },
      programs = { { name = "relay", file = "scripts/relay.lua",
        args = { "wss://feed.example.com/prices", "EURUSD", "XAUUSD" } } },
      websocket = server,
    }
  end)

  after_each(function() app:stop() end)

  local function watch(symbol)
    local client = app:connect { workers = "Quotes" }
    client:send { watch = symbol }
    return client
  end

  local function say(symbol, price)
    local conn = server.connections[#server.connections]
    conn:say(('{"symbol":"%s","price":%s}'):format(symbol, price))
  end

  it("subscribes, and sends the last price of each symbol", function()
    local euro, gold = watch "EURUSD", watch "XAUUSD"
    assert.equal('{"subscribe":["EURUSD","XAUUSD"]}', server.connections[1]:last())
    for i = 1, 1000 do say("EURUSD", i) end
    app:advance(0.25)
    assert.same({ { type = "quote", symbol = "EURUSD", price = 1000 } }, euro:json())
    assert.same({}, gold:json())
    app:advance(1)
    assert.same({}, euro:json())
    say("XAUUSD", 7)
    app:advance(0.25)
    assert.equal(7, gold:json()[1].price)
    assert.equal(1000, watch("EURUSD"):json()[1].price)
  end)

  it("takes no nonsense for a price", function()
    local euro = watch "EURUSD"
    for _, text in ipairs {
      "", "{", "null", "[]", '{"symbol":"EURUSD"}', '{"symbol":"EURUSD","price":"1"}',
      '{"symbol":"EURUSD","price":-1}', '{"symbol":"EURUSD","price":1e400}',
      '{"symbol":"NONE","price":1}', '{"symbol":7,"price":1}', '{"symbol":{},"price":1}',
    } do server.connections[1]:say(text) end
    app:advance(1)
    assert.same({}, euro:json())
    say("EURUSD", 2)
    app:advance(0.25)
    assert.equal(2, euro:json()[1].price)
  end)

  it("connects anew when the feed is lost or silent", function()
    local euro = watch "EURUSD"
    server.connections[1]:drop()
    app:advance(1)
    assert.equal(2, #server.connections)
    app:advance(32)
    assert.is_true(#server.connections >= 3)
    say("EURUSD", 3)
    app:advance(0.25)
    assert.equal(3, euro:json()[1].price)
  end)

  it("says nothing of what the desk has halted", function()
    local euro, desk = watch "EURUSD", app:connect { workers = "Desk" }
    desk:send "halt EURUSD"
    say("EURUSD", 3)
    app:advance(1)
    assert.same({ "halt" }, { euro:json()[1].type })
    desk:send "resume EURUSD"
    app:advance(0.25)
    local messages = euro:json()
    assert.same({ "resume", "quote" }, { messages[1].type, messages[2].type })
  end)
end)

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

-- "gwrun test" runs this: the script between simulated clients, without a network.
local testing = require "gwrun.testing"

describe("the game", function()
  local app, ann, bob

  before_each(function()
    app = testing.start { script = "scripts/events.lua", gateways = 2 }
    ann, bob = app:connect(), app:connect()
  end)

  after_each(function() app:stop() end)

  local function last(client)
    local packets = client:json()
    return packets[#packets]
  end

  -- Moves in turn, ann's first.
  local function play(...)
    for i, square in ipairs { ... } do (i % 2 == 1 and ann or bob):send { move = square } end
  end

  it("pairs who comes with who waits", function()
    local board = "........."
    assert.same({ { type = "wait" }, { type = "state", you = "X", turn = "X", board = board } },
      ann:json())
    assert.same({ { type = "state", you = "O", turn = "X", board = "........." } }, bob:json())
    assert.same({ { type = "wait" } }, app:connect():json())
  end)

  it("takes moves in turn, and no other", function()
    ann:json()
    bob:send { move = 1 } -- not his turn
    ann:send { move = 10 }
    ann:send { move = 1.5 }
    ann:send "no JSON"
    assert.same({}, ann:json())
    ann:send { move = 5 }
    bob:send { move = 5 } -- is taken
    assert.same({ { type = "state", you = "X", turn = "O", board = "....X...." } }, ann:json())
  end)

  it("knows who has won, and when nobody has", function()
    play(1, 4, 2, 5, 3)
    assert.same({ type = "over", winner = "X" }, last(ann))
    assert.same({ type = "over", winner = "X" }, last(bob))
    bob:send { again = true }
    ann:send { again = true }
    ann, bob = bob, ann -- who asked first begins
    play(1, 2, 3, 5, 4, 6, 8, 7, 9)
    assert.same({ type = "over", winner = "-" }, last(ann))
  end)

  it("gives the match to the other when one leaves or thinks for too long", function()
    ann:vanish()
    app:advance(120)
    assert.same("O", last(bob).winner)
    local cid, dan = app:connect(), app:connect()
    app:advance(29)
    cid:send { move = 1 }
    app:advance(29)
    assert.equal("state", last(dan).type)
    app:advance(2)
    assert.same({ type = "over", winner = "X", why = "late" }, last(cid))
  end)
end)

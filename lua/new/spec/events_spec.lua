-- "gwrun test" runs this: the script between simulated clients, without a network.
local testing = require "gwrun.testing"

describe("the chat", function()
  local app, ann, bob

  before_each(function()
    app = testing.start { script = "scripts/events.lua", gateways = 2 }
    ann = app:connect { path = "/?name=Ann" }
    bob = app:connect { path = "/?name=Bob" }
    ann:received() -- and forget what came so far
    bob:received()
  end)

  after_each(function() app:stop() end)

  it("brings what somebody says to everybody", function()
    ann:send "hello"
    assert.same({ "Ann: hello" }, ann:received())
    assert.same({ "Ann: hello" }, bob:received())
  end)

  it("says who comes and who leaves", function()
    app:connect({ path = "/?name=Cid" }):close()
    assert.same({ "Cid is here", "Cid has left" }, ann:received())
  end)

  it("calls somebody whose name is no name", function()
    app:connect { path = "/?name=" .. ("x"):rep(41) }
    assert.same({ "somebody is here" }, bob:received())
  end)
end)

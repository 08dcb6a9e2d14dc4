-- Events.onError: what it is told, and what not.
local testing = require "gwrun.testing"

describe("onError", function()
  local app, client

  local function start(text)
    app = testing.start { errors = "collect", text = [[
      Events = {}
      told = {}
      function Events.onMessage(_, message)
        if message == "timer" then
          Timer.once(1, function() error "late" end)
        elseif message == "spawn" then
          require("gwrun").spawn(function() error "aside" end)
        else
          error(message, 0)
        end
      end
    ]] .. (text or [[
      function Events.onError(error, context)
        Timer.sleep(0.1) -- may wait
        table.insert(told, { error, context })
      end
    ]]) }
    client = app:connect()
  end

  after_each(function() app:stop() end)

  --- The n-th that was told: its error, and what else there is.
  local function told(n)
    return app:run([[
      local t = told[...]
      if not t then return nil end
      return t[1], t[2].event, t[2].client_id, t[2].left_out, t[2].traceback:find("traceback", 1, true) ~= nil]], n)
  end

  it("hears of an error with its event and client", function()
    start()
    client:send "broken"
    app:advance(1)
    assert.same({ "broken", "onMessage", client.id, 0, true }, { told(1) })
    assert.is_nil(told(2))
    assert.equal(1, #app:errors())
  end)

  it("hears of timers and spawned functions", function()
    start()
    client:send "timer"
    app:advance(2)
    local error, event, id = told(1)
    assert.matches("late$", error)
    assert.same({ "timer" }, { event, id })
    client:send "spawn"
    app:advance(1)
    error, event = told(2)
    assert.matches("aside$", error)
    assert.equal("spawn", event)
  end)

  it("hears of ten a second, and how many it missed", function()
    start()
    app:advance(1.5 - app:now() % 1) -- in the middle of a second
    for i = 1, 13 do client:send("e" .. i) end
    app:advance(1)
    assert.equal("e10", (told(10)))
    assert.is_nil(told(11))
    client:send "last"
    app:advance(1)
    local error, _, _, left_out = told(11)
    assert.same({ "last", 3 }, { error, left_out })
    assert.equal(14, #app:errors())
  end)

  it("does not hear of its own errors", function()
    start "calls = 0 function Events.onError() calls = calls + 1 error 'mine' end"
    client:send "broken"
    app:advance(5)
    assert.equal(1, app:run "return calls")
    assert.equal(2, #app:errors())
  end)
end)

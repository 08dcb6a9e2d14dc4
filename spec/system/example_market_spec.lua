-- examples/market for real: the feed, those who watch, and the desk.
local bridge = require "bridge"
local example = require "example"
local tcp = require "tcp"

describe("examples/market", function()
  local app

  setup(function() app = example.start "market" end)

  teardown(function()
    bridge.close()
    if app then app:stop() end
  end)

  it("sends quotes, until the desk halts them", function()
    local client = bridge.connect(app:url(1))
    client:send '{"watch":"EURUSD"}'
    assert.equal("EURUSD", client:receive_type("quote").symbol)
    local desk = tcp.connect(app.port[2])
    desk:send "halt EURUSD\n"
    desk:receive "done\n"
    assert.equal("EURUSD", client:receive_type("halt").symbol)
    desk:close()
    client:close()
  end)

  it("keeps the feed running", function()
    for _, process in ipairs(app:status().processes) do
      if process.role == "program" then
        assert.same({ "feed", "ready", 2 }, { process.name, process.state, process.counters.timers })
      end
    end
  end)
end)

-- examples/market for real: the feed, those who watch, and the desk; and a feed that
-- means harm.
local bridge = require "bridge"
local example = require "example"
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local uv = require "luv"

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
    for _, p in ipairs(app:status().processes) do
      if p.role == "program" then
        assert.same({ "feed", "ready", 2 }, { p.name, p.state, p.counters.timers })
      end
    end
  end)
end)

describe("examples/market with a feed", function()
  local app, feed

  teardown(function()
    bridge.close()
    if app then app:stop() end
    feed:kill "sigkill"
    feed:wait()
    uv.os_unsetenv "MARKET_FEED"
    uv.os_unsetenv "MARKET_SILENCE"
  end)

  local function program()
    for _, p in ipairs(app:status().processes) do
      if p.role == "program" then return p end
    end
  end

  it("outlives one that drops, stalls, sends garbage and lies about lengths", function()
    feed = process.spawn { "node", "spec/support/hostilefeed.js" }
    feed:wait_output " ready"
    local modes = tonumber(feed.out:match "modes=(%d+)")
    app = example.start("market", { MARKET_FEED = "ws://127.0.0.1:" .. feed.out:match "port=(%d+)", MARKET_SILENCE = "0.5" })
    local pid = program().pid
    local client = bridge.connect(app:url(1))
    client:send '{"watch":"EURUSD"}'
    loop.wait("every mode of the feed", function()
      return select(2, feed.out:gsub("mode ", "")) > modes
    end, 400)
    local last = 0
    for _ = 1, 3 do
      local price = client:receive_type("quote").price
      assert.is_true(price >= last)
      last = price
    end
    client:close()
    local p = program()
    assert.same({ pid, "ready" }, { p.pid, p.state })
  end)
end)

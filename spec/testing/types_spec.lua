-- Messages have types: what a client sends is told, what a script says is sent.
local testing = require "gwrun.testing"

describe("a message's type", function()
  local app

  local function start(options)
    options.text = options.text or [[
      Events = {}
      function Events.onMessage(id, message, binary, ...)
        print(#message, binary, select("#", ...))
        Gateway.sendToCurrentClient(message, { binary = binary })
      end
    ]]
    app = testing.start(options)
    return app
  end

  after_each(function() app:stop() end)

  it("is told and kept by an echo on one port", function()
    for _, send in ipairs { "text", "binary" } do
      local client = start { gateways = { { send = send } } }:connect()
      client:send "text"
      client:send("\0\xff", { binary = true })
      client:send_raw "\x02\x81\0\0\0\0a\x80\x81\0\0\0\0b" -- in two fragments
      assert.same({
        { text = "text", binary = false }, { text = "\0\xff", binary = true }, { text = "ab", binary = true },
      }, client:messages())
      assert.same({ "4\tfalse\t0", "2\ttrue\t0", "2\ttrue\t0" }, app:log())
      app:stop()
    end
    start {}
  end)

  it("is nil on ports that have none, where options change nothing", function()
    start { gateways = { "text", "frame", "tcp" } }
    for i = 1, 3 do
      local client = app:connect { gateway = i }
      client:send "hello"
      assert.same({ "5\tnil\t0" }, app:log())
      assert.same({ { text = "hello" } }, client:messages())
    end
  end)

  it("may be given to each way to send, and to last words", function()
    start { text = [[
      Events = {}
      local bytes, text = { binary = true }, { binary = false }
      function Events.onConnect(id)
        Gateway.bindUid(id, "ann")
        Gateway.joinGroup(id, "room")
      end
      function Events.onMessage(id)
        for _, how in ipairs { bytes, text, {}, bytes } do
          Gateway.sendToClient(id, "client", how)
          Gateway.sendToCurrentClient("current", how)
          Gateway.sendToUid("ann", "uid", how)
          Gateway.sendToGroup("room", "group", nil, how)
          Gateway.sendToAll("all", nil, nil, how)
          Gateway.sendToAll("some", { id }, nil, how)
          Gateway.sendToAll("most", nil, { ("0"):rep(20) }, how)
        end
        Gateway.closeClient(id, "bye", bytes)
      end
    ]] }
    local client = app:connect()
    client:send "go"
    local want = {}
    for _, binary in ipairs { true, false, false, true } do
      for _, way in ipairs { "client", "current", "uid", "group", "all", "some", "most" } do
        want[#want + 1] = { text = way, binary = binary }
      end
    end
    want[#want + 1] = { text = "bye", binary = true }
    assert.same(want, client:messages())
    assert.equal(1000, client.closed.code)
  end)

  it("of what waited for a busy handler is told, too", function()
    start { text = [[
      Events = {}
      function Events.onMessage(id, message, binary)
        Timer.sleep(1)
        print(message, binary)
      end
    ]] }
    local client = app:connect()
    client:send "one"
    client:send("two", { binary = true })
    app:advance(3)
    assert.same({ "one\tfalse", "two\ttrue" }, app:log())
  end)
end)

-- The chat demo, with clients and a clock but without a network.
local testing = require "gwrun.testing"

local script = os.getenv "EVENTS_SCRIPT" or "scripts/events.lua"

describe("scripts/events.lua", function()
  local app, alice, bob

  before_each(function()
    app = testing.start { script = script, gateways = 2, time = 1700000000 }
    alice = app:connect()
    bob = app:connect()
    alice:received()
    bob:received()
    app:log()
  end)

  after_each(function() app:stop() end)

  -- The one message that a client got.
  local function only(client)
    local packets = client:json()
    assert.equal(1, #packets)
    return packets[1]
  end

  it("greets who comes with its id and tells everybody", function()
    local carol = app:connect()
    assert.same({
      { type = "hello", client_id = carol.id, message = "hello", online = 3, time = 1700000000 },
      { type = "welcome", client_id = carol.id, message = "欢迎" .. carol.id .. "登录! welcome",
        online = 3, time = 1700000000 },
    }, carol:json())
    assert.equal("welcome", only(alice).type)
    assert.equal("welcome", only(bob).type)
    assert.same({ "【新的客户端链接】 new client: client_id:" .. carol.id }, app:log "print")
  end)

  it("says a plain line to everybody", function()
    app:advance(5)
    alice:send "hello"
    local said = { type = "say", client_id = alice.id, text = "hello", data = "hello",
      message = alice.id .. "说: hello", time = 1700000005 }
    assert.same(said, only(alice))
    assert.same(said, only(bob))
  end)

  it("ignores empty lines, the article's heartbeat and what is not UTF-8", function()
    alice:send ""
    alice:send "心跳"
    alice:send("\xff\xfe", { binary = true })
    alice:send { type = "say", text = "" }
    alice:send { type = "say", text = { a = 1 } }
    assert.same({}, alice:received())
    assert.same({}, bob:received())
  end)

  it("answers ping and online to the sender only", function()
    bob:send { type = "ping" }
    assert.same({ type = "pong", client_id = bob.id, message = "pong", time = 1700000000 }, only(bob))
    bob:send { type = "online" }
    assert.same({ type = "online", client_id = bob.id, message = "online", online = 2,
      time = 1700000000 }, only(bob))
    assert.same({}, alice:received())
  end)

  it("keeps a name and enters a room, and tells the room", function()
    bob:send { type = "join", room = "lua" }
    assert.equal(bob.id .. " 加入了 joined lua", only(bob).message)
    alice:send { type = "join", name = "Ann", room = "lua" }
    local joined = { type = "join", client_id = alice.id, name = "Ann", room = "lua",
      message = "Ann 加入了 joined lua", time = 1700000000 }
    assert.same(joined, only(alice))
    assert.same(joined, only(bob))
  end)

  it("speaks to a room only", function()
    alice:send { type = "join", name = "Ann", room = "lua" }
    alice:received()
    alice:send { type = "say", text = "hi", room = "lua" }
    assert.same({ type = "say", client_id = alice.id, name = "Ann", text = "hi", data = "hi",
      room = "lua", message = "Ann说: hi", time = 1700000000 }, only(alice))
    assert.same({}, bob:received())
  end)

  it("takes a name without a room, and says nothing then", function()
    alice:send { type = "join", name = "Ann" }
    assert.same({}, bob:received())
    alice:send "x"
    assert.equal("Ann说: x", only(bob).message)
  end)

  it("survives names and rooms that are none", function()
    for _, bad in ipairs { "0", '""', '"0"', "{}", "null", '"' .. ("x"):rep(65) .. '"' } do
      alice:send('{"type":"join","name":' .. bad .. ',"room":' .. bad .. "}")
      assert.same({}, alice:received())
      alice:send('{"type":"say","text":"t","room":' .. bad .. "}")
      assert.equal(alice.id .. "说: t", only(bob).message)
      alice:received()
    end
    assert.is_true(app:run "return #Gateway.getAllGroupIdList() == 0")
    local longest = ("x"):rep(64)
    alice:send { type = "join", name = longest, room = longest }
    assert.equal(longest, only(alice).name)
  end)

  it("takes JSON that it does not know as text", function()
    for _, text in ipairs { "123", "[1]", '{"type":"x"}', '{"type":{}}', "null", "{" } do
      alice:send(text)
      assert.equal(text, only(bob).text)
    end
  end)

  it("tells everybody who has left, by name or id", function()
    bob:vanish()
    local packet = only(alice)
    assert.same({ type = "leave", client_id = bob.id, online = 1, time = 1700000000,
      message = bob.id .. " 退出了! has left" }, packet)
    local carol = app:connect()
    carol:send { type = "join", name = "Ann" }
    alice:received()
    carol:close()
    packet = only(alice)
    assert.same({ "leave", "Ann", "Ann 退出了! has left" }, { packet.type, packet.name, packet.message })
  end)
end)

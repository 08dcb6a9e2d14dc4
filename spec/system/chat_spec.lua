-- The demo: browser-like clients and telnet in one chat, as the article shows.
local bridge = require "bridge"
local cjson = require "cjson"
local tcp = require "tcp"
local testbed = require "testbed"

describe("the demo chat", function()
  local app

  setup(function()
    app = testbed.start {
      gateways = { { listen = "websocket", count = 2 }, { listen = "text" } },
      workers = { count = 2 },
    }
  end)

  teardown(function()
    bridge.close()
    app:stop()
  end)

  it("greets everybody with the new client's id", function()
    local ann = bridge.connect(app:url())
    local hello = ann:receive_type "hello"
    assert.matches("^%x+$", hello.client_id)
    assert.equal(20, #hello.client_id)
    local bob = bridge.connect(app:url())
    local id = bob:receive_type("hello").client_id
    local welcome
    repeat welcome = ann:receive_type "welcome" until welcome.client_id == id
    assert.matches(id, welcome.message, 1, true)
    ann:close()
    bob:close()
  end)

  it("carries what one says to all the others", function()
    local ann, bob = bridge.connect(app:url()), bridge.connect(app:url())
    ann:receive_type "hello"
    bob:receive_type "hello"
    ann:send_json { type = "join", name = "Ann" }
    ann:send_json { type = "say", text = "你好 Bob" }
    local heard = bob:receive_type "say"
    assert.equal("你好 Bob", heard.text)
    assert.equal("Ann", heard.name)
    ann:close()
    bob:close()
  end)

  it("keeps a room's talk in the room", function()
    local ann, bob, eve = bridge.connect(app:url()), bridge.connect(app:url()), bridge.connect(app:url())
    for _, c in ipairs { ann, bob, eve } do c:receive_type "hello" end
    ann:send_json { type = "join", name = "Ann", room = "lua" }
    ann:receive_type "join" -- Bob's worker may be faster than hers
    bob:send_json { type = "join", name = "Bob", room = "lua" }
    ann:receive('"Bob"')
    ann:send_json { type = "say", text = "secret", room = "lua" }
    assert.equal("secret", bob:receive_type("say").text)
    ann:send_json { type = "say", text = "for all" }
    assert.equal("for all", eve:receive_type("say").text)
    for _, c in ipairs { ann, bob, eve } do c:close() end
  end)

  it("lets telnet and a browser talk to each other", function()
    local ann = bridge.connect(app:url())
    ann:receive_type "hello"
    local telnet = tcp.connect(app.port[2])
    telnet:receive '"hello"'
    telnet:send "hi from telnet\r\n"
    assert.equal("hi from telnet", ann:receive_type("say").text)
    ann:send_json { type = "say", text = "hi telnet" }
    local line = telnet:receive "hi telnet"
    assert.truthy(line)
    telnet:close()
    ann:receive_type "leave"
    ann:close()
  end)

  it("answers the heartbeat to its sender, JSON or the article's text", function()
    local ann = bridge.connect(app:url())
    ann:receive_type "hello"
    ann:send_json { type = "ping" }
    ann:receive_type "pong"
    ann:send "心跳"
    ann:send_json { type = "say", text = "after" }
    assert.equal("after", ann:receive_type("say").text)
    ann:close()
  end)

  it("tells the others when somebody leaves", function()
    local ann, bob = bridge.connect(app:url()), bridge.connect(app:url())
    local id = ann:receive_type("hello").client_id
    bob:receive_type "hello"
    ann:terminate()
    local left
    repeat left = bob:receive_type "leave" until left.client_id == id
    bob:close()
  end)

  it("sends JSON that any client can read", function()
    local telnet = tcp.connect(app.port[2])
    local line = telnet:receive("\n"):gsub("%s+$", "")
    assert.is_table(cjson.decode(line))
    telnet:close()
  end)
end)

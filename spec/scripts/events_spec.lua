-- The chat demo's logic, with a Gateway that only remembers.
local cjson = require "cjson"

local A, B = "7f0000010b5400000001", "7f0000010b5400000002"

describe("scripts/events.lua", function()
  local sent, groups

  -- The last message sent, decoded, and to whom.
  local function last() return sent[#sent] end

  local function remember(kind)
    return function(target, text)
      if kind == "all" then target, text = nil, target end
      sent[#sent + 1] = { kind = kind, target = target, packet = cjson.decode(text) }
      return true
    end
  end

  before_each(function()
    sent, groups = {}, {}
    _G.print = function() end
    _G._SESSION = {}
    _G.Gateway = {
      sendToAll = remember "all",
      sendToClient = remember "client",
      sendToGroup = remember "group",
      joinGroup = function(id, group) groups[#groups + 1] = id .. " " .. group end,
      getAllClientIdCount = function() return 2 end,
    }
    dofile "scripts/events.lua"
  end)

  local print = print
  after_each(function()
    _G.print, _G.Gateway, _G.Events, _G._SESSION = print, nil, nil, nil
  end)

  it("greets the new client with its id and tells everybody", function()
    Events.onConnect(A)
    assert.equal(2, #sent)
    assert.equal("client", sent[1].kind)
    assert.equal(A, sent[1].target)
    assert.equal("hello", sent[1].packet.type)
    assert.equal(2, sent[1].packet.online)
    assert.equal("all", sent[2].kind)
    assert.equal("welcome", sent[2].packet.type)
    assert.equal("欢迎" .. A .. "登录! welcome", sent[2].packet.message)
  end)

  it("has who, what and when in every message", function()
    Events.onConnect(A)
    Events.onMessage(A, "hi")
    Events.onMessage(A, '{"type":"ping"}')
    Events.onClose(A)
    for _, s in ipairs(sent) do
      assert.equal(A, s.packet.client_id)
      assert.is_string(s.packet.message)
      assert.is_string(s.packet.type)
      assert.is_true(math.abs(s.packet.time - os.time()) < 5)
    end
  end)

  it("says a plain line to everybody", function()
    Events.onMessage(A, "hello")
    assert.equal("all", last().kind)
    assert.equal("say", last().packet.type)
    assert.equal("hello", last().packet.text)
    assert.equal("hello", last().packet.data)
    assert.equal(A .. "说: hello", last().packet.message)
  end)

  it("ignores empty lines, the article's heartbeat and what is not UTF-8", function()
    Events.onMessage(A, "")
    Events.onMessage(A, "心跳")
    Events.onMessage(A, "\xff\xfe")
    Events.onMessage(A, '{"type":"say","text":""}')
    Events.onMessage(A, '{"type":"say","text":{"a":1}}')
    assert.equal(0, #sent)
  end)

  it("answers ping and online to the sender only", function()
    Events.onMessage(B, '{"type":"ping"}')
    assert.same({ "client", B, "pong" }, { last().kind, last().target, last().packet.type })
    Events.onMessage(B, '{"type":"online"}')
    assert.same({ "online", 2 }, { last().packet.type, last().packet.online })
  end)

  it("keeps a name and enters a room", function()
    Events.onMessage(A, '{"type":"join","name":"Ann","room":"lua"}')
    assert.equal("Ann", _SESSION.name)
    assert.same({ A .. " lua" }, groups)
    assert.same({ "group", "lua", "join", "Ann", "lua" }, {
      last().kind, last().target, last().packet.type, last().packet.name, last().packet.room,
    })
    Events.onMessage(A, '{"type":"say","text":"hi","room":"lua"}')
    assert.same({ "group", "lua", "hi", "Ann说: hi" }, {
      last().kind, last().target, last().packet.text, last().packet.message,
    })
  end)

  it("takes a name without a room, and says nothing then", function()
    Events.onMessage(A, '{"type":"join","name":"Ann"}')
    assert.equal("Ann", _SESSION.name)
    assert.equal(0, #sent + #groups)
  end)

  it("survives names and rooms that are none", function()
    for _, bad in ipairs { "0", '""', '"0"', "{}", "null", '"' .. ("x"):rep(65) .. '"' } do
      Events.onMessage(A, '{"type":"join","name":' .. bad .. ',"room":' .. bad .. "}")
      Events.onMessage(A, '{"type":"say","text":"t","room":' .. bad .. "}")
      assert.equal("all", last().kind)
    end
    assert.same({}, groups)
    assert.is_nil(_SESSION.name)
  end)

  it("takes JSON that it does not know as text", function()
    for _, text in ipairs { "123", "[1]", '{"type":"x"}', '{"type":{}}', "null", "{" } do
      Events.onMessage(A, text)
      assert.equal(text, last().packet.text)
    end
  end)

  it("tells everybody who has left, by name", function()
    _SESSION.name = "Ann"
    Events.onClose(A)
    assert.equal("all", last().kind)
    assert.equal("leave", last().packet.type)
    assert.equal("Ann 退出了! has left", last().packet.message)
    assert.equal("Ann", last().packet.name)
  end)
end)

-- What websocket clients send and get has the type that it was sent with, and they
-- and the script hear with which code and reason the other one ends: npm's ws and
-- Chromium, text and binary on one port.
local bridge = require "bridge"
local mime = require "mime"
local process = require "process"
local testbed = require "testbed"

local script = [[
Events = {}
local closes = {
  ["close 4001"] = { code = 4001, reason = "j\u{fc}st so" },
  ["close 1013"] = { code = 1013 },
  ["close reason"] = { reason = ("x"):rep(123) },
}
function Events.onConnect(client_id) Gateway.joinGroup(client_id, "room") end
function Events.onMessage(client_id, message, binary)
  if closes[message] then
    Gateway.closeClient(client_id, "last", closes[message])
  elseif message == "both" then
    Gateway.sendToAll("for people", nil, nil, { binary = false })
    Gateway.sendToAll("\0\xff", nil, nil, { binary = true })
  else
    Gateway.sendToCurrentClient(message, { binary = binary })
  end
end
function Events.onClose(_, info)
  Log.notice(("closed by=%s cause=%s code=%s reason=%s dropped=%s."):format(
    info.by, info.cause, info.code, info.reason, info.dropped))
end
]]

local page = [[<script>
const socket = new WebSocket(location.href.replace("http", "ws")), got = [];
socket.binaryType = "arraybuffer";
let end = "";
socket.onclose = (e) => { end = `${e.code} ${e.reason} ${e.wasClean}`; };
socket.onmessage = (e) => got.push(typeof e.data === "string" ? e.data : [...new Uint8Array(e.data)].join());
</script>]]

describe("types of messages and words of closes", function()
  local app

  setup(function()
    app = testbed.new {
      script = script,
      gateways = { { listen = "websocket", www = "www", count = 2 }, { listen = "websocket", send = "binary" } },
    }
    testbed.write_file(app.dir .. "/www/index.html", page)
    app:up()
  end)

  teardown(function()
    bridge.close()
    app:stop()
  end)

  local function next_message(client)
    local e = client:event(function(e) return e.event == "message" end)
    return e.text or e.binary and { mime.unb64(e.binary) or "" }
  end

  for port = 1, 2 do
    it("come back to ws as they were sent, whatever the port does by itself, port " .. port, function()
      local c = bridge.connect(app:url(port))
      local bytes = ("\0\xff"):rep(40000)
      c:send "text"
      assert.equal("text", next_message(c))
      c:send_binary(bytes)
      assert.same({ bytes }, next_message(c))
      c:send_binary ""
      assert.same({ "" }, next_message(c))
      c:send ""
      assert.equal("", next_message(c))
      c:close()
    end)
  end

  it("reach a browser's page", function()
    local p = bridge.page("http://127.0.0.1:" .. app.port[1] .. "/")
    p:call("waitForFunction", "socket.readyState === WebSocket.OPEN")
    p:call("evaluate", "socket.send('hello')")
    p:call("waitForFunction", "got.includes('hello')")
    p:call("evaluate", "socket.send(new Uint8Array([0, 255, 1]))")
    p:call("waitForFunction", "got.includes('0,255,1')")
    local c = bridge.connect(app:url(2))
    c:send "both"
    assert.equal("for people", next_message(c))
    assert.same({ "\0\xff" }, next_message(c))
    p:call("waitForFunction", "got.includes('for people') && got.includes('0,255')")
    c:close()
  end)

  it("are known to both when the script closes", function()
    for message, want in pairs {
      ["close 4001"] = { 4001, "j\u{fc}st so" }, ["close 1013"] = { 1013, "" },
      ["close reason"] = { 1000, ("x"):rep(123) },
    } do
      local c = bridge.connect(app:url(1))
      c:send(message)
      assert.equal("last", next_message(c))
      local e = c:closed()
      assert.same(want, { e.code, e.reason })
      app:wait_log(("closed by=script cause=kicked code=%d reason=%s dropped=0."):format(
        want[1], want[2] == "" and "nil" or want[2]))
    end
  end)

  it("are known to the script when the client closes", function()
    bridge.connect(app:url(2)):close(3999, "no more")
    app:wait_log "closed by=client cause=client code=3999 reason=no more dropped=0."
  end)

  it("are known to a browser's page", function()
    local p = bridge.page("http://127.0.0.1:" .. app.port[1] .. "/")
    p:call("waitForFunction", "socket.readyState === WebSocket.OPEN")
    p:call("evaluate", "socket.send('close 4001')")
    p:call("waitForFunction", "end !== ''")
    assert.equal("4001 j\u{fc}st so true", p:call("evaluate", "end"))
    p = bridge.page("http://127.0.0.1:" .. app.port[1] .. "/")
    p:call("waitForFunction", "socket.readyState === WebSocket.OPEN")
    p:call("evaluate", "socket.close(4321, 'from the page')")
    app:wait_log "closed by=client cause=client code=4321 reason=from the page dropped=0."
  end)

  it("are as a program of gwrun exec says", function()
    local c = bridge.connect(app:url(1))
    testbed.write_file(app.dir .. "/push.lua", [[
      assert(Gateway.sendToAll("\0\xff", nil, nil, { binary = true }))
      assert(Gateway.closeGroup("room", "bye", { code = 4007, reason = "by a program" }) > 0)
    ]])
    assert.same({ 0, "" }, { process.run({ testbed.program, "exec", "push.lua" }, { cwd = app.dir }) })
    assert.same({ "\0\xff" }, next_message(c))
    assert.equal("bye", next_message(c))
    local e = c:closed()
    assert.same({ 4007, "by a program" }, { e.code, e.reason })
  end)
end)

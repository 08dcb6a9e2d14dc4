-- What leaves as text is text, whatever the script was given: a browser hangs up
-- on a text frame that is not UTF-8.
local bridge = require "bridge"
local loop = require "loop"
local tcp = require "tcp"
local testbed = require "testbed"

-- README's script, and a word for each way to send.
local script = [[
local cjson = require "cjson"
local bytes = "\xe4\xbd\xa0 caf\xe9 \xe5\xa5"
Events = {}
function Events.onConnect(client_id)
  Gateway.bindUid(client_id, "everybody")
  Gateway.joinGroup(client_id, "room")
end
local send = {
  one = function(id) Gateway.sendToClient(id, bytes) end,
  current = function() Gateway.sendToCurrentClient(bytes) end,
  uid = function() Gateway.sendToUid("everybody", bytes) end,
  group = function() Gateway.sendToGroup("room", bytes) end,
  all = function() Gateway.sendToAll(bytes) end,
  large = function(id) Gateway.sendToClient(id, bytes:rep(10000)) end,
  close = function(id) Gateway.closeClient(id, bytes) end,
}
function Events.onMessage(client_id, message)
  if send[message] then return send[message](client_id) end
  Gateway.sendToAll(cjson.encode { message = message })
end
]]

local page = [[<script>
const socket = new WebSocket(location.href.replace("http", "ws")), got = [];
let code = 0;
socket.onmessage = (e) => got.push(e.data);
socket.onclose = (e) => { code = e.code; };
</script>]]

local repaired = "\u{4f60} caf\u{fffd} \u{fffd}"

describe("text", function()
  local app

  setup(function()
    app = testbed.new {
      script = script,
      gateways = {
        { listen = "websocket", www = "www" },
        { listen = "text" },
        { listen = "websocket", send = "binary" },
        { listen = "websocket", ping_interval = 0.05, ping_data = "beat \xff" },
      },
    }
    testbed.write_file(app.dir .. "/www/index.html", page)
    app:up()
  end)

  teardown(function()
    bridge.close()
    app:stop()
  end)

  local function open_page()
    local p = bridge.page("http://127.0.0.1:" .. app.port[1] .. "/")
    p:call("waitForFunction", "socket.readyState === WebSocket.OPEN")
    return p
  end

  it("keeps a browser's page open when a bystander's bytes are sent to everybody", function()
    local p = open_page()
    local telnet, binary = tcp.connect(app.port[2]), bridge.connect(app:url(1))
    telnet:send "hello \xff\xfe\r\n"
    p:call("waitForFunction", [[got.includes('{"message":"hello \ufffd\ufffd"}')]])
    binary:send_binary "hi\xff"
    p:call("waitForFunction", [[got.includes('{"message":"hi\ufffd"}')]])
    assert.equal(0, p:call("evaluate", "code"))
    telnet:receive "{\"message\":\"hello \xff\xfe\"}\n" -- bytes, as the script sent them
    telnet:close()
    binary:close()
  end)

  it("is repaired on every way out", function()
    local c = bridge.connect(app:url(1))
    for _, way in ipairs { "one", "current", "uid", "group", "all" } do
      c:send(way)
      assert.equal(repaired, c:receive "caf", way)
    end
    c:send "large"
    assert.equal(("\u{4f60} caf\u{fffd} \u{fffd}"):rep(10000), c:receive "caf")
    c:send "close"
    assert.equal(repaired, c:receive "caf")
    assert.equal(1000, c:closed().code)
  end)

  it("is repaired in ping_data", function()
    local c = bridge.connect(app:url(4))
    assert.equal("beat \u{fffd}", c:receive "beat")
    c:close()
  end)

  it("is counted, and the log says what to do", function()
    local before = app:counters("gateway", 0).repaired
    local c = bridge.connect(app:url(1))
    c:send "one"
    c:receive "caf"
    app:wait_log "send = \"binary\""
    loop.poll("another repaired message", function() return app:counters("gateway", 0).repaired > before end)
    assert.equal(0, app:counters("gateway", 1).repaired)
    c:close()
  end)

  it("is not looked at where bytes are wanted", function()
    local c = bridge.connect(app:url(3))
    c:send "one"
    local e = c:event(function(e) return e.event == "message" end)
    assert.equal(("\xe4\xbd\xa0 caf\xe9 \xe5\xa5"), (require "mime".unb64(e.binary)))
    assert.equal(0, app:counters("gateway", 2).repaired)
    c:close()
  end)
end)

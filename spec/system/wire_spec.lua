-- The captured conversations of PHP's GatewayClient, played to a running gateway:
-- the same bytes must come back, and the clients must get the same messages.
local bridge = require "bridge"
local cjson = require "cjson"
local loop = require "loop"
local tcp = require "tcp"
local testbed = require "testbed"

local ON_CONNECT, ON_MESSAGE, IS_ONLINE, SEND_TO_ALL = 1, 3, 11, 6
local WORKER_CONNECT, GATEWAY_CLIENT_CONNECT = 200, 202

-- What the captured system's worker did.
local script = [[
Events = {}
function Events.onWebSocketConnect(client_id, data)
  _SESSION.get = data.get
  Gateway.sendToClient(client_id, "hello " .. client_id)
end
function Events.onMessage() end
function Events.onClose(client_id) Gateway.sendToAll("bye:" .. client_id) end
]]

local function unhex(text) return (text:gsub("..", function(byte) return string.char(tonumber(byte, 16)) end)) end

local function frame(cmd, ext, body, connection_id)
  local len = 28 + #ext + #body
  return (">I4 B I4 I2 I4 I2 I4 B I2 I4"):pack(len, cmd, 0, 0, 0, 0, connection_id or 0, 1, 0, #ext) .. ext .. body
end

-- A link to the gateway as GatewayClient opens it.
local function connect(app, key)
  local link = tcp.connect(app.config.gateways[1].start_port)
  if key ~= "" then link:send(frame(GATEWAY_CLIENT_CONNECT, "", cjson.encode { secret_key = key })) end
  return link
end

-- Send a captured conversation. A command without a reply is followed by a query
-- on the same link: once that is answered, the command has been run.
local function play(app, key, conversation)
  local link = connect(app, key)
  local want = unhex(conversation.from_gateway)
  link:send(unhex(conversation.to_gateway))
  if want == "" then
    want = "\0\0\0\4i:0;"
    link:send(frame(IS_ONLINE, "", "", 0xffffffee))
  end
  loop.wait("a reply", function() return #link.data >= #want or link.ended end)
  link:close()
  return link.data, want
end

local function start(key)
  local app = testbed.start { script = script, config = function(c) c.secret_key = key end }
  local clients, ids = {}, {}
  for i = 1, 3 do
    clients[i] = bridge.connect(app:url() .. "?n=" .. i - 1)
    ids[i] = clients[i]:receive("hello"):match "%x+$"
    assert.equal(i, tonumber(ids[i]:sub(13), 16))
  end
  return app, clients, ids
end

-- What client i is to receive: the capture, but for the differences on purpose.
local function wanted(received, i, ids)
  local list = {}
  for _, r in ipairs(received) do
    if r.i == i - 1 and r.m then
      local gone = r.m:match "^bye:%x+(%x)$"
      r.m = gone and "bye:" .. ids[tonumber(gone)] or r.m
      -- "g2" went to two groups; who is in both gets it once here, twice there
      if r.m ~= list[#list] then list[#list + 1] = r.m end
    elseif r.i == i - 1 then
      -- closeClient says goodbye with a Close frame; destroyClient just cuts
      list[#list + 1] = ("closed %d"):format(list[#list] == "bye" and 1000 or r.closed)
    end
  end
  return list
end

local function got(client)
  local list = {}
  for i = client.read, #client.events do
    local e = client.events[i]
    if e.event == "message" then list[#list + 1] = e.text end
    if e.event == "close" then list[#list + 1] = ("closed %d"):format(e.code) end
  end
  return list
end

local function replays(key)
  local app, clients, ids = start(key)
  finally(function() app:stop() end)
  local vectors = cjson.decode(testbed.read_file "spec/vectors/gatewayworker-conversations.json")
  for _, call in ipairs(vectors.client_calls) do
    for _, conversation in ipairs(call.connections) do
      local reply, want = play(app, key, conversation)
      assert.equal(want, reply, call.call)
    end
    -- the worker tells the others, who must still be there then
    if call.call:find "^closeClient" then
      loop.wait("the goodbye", function() return table.concat(got(clients[3])):find("bye:", 1, true) end)
    end
  end
  assert.equal(62, #vectors.client_calls)
  for i, client in ipairs(clients) do
    local want = wanted(vectors.clients_received, i, ids)
    loop.wait("all messages", function() return #got(client) >= #want end)
    assert.same(want, got(client))
  end
end

describe("the wire", function()
  teardown(bridge.close)

  it("is PHP's, byte for byte, without a secret key", function() replays "" end)

  it("is PHP's, byte for byte, with a secret key", function() replays "sesame" end)

  it("gives a worker that offers nothing what PHP's gateway gives", function()
    local app = testbed.start { script = script, gateways = { { listen = "text" } } }
    finally(function() app:stop() end)
    local worker = tcp.connect(app.config.gateways[1].start_port)
    worker:send(frame(WORKER_CONNECT, "", [[{"worker_key":"PHP:0","secret_key":""}]])
      .. frame(IS_ONLINE, "", "", 0xffffffee))
    assert.equal("\0\0\0\4i:0;", worker:receive "i:0;") -- it has joined
    local clients = { tcp.connect(app.port[1]), tcp.connect(app.port[1]) } -- one for each worker
    loop.wait("an event", function() return #worker.data >= 28 end)
    local _, _, _, _, _, port, id = (">I4 B I4 I2 I4 I2 I4"):unpack(worker.data)
    assert.equal((">I4 B I4 I2 I4 I2 I4 B I2 I4"):pack(28, ON_CONNECT, 0x7f000001,
      app.config.gateways[1].start_port, 0x7f000001, port, id, 1, app.port[1], 0), worker.data)
    for _, client in ipairs(clients) do client:close() end
    worker:close()
  end)

  it("tells a worker that offers nothing no type of a message", function()
    local app = testbed.start { script = script }
    finally(function() app:stop() end)
    local worker = tcp.connect(app.config.gateways[1].start_port)
    worker:send(frame(WORKER_CONNECT, "", [[{"worker_key":"PHP:0","secret_key":""}]])
      .. frame(IS_ONLINE, "", "", 0xffffffee))
    worker:receive "i:0;"
    local clients = { bridge.connect(app:url()), bridge.connect(app:url()) } -- one for each worker
    for _, client in ipairs(clients) do
      client:send "text"
      client:send_binary "\0\xff"
      client:send "last"
    end
    local data, messages, at = worker:receive "last", {}, 1
    while at < #data do
      local len, cmd = (">I4 B"):unpack(data, at)
      if cmd == ON_MESSAGE then messages[#messages + 1] = data:sub(at, at + len - 1) end
      at = at + len
    end
    local _, _, _, _, _, port, id = (">I4 B I4 I2 I4 I2 I4"):unpack(messages[1])
    for i, body in ipairs { "text", "\0\xff", "last" } do
      assert.equal((">I4 B I4 I2 I4 I2 I4 B I2 I4"):pack(28 + #body, ON_MESSAGE, 0x7f000001,
        app.config.gateways[1].start_port, 0x7f000001, port, id, 1, app.port[1], 0) .. body, messages[i])
    end
    worker:close()
  end)

  it("takes packets cut and joined anywhere", function()
    local app, clients = start ""
    finally(function() app:stop() end)
    local link = connect(app, "")
    local query = frame(IS_ONLINE, "", "", 2)
    for i = 1, #query do
      link:send(query:sub(i, i))
      loop.pass(0.001)
    end
    assert.equal("\0\0\0\4i:1;", link:receive "i:1;")
    link:send(query .. frame(SEND_TO_ALL, "", "joined") .. query)
    assert.equal("\0\0\0\4i:1;\0\0\0\4i:1;", link:receive "i:1;\0\0\0\4i:1;")
    assert.equal("joined", clients[3]:receive "joined")
    link:close()
  end)
end)

describe("a secret key", function()
  local missing = bridge.missing "ws"
  if missing then return pending(missing) end

  local app, clients

  setup(function() app, clients = start "sesame" end)

  teardown(function()
    bridge.close()
    app:stop()
  end)

  local refused = {
    ["a query without a greeting"] = frame(IS_ONLINE, "", "", 1),
    ["a message without a greeting"] = frame(SEND_TO_ALL, "", "spam"),
    ["a client with another key"] = frame(GATEWAY_CLIENT_CONNECT, "", [[{"secret_key":"no"}]]),
    ["a client without a key"] = frame(GATEWAY_CLIENT_CONNECT, "", "{}"),
    ["a client whose key only begins well"] = frame(GATEWAY_CLIENT_CONNECT, "", [[{"secret_key":"ses"}]]),
    ["a worker with another key"] =
      frame(WORKER_CONNECT, "", [[{"worker_key":"ChatWorker:0","secret_key":"no"}]]),
    ["a length that cannot be"] = "\0\0\0\27" .. ("\0"):rep(24),
    ["another protocol"] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
  }
  for what, bytes in pairs(refused) do
    it("keeps out " .. what, function()
      local link = tcp.connect(app.config.gateways[1].start_port)
      link:send(bytes .. frame(SEND_TO_ALL, "", "spam"))
      assert.equal("", link:wait_end())
      link:close()
    end)
  end

  it("has let nobody else's message through", function()
    local reply, want = play(app, "sesame",
      { to_gateway = (frame(SEND_TO_ALL, "", "real"):gsub(".", function(c) return ("%02x"):format(c:byte()) end)),
        from_gateway = "" })
    assert.equal(want, reply)
    for _, client in ipairs(clients) do
      loop.wait("a message", function() return #got(client) > 0 end)
      assert.same({ "real" }, got(client))
    end
  end)

  it("is asked for by the register too", function()
    local port = tonumber(app.config.register.listen:match "%d+$")
    local link = tcp.connect(port)
    link:send '{"event":"worker_connect","secret_key":"no"}\n'
    assert.equal("", link:wait_end())
    link:close()
    link = tcp.connect(port)
    link:send '{"event":"worker_connect","secret_key":"sesame"}\n'
    assert.equal(('{"event":"broadcast_addresses","addresses":["127.0.0.1:%d"]}\n')
      :format(app.config.gateways[1].start_port), link:receive "\n")
    link:close()
  end)

  it("stands in no line of the log, nor do those that were tried", function()
    local log = app:log()
    assert.matches("wrong secret key", log, 1, true)
    assert.is_nil(log:find("sesame", 1, true))
    assert.is_nil(log:find('"ses"', 1, true))
  end)

  it("is suspected when a register hangs up at once", function()
    local stranger = testbed.start {
      script = script,
      config = function(c)
        c.register, c.gateways, c.secret_key = nil, nil, "wrong"
        c.register_address = app.config.register_address
      end,
    }
    finally(function() stranger:stop() end)
    stranger:wait_log "is secret_key the same there?"
  end)
end)

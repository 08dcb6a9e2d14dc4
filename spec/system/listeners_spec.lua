-- Every kind of client port, with and without TLS, and its limits.
local bridge = require "bridge"
local openssl = require "openssl"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"
local uv = require "luv"

local echo = [[
Events = {}
function Events.onMessage(client_id, message)
  if message == "kick me" then return Gateway.closeClient(client_id, "bye") end
  Gateway.sendToCurrentClient(message)
end
]]

describe("client ports", function()
  local app

  setup(function()
    app = testbed.new {
      script = echo,
      gateways = {
        { listen = "websocket", www = "www" },
        { listen = "text" },
        { listen = "frame" },
        { listen = "tcp" },
        { listen = "wss", tls = { cert = "cert.pem", key = "key.pem" } },
        { listen = "text", tls = { cert = "cert.pem", key = "key.pem" } },
        { listen = "websocket", send = "binary", max_message = 1000 },
        { listen = "text", max_accept_rate = 20 },
        { listen = "text", tls = { cert = "cert.pem", key = "key.pem" }, count = 4 },
      },
    }
    openssl.certificate(app.dir)
    testbed.write_file(app.dir .. "/www/index.html", "<p>the page</p>")
    testbed.write_file(app.dir .. "/secret.txt", "secret")
    app:up()
  end)

  teardown(function()
    bridge.close()
    app:stop()
  end)

  it("echoes over websocket, large messages too", function()
    local c = bridge.connect(app:url(1))
    c:send "hello"
    assert.equal("hello", c:receive())
    local large = ("0123456789"):rep(100000)
    c:send(large)
    assert.equal(large, c:receive())
    c:close()
    assert.equal(1000, c:closed().code)
  end)

  it("closes a websocket with 1009 above 1 MiB", function()
    local c = bridge.connect(app:url(1))
    c:send(("x"):rep(1024 * 1024 + 1))
    assert.equal(1009, c:closed().code)
  end)

  it("sends a last message and a Close frame when a script closes", function()
    local c = bridge.connect(app:url(1))
    c:send "kick me"
    assert.equal("bye", c:receive())
    assert.equal(1000, c:closed().code)
  end)

  it("answers lines", function()
    local c = tcp.connect(app.port[2])
    c:send "one\r\ntwo\n"
    assert.equal("one\ntwo\n", c:receive "two\n")
    c:close()
  end)

  it("accepts a storm of connections at max_accept_rate, and refuses none", function()
    local clients, began = {}, uv.hrtime()
    for i = 1, 11 do
      clients[i] = tcp.connect(app.port[8])
      clients[i]:send "hello\n"
    end
    for i = 1, 11 do
      assert.equal("hello\n", clients[i]:receive "hello\n")
      clients[i]:close()
    end
    assert.is_true(uv.hrtime() - began >= 0.49e9) -- ten times 50 ms, by a clock of whole ones
  end)

  it("knows a TLS client again, whichever process it comes back to", function()
    local where = { "openssl", "s_client", "-tls1_2", "-connect", "127.0.0.1:" .. app.port[9] }
    local function shake_hands(option)
      local command = table.concat(where, " ") .. " " .. option .. " session.pem </dev/null"
      local _, out = process.run({ "sh", "-c", command }, { cwd = app.dir })
      return out:match "New, TLS" or out:match "Reused, TLS"
    end
    assert.equal("New, TLS", shake_hands "-sess_out")
    for _ = 1, 8 do assert.equal("Reused, TLS", shake_hands "-sess_in") end
    assert.equal(0, (app:cli "reload"))
    for _ = 1, 8 do assert.equal("Reused, TLS", shake_hands "-sess_in") end
  end)

  it("answers length-prefixed frames", function()
    local c = tcp.connect(app.port[3])
    c:send(string.pack(">I4", 9) .. "hel")
    c:send "lo"
    assert.equal(string.pack(">I4", 9) .. "hello", c:receive "hello")
    c:send(string.pack(">I4", 3))
    assert.equal("eof", (c:wait_end() and c.ended))
  end)

  it("answers raw bytes", function()
    local c = tcp.connect(app.port[4])
    c:send "\0\1\2raw"
    assert.equal("\0\1\2raw", c:receive "raw")
    c:close()
  end)

  it("speaks wss", function()
    local c = bridge.connect("wss://127.0.0.1:" .. app.port[5] .. "/", { rejectUnauthorized = false })
    local large = ("0123456789"):rep(50000)
    c:send "hello"
    c:send(large)
    assert.equal("hello", c:receive())
    assert.equal(large, c:receive())
    c:close()
  end)

  it("speaks lines over TLS, 1.2 and up", function()
    local c = process.spawn({
      "openssl", "s_client", "-quiet", "-connect", "127.0.0.1:" .. app.port[6],
    }, { stdin = true })
    c:write "over tls\n"
    c:wait_output "over tls"
    c:kill "sigterm"
    c:wait()
    local _, out = process.run({
      "sh", "-c", "echo | openssl s_client -tls1_1 -cipher DEFAULT@SECLEVEL=0 -connect 127.0.0.1:" .. app.port[6],
    })
    assert.matches("Cipher is %(NONE%)", out)
  end)

  it("sends binary frames where the listener says so, and has its own limit", function()
    local c = bridge.connect(app:url(7))
    c:send "hello"
    local e = c:event(function(e) return e.event == "message" end)
    assert.is_nil(e.text)
    assert.equal("aGVsbG8=", e.binary)
    c:send(("x"):rep(1001))
    assert.equal(1009, c:closed().code)
  end)

  local function http(port, request)
    local c = tcp.connect(port)
    c:send(request)
    return c:wait_end()
  end

  it("serves files, and only those in www", function()
    local page = http(app.port[1], "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert.matches("^HTTP/1%.%d 200", page)
    assert.matches("<p>the page</p>", page, 1, true)
    assert.matches("text/html", page, 1, true)
    for _, path in ipairs { "/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/nothing.html" } do
      local answer = http(app.port[1], "GET " .. path .. " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      assert.is_nil(answer:find("secret\n", 1, true))
      assert.is_nil(answer:match "^HTTP/1%.%d 200", path)
    end
  end)

  it("asks for an upgrade where no files are served", function()
    local answer = http(app.port[7], "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.matches("^HTTP/1%.%d 426", answer)
  end)

  it("survives garbage on every port", function()
    for i = 1, #app.port do
      local c = tcp.connect(app.port[i])
      c:send(("\0\xff\x80garbage\r\n"):rep(2000))
      c:close()
    end
    local c = bridge.connect(app:url(1))
    c:send "still here"
    assert.equal("still here", c:receive())
    c:close()
  end)
end)

-- What onClose learns: by and cause are gwrun's own words, which no client can
-- choose; code and reason are the Close frame's.
local testing = require "gwrun.testing"

describe("onClose's info", function()
  local app

  local function start(options)
    options.text = [[
      Events = {}
      local answers = {
        kick = function(id) Gateway.closeClient(id, "bye") end,
        code = function(id) Gateway.closeClient(id, "bye", { code = 4001 }) end,
        reason = function(id) Gateway.closeCurrentClient(nil, { reason = "enough" }) end,
        both = function(id) Gateway.closeClient(id, nil, { code = 3000, reason = "gateway_lost" }) end,
        destroy = function(id) Gateway.destroyClient(id) end,
        last = function(id)
          for _ = 1, 200 do Gateway.sendToCurrentClient(("x"):rep(10000)) end
          Gateway.closeClient(id, "bye", { code = 4001 })
        end,
        flood = function() for _ = 1, 200 do Gateway.sendToCurrentClient(("x"):rep(10000)) end end,
      }
      function Events.onMessage(id, message) answers[message](id) end
      function Events.onClose(id, info)
        print(info.by, info.cause, info.code, info.reason, info.dropped)
      end
    ]]
    app = testing.start(options)
    return app
  end

  before_each(function() start { gateways = 2 } end)

  after_each(function() app:stop() end)

  local function told(...)
    local log = app:log()
    assert.same({ (table.concat({ ... }, "\t")) }, log)
  end

  it("keeps a client's words apart, whatever it pretends", function()
    for _, words in ipairs { "gateway_lost", "timeout", "kicked", "script", "done" } do
      app:connect():close(1000, words)
      told("client", "client", "1000", words, "0")
    end
  end)

  it("has no words of a client that said none", function()
    app:connect():close(4001)
    told("client", "client", "4001", "nil", "0")
    app:connect():close() -- as a browser's close() without a code
    told("client", "client", "1005", "nil", "0")
    app:connect():vanish()
    told("client", "client", "1006", "nil", "0")
  end)

  it("tells what the script did, as its client hears it", function()
    for message, want in pairs {
      kick = { 1000, "kicked" }, code = { 4001, "" }, reason = { 1000, "enough" },
      both = { 3000, "gateway_lost" },
    } do
      local client = app:connect()
      client:send(message)
      assert.same({ code = want[1], reason = want[2] }, client.closed)
      told("script", "kicked", want[1], want[2] == "" and "nil" or want[2], "0")
    end
    app:connect():send "destroy"
    told("script", "destroyed", "1006", "nil", "0")
  end)

  it("tells what gwrun did", function()
    app:connect():send_raw "\x83\x80\0\0\0\0"
    told("server", "protocol_error", "1002", "protocol error", "0")
    app:connect():send_raw "\x81\x81\0\0\0\0\xff"
    told("server", "protocol_error", "1007", "text is not UTF-8", "0")
    app:connect():send(("x"):rep(1024 * 1024 + 1))
    told("server", "too_large", "1009", "message too big", "0")
  end)

  it("tells of time that is over", function()
    app:stop()
    start { gateways = { { idle_timeout = 30 } } }
    app:freeze(app:connect())
    app:advance(60)
    told("server", "timeout", "1006", "nil", "0")
  end)

  it("tells that a gateway is gone", function()
    app:connect { gateway = 1 }
    app:kill_gateway(1)
    app:advance(2)
    told("lost", "gateway_lost", "nil", "nil", "nil")
  end)

  it("has code and reason where there are no Close frames", function()
    app:stop()
    start { gateways = { "text", "frame", "tcp" } }
    for i = 1, 3 do
      app:connect { gateway = i }:send "both"
      told("script", "kicked", "3000", "gateway_lost", "0")
    end
  end)

  it("tells what was first: a full queue, then the script", function()
    app:stop()
    start { gateways = { { max_queue = 20000 } } }
    local client = app:connect()
    app:slow(client)
    client:send "last"
    app:slow(client, false)
    client:received()
    assert.same({ code = 1008, reason = "overflow" }, client.closed)
    assert.matches("^server\toverflow\t1008\toverflow\t%d+$", app:log()[1])
  end)

  it("counts the messages that the client did not get", function()
    app:stop()
    start { gateways = { { max_queue = 20000 }, { max_queue = 20000, overflow = "drop" } } }
    for i = 1, 2 do
      local client = app:connect { gateway = i }
      app:slow(client)
      client:send "flood"
      app:slow(client, false)
      local got = #client:received()
      if i == 2 then client:close() end
      local by, cause, dropped = app:log()[1]:match "^(%l+)\t(%l+)\t.*\t(%d+)$"
      assert.equal(i == 1 and "server overflow" or "client client", by .. " " .. cause)
      assert.equal(200 - got, tonumber(dropped))
      assert.is_true(got < 200)
    end
  end)
end)

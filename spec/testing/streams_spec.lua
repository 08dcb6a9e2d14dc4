-- Clients with event streams, without a network.
local testing = require "gwrun.testing"

describe("app:connect with stream = true", function()
  local app

  local function start(gateways)
    app = testing.start {
      gateways = gateways,
      text = [[
        Events = {}
        function Events.onRequest(request)
          if request.path == "/no" then return 204 end
          if request.path == "/slow" then Timer.sleep(5) end
          return { stream = "sse", uid = request.get.uid, session = { last = request.headers["last-event-id"] },
            groups = "watchers" }
        end
        function Events.onConnect(client_id) Gateway.sendToClient(client_id, "welcome") end
        function Events.onMessage() end
      ]],
    }
  end

  after_each(function() app:stop() end)

  it("gives a client that hears", function()
    start { "websocket", "http" }
    local ann = app:connect { stream = true, path = "/?uid=ann", gateway = 1, headers = { ["Last-Event-ID"] = "7" } }
    local bob = app:connect { stream = true, path = "/slow?uid=bob", gateway = 2 }
    local page = app:connect { gateway = 1 }
    assert.same({ "ann", { last = "7" }, { "watchers" } }, { ann:uid(), ann:session(), ann:groups() })
    app:run 'Gateway.sendToGroup("watchers", "a\\nb", nil, { event = "tick", id = "8" }) Gateway.sendToAll "all"'
    assert.same({
      { text = "welcome" }, { text = "a\nb", event = "tick", id = "8" }, { text = "all" },
    }, ann:messages())
    assert.same({ "welcome", "a\nb", "all" }, bob:received())
    assert.same({ "welcome", "all" }, page:received())
    assert.error_matches(function() ann:send "x" end, "cannot send")
  end)

  it("closes it with code and reason", function()
    start()
    local ann = app:connect { stream = true }
    app:run('Gateway.closeClient(..., "bye", { code = 4000, reason = "over" })', ann.id)
    assert.same({ "welcome", "bye" }, ann:received())
    assert.same({ 4000, "over" }, { ann.closed.code, ann.closed.reason })
    assert.equal(204, app:connect { stream = true, path = "/no" }.closed.status)
  end)

  it("lets it live in silence, with a comment every 15 s", function()
    start { { listen = "websocket", idle_timeout = 40 } }
    local ann = app:connect { stream = true }
    app:advance(15 * 4 + 1)
    assert.equal(4, ann.comments)
    app:advance(3600)
    assert.is_nil(ann.closed)
  end)

  it("lets it live in silence where there are files, too", function()
    start { { listen = "http", files = "spec" } }
    local ann = app:connect { stream = true }
    app:advance(15 * 4 + 1)
    assert.equal(4, ann.comments)
  end)

  it("tells labels that cannot be", function()
    start()
    local function wrong(options, what)
      assert.error_matches(function() app:run(('Gateway.sendToAll("x", nil, nil, %s)'):format(options)) end, what)
    end
    wrong('{ event = "a\\nb" }', "option event must be UTF%-8 of at most 255 bytes, without line breaks")
    wrong('{ id = ("x"):rep(256) }', "option id must be UTF%-8 of at most 255 bytes")
    wrong("{ id = 7 }", "option id must be a string, got number")
    wrong('{ event = "a", raw = true }', "raw bytes have no event and no id")
  end)
end)

-- gwrun.deadline and gwrun.whileConnected on the harness's clock.
local testing = require "gwrun.testing"

describe("the harness", function()
  local app, client

  before_each(function()
    app = testing.start {
      text = [[
        Events = {}
        function Events.onMessage(client_id, limit)
          local _, code
          if limit == "deadline" then
            _, _, code = gwrun.deadline(3600, Timer.sleep, 7200)
          else
            _, _, code = gwrun.whileConnected(Timer.sleep, 7200)
          end
          Gateway.sendToAll(tostring(code))
        end
        function Events.onClose() Gateway.sendToAll "closed" end
      ]],
    }
    client = app:connect()
  end)

  after_each(function() app:stop() end)

  it("lets a deadline of an hour pass in no time, and not before", function()
    client:send "deadline"
    app:advance(3599.999)
    assert.same({}, client:received())
    app:advance(0.001)
    assert.same({ "deadline" }, client:received())
  end)

  it("cuts a handler short when its client closes", function()
    local other = app:connect()
    client:send "whileConnected"
    client:close()
    assert.same({ "gone", "closed" }, other:received())
  end)
end)

describe("what computes for too long", function()
  local app

  local function start(text, options)
    options = options or {}
    options.text = "Events = { onMessage = print }\n" .. text
    options.errors = "collect"
    options.config = { workers = { handler_timeout = 0.05 } }
    app = testing.start(options)
  end

  after_each(function() app:stop() end)

  it("does not end its cron job", function()
    start [[
      runs = 0
      Timer.cron("* * * * * *", function()
        runs = runs + 1
        while runs == 1 do end
      end)
    ]]
    app:advance(1)
    assert.matches("handler exceeded", app:errors()[1])
    app:advance(3)
    assert.equal(4, app:run "return runs")
  end)

  it("does not end its subscription", function()
    local redis = testing.redis()
    start([[
      heard = {}
      Redis.connect():subscribe("c", function(message)
        heard[#heard + 1] = message
        while message == "loop" do end
      end)
    ]], { redis = redis })
    redis:publish("c", "loop")
    app:advance(0)
    assert.matches("handler exceeded", app:errors()[1])
    app:advance(30)
    redis:publish("c", "again")
    app:advance(0)
    assert.same({ "loop", "again" }, { app:run "return table.unpack(heard)" })
  end)

  it("does not leave who waits for it in gwrun.parallel", function()
    start ""
    app:run [[
      gwrun.spawn(function()
        ok, message = pcall(gwrun.parallel, function() while true do end end, Timer.sleep)
      end)
    ]]
    assert.matches("handler exceeded", app:errors()[1])
    assert.is_false(app:run "return ok")
    assert.matches("handler exceeded", app:run "return message")
  end)
end)

describe("a cron job", function()
  it("goes on after a time at which too many functions ran", function()
    local app = testing.start { errors = "collect", text = [[
      Events = { onMessage = print }
      runs, tickets = 0, {}
      Timer.cron("* * * * * *", function() runs = runs + 1 end)
      function fill()
        for i = 1, 10000 do
          tickets[i] = gwrun.ticket()
          gwrun.spawn(function() tickets[i]:wait() end)
        end
      end
    ]] }
    app:run "fill()"
    app:advance(1)
    assert.matches("more than 10000 spawned functions", app:errors()[1])
    app:run "for _, ticket in ipairs(tickets) do ticket:set() end"
    app:advance(2)
    assert.equal(2, app:run "return runs")
    app:stop()
  end)
end)

describe("a websocket's request", function()
  local app

  local function seen(what, options)
    app = testing.start { text = ([[
      Events = { onMessage = print }
      function count(t, n) for _ in pairs(t) do n = (n or 0) + 1 end return n end
      function levels(t) -- of a[x][x]…
        local n = 0
        t = t.a
        while t do n, t = n + 1, type(t) == "table" and t.x end
        return n
      end
      function Events.onWebSocketConnect(_, data) Gateway.sendToCurrentClient(tostring(%s)) end
    ]]):format(what) }
    return app:connect(options):last()
  end

  after_each(function() app:stop() end)

  local function list(count, separator)
    local words = {}
    for i = 1, count do words[i] = ("n%d=%d"):format(i, i) end
    return table.concat(words, separator)
  end

  it("has 1000 names at most in its query", function()
    local counted = "count(data.get) .. ' ' .. tostring(data.get.n1000) .. tostring(data.get.n1001)"
    assert.equal("1000 1000nil", seen(counted, { path = "/?" .. list(1500, "&") }))
  end)

  it("has 1000 cookies at most", function()
    assert.equal("1000", seen("count(data.cookie)", { headers = { Cookie = list(1500, "; ") } }))
  end)

  it("leaves out names of more than 32 levels", function()
    local function query(levels) return "/?b=2&a" .. ("[x]"):rep(levels - 1) .. "=1" end
    local levels = "levels(data.get) .. ' ' .. data.get.b"
    assert.equal("32 2", seen(levels, { path = query(32) }))
    assert.equal("0 2", seen(levels, { path = query(33) }))
  end)

  it("looks at 50 entries of X-Forwarded-For, from the right", function()
    local function from(proxies)
      app = testing.start {
        config = { gateways = { { trusted_proxies = { "127.0.0.1", "10.0.0.0/8" } } } },
        text = [[Events = { onMessage = print }
          function Events.onConnect() Gateway.sendToCurrentClient(_SERVER.REMOTE_ADDR) end]],
      }
      return app:connect { headers = { ["X-Forwarded-For"] = "192.0.2.1" .. (", 10.0.0.1"):rep(proxies) } }:last()
    end
    assert.equal("192.0.2.1", from(49))
    assert.not_equal("192.0.2.1", from(50))
  end)
end)

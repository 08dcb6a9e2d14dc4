-- Two workers of one name and number on one host: they do not take the clients
-- from each other for ever, and the logs say what to do.
local cjson = require "cjson"
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local ON_CONNECT, ON_CLOSE = 1, 4
local WORKER_CONNECT, GET_CLIENT_COUNT = 200, 24

local script = [[
Events = {}
function Events.onMessage(client_id, message) Gateway.sendToCurrentClient("answer to " .. message) end
]]

local function start()
  return testbed.start {
    script = script,
    gateways = { { listen = "text" } },
    workers = { name = "Chat" },
    config = function(c) c.log = { level = "info" } end, -- who joins
  }
end

local function packet(cmd, body)
  return (">I4 B I4 I2 I4 I2 I4 B I2 I4"):pack(28 + #body, cmd, 0, 0, 0, 0, 0, 1, 0, 0) .. body
end

-- As PHP's worker introduces itself.
local function join_as_php(app, key)
  local link = tcp.connect(app.config.gateways[1].start_port)
  link:send(packet(WORKER_CONNECT, ('{"worker_key":"%s","secret_key":""}'):format(key or "Chat:0")))
  return link
end

--- Workers that another master starts, for the first one's gateway.
local function start_beside(app, name)
  local second = testbed.new {
    script = script,
    workers = { name = name },
    config = function(c)
      c.register, c.gateways = nil, nil
      c.register_address = app.config.register_address
    end,
  }
  second.master = process.spawn(second:command "start", { cwd = second.dir })
  return second
end

local function joined(app)
  local _, times = app:log():gsub("worker joined", "")
  return times
end

local function expect_answers(app)
  local client = tcp.connect(app.port[1])
  client:send "hello\n"
  client:receive "answer to hello\n"
  client:close()
end

describe("two workers of one name on one host", function()
  it("are told apart at once when both are gwrun's", function()
    local app = start()
    local second = start_beside(app, "Chat")
    finally(function()
      second:stop()
      app:stop()
    end)
    app:wait_log "give them different names"
    second:wait_log "give them different names"
    assert.equal(1, joined(app))
    expect_answers(app)
  end)

  it("do not go on for ever when one is PHP's", function()
    local app = start()
    finally(function() app:stop() end)
    local php = join_as_php(app)
    assert.equal("", php:wait_end()) -- gwrun's worker came again
    loop.wait("gwrun's worker", function() return joined(app) >= 3 end)
    php = join_as_php(app)
    assert.equal("", php:wait_end())
    app:wait_log "give them different names"
    assert.equal(3, joined(app))
    expect_answers(app)
  end)
end)

describe("two masters on one host", function()
  it("count as two machines", function()
    local app = start()
    local second = start_beside(app, "Other")
    finally(function()
      second:stop()
      app:stop()
    end)
    local counters = loop.poll("both workers", function()
      local now = app:counters("gateway", 0)
      return now.workers == 2 and now
    end)
    assert.equal(1, counters.workers_local)
  end)
end)

-- PHP's workers do not say what they have begun.
describe("a worker that acknowledges nothing", function()
  it("is named by status, and what it may not have run is counted when it is gone", function()
    local app = start()
    finally(function() app:stop() end)
    local php = join_as_php(app, "PHP:0")
    php:send(packet(GET_CLIENT_COUNT, ""))
    php:receive "i:0;"
    local _, out = app:cli "status"
    assert.matches("gateway/0: 1 of 2 workers acknowledge nothing", out, 1, true)
    assert.matches("gateway/0: worker 127.0.0.1:PHP:0 unacknowledged", out, 1, true)
    assert.equal(1, app:counters("gateway", 0).workers_silent)
    for _, p in ipairs(app:status().processes) do
      local php_only = { { peer = "127.0.0.1:PHP:0", name = cjson.null, state = "unacknowledged", ms = 0 } }
      assert.same(p.role == "gateway" and php_only or {}, p.links)
    end
    app:wait_log [[key="PHP:0" replaced=0 acknowledges=0]]

    -- One of the clients is PHP's.
    for i = 1, 2 do
      local client = tcp.connect(app.port[1])
      client:send(("message %d\n"):format(i))
    end
    php:receive "message"
    local given = app:counters("gateway", 0)
    assert.equal(0, given.events_unknown)
    php:close()
    loop.poll("its loss", function() return app:counters("gateway", 0).workers == 1 end)
    assert.equal(2, app:counters("gateway", 0).events_unknown) -- ON_CONNECT and a message
    app:wait_log "a worker that acknowledges nothing was lost"
    local _, later = app:cli "status"
    assert.is_nil(later:find("acknowledge nothing", 1, true))
  end)
end)

-- The command and the connection id of the next packet that is an event.
local function next_event(link)
  local cmd, id
  loop.wait("an event for PHP's worker", function()
    while #link.data >= 28 do
      local len, command = (">I4 B"):unpack(link.data)
      if #link.data < len then return false end
      cmd, id = command, (">I4"):unpack(link.data, 18)
      link.data = link.data:sub(len + 1)
      if cmd == ON_CONNECT or cmd == ON_CLOSE then return true end
    end
  end)
  return cmd, id
end

describe("PHP's worker", function()
  it("gets the onClose of its clients when their gateway was killed", function()
    local app = testbed.new { gateways = { { listen = "text" } }, config = function(c) c.workers = nil end }
    finally(function() app:stop() end)
    app.master = process.spawn(app:command "start", { cwd = app.dir })
    app:wait_log "Press Ctrl+C"
    local php = join_as_php(app, "PHP:0")
    app:wait_log "clients can connect"
    local client = tcp.connect(app.port[1])
    local cmd, id = next_event(php)
    assert.equal(ON_CONNECT, cmd)
    assert.equal(0, process.run { "kill", "-9", tostring(app:pids("gateway")[1]) })
    client:wait_end()
    php:wait_end()
    php = join_as_php(app, "PHP:0")
    assert.same({ ON_CLOSE, id }, { next_event(php) })
    loop.poll("the book to have nothing left", function() return app:counters("gateway", 0).book_clients == 0 end)
  end)
end)

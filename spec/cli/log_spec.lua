-- The log: JSON lines, and what scripts write into it.
local cjson = require "cjson"
local loop = require "loop"
local tcp = require "tcp"
local testbed = require "testbed"

local script = [[
Events = {}
local log = Log.with { service = "a b", n = 7 }
function Events.onWorkerStart(worker) if worker.id == 0 then log.warn "begun" end end
function Events.onMessage(id, message)
  if message == "fail" then error "on purpose" end
  log.with { order = message }.warn("paid k=v", 'said "x"')
  print("printed\t" .. message)
  Timer.once(0.01, function() Log.notice "later" end)
end
]]

describe("the log", function()
  local app, client

  local function start(format)
    app = testbed.start {
      script = script, gateways = { { listen = "text" } },
      config = function(c) c.log = { format = format } end,
    }
    client = tcp.connect(app.port[1])
  end

  after_each(function()
    client:close()
    app:stop()
  end)

  --- The object of the first line of that message, in JSON.
  local function find(key, text)
    local found
    loop.poll("a line about " .. text, function()
      for line in app:log():gmatch "({[^\n]*})\n" do
        local object = cjson.decode(line)
        if object[key] and object[key]:find(text, 1, true) then
          found = object
          return true
        end
      end
    end)
    return found
  end

  it("has JSON objects, with what a script's line is about", function()
    start "json"
    client:send "7 up\n"
    local begun = find("message", "begun")
    assert.same({ service = "a b", n = "7", event = "onWorkerStart" }, begun.fields)
    assert.same({ "warn", "script", "worker/0", "begun" }, { begun.level, begun.source, begun.process, begun.message })
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d[+-]%d%d:%d%d$", begun.time)
    assert.is_true(begun.pid > 1)
    local paid = find("message", "paid")
    assert.equal('paid k=v\tsaid "x"', paid.message)
    assert.same({ "onMessage", "7 up", "7", "a b" },
      { paid.fields.event, paid.fields.order, paid.fields.n, paid.fields.service })
    assert.matches("^%x+$", paid.fields.client)
    assert.same({ "printed\t7 up", "print", paid.fields.client },
      { find("message", "printed").message, find("message", "printed").source, find("message", "printed").fields.client })
    assert.is_nil((find("message", "later").fields or {}).client)
    client:send "fail\n"
    local failed = find("message", "handler failed")
    assert.same({ event = "onMessage", client = paid.fields.client }, failed.fields)
    assert.matches("on purpose\nstack traceback:", find("block", "on purpose").block, 1, true)
    for line in app:log():gmatch "[^\n]+" do
      if line:find("^{") or line:find '"level"' then cjson.decode(line) end
      assert.is_nil(line:find("^%d%d%d%d%-"), line) -- none is text
    end
  end)

  it("tells of refused handshakes, but not of each where there are many", function()
    app = testbed.start { script = script, gateways = { { listen = "websocket" } } }
    for i = 1, 25 do
      client = tcp.connect(app.port[1])
      client:send "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
      client:receive "HTTP/1.1 426"
      if i < 25 then client:close() end
    end
    app:wait_log " notice refusal: handshake refused status=426 peer=127.0.0.1:"
    local _, lines = app:log():gsub("handshake refused", "")
    assert.is_true(lines < 25, lines)
  end)

  it("has a logger's fields behind the text, and who it is about", function()
    start "text"
    client:send "7 up\n"
    app:wait_log ' warn script: begun n=7 service="a b" event="onWorkerStart"\n'
    app:wait_log ' warn script: paid k=v\tsaid "x" n=7 service="a b" order="7 up" client='
    app:wait_log ' notice script: later event="a timer"\n'
    assert.matches(' order="7 up" client=%x+ event="onMessage"\n', app:log())
    assert.matches(' notice print: printed\t7 up client=%x+ event="onMessage"\n', app:log())
  end)
end)

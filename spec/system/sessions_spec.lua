-- Sessions over the death of workers, and between workers.
local bridge = require "bridge"
local loop = require "loop"
local process = require "process"
local testbed = require "testbed"

-- "save N": _SESSION.n = N; "wait": says so, and waits for ever; else it shows
-- the session and which worker did.
local script = [[
local json = require "gwrun.json"
Events = {}
local worker
function Events.onWorkerStart(w) worker = w.id end
function Events.onMessage(client_id, message)
  local n = message:match "^save (%d+)$"
  if n then _SESSION.n = tonumber(n) end
  if message == "wait" then
    _SESSION.waited = true
    Timer.sleep(0)
    Gateway.sendToCurrentClient "waiting"
    Timer.sleep(1000)
  end
  local s = _SESSION
  Gateway.sendToCurrentClient(json.encode { s.n or 0, s.waited or false, #(s.big or ""), worker })
end
function Events.onWebSocketConnect(client_id)
  _SESSION.big = ("x"):rep(50000)
end
function Events.onClose(client_id, info)
  local s = info.session or {}
  Gateway.sendToAll(json.encode { "closed", s.n or 0, #(s.big or "") })
end
]]

describe("sessions over a kill -9 of their worker", function()
  local app

  before_each(function()
    app = testbed.start { script = script, workers = { count = 2 } }
  end)

  after_each(function()
    bridge.close()
    app:stop()
  end)

  --- The worker that a client has now, and its process.
  local function worker_of(client)
    client:send "show"
    local worker = tonumber(client:receive():match "(%d+)%]$")
    return worker, app:pids("worker")[worker + 1]
  end

  it("come whole to the next worker, with all that was saved", function()
    local c = bridge.connect(app:url())
    local first, pid = worker_of(c)
    for n = 1, 5 do
      c:send("save " .. n)
      assert.equal(("[%d,false,50000,%d]"):format(n, first), c:receive())
    end
    c:send "wait"
    assert.equal("waiting", c:receive())
    c:send "save 7" -- waits behind it, and is given to another
    c:send "show"
    assert.equal(0, process.run { "kill", "-9", tostring(pid) })
    for _ = 1, 2 do assert.matches("^%[7,true,50000,%d%]$", c:receive()) end
  end)

  it("are there in the onClose of a client that left meanwhile", function()
    local c, other = bridge.connect(app:url()), bridge.connect(app:url())
    local _, pid = worker_of(c)
    c:send "save 3"
    c:receive()
    c:send "wait"
    assert.equal("waiting", c:receive())
    c:close()
    loop.poll("the client to be gone", function()
      return app:counters("gateway", 0).clients == 1
    end)
    assert.equal(0, process.run { "kill", "-9", tostring(pid) })
    assert.equal('["closed",3,50000]', other:receive())
  end)
end)

-- Scripts that keep more than their worker may have.
local bridge = require "bridge"
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local MIB = 1024 * 1024

local script = [[
local keep = {}
Events = {}
function Events.onMessage(client_id, message)
  if message == "fill" then
    while true do keep[#keep + 1] = {} end
  elseif message == "fill quietly" then
    print(pcall(function() while true do keep[#keep + 1] = {} end end))
  elseif message == "keys" then
    local n = keep.n or 0
    keep.n = n
    while true do n = n + 1; keep[n * 1000003] = true; keep.n = n end
  elseif message == "bomb" then
    return #("x"):rep(1e9)
  elseif message == "wait" then
    Gateway.sendToCurrentClient "waiting"
    Timer.sleep(1)
  end
  Gateway.sendToCurrentClient(message)
end
]]

--- The worker's row of gwrun status.
local function worker(app)
  for _, p in ipairs(app:status().processes) do
    if p.role == "worker" then return p end
  end
end

describe("a worker whose memory is full of live data", function()
  local app

  before_each(function()
    app = testbed.start { script = script, workers = { count = 1, memory_limit = 16 * MIB } }
  end)

  after_each(function()
    bridge.close()
    app:stop()
  end)

  local function wait_replaced(before)
    loop.poll("another worker", function()
      local p = worker(app)
      return p.state == "ready" and p.pid ~= before.pid
    end)
  end

  local function echoes(c, text)
    c:send(text)
    assert.equal(text, c:receive())
  end

  for _, message in ipairs { "fill", "fill quietly", "keys" } do
    it("is replaced after a few errors, and what waits is let go on: " .. message, function()
      local before = worker(app)
      local filler, waiting = bridge.connect(app:url()), bridge.connect(app:url())
      waiting:send "wait"
      assert.equal("waiting", waiting:receive())
      for _ = 1, 3 do filler:send(message) end
      filler:send "next"
      repeat until filler:receive() == "next"
      assert.equal("wait", waiting:receive())
      wait_replaced(before)
      local after = worker(app)
      assert.is_true(after.restarts > before.restarts)
      assert.matches("memory is full of live data, 3 handlers failed in a row memory_limit=16777216", after.last_end, 1, true)
      assert.matches("to be replaced: memory is full of live data", app:log(), 1, true)
      local _, table = app:cli "status"
      assert.matches("worker/0 was started again: memory is full", table, 1, true)
    end)
  end

  it("is replaced again and again without a wait that grows", function()
    local c = bridge.connect(app:url())
    for i = 1, 8 do
      local before = worker(app)
      for _ = 1, 3 do c:send "fill" end
      wait_replaced(before)
      echoes(c, "after " .. i)
    end
    assert.is_nil(app:log():find("too often, waiting", 1, true))
  end)

  it("stays when only handlers ask for too much", function()
    local before = worker(app)
    local c = bridge.connect(app:url())
    for _ = 1, 20 do c:send "bomb" end
    echoes(c, "after")
    assert.equal(before.pid, worker(app).pid)
  end)
end)

describe("gwrun dev with a script that fills its memory", function()
  it("loads it afresh", function()
    local app = testbed.new { script = script, workers = { memory_limit = 16 * MIB } }
    local dev = process.spawn({ testbed.program, "dev" }, { cwd = app.dir })
    finally(function()
      bridge.close()
      dev:kill "sigint"
      dev:wait()
      app:remove()
    end)
    dev:wait_output "clients can connect"
    local c = bridge.connect(app:url())
    for _ = 1, 3 do c:send "fill" end
    dev:wait_output "the script is started afresh: memory is full"
    c:send "after"
    assert.equal("after", c:receive())
  end)
end)

describe("memory that clients took", function()
  if testbed.sanitized then return end -- that keeps what was freed
  it("goes back to the system when they are gone", function()
    local app = testbed.start { gateways = { { listen = "text" } }, script = [[
      Events = {}
      function Events.onMessage(client_id, message) Gateway.sendToCurrentClient(message) end
    ]] }
    local clients = {}
    finally(function() app:stop() end)
    local function gateway() return app:counters("gateway", 0) end
    local small = gateway().memory
    for i = 1, 1000 do
      clients[i] = tcp.connect(app.port[1])
      clients[i]:send(("x"):rep(65000))
    end
    loop.poll("the unfinished lines", function() return gateway().unfinished > 60 * MIB end)
    assert.is_true(gateway().memory > small + 50 * MIB)
    local last = tcp.connect(app.port[1]) -- what it needs lies above all that
    last:send "hello\n"
    last:receive "hello\n"
    for i = 1, 1000 do clients[i]:close() end
    loop.poll("the memory to be given back", function() return gateway().memory < small + 20 * MIB end)
    last:send "hello\n"
    last:receive "hello\n"
    last:close()
  end)
end)

describe("memory that a script has given up", function()
  if testbed.sanitized then return end -- that keeps what was freed
  it("goes back to the system after a reload", function()
    local app = testbed.start {
      workers = { count = 1 },
      script = [[
        Events = {}
        function Events.onMessage(client_id, message)
          keep = {}
          for i = 1, 1000000 do keep[i] = { i } end
          Gateway.sendToCurrentClient(message)
        end
      ]],
    }
    finally(function()
      bridge.close()
      app:stop()
    end)
    local small = worker(app).counters.memory
    local c = bridge.connect(app:url())
    c:send "fill"
    assert.equal("fill", c:receive())
    assert.is_true(worker(app).counters.memory > small + 60 * MIB)
    assert.equal(0, (app:cli "reload"))
    loop.poll("the memory to be given back", function() return worker(app).counters.memory < small + 20 * MIB end)
  end)
end)

-- kill -9 of each process, and scripts that misbehave.
local bridge = require "bridge"
local loop = require "loop"
local process = require "process"
local testbed = require "testbed"

local script = [[
local count, timer = 0
Events = {}
function Events.onMessage(client_id, message)
  if message == "count" then
    timer = Timer.add(0.01, function()
      count = count + 1
      Gateway.sendToAll("n" .. count)
    end)
    return
  end
  if message == "enough" then
    Timer.del(timer)
    message = "counted " .. count
  end
  if message == "error" then error "deliberate" end
  if message == "loop" then while true do pcall(function() while true do end end) end end
  if message == "memory" then local t = {} while true do t[#t + 1] = ("x"):rep(1e6) .. #t end end
  if message == "sleep" then Timer.sleep(1) end
  Gateway.sendToCurrentClient(message)
end
function Events.onClose(client_id) print("closed " .. client_id) end
]]

local function kill9(pid) assert(process.run { "kill", "-9", tostring(pid) } == 0) end

describe("a fault", function()
  local app

  setup(function()
    app = testbed.start {
      script = script,
      gateways = { { count = 1 }, { count = 1 } },
      workers = { count = 2, handler_timeout = 3, memory_limit = 64 * 1024 * 1024 },
      config = function(c) c.log = { level = "info" } end,
    }
  end)

  teardown(function()
    bridge.close()
    app:stop()
  end)

  local function echoes(c, text)
    c:send(text)
    assert.equal(text, c:receive())
  end

  local function wait_healthy()
    loop.poll("every process to be ready", function()
      for _, p in ipairs(app:status().processes) do
        if p.state ~= "ready" then return false end
      end
      return true
    end)
    app:wait_linked()
  end

  it("in a handler is logged with file and line, and hurts nobody", function()
    local c = bridge.connect(app:url())
    c:send "error"
    echoes(c, "next")
    app:wait_log "deliberate"
    app:wait_log "onMessage"
    c:close()
  end)

  it("such as an endless loop ends with an error", function()
    local c = bridge.connect(app:url())
    c:send "loop"
    echoes(c, "after the loop")
    c:close()
  end)

  it("such as a memory bomb ends with an error", function()
    local c = bridge.connect(app:url())
    c:send "memory"
    echoes(c, "after the bomb")
    app:wait_log "not enough memory"
    c:close()
  end)

  it("such as a waiting handler holds up only its own client", function()
    local slow, quick = bridge.connect(app:url()), bridge.connect(app:url())
    slow:send "sleep"
    slow:send "second"
    for i = 1, 20 do echoes(quick, "q" .. i) end
    assert.equal("sleep", slow:receive())
    assert.equal("second", slow:receive())
    slow:close()
    quick:close()
  end)

  it("kill -9 of the workers disconnects nobody", function()
    local c = bridge.connect(app:url())
    echoes(c, "before")
    local before = #app:log()
    for _, pid in ipairs(app:pids "worker") do kill9(pid) end
    -- What lay in a dead worker's socket is gone; what comes later is held. Two
    -- workers left each of two gateways.
    loop.wait("the gateways to notice", function()
      return select(2, app:log():sub(before):gsub("worker left", "")) >= 4
    end)
    c:send "held until a worker is back"
    assert.equal("held until a worker is back", c:receive())
    wait_healthy()
    c:close()
  end)

  it("kill -9 of the register stops no traffic, and no broadcast misses a gateway", function()
    local first, second = bridge.connect(app:url(1)), bridge.connect(app:url(2))
    first:send "count"
    for _ = 1, 3 do
      local pid = app:pids("register")[1]
      kill9(pid)
      loop.poll("another register", function()
        for _, p in ipairs(app:status().processes) do
          if p.role == "register" then return p.state == "ready" and p.pid ~= pid end
        end
      end)
    end
    first:send "enough"
    local last = tonumber(first:receive "counted ":match "%d+")
    assert.is_true(last > 3)
    second:receive("n" .. last)
    for _, c in ipairs { first, second } do
      local n = 0
      for _, e in ipairs(c.events) do
        local number = (e.text or ""):match "^n(%d+)$"
        if number then
          n = n + 1
          assert.equal(n, tonumber(number))
        end
      end
      assert.equal(last, n)
      c:close()
    end
    wait_healthy()
  end)

  it("kill -9 of a gateway cuts only its own clients, and their onClose comes", function()
    local first, second = bridge.connect(app:url(1)), bridge.connect(app:url(2))
    echoes(first, "a")
    echoes(second, "b")
    local before = #app:log()
    for _, p in ipairs(app:status().processes) do
      if p.role == "gateway" and p.name == "Gateway1" then kill9(p.pid) end
    end
    assert.equal(1006, first:closed().code)
    echoes(second, "still here")
    loop.wait("onClose of the lost client", function() return app:log():find("closed ", before, true) end)
    wait_healthy()
    local again = bridge.connect(app:url(1))
    echoes(again, "back")
    again:close()
    second:close()
  end)

  it("kill -9 of the master leaves no orphan and frees the ports", function()
    local pids = {}
    for _, p in ipairs(app:status().processes) do pids[#pids + 1] = p.pid end
    kill9(app.master.pid)
    app.master:wait()
    loop.poll("all children to leave", function()
      for _, pid in ipairs(pids) do
        if process.run { "kill", "-0", tostring(pid) } == 0 then return false end
      end
      return true
    end)
    app:up()
    local c = bridge.connect(app:url())
    echoes(c, "again")
    c:close()
  end)
end)

-- Handlers that are far slower than what comes in, a handler of 8 s and a script that
-- loads for 5 s: nothing is lost, doubled or closed, and memory has a bound.
local lab = require "spec.fault.lab"
local loop = require "loop"
local testbed = require "testbed"

local SIZE = 16384    -- bytes of a message of those who flood
local FLOOD = 300     -- messages that they have in flight
local BOUND = 16 << 20 -- bytes that a process may grow by meanwhile; the floods are twice that

local function settle(system)
  local broken, figures, counted = system:settle()
  for _, line in ipairs(figures) do io.stdout:write("# ", line, "\n") end
  assert.same({}, broken)
  return counted
end

local function memory(system)
  local bytes = {}
  for _, p in ipairs(system.system:processes()) do bytes[p.pid] = p.counters.memory end
  return bytes
end

describe("a system that is busy", function()
  local system

  setup(function() system = lab.start { seed = 4, gateways = { { listen = "text" } } } end)
  teardown(function() if system then system:stop() end end)

  it("keeps what slow handlers have not taken with those who sent it", function()
    system:begin_round()
    system:traffic(100)
    local before = memory(system)
    for i = 1, 8 do
      system:invite { name = "flood" .. i, window = FLOOD, action = "flood " .. ("x"):rep(SIZE) }
    end
    loop.poll("clients that are not read from", function()
      for _, p in ipairs(system.system:processes "gateway") do
        if p.counters and p.counters.clients_paused > 0 then return true end
      end
    end)
    system:traffic(400)
    for pid, bytes in pairs(memory(system)) do
      if not testbed.sanitized then assert.is_true(bytes - (before[pid] or bytes) < BOUND, "memory of " .. pid) end
    end
    local counted = settle(system)
    assert.is_true(counted.messages > 8 * FLOOD)
    assert.equal(0, counted.moves)
  end)

  it("lets others talk on beside slow handlers", function()
    system:begin_round()
    system:traffic(20)
    local slow = system:invite { name = "slow", window = 50, action = "pause 50" }
    loop.wait("a slow client", function() return slow.life and slow.life.answers > 0 end)
    local others = {}
    for _, person in ipairs(system.crowd.people) do
      if person ~= slow then others[person] = person.life.answers end
    end
    local goal = slow.life.answers + 20
    loop.wait("20 slow answers", function() return slow.life.answers >= goal end)
    for person, answers in pairs(others) do
      assert.is_true(person.life.answers - answers >= 20, person.name)
    end
    settle(system)
  end)

  it("takes a handler of 8 s and a script that loads for 5 s", function()
    system:begin_round()
    system:traffic(20)
    local life = system.crowd:anyone(system.random)
    life:ask "compute 8"
    system:traffic(20)
    system.system:write_script(system.system.script .. "\nlocal t = os.time() + 5 while os.time() < t do end")
    local code, out = system.system.first:cli "reload"
    system.system:write_script(system.system.script)
    assert.equal(0, code, out)
    system:traffic(100)
    local counted = settle(system)
    assert.equal("orderly", life.ended)
    assert.equal(counted.connects, counted.closes)
  end)
end)

-- gwrun.shared between the workers of a real system.
local loop = require "loop"
local process = require "process"
local scripting = require "scripting"

describe("gwrun.shared", function()
  local bed

  setup(function()
    bed = scripting.start {
      prefix = "shared = require 'gwrun.shared' assert(gwrun.shared == shared)\n",
      workers = { count = 3, shared_keys = 100 },
    }
  end)

  teardown(function() if bed then bed:stop() end end)

  it("keeps strings, integers and floats", function()
    assert.same({ "a\0b", "integer", "float", "nil" }, { bed:run [[
      shared.set("s", "a\0b") shared.set("i", 3) shared.set("f", 0.5)
      return shared.get "s", math.type(shared.get "i"), math.type(shared.get "f"), type(shared.get "none")
    ]] })
    assert.same({ true, true, false }, { bed:run "return shared.set('s', nil), shared.get 's' == nil, shared.delete 's'" })
  end)

  it("has one key for a number, whether it is an integer or a float", function()
    assert.same({ 1, 2, 3 }, { bed:run [[
      shared.set(1700000000123456.0, 1) shared.set("1001", 2) shared.set(0.1, 3)
      return shared.get(1700000000123456), shared.get(1001.0), shared.get("0.1")
    ]] })
  end)

  it("keeps and compares numbers by what they are worth", function()
    assert.same({ "integer", 1002, true, true, true, 9 }, { bed:run [[
      shared.set("w", 1001.0) -- as cjson.decode makes it
      local kind, count = math.type(shared.get "w"), shared.incr("w", 1)
      return kind, count, shared.cas("w", 1002.0, 7), shared.cas("w", 7, 8.0), shared.cas("w", 8, 9),
        shared.get "w"
    ]] })
  end)

  it("adds, compares and expires", function()
    assert.same({ true, false, false, true, 2 }, { bed:run [[
      return shared.add("k", 1), shared.add("k", 1), shared.cas("k", 7, 2), shared.cas("k", 1, 2), shared.get "k"
    ]] })
    assert.same({ true, false, true, true }, { bed:run [[
      local first = shared.add("lock", "me", 60)
      local second = shared.add("lock", "you", 60)
      shared.expire("lock", 0.02)
      Timer.sleep(0.03)
      local third = shared.add("lock", "you", 0.02)
      Timer.sleep(0.03)
      return first, second, third, shared.add("lock", "me", 60)
    ]] })
    assert.same({ true, false }, { bed:run [[
      shared.set("e", 1)
      local there = shared.expire("e", 0.01)
      Timer.sleep(0.02)
      return there, shared.expire("e")
    ]] })
  end)

  it("fails with nil, message, code", function()
    assert.equal("einval", select(3, bed:run "shared.set('t', 'text') return shared.incr('t')"))
    assert.equal("erange", select(3, bed:run "shared.set('m', math.maxinteger) return shared.incr('m')"))
    assert.error_matches(function() bed:run "shared.set(('k'):rep(65), 1)" end, "more than 64 bytes")
    assert.error_matches(function() bed:run "shared.set('k', ('v'):rep(401))" end, "more than 400 bytes")
    assert.error_matches(function() bed:run "shared.set('k', {})" end, "string or number expected")
  end)

  it("refuses new keys when it is full, says so once, and goes on with those it has", function()
    local function refused()
      local sum = 0
      for slot = 0, 2 do sum = sum + bed.app:counters("worker", slot).shared_full end
      return sum
    end
    assert.equal(0, refused())
    assert.same({ "enospc", "enospc", 101, false }, { bed:run [[
      local n = 0
      repeat n = n + 1 until not shared.set("fill" .. n, n)
      local _, _, code = shared.incr("login:192.0.2.1", 1, 60)
      local _, _, again = shared.add("more", 1)
      local value = shared.incr("fill1", 100)
      for i = 2, n do shared.delete("fill" .. i) end
      return code, again, value, shared.delete "more"
    ]] })
    assert.equal(3, refused())
    local _, lines = bed.app:log():gsub("gwrun.shared is full", "")
    assert.equal(1, lines)
    assert.is_true(bed:run "return shared.set('fill2', 2, 0.01)")
    assert.is_true(bed.app:counters("worker", 1).shared_keys >= 2)
    bed:run "shared.delete 'fill1'"
  end)

  it("counts for all workers, also after one was killed and after a reload", function()
    local waiting = {}
    for i = 1, 12 do waiting[i] = bed:begin "for _ = 1, 1000 do shared.incr 'n' end Timer.sleep(0.1) return 1" end
    for i = 1, 12 do waiting[i]() end
    assert.equal(12000, bed:run "return shared.get 'n'")
    local pid = bed.app:pids("worker")[1]
    process.run { "kill", "-9", tostring(pid) }
    loop.poll("a new worker", function()
      local pids = bed.app:pids "worker"
      if #pids < 3 then return false end
      for _, p in ipairs(pids) do
        if p == pid then return false end
      end
      return true
    end)
    assert.equal(0, (bed.app:cli "reload"))
    for i = 1, 6 do waiting[i] = bed:begin "shared.incr 'n' Timer.sleep(0.1) return 1" end
    for i = 1, 6 do waiting[i]() end
    assert.equal(12006, bed:run "return shared.get 'n'")
  end)
end)

-- gwrun.shared between the workers of a real system.
local loop = require "loop"
local process = require "process"
local scripting = require "scripting"

describe("gwrun.shared", function()
  local bed

  setup(function()
    bed = scripting.start {
      prefix = "shared = require 'gwrun.shared' assert(gwrun.shared == shared)\n",
      workers = { count = 3 },
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
    assert.equal("enospc", select(3, bed:run [[
      local function clear() for i = 1, 8192 do shared.delete("fill" .. i) end end
      for i = 1, 8200 do
        local ok, message, code = shared.set("fill" .. i, i)
        if not ok then clear() return ok, message, code end
      end
    ]]))
    assert.error_matches(function() bed:run "shared.set(('k'):rep(65), 1)" end, "more than 64 bytes")
    assert.error_matches(function() bed:run "shared.set('k', ('v'):rep(401))" end, "more than 400 bytes")
    assert.error_matches(function() bed:run "shared.set('k', {})" end, "string or number expected")
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

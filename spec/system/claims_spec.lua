-- The pages of claims between the gateways and workers of one machine: who has them,
-- and that none stays behind.
local loop = require "loop"
local testbed = require "testbed"
local uv = require "luv"

-- The files of the pages that this process has mapped, without their names' ends.
local function mapped(pid)
  local list = {}
  for line in (testbed.read_file(("/proc/%d/maps"):format(pid)) or ""):gmatch "[^\n]+" do
    local path = line:match "(/dev/shm/gwrun%-%x+%-)%x+ %(deleted%)$"
    if path then list[#list + 1] = path end
  end
  return list
end

-- Names in /dev/shm that begin so.
local function names(prefix)
  local list = {}
  local base = prefix:match "[^/]+$"
  for name in function(scan) return uv.fs_scandir_next(scan) end, assert(uv.fs_scandir "/dev/shm") do
    if name:sub(1, #base) == base then list[#list + 1] = name end
  end
  return list
end

describe("the pages of claims", function()
  local app

  before_each(function()
    app = testbed.start { gateways = { {}, { listen = "text" } }, workers = { count = 2 } }
  end)
  after_each(function() app:stop() end)

  -- Every gateway and every worker has one with each of the others.
  local function wait_mapped()
    local prefix
    loop.poll("a page for each link", function()
      for _, role in ipairs { "gateway", "worker" } do
        for _, pid in ipairs(app:pids(role)) do
          local pages = mapped(pid)
          if #pages ~= 2 then return false end
          prefix = prefix or pages[1]
          assert.equal(prefix, pages[1])
          assert.equal(prefix, pages[2])
        end
      end
      return true
    end)
    return prefix
  end

  it("have no name once both have them, and are gone with a worker", function()
    local prefix = wait_mapped()
    assert.same({}, names(prefix))
    local victim = app:pids "worker"[1]
    assert(uv.kill(victim, "sigkill"))
    loop.poll("another worker", function() return not table.concat(app:pids "worker", " "):find(victim, 1, true) end)
    assert.equal(prefix, wait_mapped())
    assert.same({}, names(prefix))
  end)

  it("that a killed run has left are removed by the next one, and no others", function()
    local prefix = wait_mapped()
    app.master:kill "sigint"
    assert.equal(0, app.master:wait())
    local other = prefix:sub(1, -2) .. "0-"
    testbed.write_file(prefix .. "0123", "left")
    testbed.write_file(other .. "0123", "of others")
    finally(function() os.remove(other .. "0123") end)
    app:up()
    assert.equal(prefix, wait_mapped())
    assert.same({}, names(prefix))
    assert.same(1, #names(other))
  end)
end)

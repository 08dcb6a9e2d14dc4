-- Events.onCellGone and Events.onClusterGap.
local cluster = require "cluster"
local loop = require "loop"
local redisserver = require "redisserver"
local uv = require "luv"

local notes = [[
function Events.onCellGone(cell, since) print("gone: " .. cell .. " " .. math.type(since) .. " " .. since) end
function Events.onClusterGap(seconds) print("gap: " .. math.type(seconds) .. " " .. seconds) end
]]

local function count(text, pattern) return select(2, text:gsub(pattern, "")) end

-- Let a cell that never was be one that is not heard of any more.
local function forget(redis, run, cell, since)
  redis:cli("zadd", "chat:cells", tostring(since), run:rep(32) .. " " .. cell)
end

describe("Events.onCellGone", function()
  local redis, cells

  local function logs()
    local all = ""
    for _, cell in ipairs(cells) do all = all .. cell:log() end
    return all
  end

  setup(function()
    redis = redisserver.start()
    cells = {}
    for _, name in ipairs { "a", "b", "c" } do
      cells[#cells + 1] = cluster.start(redis, name, { script = notes, config = function(c) c.hang_timeout = 600 end })
    end
    for _, cell in ipairs(cells) do cluster.wait_up(cell) end
  end)

  teardown(function()
    for _, cell in ipairs(cells) do cell:stop() end
    redis:stop()
  end)

  it("runs once in the whole system when a cell is killed, and not for one that stops", function()
    local killed = table.remove(cells, 2)
    local pids = { killed.master.pid }
    for _, p in ipairs(killed:status().processes) do pids[#pids + 1] = p.pid end
    local before = os.time()
    -- at once, for the others: a child whose master is gone leaves in order
    for _, pid in ipairs(pids) do uv.kill(pid, "sigstop") end
    for _, pid in ipairs(pids) do uv.kill(pid, "sigkill") end
    killed.master:wait()
    killed:remove()
    local stopped = table.remove(cells, 2)
    stopped:stop()
    forget(redis, "f", "later", before - 100) -- found behind the other, or before it
    loop.poll("both to be told", function()
      local log = logs()
      return log:find("gone: b float", 1, true) and log:find("gone: later float " .. before - 100, 1, true)
    end, 120)
    assert.is_true(tonumber(logs():match "gone: b float (%d+)") >= before - 10)
    -- with that nobody has anything left to tell
    loop.poll("all to be told", function()
      return not redis:cli("zrange", "chat:cells", "0", "-1"):find("b\n", 1, true)
    end)
    assert.equal(1, count(logs(), "gone: b "))
    assert.equal(1, count(logs(), "gone: later "))
    assert.equal(0, count(logs(), "gone: c "))
    assert.equal("begun\n", redis:cli("get", "chat:gone:" .. ("f"):rep(32)))
  end)

  it("is taken over from one that died before it began, and from nobody else", function()
    local run = ("e"):rep(32)
    redis:cli("set", "chat:gone:" .. run, "by:the-dead", "px", "1500")
    local claimed = uv.hrtime()
    forget(redis, "e", "left", 1000)
    loop.poll("it to be told", function() return logs():find("gone: left float 1000", 1, true) end, 120)
    assert.is_true(uv.hrtime() - claimed >= 1e9)
    redis:cli("set", "chat:gone:" .. ("d"):rep(32), "begun")
    forget(redis, "d", "told", 1000)
    forget(redis, "9", "last", 2000)
    loop.poll("the one behind it", function() return logs():find("gone: last float 2000", 1, true) end, 120)
    assert.equal(0, count(logs(), "gone: told "))
  end)
end)

describe("Events.onClusterGap", function()
  it("runs in one worker of each cell when all of the cell is back, with the longest time", function()
    local redis = redisserver.start()
    local cells = {}
    for _, name in ipairs { "a", "b" } do cells[#cells + 1] = cluster.start(redis, name, { script = notes }) end
    finally(function()
      for _, cell in ipairs(cells) do cell:stop() end
      redis:stop()
    end)
    for _, cell in ipairs(cells) do cluster.wait_up(cell) end
    redis:kill()
    for _, cell in ipairs(cells) do
      loop.poll("it to be away", function()
        return cluster.sum(cell, "gateway", "engine_up") + cluster.sum(cell, "worker", "engine_up") == 0
      end)
    end
    redis:up()
    for _, cell in ipairs(cells) do
      cluster.wait_up(cell)
      loop.poll("the gap to be told", function() return cell:log():find("gap: float ", 1, true) end, 120)
      local seconds = tonumber(cell:log():match "gap: float ([%d.]+)")
      local longest = 0
      for _, role in ipairs { "gateway", "worker" } do
        longest = math.max(longest, cluster.sum(cell, role, "engine_away_ms"))
      end
      assert.is_true(seconds > 0 and seconds * 1000 <= longest + 1)
      assert.equal(1, count(cell:log(), "gap: "))
      assert.equal("", redis:cli("hget", "chat:cell:" .. cell.config.cluster.cell, "gap"):gsub("%s", ""))
    end
  end)
end)

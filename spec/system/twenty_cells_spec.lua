-- What twenty cells cost: a cell's connections are its own and two to Redis for each process, however
-- many others there are; and what is for one uid costs as many commands as with one cell.
local cluster = require "cluster"
local loop = require "loop"
local process = require "process"
local redisserver = require "redisserver"
local testbed = require "testbed"
local uv = require "luv"

-- Sanitized processes need many times the memory: fewer of them there.
local CELLS = testbed.sanitized and 4 or 20
local GATEWAYS, WORKERS = 4, 4
local SENDS = 500
local PATIENCE = 600 -- seconds; a busy machine starts 200 processes slowly

local function sockets_of(pid)
  local count, dir = 0, uv.fs_scandir("/proc/" .. pid .. "/fd")
  while dir do
    local fd = uv.fs_scandir_next(dir)
    if not fd then break end
    if (uv.fs_readlink("/proc/" .. pid .. "/fd/" .. fd) or ""):find "^socket:" then count = count + 1 end
  end
  return count
end

describe("cells of four gateways and four workers", function()
  local redis, cells, alone

  local function begin(count)
    for i = #cells + 1, count do
      cells[i] = cluster.new(redis, "cell" .. i, {
        gateways = { { listen = "text", count = GATEWAYS } },
        workers = { count = WORKERS },
        config = function(c) c.hang_timeout = 3600 end,
      })
      cells[i].master = process.spawn(cells[i]:command "start", { cwd = cells[i].dir })
    end
    for _, cell in ipairs(cells) do
      cell:wait_log("Press Ctrl+C", PATIENCE)
      cell:wait_linked(PATIENCE)
      loop.poll("the cluster", function()
        return cluster.sum(cell, "gateway", "engine_up") == GATEWAYS and cluster.sum(cell, "worker", "engine_up") == WORKERS
      end, PATIENCE)
    end
  end

  -- Sockets of a cell's gateways and workers; a dead connection may take a while to be replaced.
  local function sockets(cell)
    local total = 0
    for _, role in ipairs { "gateway", "worker" } do
      for _, pid in ipairs(cell:pids(role)) do total = total + sockets_of(pid) end
    end
    return total
  end

  local function redis_connections()
    return select(2, redis:cli("client", "list"):gsub("[^\n]+", "")) - 1 -- who asks
  end

  -- Send to a uid so often: what Redis was asked to publish for it, and how many gateways of other
  -- cells had to look at it.
  local function cost_of_sends(asker, receiver)
    local monitor = process.spawn { "redis-cli", "-s", redis.path, "monitor" }
    monitor:wait_output "OK"
    local taken = 0
    for _, cell in ipairs(cells) do taken = taken - cluster.exact_sum(cell, "gateway", "engine_taken") end
    asker:run("for i = 1, %d do Gateway.sendToUid('bob', 'message ' .. i) end", SENDS)
    for i = 1, SENDS do assert.equal("message " .. i, receiver:hear()) end
    for _, cell in ipairs(cells) do taken = taken + cluster.exact_sum(cell, "gateway", "engine_taken") end
    redis:cli("echo", "the end")
    monitor:wait_output '"the end"'
    monitor:kill()
    monitor:wait()
    local commands = 0
    for line in monitor.out:gmatch "[^\n]+" do
      if line:find('message %d+"') then
        commands = commands + 1
        assert.matches('"publish" "chat:u:bob" ', line:lower())
      end
    end
    return commands, taken
  end

  setup(function()
    redis = redisserver.start()
    cells = {}
    begin(1)
    alone = sockets(cells[1])
  end)

  teardown(function()
    for _, cell in ipairs(cells) do cell.master:kill "sigint" end
    for _, cell in ipairs(cells) do cell.master:wait(PATIENCE) end
    for _, cell in ipairs(cells) do cell:stop() end
    redis:stop()
  end)

  it("hold as many connections each, alone or many, and send to a uid at the same cost", function()
    local ann, bob = cluster.person(cells[1]), cluster.person(cells[1])
    assert.is_true(bob:run "return Gateway.bindUid(..., 'bob', { wait = true })")
    assert.same({ SENDS, 0 }, { cost_of_sends(ann, bob) }) -- its own gateway gets it by link
    assert.is_true(bob:run "return Gateway.unbindUid(...)")
    bob.client:close()
    ann.client:close()
    assert.equal(2 * (GATEWAYS + WORKERS), redis_connections())

    begin(CELLS)
    for _, cell in ipairs(cells) do
      loop.poll(function() return alone .. " sockets, and not " .. sockets(cell) end, function() return sockets(cell) == alone end)
    end
    loop.poll("two connections of each process", function()
      return redis_connections() == 2 * (GATEWAYS + WORKERS) * CELLS
    end)

    ann, bob = cluster.person(cells[1]), cluster.person(cells[CELLS])
    assert.is_true(bob:run "return Gateway.bindUid(..., 'bob', { wait = true })")
    assert.same({ SENDS, SENDS }, { cost_of_sends(ann, bob) }) -- one gateway of all has seen each
    bob.client:close()
    ann.client:close()
  end)
end)

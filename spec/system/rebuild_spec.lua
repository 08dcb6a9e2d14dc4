-- How soon crossing works again when Redis has forgotten everything, against what its own
-- client needs for the same commands.
local cluster = require "cluster"
local loop = require "loop"
local process = require "process"
local redisserver = require "redisserver"
local testbed = require "testbed"
local uv = require "luv"

local GATEWAYS = 5
local names = testbed.sanitized and 4000 or 100000 -- of each; a tenth on a machine that is too busy
local PART = 1000 -- of one client
local BUSY = 12 -- seconds of redis-cli --pipe, which needs 4 on two cores
local BATCH = 512 -- channels in a SUBSCRIBE

local function seconds() return uv.hrtime() / 1e9 end

-- What a worker runs to join the groups of one client: the question behind them returns when the
-- gateway has run all.
local function join(gateway, first)
  return ([[
    for i = %d, %d do assert(Gateway.joinGroup(..., "g%d:" .. i)) end
    return Gateway.isOnline(..., 600)
  ]]):format(first, first + PART - 1, gateway):gsub("\n", " ")
end

local function word(text) return ("$%d\r\n%s\r\n"):format(#text, text) end

-- What a gateway tells Redis; in the newer protocol a connection that has subscriptions takes
-- other commands, too.
local function write_commands(path, gateway)
  local f = assert(io.open(path, "w"))
  local subscribe, fields = {}, {}
  local stored = word("240.0.0." .. gateway .. ":2900") .. word(("0123456789abcdef"):rep(2))
  f:write("*2\r\n", word "HELLO", word "3")
  for i = 1, names do
    local channel = word(("chat:g:g%d:%d"):format(gateway, i))
    subscribe[#subscribe + 1] = channel
    fields[i] = "*4\r\n$4\r\nHSET\r\n" .. channel .. stored .. "*3\r\n$6\r\nEXPIRE\r\n" .. channel .. "$4\r\n3600\r\n"
    if #subscribe == BATCH or i == names then
      f:write(("*%d\r\n"):format(1 + #subscribe), word "SUBSCRIBE", table.concat(subscribe))
      subscribe = {}
    end
  end
  f:write(table.concat(fields))
  f:close()
end

-- Seconds that redis-cli --pipe needs, one for each gateway, all at once.
local function time_pipes()
  local redis = redisserver.start()
  for g = 1, GATEWAYS do write_commands(redis.dir .. "/commands" .. g, g) end
  local begun, pipes = seconds(), {}
  for g = 1, GATEWAYS do
    pipes[g] = process.spawn { "sh", "-c",
      ("exec redis-cli -s '%s' --pipe --pipe-timeout 300 <'%s/commands%d'"):format(redis.path, redis.dir, g) }
  end
  for _, pipe in ipairs(pipes) do
    assert.equal(0, pipe:wait(300), pipe.out)
    assert.matches("errors: 0", pipe.out, 1, true)
  end
  local took = seconds() - begun
  redis:stop()
  return took
end

-- Each gateway tells the others when it is there; b's may do so before anybody listens.
local function time_return(redis, a, bring_about)
  local begun = seconds()
  bring_about()
  local news = redis:subscribe "chat:news"
  loop.wait("all to be there again", function()
    return select(2, news.data:gsub("message\r\n%$9\r\nchat:news", "")) >= GATEWAYS
  end, 300)
  news:close()
  loop.poll("the last", function() return cluster.sum(a, "gateway", "engine_up") == GATEWAYS end, 300)
  return seconds() - begun
end

-- The machine may have had more to do in one of the two: the best of three counts.
local pipes

local function compare(what, seconds_more, time)
  for left = 2, 0, -1 do
    local took = time()
    if left < 2 then pipes = time_pipes() end
    print(("# %s: %d names of each of %d gateways are there again after %.1f s; redis-cli --pipe needs %.1f s"):format(
      what, names, GATEWAYS, took, pipes))
    if took <= 2 * pipes + seconds_more then return end
    assert(left > 0, ("%s: %.1f s, redis-cli --pipe %.1f s"):format(what, took, pipes))
  end
end

describe("the directory of five gateways with 100,000 names each", function()
  local redis, a, b, people

  setup(function()
    pipes = time_pipes()
    if pipes > BUSY then
      names = names // 10
      pipes = time_pipes()
    end
    redis, people = redisserver.start(), {}
    local gateways = {}
    for g = 1, GATEWAYS do gateways[g] = { listen = "text" } end
    a = cluster.start(redis, "a", { gateways = gateways })
    b = cluster.start(redis, "b", { gateways = { { listen = "text" } } })
    cluster.wait_up(a, GATEWAYS)
    cluster.wait_up(b, 1)
    for g = 1, GATEWAYS do
      for first = 1, names, PART do
        local someone = cluster.person(a, g)
        people[#people + 1] = someone
        someone.client:send(join(g, first) .. "\n")
      end
    end
    for _, someone in ipairs(people) do assert.equal("=[true,true]\n", someone.client:receive("\n", 600)) end
  end)

  teardown(function()
    a:stop()
    b:stop()
    redis:stop()
  end)

  -- The last name of each gateway is heard of, from the other cell.
  local function reach_all()
    cluster.wait_up(a, GATEWAYS)
    cluster.wait_up(b, 1)
    local bob = cluster.person(b)
    for g = 1, GATEWAYS do
      assert.is_true(bob:run("return Gateway.sendToGroup('g%d:%d', 'hello')", g, names))
      assert.equal("hello", people[g * names // PART]:hear())
    end
    bob.client:close()
  end

  it("is there again within twice what redis-cli --pipe needs for its commands, plus 2 s", function()
    compare("a restart", 2, function()
      redis:kill()
      loop.poll("all to notice", function()
        return cluster.sum(a, "gateway", "engine_up") + cluster.sum(b, "gateway", "engine_up") == 0
      end, 60)
      return time_return(redis, a, function() redis:up() end)
    end)
    reach_all()
  end)

  it("is there again likewise when all keys are gone, which each gateway finds within 5 s", function()
    compare("a flush", 2 + 5, function()
      return time_return(redis, a, function() redis:cli "flushall" end)
    end)
    reach_all()
  end)
end)

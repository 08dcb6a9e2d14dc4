-- What Redis says of cells: who is there, since when, and who may have which name.
local cjson = require "cjson"
local cluster = require "cluster"
local loop = require "loop"
local redisserver = require "redisserver"
local tcp = require "tcp"
local testbed = require "testbed"
local uv = require "luv"

-- What gwrun status --cluster --json says of each cell, by name.
local function look(cell)
  local code, out = cell:cli("status", "--cluster", "--json")
  assert(code == 0, out)
  local found = cjson.decode(out)
  assert(found.cluster == "chat", out)
  local by_name = {}
  for _, c in ipairs(found.cells) do by_name[c.cell] = c end
  return by_name
end

describe("the record of a cell", function()
  local redis, a, b

  setup(function()
    redis = redisserver.start()
    a = cluster.start(redis, "a")
    b = cluster.start(redis, "b", { gateways = { { listen = "text" } } })
    cluster.wait_up(a)
    cluster.wait_up(b, 1)
  end)

  teardown(function()
    a:stop()
    if b then b:stop() end
    redis:stop()
  end)

  it("has its gateways, workers, clients, version and time for gwrun status", function()
    local ann = cluster.person(a)
    ann:run "return 1"
    local cells
    loop.poll("the clients to be in the record", function()
      cells = look(b)
      return cells.a.clients == 1
    end)
    assert.equal("up", cells.a.state)
    assert.equal(2, #cells.a.gateways)
    assert.equal(2, cells.a.workers)
    assert.equal(1, #cells.b.gateways)
    assert.is_false(cells.a.here)
    assert.is_true(cells.b.here)
    assert.matches("^2[45]%d%.%d+%.%d+%.%d+:" .. b.config.gateways[1].start_port .. "$", cells.b.gateways[1].address)
    assert.is_true(cells.a.since <= cells.a.heard and cells.a.since > 1.7e9)
    local code, out = a:cli("status", "--cluster")
    assert.equal(0, code)
    assert.matches("\na %* +up +%d+m%d%ds +" .. cells.a.version:gsub("%p", "%%%0") .. " +2 +2 +1 +2[45]%d%.", out)
    assert.matches("\n2 cells, 2 up; 1 clients\n", out)
    ann.client:close()
  end)

  it("stays while one of its processes stops and another takes its place", function()
    local since = redis:cli("hget", "chat:cell:a", "since")
    local pids = a:pids "worker"
    uv.kill(pids[1], "sigterm")
    loop.poll("a new worker", function()
      local now = a:pids "worker"
      return now[1] and now[1] ~= pids[1] and now[1] ~= 0
    end)
    cluster.wait_up(a)
    assert.equal(since, redis:cli("hget", "chat:cell:a", "since"))
  end)

  it("goes with the last of its processes when the cell stops", function()
    b:stop()
    b = nil
    assert.is_nil(look(a).b)
    assert.equal("chat:cell:a\n", redis:cli("keys", "chat:cell:*"))
  end)

  it("cannot be shown where Redis cannot be asked", function()
    redis:kill()
    local code, out = a:cli("status", "--cluster")
    redis:up()
    assert.equal(1, code)
    assert.matches("^gwrun: the cluster cannot be asked: ", out)
  end)
end)

describe("a system that is not heard of until another one has its cell's name", function()
  it("leaves the cluster, says so and keeps its clients", function()
    local redis = redisserver.start()
    local cells = { cluster.start(redis, "a", { config = function(c) c.hang_timeout = 600 end }) }
    finally(function()
      for _, cell in ipairs(cells) do cell:stop() end
      redis:stop()
    end)
    local a = cells[1]
    cluster.wait_up(a)
    local ann = cluster.person(a)
    ann:run "return 1"
    local pids = { a.master.pid }
    for _, p in ipairs(a:status().processes) do pids[#pids + 1] = p.pid end
    for _, pid in ipairs(pids) do uv.kill(pid, "sigstop") end
    redis:cli("del", "chat:cell:a") -- as the expiry does
    cells[2] = cluster.start(redis, "a")
    cluster.wait_up(cells[2])
    for i = #pids, 1, -1 do uv.kill(pids[i], "sigcont") end
    a:wait_log "left the cluster for good, this cell goes on by itself: another system has taken the name a"
    loop.poll("all of it to leave", function()
      return cluster.sum(a, "gateway", "engine_left") + cluster.sum(a, "worker", "engine_left") == 4
    end)
    assert.same({ true, "local" }, { ann:run "return Gateway.sendToAll 'x'" })
    assert.equal("x", ann:hear())
    assert.equal(2, cluster.sum(cells[2], "gateway", "engine_up"))
  end)
end)

describe("gwrun check", function()
  local redis

  local function check(engine)
    local app = testbed.new { config = function(c) c.cluster = { engine = engine, name = "chat", cell = "a" } end }
    local code, out = app:cli "check"
    app:remove()
    return code, out
  end

  setup(function() redis = redisserver.start() end)
  teardown(function() redis:stop() end)

  it("asks the cluster's server, and tells whose sends stay in their cell", function()
    local code, out = check("unix://" .. redis.path)
    assert.equal(0, code, out)
    assert.matches("note: what PHP workers and GatewayClient send stays in the cell", out, 1, true)
    assert.is_nil(out:find "warning")
  end)

  it("warns of a server that cannot be reached, since a start serves without it", function()
    local code, out = check "unix:///nowhere/redis.sock"
    assert.equal(0, code, out)
    assert.matches("warning: cluster: .*; until it can be used this cell serves by itself", out)
  end)

  it("warns of a server that evicts keys", function()
    redis:cli("config", "set", "maxmemory-policy", "allkeys-lru")
    local code, out = check("unix://" .. redis.path)
    redis:cli("config", "set", "maxmemory-policy", "noeviction")
    assert.equal(0, code, out)
    assert.matches("warning: cluster: the server's maxmemory-policy is allkeys-lru", out, 1, true)
  end)

  it("refuses a wrong password and a replica", function()
    redis:cli("acl", "setuser", "gwrun", "on", ">right", "allkeys", "allchannels", "+@all")
    local code, out = check("unix://gwrun:wrong@" .. redis.path)
    assert.equal(2, code, out)
    assert.matches("gwrun: cluster: .*WRONGPASS", out)
    assert.equal(0, (check("unix://gwrun:right@" .. redis.path)))
    redis:cli("replicaof", "127.0.0.1", "1")
    code, out = check("unix://" .. redis.path)
    redis:cli("replicaof", "no", "one")
    assert.equal(2, code, out)
    assert.matches("READONLY: the server is a replica", out, 1, true)
  end)
end)

describe("a start", function()
  it("tells in the terminal and in the log why its cell is not joined", function()
    local redis = redisserver.start()
    redis:cli("replicaof", "127.0.0.1", "1")
    local app = testbed.new {
      config = function(c)
        c.cluster = { engine = "unix://" .. redis.path, name = "chat", cell = "a" }
        c.log = { file = "gwrun.log" }
      end,
    }
    finally(function()
      app:cli "stop"
      app:remove()
      redis:stop()
    end)
    local code, out = app:cli("start", "-d")
    assert.equal(0, code, out)
    assert.matches("warning: cluster: READONLY: the server is a replica", out, 1, true)
    loop.poll("the line in the log", function()
      return (testbed.read_file(app.dir .. "/gwrun.log") or ""):find(
        "the cluster is away, this cell goes on by itself: READONLY", 1, true)
    end)
  end)
end)

describe("/readyz of a cell", function()
  it("stays green without the cluster and says so, and is red for who asks for the cluster", function()
    local redis = redisserver.start()
    local port = testbed.ports()
    local a = cluster.start(redis, "a", { config = function(c) c.admin = "127.0.0.1:" .. port end })
    finally(function()
      a:stop()
      redis:stop()
    end)
    local function ask(path)
      local c = tcp.connect(port)
      c:send(("GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):format(path))
      local status, body = c:wait_end():match "^HTTP/1.1 (%d+).-\r\n\r\n(.*)$"
      c:close()
      return status .. " " .. body
    end
    for _, path in ipairs { "/readyz", "/readyz?cluster" } do
      loop.poll(path, function() return ask(path) == "200 ok\n" end)
    end
    redis:kill()
    loop.poll("it to be told", function()
      local said = ask "/readyz"
      return said:find "^200 ok\n" and said:find("\ndegraded: gateway/0 Gateway1: the cluster is away\n", 1, true)
        and select(2, said:gsub("away", "")) == 4
    end)
    assert.matches("^503 worker/0 ChatWorker: the cluster is away\n", ask "/readyz?cluster")
    redis:up()
    loop.poll("it to be joined again", function() return ask "/readyz?cluster" == "200 ok\n" end)
  end)
end)

-- The gateway's address and the connection id of a client.
local function id_of(someone)
  local id = someone:run "return ..."
  local a, b, c, d, port, number = id:match("^" .. ("(%x%x)"):rep(4) .. "(%x%x%x%x)(%x+)$")
  local address = ("%d.%d.%d.%d:%d"):format(tonumber(a, 16), tonumber(b, 16), tonumber(c, 16), tonumber(d, 16), tonumber(port, 16))
  return address, tonumber(number, 16), id
end

describe("ids of clients", function()
  local OWN, BLOCK = 0x80000000, 65536

  -- A newcomer whose id is Redis'.
  local function lent(cell)
    return loop.poll("an id of Redis", function()
      local address, number = id_of(cluster.person(cell))
      return number < OWN and { address = address, number = number }
    end)
  end

  it("name a cell that has only loopback by a number of its own, by which all reach them", function()
    local redis = redisserver.start()
    local a, b = cluster.start(redis, "a"), cluster.start(redis, "b")
    finally(function()
      a:stop()
      b:stop()
      redis:stop()
    end)
    cluster.wait_up(a)
    cluster.wait_up(b)
    local ann, bob = cluster.person(a), cluster.person(b)
    local of_a, of_b, id = id_of(ann), id_of(bob), select(3, id_of(bob))
    assert.matches("^2[45]%d%.", of_a)
    assert.matches("^2[45]%d%.", of_b)
    assert.not_equal(of_a:match "^[%d.]+", of_b:match "^[%d.]+")
    assert.is_true(loop.poll("b's gateways to be known", function()
      return ann:run("return Gateway.sendToClient('%s', 'from a')", id)
    end))
    assert.equal("from a", bob:hear())
    assert.is_true(bob:run("return Gateway.sendToClient('%s', 'from b')", id))
    assert.equal("from b", bob:hear())
    local code, out = b:cli("exec", "-e", ("print(Gateway.sendToClient('%s', 'from exec'))"):format(id))
    assert.equal(0, code, out)
    assert.equal("from exec", bob:hear())
  end)

  it("come from Redis, so that a machine with the address of another one repeats none", function()
    local redis = redisserver.start()
    local a = cluster.start(redis, "a", { gateways = { { listen = "text" } } })
    finally(function()
      a:stop()
      redis:stop()
    end)
    cluster.wait_up(a, 1)
    local first = lent(a)
    a.master:kill "sigint"
    assert.equal(0, a.master:wait())
    os.execute("rm -r '" .. a.dir .. "/run'") -- as with a new container
    a:up()
    cluster.wait_up(a, 1)
    local second = lent(a)
    assert.equal(first.address, second.address)
    assert.is_true(second.number // BLOCK > first.number // BLOCK)
    redis:kill()
    loop.poll("the gateway to notice", function() return cluster.sum(a, "gateway", "engine_up") == 0 end)
    local third = select(2, id_of(cluster.person(a)))
    assert.equal(second.number // BLOCK, third // BLOCK)
    redis:up()
  end)

  it("begin with the address of one cell only: a second claimant is refused with both named", function()
    local redis = redisserver.start()
    local port
    local function start(cell, listen)
      return cluster.start(redis, cell, {
        gateways = { { listen = "text" } },
        config = function(c)
          port = port or c.gateways[1].start_port
          c.gateways[1].start_port, c.gateways[1].lan_ip, c.gateways[1].inner_listen = port, "10.77.0.1", listen
          c.secret_key = "the same in both"
        end,
      })
    end
    local a = start("a", "127.0.0.1")
    local cells = { a }
    finally(function()
      for _, cell in ipairs(cells) do cell:stop() end
      redis:stop()
    end)
    cluster.wait_up(a, 1)
    cells[2] = start("b", "127.0.0.2")
    cells[2]:wait_log("10.77.0.1:" .. port .. " is a gateway of cell a already, and this is cell b")
    assert.matches("^10%.77%.0%.1:", (id_of(cluster.person(a))))
  end)
end)

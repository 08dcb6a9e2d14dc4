-- What Redis says of cells: who is there, since when, and who may have which name.
local cjson = require "cjson"
local cluster = require "cluster"
local loop = require "loop"
local openssl = require "openssl"
local process = require "process"
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

describe("a cell that is not heard of", function()
  it("is shown as silent with the time, when it has missed two refreshes, until it is gone", function()
    local redis = redisserver.start()
    local a = cluster.start(redis, "a", { config = function(c) c.hang_timeout = 600 end })
    local pids = { a.master.pid }
    finally(function()
      for i = #pids, 1, -1 do uv.kill(pids[i], "sigcont") end
      a:stop()
      redis:stop()
    end)
    cluster.wait_up(a)
    for _, p in ipairs(a:status().processes) do pids[#pids + 1] = p.pid end
    for _, pid in ipairs(pids) do uv.kill(pid, "sigstop") end
    redis:cli("persist", "chat:cell:a")
    local member = redis:cli("zrange", "chat:cells", 0, -1):gsub("\n", "")
    local now = tonumber(redis:cli("time"):match "%d+")
    redis:cli("zadd", "chat:cells", now - 13, member)
    assert.equal("silent", look(a).a.state)
    assert.matches("\na %* +silent +0m[1-5]%ds .*\n1 cells, 0 up; ", (select(2, a:cli("status", "--cluster"))))
    redis:cli("zadd", "chat:cells", now + 600, member) -- with time to look
    assert.equal("up", look(a).a.state)
    redis:cli("del", "chat:cell:a")
    assert.equal("gone", look(a).a.state)
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

describe("a server that speaks TLS", function()
  it("joins the cells that trust it, and is named by those that do not", function()
    local dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-tls-XXXXXX"))
    openssl.certificate(dir)
    local port = testbed.ports()
    local redis = redisserver.start {
      "--tls-port", tostring(port), "--tls-cert-file", dir .. "/cert.pem", "--tls-key-file", dir .. "/key.pem",
      "--tls-ca-cert-file", dir .. "/cert.pem", "--tls-auth-clients", "no",
    }
    local function start(name, ca)
      return cluster.start(redis, name, {
        engine = "rediss://localhost:" .. port,
        config = function(c) c.cluster.ca_file = ca end,
      })
    end
    local cells = {}
    finally(function()
      for _, cell in ipairs(cells) do cell:stop() end
      redis:stop()
      process.run { "rm", "-rf", dir }
    end)
    for i, name in ipairs { "a", "b" } do cells[i] = start(name, dir .. "/cert.pem") end
    for i = 1, 2 do cluster.wait_up(cells[i]) end
    local ann, bob = cluster.person(cells[1]), cluster.person(cells[2])
    bob:run "return Gateway.joinGroup(..., 'room', { wait = true })"
    assert.is_true(ann:run "return Gateway.sendToGroup('room', 'by TLS')")
    assert.equal("by TLS", bob:hear())
    cells[3] = start "c"
    cells[3]:wait_log "the cluster is away, this cell goes on by itself: "
    assert.matches("goes on by itself: [^\n]*certificate", cells[3]:log())
    local _, out = cells[3]:cli "check"
    assert.matches("cluster: [^\n]*certificate", out)
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

describe("gwrun stop -g of a cell", function()
  -- A websocket that echoes nothing: what comes, as bytes.
  local function websocket(port)
    local c = tcp.connect(port)
    c:send("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      .. "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    c:receive("\r\n\r\n")
    return c
  end

  it("takes no new clients, tells the others to come back one by one, and leaves", function()
    local redis = redisserver.start()
    local a = cluster.start(redis, "a", {
      gateways = { { listen = "websocket" }, { listen = "text" } },
      config = function(c)
        c.drain_time, c.stop_timeout = 40, 60
        c.admin = "127.0.0.1:" .. testbed.ports()
      end,
    })
    local stopping
    finally(function()
      a:stop()
      redis:stop()
    end)
    cluster.wait_up(a)
    local sockets, al, ann = {}, cluster.person(a, 2), cluster.person(a, 2)
    for i = 1, 10 do sockets[i] = websocket(a.port[1]) end
    loop.poll("all to be there", function() return al:run "return Gateway.getAllClientIdCount()" == 12 end)
    stopping = process.spawn(a:command("stop", "-g"), { cwd = a.dir })
    a:wait_log "leaving the cluster"
    loop.poll("the cluster to know", function() return look(a).a.state == "leaving" end)
    assert.matches("\na %* +leaving +%d+m%d%ds .*\n1 cells, 0 up; ", (select(2, a:cli("status", "--cluster"))))
    local closed = "\x88\x11\x03\xf4service restart"
    local told
    loop.poll("the first to be told", function()
      for _, c in ipairs(sockets) do told = told or c.data:sub(1, #closed) == closed end
      return told
    end)
    assert.equal(2, ann:run "return 1 + 1") -- one of them may be told early, not both
    local c = tcp.connect(tonumber(a.config.admin:match "%d+$"))
    c:send "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert.matches("^HTTP/1.1 503 .*the system is stopping", (c:wait_end()))
    c:close()
    for _, s in ipairs(sockets) do s:close() end
    al.client:close()
    ann.client:close()
    assert.equal(0, stopping:wait(60))
    a.master:wait()
    assert.equal("", redis:cli("keys", "chat:cell:*"):gsub("%s", ""))
    assert.equal("", redis:cli("zrange", "chat:cells", "0", "-1"):gsub("%s", ""))
  end)
end)

describe("register.cluster_listen", function()
  -- What GatewayClient asks, and one line that it reads.
  local function ask(port)
    local c = tcp.connect(port)
    c:send '{"event":"worker_connect","secret_key":""}\n'
    local answer = cjson.decode(c:receive "\n")
    c:close()
    assert(answer.event == "broadcast_addresses")
    table.sort(answer.addresses)
    return answer.addresses
  end

  it("tells GatewayClient, in any cell, of the gateways of all cells that can be reached", function()
    local redis = redisserver.start()
    local cells, ports, wanted = {}, {}, {}
    finally(function()
      for _, cell in pairs(cells) do cell:stop() end
      redis:stop()
    end)
    for i, name in ipairs { "a", "b", "loopback" } do
      ports[i] = testbed.ports()
      cells[i] = cluster.start(redis, name, {
        gateways = { { listen = "text" } },
        config = function(c)
          c.register.cluster_listen = "127.0.0.1:" .. ports[i]
          local g = c.gateways[1]
          if i < 3 then
            g.lan_ip, g.inner_listen = "10.77.0." .. i, "127.0.0.1"
            wanted[i] = g.lan_ip .. ":" .. g.start_port
          end
        end,
      })
      cluster.wait_up(cells[i], 1)
    end
    for i = 1, 3 do
      loop.poll("the gateways of all cells", function()
        return table.concat(ask(ports[i]), " ") == table.concat(wanted, " ")
      end)
    end
    -- the cells' own workers are told of their own only, by the other port
    assert.same({ wanted[1] }, ask(tonumber(cells[1].config.register.listen:match "%d+$")))
    -- and each gateway answers GatewayClient's bytes
    local vectors = cjson.decode(testbed.read_file "spec/vectors/gatewayworker-conversations.json")
    local call
    for _, one in ipairs(vectors.client_calls) do call = one.call == "isOnline(gone)" and one.connections[1] or call end
    local function bytes(hex) return (hex:gsub("%x%x", function(x) return string.char(tonumber(x, 16)) end)) end
    for i = 1, 2 do
      local c = tcp.connect(cells[i].config.gateways[1].start_port)
      c:send(bytes(call.to_gateway))
      assert.equal(bytes(call.from_gateway), c:receive(bytes(call.from_gateway)))
      c:close()
    end
    -- no cell is a single point, and neither is Redis for what was known
    cells[1]:stop()
    cells[1] = nil
    loop.poll("the list without a", function() return table.concat(ask(ports[2]), " ") == wanted[2] end)
    redis:kill()
    assert.same({ wanted[2] }, ask(ports[2]))
    redis:up()
  end)

  it("takes no gateways", function()
    local redis = redisserver.start()
    local port = testbed.ports()
    local a = cluster.start(redis, "a", { config = function(c) c.register.cluster_listen = "127.0.0.1:" .. port end })
    finally(function()
      a:stop()
      redis:stop()
    end)
    local c = tcp.connect(port)
    c:send '{"event":"gateway_connect","address":"10.0.0.1:2900","secret_key":""}\n'
    c:wait_end()
    c:close()
    a:wait_log "gateways register at register.listen of their cell"
  end)
end)

describe("the project of docs/kubernetes.md", function()
  it("passes gwrun check, runs, answers its probes and leaves by its preStop", function()
    local redis = redisserver.start()
    local text = testbed.read_file "docs/kubernetes.md"
    local config = text:match "\n```lua\n(%-%- conf/gwrun.lua\n.-)```"
    local register, admin = testbed.ports(), testbed.ports()
    local app = testbed.new { gateways = { { listen = "websocket", count = 2 } }, script = "Events = { onMessage = print }" }
    local gateway = app.config.gateways[1]
    finally(function()
      app:stop()
      redis:stop()
    end)
    for from, to in pairs {
      [":1237"] = ":" .. register, ["0.0.0.0:9283"] = "127.0.0.1:" .. admin, ["0.0.0.0:8283"] = "127.0.0.1:" .. app.port[1],
      ["start_port = 2900"] = "start_port = " .. gateway.start_port, ["drain_time = 30"] = "drain_time = 1",
    } do
      local n
      config, n = config:gsub(from:gsub("%p", "%%%0"), to)
      assert(n > 0, from)
    end
    testbed.write_file(app.dir .. "/conf/gwrun.lua", config)
    testbed.write_file(app.dir .. "/conf/admin-key", ("0123456789"):rep(4) .. "\n")
    os.execute("chmod 600 '" .. app.dir .. "/conf/admin-key'")
    app.env = { REDIS = "unix://" .. redis.path, POD_NAME = "chat-5f7c-abcde", POD_IP = "10.1.2.3" }
    local code, out = process.run(app:command "check", { cwd = app.dir, env = app.env, seconds = 60 })
    assert.equal(0, code, out)
    assert.is_nil(out:find "warning")
    app:up()
    for path, probe in text:gmatch "httpGet: { path: (%S+), port: admin, httpHeaders: (%b[])" do
      loop.poll(path, function()
        local c = tcp.connect(admin)
        c:send(("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"):format(path, probe:match "value: (%w+)"))
        local said = c:wait_end()
        c:close()
        return said:find "^HTTP/1.1 200 "
      end)
    end
    local shown
    loop.poll("the cell in the cluster", function()
      code, shown = process.run(app:command("status", "--cluster"), { cwd = app.dir, env = app.env, seconds = 60 })
      return code == 0 and shown:find("chat-5f7c-abcde * ", 1, true) and shown:find("1 cells, 1 up", 1, true)
    end)
    local words = { text:match('preStop: { exec: { command: %["gwrun", "(%w+)", "(%-%w)"%]') }
    assert.same({ "stop", "-g" }, words)
    code, out = process.run(app:command(table.unpack(words)), { cwd = app.dir, env = app.env, seconds = 120 })
    assert.equal(0, code, out)
    assert.equal(0, app.master:wait())
  end)
end)

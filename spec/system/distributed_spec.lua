-- Four machines as network namespaces: register and gateway on one, a gateway
-- on the second, workers on the third, the clients on the fourth.
local bridge = require "bridge"
local loop = require "loop"
local process = require "process"
local testbed = require "testbed"
local uv = require "luv"

local script = [[
Events = {}
function Events.onWorkerStart(worker) Log.notice("worker.id == " .. worker.id) end
function Events.onMessage(client_id, message)
  if message == "who" then return Gateway.sendToCurrentClient(client_id .. " " .. _SERVER.REMOTE_ADDR) end
  Gateway.sendToAll(message)
end
function Events.onClose(client_id, info)
  Log.notice("left " .. client_id .. (info.certain and " for certain" or " perhaps"))
end
]]

local ip = "/usr/sbin/ip"
local name = "gwrun" .. uv.os_getpid()
local clients = name .. "c"
local hosts = "/etc/netns/" .. name .. "m3" -- files that the third machine sees in /etc

local function run(...)
  local code, out = process.run { ... }
  assert(code == 0, table.concat({ ... }, " ") .. ": " .. out)
end

-- A machine with one cable into the switch that the clients' machine has.
local function add_machine(i)
  local ns = name .. "m" .. i
  run(ip, "netns", "add", ns)
  run(ip, "-n", clients, "link", "add", "port" .. i, "type", "veth", "peer", "name", "eth0", "netns", ns)
  run(ip, "-n", clients, "link", "set", "port" .. i, "master", "switch", "up")
  run(ip, "-n", ns, "addr", "add", "10.77.0." .. i .. "/24", "dev", "eth0")
  run(ip, "-n", ns, "link", "set", "eth0", "up")
  run(ip, "-n", ns, "link", "set", "lo", "up")
  return { ip, "netns", "exec", ns }
end

local function plug(i, state) run(ip, "-n", name .. "m" .. i, "link", "set", "eth0", state) end

local function may_have_machines()
  if process.run { ip, "netns", "add", clients } ~= 0 then return false end
  return process.run { ip, "-n", clients, "link", "add", "switch", "type", "bridge" } == 0
end

describe("several machines", function()
  local first, second, third
  local machines = {}

  local function system(i, change)
    return testbed.new {
      script = script,
      prefix = machines[i],
      gateways = { { lan_ip = "10.77.0." .. i, ping_interval = 1, idle_timeout = 4 } },
      config = function(t)
        t.register, t.register_address = nil, { "10.77.0.1:1237" }
        t.secret_key = "the same everywhere"
        t.gateways[1].listen, t.gateways[1].start_port = "websocket://0.0.0.0:8283", 2900
        change(t)
      end,
    }
  end

  --- Wait until the counter is that in every process of the role.
  local function wait_counter(app, role, counter, count)
    loop.poll(("%d %s at each %s of %s"):format(count, counter, role, app.dir), function()
      for _, p in ipairs(app:status().processes) do
        if p.role == role and (p.counters or {})[counter] ~= count then return false end
      end
      return true
    end, 60)
  end

  local function wait_workers(app, count) wait_counter(app, "gateway", "workers", count) end

  local able = may_have_machines()

  setup(function()
    if not able then return end
    run(ip, "-n", clients, "addr", "add", "10.77.0.100/24", "dev", "switch")
    run(ip, "-n", clients, "link", "set", "switch", "up")
    for i = 1, 3 do machines[i] = add_machine(i) end
    first = system(1, function(t)
      t.workers = nil
      t.register = { listen = "10.77.0.1:1237" }
    end)
    -- As in a container: it listens on all addresses, and is announced by one.
    second = system(2, function(t)
      t.workers = nil
      t.gateways[1].inner_listen = "0.0.0.0"
    end)
    third = system(3, function(t)
      t.gateways = nil
      t.workers.count, t.workers.gateway_lost_timeout = 2, 3
    end)
    for _, app in ipairs { third, second, first } do
      app.master = process.spawn(app:command "start", { cwd = app.dir })
    end
    for _, app in ipairs { first, second, third } do app:wait_log "Press Ctrl+C" end
    for _, app in ipairs { first, second } do wait_workers(app, 2) end
    bridge.prefix = { ip, "netns", "exec", clients }
  end)

  teardown(function()
    bridge.close()
    bridge.prefix = {}
    for _, app in ipairs { third, second, first } do app:stop() end
    for i = 1, #machines do process.run { ip, "netns", "del", name .. "m" .. i } end
    process.run { ip, "netns", "del", clients }
    process.run { "rm", "-rf", hosts }
  end)

  local function test(what, body)
    if able then it(what, body) else pending(what .. " (network namespaces need root)") end
  end

  local function connect(i) return bridge.connect("ws://10.77.0." .. i .. ":8283/") end

  --- Client id and address as the script sees them.
  local function who(c)
    c:send "who"
    return c:receive "10.77.":match "^(%S+) (%S+)$"
  end

  local function chat(a, b, text)
    a:send(text)
    assert.equal(text, a:receive(text))
    assert.equal(text, b:receive(text))
  end

  test("are one system for their clients", function()
    local a, b = connect(1), connect(2)
    local id_a, address = who(a)
    assert.equal("10.77.0.100", address)
    assert.equal("0a4d0001", id_a:sub(1, 8))
    assert.equal("0a4d0002", who(b):sub(1, 8))
    chat(a, b, "from the first machine")
    chat(b, a, "from the second machine")
    a:close()
    b:close()
    third:wait_log("left " .. id_a)
  end)

  -- As after a copy of the first machine's configuration.
  test("say on both sides that a gateway was left at lan_ip 127.0.0.1", function()
    local lost = system(2, function(t)
      t.workers = nil
      t.gateways[1].lan_ip = nil
      t.gateways[1].listen, t.gateways[1].start_port = "websocket://0.0.0.0:8290", 2950
    end)
    local code, out = lost:cli "check"
    assert.equal(0, code, out)
    assert.matches("warning: .*lan_ip: is 127%.0%.0%.1.* give the address", out)
    lost.master = process.spawn(lost:command "start", { cwd = lost.dir })
    lost:wait_log "lan_ip: is 127.0.0.1, which workers on other machines cannot reach"
    third:wait_log "register 10.77.0.1:1237 lists the gateway 127.0.0.1:2950, which only its own machine can reach"
    lost:wait_log "Press Ctrl+C"
    lost:stop()
  end)

  test("find a register by its name, also when it has moved", function()
    assert(os.execute("mkdir -p " .. hosts))
    testbed.write_file(hosts .. "/hosts", "10.77.0.2 register.test\n") -- nobody is there
    local workers = system(3, function(t)
      t.gateways = nil
      t.register_address = "register.test:1237"
      t.workers.name = "Named"
    end)
    workers.master = process.spawn(workers:command "start", { cwd = workers.dir })
    workers:wait_log "cannot connect, trying on address=register.test:1237 err=connection refused"
    testbed.write_file(hosts .. "/hosts", "10.77.0.1 register.test\n")
    wait_workers(first, 3)
    workers:wait_log "Press Ctrl+C"
    -- as docs/timers.md says of "only one worker shall have it"
    third:wait_log "worker.id == 0"
    workers:wait_log "worker.id == 0"
    workers:stop()
    wait_workers(first, 2)
  end)

  test("notice a gateway that fell off the net, and take it back", function()
    local a, b = connect(1), connect(2)
    local id = who(b)
    plug(2, "down")
    third:wait_log("left " .. id .. " perhaps", 60)
    a:send "still here"
    a:receive "still here"
    plug(2, "up")
    wait_workers(second, 2)
    b:terminate()
    b = connect(2)
    chat(a, b, "there again")
    third:wait_log("left " .. id .. " for certain", 60)
    local _, times = third:log():gsub("left " .. id, "")
    assert.equal(2, times)
  end)

  test("close nobody when only the way between a worker and a gateway is broken", function()
    local a, b = connect(1), connect(2)
    local id = who(b)
    local function failures()
      local _, times = third:log():gsub("cannot connect, trying on address=10.77.0.2:2900", "")
      return times
    end
    local before = failures()
    local wall = { ip, "-n", name .. "m2", "route", "add", "blackhole", "10.77.0.3/32" }
    run(table.unpack(wall))
    -- A try takes 3 s: that is as long as a gateway is waited for whose machine is gone.
    loop.poll("both workers to try in vain", function() return failures() >= before + 2 end, 60)
    wall[5] = "del"
    run(table.unpack(wall))
    -- The gateway may not have noticed anything: its links' ends could not reach it.
    wait_counter(third, "worker", "gateways", 2)
    wait_workers(second, 2)
    chat(a, b, "the way is there again")
    assert.equal(id, (who(b)))
    assert.is_nil(third:log():find("left " .. id, 1, true))
  end)

  test("notice workers that fell off the net, and take them back", function()
    local a, b = connect(1), connect(2)
    plug(3, "down")
    wait_workers(first, 0)
    wait_workers(second, 0)
    a:send "while nobody works"
    plug(3, "up")
    a:receive "while nobody works"
    for _, app in ipairs { first, second } do wait_workers(app, 2) end
    chat(a, b, "all are there")
  end)
end)

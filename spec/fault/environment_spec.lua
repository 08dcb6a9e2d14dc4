-- What the machine runs out of, processes that hang, and clients that come by TLS.
local faults = require "spec.fault.faults"
local lab = require "spec.fault.lab"
local loop = require "loop"
local openssl = require "openssl"
local process = require "process"
local testbed = require "testbed"

local function settle(system)
  local broken, figures, counted = system:settle()
  for _, line in ipairs(figures) do io.stdout:write("# ", line, "\n") end
  assert.same({}, broken)
  assert.is_true(counted.messages > 80)
end

--- A system for one test.
local function start(options)
  local system = lab.start(options)
  finally(function() system:stop() end)
  system:begin_round()
  system:traffic(40)
  return system
end

--- Freeze a process of the role until the master has another one in its place.
local function hang(system, role)
  local victim = system.system:processes(role)[1]
  if role == "gateway" then system:strike(system.system:inner_port(victim.slot)) end
  system:fault(role .. "_killed")
  system.signal(victim.pid, "sigstop")
  loop.poll("another process", function()
    for _, p in ipairs(system.system.first:status().processes) do
      if p.role == role and p.slot == victim.slot then return p.pid and p.pid ~= victim.pid end
    end
  end, 90)
  system:traffic(40)
end

describe("the accounts balance", function()
  it("when the disk of log and run_dir is full", function()
    local disk
    local function mount(app)
      disk = app.dir .. "/small"
      assert(process.run { "mkdir", disk } == 0)
      if process.run { "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk } ~= 0 then
        pending "mount needs root"
      end
    end
    local system
    finally(function()
      if disk then process.run { "umount", "-l", disk } end
      if system then system:stop() end
    end)
    system = lab.start { seed = 5, config = function(c) c.run_dir = "small/run" end, before = mount }
    system:begin_round()
    system:traffic(40)
    assert.equal(0, (process.run { "sh", "-c", "cat /dev/zero >" .. disk .. "/all 2>/dev/null; exit 0" }))
    for _, name in ipairs { "reloaded", "gateway_killed", "worker_killed" } do faults.run(system, name) end
    settle(system)
  end)

  it("when there is no room for books", function()
    local small = testbed.small_disk("books", "256k")
    if not small.prefix then pending(small.reason) end
    local system = start { seed = 10, prefix = small.prefix, config = function(c) c.book_dir = "books" end,
      before = small.make }
    local left_out = 0
    for _, p in ipairs(system.system:processes "gateway") do left_out = left_out + p.counters.book_left_out end
    assert.is_true(left_out > 0)
    for _, name in ipairs { "worker_killed", "clients_reset", "reloaded", "stampede" } do faults.run(system, name) end
    for _, p in ipairs(system.system:processes()) do assert.equal(p.role == "worker" and p.restarts or 0, p.restarts) end
    settle(system)
  end)

  it("when descriptors are out", function()
    local system = start { seed = 6, prefix = { "prlimit", "--nofile=400:400" } }
    system:fault "stampede"
    system.crowd:stampede(300)
    loop.poll("refused connections", function()
      for _, p in ipairs(system.system:processes "gateway") do
        if p.counters and p.counters.refused > 0 then return true end
      end
    end)
    system:traffic(200)
    settle(system)
  end)

  it("when a worker hangs until it is replaced", function()
    local system = start { seed = 7, config = function(c) c.hang_timeout = 5 end }
    hang(system, "worker")
    settle(system)
  end)

  it("when a gateway hangs until it is replaced", function()
    local system = start { seed = 8, config = function(c) c.hang_timeout = 5 end }
    hang(system, "gateway")
    settle(system)
  end)

  it("when clients come by TLS", function()
    local port = testbed.ports()
    local system, node
    finally(function()
      if system then system:stop() end
      if node then
        node:kill()
        node:wait()
      end
    end)
    system = lab.start {
      seed = 9,
      gateways = { { listen = "websocket", tls = { cert = "cert.pem", key = "key.pem" } } },
      before = function(app)
        openssl.certificate(app.dir)
        node = process.spawn { "node", "spec/fault/tls.js", tostring(port), tostring(app.port[1]) }
        node:wait_output "passing on"
      end,
      front = { port },
    }
    system:begin_round()
    for _, name in ipairs { "client_way_in_bytes", "worker_killed", "reloaded", "client_way_reset" } do
      faults.run(system, name)
    end
    settle(system)
  end)
end)

-- A system without a register: the configuration lists the gateways.
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local script = [[
Events = {}
function Events.onMessage(client_id, message) Gateway.sendToAll(message .. "\n", nil, nil, true) end
function Events.onClose(client_id) Log.notice("left " .. client_id) end
]]

describe("gateways that stand in a list", function()
  local app

  setup(function()
    app = testbed.new {
      script = script,
      gateways = { { listen = "text" }, { listen = "text" } },
      workers = { count = 2 },
      config = function(t)
        local list = {}
        for i, gateway in ipairs(t.gateways) do list[i] = "127.0.0.1:" .. gateway.start_port end
        t.register, t.register_address, t.discovery = nil, nil, { gateways = list }
      end,
    }
    assert.equal(0, (app:cli "check"))
    app:up()
  end)

  teardown(function() app:stop() end)

  local function wait_served()
    loop.poll("all to be connected", function() return (app:cli "status") == 0 end)
  end

  -- The port's backlog has a connection before the gateway has the client.
  local function join(port)
    local client = tcp.connect(port)
    client:send "here\n"
    client:receive "here\n"
    return client
  end

  local function chat()
    local b = join(app.port[2])
    local a = join(app.port[1])
    b:receive "here\n"
    a:send "from one\n"
    assert.equal("from one\n", b:receive "\n")
    b:send "from the other\n"
    a:receive "from the other\n"
    a:close()
    b:close()
  end

  it("are found without a register, and found again", function()
    wait_served()
    chat()
    os.execute("kill -9 " .. app:pids "gateway"[1])
    app:wait_log "child ended, starting another one child=gateway"
    wait_served()
    chat()
  end)

  it("are found by programs", function()
    testbed.write_file(app.dir .. "/count.lua", 'print(Gateway.getAllClientCount() .. " clients")')
    local a = join(app.port[1])
    -- Those of the test before may still be leaving.
    loop.poll("one client", function()
      local code, out = app:cli("exec", "count.lua")
      return code == 0 and out:find("1 clients", 1, true)
    end)
    a:close()
  end)
end)

-- A machine with the register, one with a gateway, one with workers.
describe("workers that find no register", function()
  local registers, gateways, workers

  setup(function()
    registers = testbed.new {
      gateways = {},
      config = function(c) c.gateways, c.workers = nil, nil end,
    }
    registers:up()
    local address = registers.config.register_address
    gateways = testbed.new {
      gateways = { { listen = "text" } },
      config = function(c) c.register, c.workers, c.register_address = nil, nil, address end,
    }
    gateways:up()
    workers = testbed.new {
      script = script,
      config = function(c) c.register, c.gateways, c.register_address = nil, nil, address end,
    }
    workers:up()
  end)

  teardown(function()
    for _, app in ipairs { workers, gateways, registers } do
      if app then app:stop() end
    end
  end)

  local function talk()
    local client = tcp.connect(gateways.port[1])
    client:send "hello\n"
    assert.equal("hello\n", client:receive "\n")
    client:close()
  end

  it("reach the gateways of its last list", function()
    gateways:wait_log "the first worker is there, clients can connect"
    talk()
    registers.master:kill "sigint"
    registers.master:wait()
    workers.master:kill "sigint"
    workers.master:wait()
    workers:up()
    workers:wait_log "no register answers, the gateways of its last list are dialed count=1"
    talk()
  end)

  it("are read by gwrun exec as well, from any folder", function()
    local client = tcp.connect(gateways.port[1])
    client:send "hello\n"
    assert.equal("hello\n", client:receive "\n")
    local code, out = process.run({ testbed.program, "exec", "-c", workers.dir .. "/conf/gwrun.lua",
      "-e", "assert(Gateway.sendToAll 'pushed') print(Gateway.getAllClientIdCount())" }, { cwd = "/" })
    assert.equal(0, code, out)
    assert.matches("no register answers, the gateways of its last list are dialed count=1", out, 1, true)
    assert.matches("\n1\n$", out)
    assert.equal("pushed\n", client:receive "\n")
    client:close()
  end)

  it("say which gateway is away", function()
    gateways.master:kill "sigint"
    gateways.master:wait()
    local address = "127.0.0.1:" .. gateways.config.gateways[1].start_port
    local link = loop.poll("a link that is away", function()
      for _, p in ipairs(workers:status().processes) do
        if p.role == "worker" and p.links[1] and p.links[1].ms > 0 then return p.links[1] end
      end
    end)
    assert.equal(address, link.peer)
    assert.equal("away", link.state)
    local _, out = workers:cli "status"
    assert.matches("worker/0: gateway " .. address .. " (Gateway1) away for ", out, 1, true)
  end)
end)

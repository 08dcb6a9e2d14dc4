-- Several kinds of workers in one system: each gateway's clients meet the script of
-- its own, everybody's commands reach all clients.
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local function script(name)
  return ([[
Events = {}
local version = "1"
function Events.onWorkerStart(worker) print("started", worker.name, worker.id) end
function Events.onMessage(client_id, message)
  if message == "all" then return Gateway.sendToAll "from NAME" end
  Gateway.sendToCurrentClient("NAME " .. version .. " " .. message)
end
]]):gsub("NAME", name)
end

--- Chat twice and Billing once, each with a port of its own.
local function project()
  local app = testbed.new {
    gateways = { { listen = "text", workers = "Chat" }, { listen = "text", workers = "Billing" } },
    config = function(c)
      c.workers = {
        { name = "Chat", script = "scripts/chat.lua", count = 2 },
        { name = "Billing", script = "scripts/billing.lua" },
      }
    end,
  }
  testbed.write_file(app.dir .. "/scripts/chat.lua", script "Chat")
  testbed.write_file(app.dir .. "/scripts/billing.lua", script "Billing")
  return app
end

describe("with several kinds of workers", function()
  local app

  setup(function()
    app = project()
    app:up()
  end)

  teardown(function() app:stop() end)

  local function pipe(code, ...)
    local p = process.spawn(app:command("attach", ...), { cwd = app.dir, stdin = true })
    p:write(code)
    p.stdin:shutdown()
    return p:wait(), p.out
  end

  it("each gateway's clients meet the script of its own", function()
    local chat, billing = tcp.connect(app.port[1]), tcp.connect(app.port[2])
    chat:send "hello\n"
    chat:receive "Chat 1 hello\n"
    billing:send "hello\n"
    billing:receive "Billing 1 hello\n"
    chat:close()
    billing:close()
  end)

  it("what one kind says to all reaches the clients of the others", function()
    local chat, billing = tcp.connect(app.port[1]), tcp.connect(app.port[2])
    chat:send "1\n"
    chat:receive "Chat 1 1\n"
    billing:send "all\n"
    billing:receive "from Billing\n"
    chat:receive "from Billing\n"
    chat:close()
    billing:close()
  end)

  it("each counts its own from 0, for its script and for gwrun attach", function()
    app:wait_log "started\tChat\t1"
    app:wait_log "started\tBilling\t0"
    app:wait_log "[OK]"
    local names = {}
    for _, p in ipairs(app:status().processes) do
      if p.role == "worker" then names[p.slot] = p.name end
    end
    assert.same({ [0] = "Chat", "Chat", "Billing" }, names)
    local where = "return debug.getinfo(Events.onMessage, 'S').source"
    assert.same({ 0, '"@scripts/billing.lua"\n' }, { pipe(where, "Billing") })
    assert.same({ 0, '"@scripts/billing.lua"\n' }, { pipe(where, "2") })
    assert.same({ 0, '"@scripts/chat.lua"\n' }, { pipe(where, "Chat:1") })
    local code, out = pipe(where, "Chat:2")
    assert.equal(1, code)
    assert.matches("there is no worker Chat:2; gwrun status lists them", out, 1, true)
  end)

  it("a gateway counts the workers of its kind", function()
    for slot, want in pairs { [0] = 2, 1 } do
      loop.poll("its workers", function() return app:counters("gateway", slot).workers == want end)
    end
  end)

  it("gwrun reload NAME loads theirs, though the others' is broken", function()
    local chat, billing = tcp.connect(app.port[1]), tcp.connect(app.port[2])
    testbed.write_file(app.dir .. "/scripts/billing.lua", (script "Billing":gsub('version = "1"', 'version = "2"')))
    testbed.write_file(app.dir .. "/scripts/chat.lua", "oops")
    local code, out = app:cli("reload", "Billing")
    assert.equal(0, code, out)
    assert.matches("reloaded 1 worker in", out)
    billing:send "x\n"
    billing:receive "Billing 2 x\n"
    code, out = app:cli "reload"
    assert.equal(1, code)
    assert.matches("scripts/chat.lua:1", out)
    code, out = app:cli("reload", "Gateway1")
    assert.equal(1, code)
    assert.matches('no workers and no program here are named "Gateway1"', out)
    testbed.write_file(app.dir .. "/scripts/chat.lua", script "Chat")
    chat:send "x\n"
    chat:receive "Chat 1 x\n"
    chat:close()
    billing:close()
  end)
end)

it("gwrun check and restart look at the script of each kind", function()
  local app = project()
  finally(function() app:stop() end)
  assert.equal(0, (app:cli "check"))
  testbed.write_file(app.dir .. "/scripts/billing.lua", "Events = {")
  local code, out = app:cli "check"
  assert.equal(2, code)
  assert.matches("scripts/billing.lua:1", out, 1, true)
  code, out = app:cli "start"
  assert.equal(2, code)
  assert.matches("the script does not compile: scripts/billing.lua:1", out, 1, true)
end)

it("gwrun status tells a kind that is missing, though another one serves", function()
  local app = project()
  finally(function() app:stop() end)
  app:up()
  loop.poll("a line about it", function()
    local code, out = app:cli "status"
    if code == 1 and out:find("worker/2 Billing: back-off", 1, true) then return true end
    process.run { "kill", "-9", tostring(app:pids "worker"[3]) }
  end)
end)

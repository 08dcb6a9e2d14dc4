-- Events.onClientBound: a worker hears of the clients that it gets from another one,
-- whatever ended that, and of no others.
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local tcpproxy = require "tcpproxy"
local testbed = require "testbed"
local uv = require "luv"

local script = [[
Events = {}
local mine = {}
function Events.onConnect(client_id) mine[client_id] = "connected" end
function Events.onClientBound(client_id)
  mine[client_id] = "bound"
  Log.notice("bound", client_id)
end
function Events.onClose(client_id) mine[client_id] = nil end
function Events.onMessage(client_id, message)
  Gateway.sendToCurrentClient(client_id .. " " .. (mine[client_id] or "unknown"))
end
]]

local CLIENTS = 6

local function start(options)
  options.script = options.script or script
  options.workers = { count = 2 }
  options.gateways = { options.gateway or {} }
  options.gateways[1].listen = "text"
  local app = testbed.new(options)
  if options.prepare then options.prepare(app) end
  finally(function() app:stop() end)
  app:up()
  loop.poll("both workers", function() return app:counters("gateway", 0).workers == 2 end)
  return app
end

--- Its id, and how its worker knows it.
local function ask(client)
  client:send "?\n"
  return client:receive("\n"):match "(%x+) (%w+)"
end

local function connect(app)
  local clients = {}
  for i = 1, CLIENTS do
    clients[i] = tcp.connect(app.port[1])
    local id, known = ask(clients[i])
    clients[i].id = id
    assert.equal("connected", known)
  end
  return clients
end

--- How often each was heard of.
local function heard(app, clients)
  local log, times = app:log(), {}
  for i, c in ipairs(clients) do times[i] = select(2, log:gsub("bound%W+" .. c.id, "")) end
  return times
end

local function wait_heard(app, clients, times)
  loop.poll("each client to be bound " .. times .. " times", function()
    for _, n in ipairs(heard(app, clients)) do
      if n < times then return false end
    end
    return true
  end)
end

local function assert_each(app, clients, times, known)
  for _, c in ipairs(clients) do
    local id, how = ask(c)
    assert.equal(c.id, id)
    assert.equal(known, how)
  end
  for _, n in ipairs(heard(app, clients)) do assert.equal(times, n) end
end

local function end_workers(app, signal)
  local before = {}
  for _, pid in ipairs(app:pids "worker") do
    before[pid] = true
    assert.equal(0, process.run { "kill", signal, tostring(pid) })
  end
  loop.poll("new workers", function()
    local pids = app:pids "worker"
    for _, pid in ipairs(pids) do
      if before[pid] then return false end
    end
    return #pids == 2
  end)
end

describe("Events.onClientBound", function()
  it("comes once for each silent client of workers that were killed", function()
    local app = start {}
    local clients = connect(app)
    for round = 1, 2 do
      end_workers(app, "-KILL")
      wait_heard(app, clients, round)
      assert_each(app, clients, round, "bound")
    end
  end)

  it("comes once for each silent client of workers that ended in order", function()
    local app = start {}
    local clients = connect(app)
    end_workers(app, "-TERM")
    wait_heard(app, clients, 1)
    assert_each(app, clients, 1, "bound")
  end)

  it("does not come for a reload", function()
    local app = start {}
    local clients = connect(app)
    app:write_script(script:gsub("local mine = {}", "_G.marker = 1 %0"))
    assert.equal(0, app:cli "reload")
    for _, c in ipairs(clients) do assert.equal("unknown", select(2, ask(c))) end
    assert.same({ 0, 0, 0, 0, 0, 0 }, heard(app, clients))
  end)

  it("comes again where links broke and were healed, before the next event", function()
    local proxy
    finally(function() proxy:stop() end)
    local app = start {
      gateway = { inner_listen = "127.0.0.2" },
      prepare = function(app)
        local port = app.config.gateways[1].start_port
        proxy = tcpproxy.start("127.0.0.1", "127.0.0.2", port)
        -- A folder in the place of the unix socket: they come by TCP.
        for _, folder in ipairs { "/run", "/run/links", "/run/links/127.0.0.1-" .. port } do
          assert(uv.fs_mkdir(app.dir .. folder, 493))
        end
      end,
    }
    local clients = connect(app)
    proxy:cut()
    wait_heard(app, clients, 1)
    assert_each(app, clients, 1, "bound")
  end)

  it("costs no client its messages where no script has it", function()
    local app = start { script = (script:gsub("onClientBound", "onNothing")) }
    local clients = connect(app)
    end_workers(app, "-KILL")
    assert_each(app, clients, 0, "unknown")
  end)
end)

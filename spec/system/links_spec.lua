-- The links between workers and gateways of one machine: unix sockets, where one
-- master has started both.
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"
local uv = require "luv"

local script = [[
Events = {}
function Events.onMessage(client_id, message) Gateway.sendToCurrentClient("answer to " .. message) end
]]

local function start(options)
  options.script = script
  options.gateways = { { listen = "text" } }
  options.config = function(t) t.log = { level = "info" } end
  return testbed.start(options)
end

local function socket_of(app)
  return ("%s/run/links/127.0.0.1-%d"):format(app.dir, app.config.gateways[1].start_port)
end

local function expect_answer(app)
  local client = tcp.connect(app.port[1])
  client:send "hello\n"
  client:receive "answer to hello\n"
  client:close()
end

describe("a link on one machine", function()
  it("is a unix socket that nobody else may use", function()
    local app = start {}
    finally(function() app:stop() end)
    app:wait_log "by its unix socket"
    assert.equal(384, uv.fs_stat(socket_of(app)).mode & 511) -- 0600
    expect_answer(app)
    assert.equal(1, app:counters("gateway", 0).workers_local)
  end)

  it("shows addresses as any other", function()
    local app = start {}
    finally(function() app:stop() end)
    app:wait_log "worker joined peer=127.0.0.1 key=\"ChatWorker:0\""
    app:wait_log(("connected to gateway 127.0.0.1:%d by"):format(app.config.gateways[1].start_port))
  end)

  it("goes by TCP, and the log says so, when the unix socket is gone", function()
    local app = start {}
    finally(function() app:stop() end)
    app:wait_log "by its unix socket"
    assert(uv.fs_unlink(socket_of(app)))
    local first = app:pids("worker")[1]
    assert.equal(0, process.run { "kill", "-9", tostring(first) })
    app:wait_log "no connection by the unix socket run/links/127.0.0.1-"
    loop.poll("the next worker", function() return app:counters("gateway", 0).workers == 1 end)
    expect_answer(app)
    assert.equal(1, app:counters("gateway", 0).workers_local)
  end)

  it("comes back with its gateway", function()
    local app = start {}
    finally(function() app:stop() end)
    app:wait_log "by its unix socket"
    assert.equal(0, process.run { "kill", "-9", tostring(app:pids("gateway")[1]) })
    loop.poll("the links", function()
      return select(2, app:log():gsub("by its unix socket", "")) >= 2
    end)
    loop.poll("the gateway", function() return app:counters("gateway", 0).accepting end)
    expect_answer(app)
    assert.is_nil(app:log():find("no connection by", 1, true))
  end)

  it("is TCP to a gateway that another master has started", function()
    local app = start {}
    local other = testbed.new {
      script = script,
      workers = { name = "Other" },
      config = function(t)
        t.log = { level = "info" }
        t.register, t.gateways = nil, nil
        t.register_address = app.config.register_address
      end,
    }
    finally(function()
      other:stop()
      app:stop()
    end)
    other.master = process.spawn(other:command "start", { cwd = other.dir })
    other:wait_log "connected to gateway 127.0.0.1:"
    assert.is_nil(other:log():find("unix socket", 1, true))
  end)
end)

-- gwrun.testing: several kinds of workers.
local testing = require "gwrun.testing"

local function script(name)
  return ([[
    Events = {}
    version = 1
    function Events.onMessage(client_id, text)
      if text == "all" then return Gateway.sendToAll "NAME to all" end
      Gateway.sendToClient(client_id, "NAME " .. version)
    end
  ]]):gsub("NAME", name)
end

describe("an app with several kinds of workers", function()
  local app

  before_each(function()
    app = testing.start {
      gateways = { { workers = "Chat" }, { listen = "text", workers = "Billing" } },
      workers = {
        { name = "Chat", text = script "Chat", count = 2 },
        { name = "Billing", text = script "Billing" },
      },
    }
  end)

  after_each(function() app:stop() end)

  it("connects to the gateway of a kind, and its script answers", function()
    local chat, billing = app:connect { workers = "Chat" }, app:connect { workers = "Billing" }
    chat:send "x"
    billing:send "x"
    assert.same({ "Chat 1", "Billing 1" }, { chat:last(), billing:last() })
    billing:send "all"
    assert.same({ "Billing to all", "Billing to all" }, { chat:last(), billing:last() })
    assert.has_error(function() app:connect { workers = "Shop" } end,
      'app:connect: no gateway with workers = "Shop" runs')
  end)

  it("runs text in a worker by its name", function()
    app:run_in("Billing", "version = 7")
    assert.equal(7, app:run_in("Billing:0", "return version"))
    assert.equal(7, app:run_in(3, "return version"))
    assert.equal(1, app:run "return version")
    assert.equal(1, app:run_in("Chat:1", "return version"))
    assert.has_error(function() app:run_in("Chat:2", "") end, "app:run_in: there is no worker Chat:2")
    assert.has_error(function() app:run_in("Shop", "") end,
      "app:run_in: no workers are named Shop, only Chat, Billing")
  end)

  it("reloads one kind, or all", function()
    local chat, billing = app:connect { workers = "Chat" }, app:connect { workers = "Billing" }
    assert.is_true(app:reload(script "Shop", "Billing"))
    billing:send "x"
    chat:send "x"
    assert.same({ "Chat 1", "Shop 1" }, { chat:last(), billing:last() })
    assert.is_true(app:reload())
    billing:send "x"
    assert.equal("Shop 1", billing:last())
    assert.is_false(app:reload("oops", "Chat"))
    assert.has_error(function() app:reload "oops" end, "app:reload: name the workers whose script that is")
  end)

  it("asks onHandshake of a kind about its own clients only", function()
    app:stop()
    app = testing.start {
      gateways = { { workers = "Chat" }, { workers = "Billing" } },
      workers = {
        { name = "Chat", text = script "Chat" },
        { name = "Billing", text = script "Billing" .. " function Events.onHandshake() return false end" },
      },
    }
    assert.is_nil(app:connect { workers = "Chat" }.closed)
    assert.equal(403, app:connect { workers = "Billing" }.closed.status)
  end)

  it("holds what comes while a kind is away", function()
    local billing = app:connect { workers = "Billing" }
    app:kill_worker "Billing"
    billing:send "x"
    assert.is_nil(billing:last())
    app:start_worker "Billing"
    assert.equal("Billing 1", billing:last())
  end)
end)

describe("testing.start", function()
  local function refuses(message, options)
    assert.error_matches(function() testing.start(options) end, message)
  end

  it("says what is wrong with a list of workers", function()
    refuses("workers%[1%]: give script = \"file\", or text", { workers = { { name = "Chat" } } })
    refuses("each of them has its own", { workers = { { name = "Chat", text = "" } }, text = "" })
    refuses("workers%[1%] must be a table", { workers = { 1 } })
    refuses("must be a number, or a list of kinds", { workers = "Chat", text = "" })
    refuses("gateways%[1%].workers: is missing", { workers = { { name = "Chat", text = "Events = {}" } } })
  end)
end)

describe("programs in an app", function()
  local app

  after_each(function() app:stop() end)

  local function write(text)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
    return path
  end

  local function start(text, restart)
    app = testing.start {
      text = "Events = {} function Events.onConnect(id) Gateway.joinGroup(id, 'ticks') end",
      programs = { { name = "feed", file = write(text), args = { "tick" }, restart = restart } },
      errors = "collect",
    }
    return app:connect()
  end

  it("run on the app's clock", function()
    local client = start "Timer.add(1, function() Gateway.sendToGroup('ticks', arg[1] .. os.time()) end)"
    local now = app:now() // 1 | 0
    app:advance(2)
    assert.same({ "tick" .. now + 1, "tick" .. now + 2 }, client:received())
  end)

  it("are started again a second after they ended, and their errors are told", function()
    local client = start "Timer.sleep(5) Gateway.sendToAll 'ending' error 'no prices'"
    app:advance(5)
    assert.same({ "ending" }, client:received())
    assert.matches("no prices", table.concat(app:errors(), "\n"))
    app:advance(5.9)
    assert.same({}, client:received())
    app:advance(0.1)
    assert.same({ "ending" }, client:received())
  end)

  it("are not started again where their restart says so", function()
    local client = start("Timer.sleep(1) Gateway.sendToAll 'ending'", "on-failure")
    app:advance(10)
    assert.same({ "ending" }, client:received())
    assert.same({}, app:errors())
  end)
end)

-- onClose begins exactly once also where the workers run on another machine than the
-- gateways, whose book they cannot ask.
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"
local proxy = require "spec.fault.proxy"

local CLIENTS = 20

local script = [[
Events = {}
function Events.onConnect(id)
  Gateway.bindUid(id, "uid " .. id)
  Gateway.joinGroup(id, "room")
  _SESSION.name = "name " .. id
  Gateway.sendToCurrentClient(id)
end
function Events.onMessage(id, message) Gateway.sendToCurrentClient(message) end
function Events.onClose(id, info)
  print(("closed %s certain=%s by=%s cause=%s uid=%s groups=%s name=%s;"):format(id, info.certain, info.by,
    info.cause, info.uid or "-", table.concat(info.groups or {}, ","), info.session and info.session.name or "-"))
end
]]

local function kill(pids)
  local words = { "kill", "-9" }
  for _, pid in ipairs(pids) do words[#words + 1] = tostring(pid) end
  assert.equal(0, process.run(words))
end

local function power_on(app)
  app.master = process.spawn(app:command "start", { cwd = app.dir })
  app.master:wait_output("Press Ctrl+C", 60)
end

describe("a book of clients of workers on another machine", function()
  local first, second, link

  before_each(function()
    first = testbed.new {
      gateways = { { listen = "text" } },
      config = function(c)
        c.log, c.book_dir, c.workers = { level = "info" }, nil, nil
        c.gateways[1].lan_ip, c.gateways[1].inner_listen = "127.0.0.2", "127.0.0.1"
      end,
    }
    second = testbed.new {
      script = script,
      workers = { name = "Elsewhere", count = 2 },
      config = function(c)
        c.log = { level = "info" }
        c.register, c.gateways = nil, nil
        c.register_address = first.config.register_address
        c.secret_key = first.config.secret_key
      end,
    }
    local port = first.config.gateways[1].start_port
    link = proxy.new("127.0.0.2", port, "127.0.0.1", port)
    power_on(first)
    power_on(second)
  end)

  after_each(function()
    for _, app in ipairs { second, first } do app:stop() end
    link:close()
  end)

  local function wait_ready()
    loop.poll("two workers", function()
      local c = first:counters("gateway", 0)
      return c and c.workers == 2
    end, 60)
  end

  -- The ids of new clients whose onConnect has ended.
  local function connect(port)
    local ids, people = {}, {}
    wait_ready()
    for i = 1, CLIENTS do
      people[i] = tcp.connect(port or first.port[1])
      ids[i] = people[i]:receive("\n"):sub(1, -2)
    end
    return ids, people
  end

  local function count(id)
    return select(2, second:log():gsub("closed " .. id .. " ", ""))
  end

  -- Each has had one onClose, which knew what was known, and the book is empty.
  local function assert_once(ids, info)
    loop.poll("every onClose", function()
      for _, id in ipairs(ids) do
        if count(id) == 0 then return false end
      end
      local c = first:counters("gateway", 0)
      return c and c.closes_inherited == 0 and c.book_clients == 0 and c.events_unbegun == 0
    end, 90)
    for _, id in ipairs(ids) do
      assert.equal(1, count(id), id)
      local line = second:log():match("closed " .. id .. " ([^\n]*)")
      assert.matches("certain=true " .. info, line)
      assert.equal(("uid=uid %s groups=room name=name %s;"):format(id, id), line:match "uid=[^;]*;")
    end
  end

  it("tells their end once when a gateway is killed", function()
    local ids = connect()
    kill(first:pids "gateway")
    assert_once(ids, "by=lost cause=gateway_lost")
  end)

  it("tells it when a gateway and all workers are killed", function()
    local ids = connect()
    local pids = second:pids "worker"
    pids[#pids + 1] = first:pids "gateway"[1]
    kill(pids)
    assert_once(ids, "by=lost cause=gateway_lost")
  end)

  it("tells it of clients that were idle since their workers were replaced", function()
    local ids = connect()
    local old = second:pids "worker"
    kill(old)
    loop.poll("other workers", function()
      local new = second:pids "worker"
      return #new == 2 and new[1] ~= old[1] and new[2] ~= old[2]
    end, 60)
    loop.poll("each of them to reach the gateway", function()
      for _, p in ipairs(second:status().processes) do
        if p.role == "worker" and (p.counters or {}).gateways ~= 1 then return false end
      end
      return true
    end, 60)
    wait_ready()
    kill(first:pids "gateway")
    assert_once(ids, "by=lost cause=gateway_lost")
  end)

  it("tells it of clients of a gateway that is in the configuration no more", function()
    local port = testbed.ports()
    first.master:kill "sigint"
    assert.equal(0, first.master:wait(60))
    first.config.gateways[2] = { name = "Two", listen = "text://127.0.0.1:" .. port,
      start_port = testbed.ports(), lan_ip = "127.0.0.3" }
    first:save_config()
    power_on(first)
    wait_ready()
    local ids = connect(port)
    local pids = {}
    for _, p in ipairs(first:status().processes) do pids[#pids + 1] = p.pid end
    first.master:kill "sigstop" -- it does nothing about the others' end
    kill(pids)
    first.master:kill "sigkill"
    first.master:wait(60)
    first.config.gateways[2] = nil
    first:save_config()
    power_on(first)
    first:wait_log("adopted the book of a gateway that does not come again", 60)
    assert_once(ids, "by=lost cause=gateway_lost")
  end)

  -- As after a boot: those books are gone, and nobody else knows.
  it("tells it, but not for certain, when the book is gone", function()
    local ids = connect()
    local pids = {}
    for _, p in ipairs(first:status().processes) do pids[#pids + 1] = p.pid end
    first.master:kill "sigstop"
    kill(pids)
    first.master:kill "sigkill"
    first.master:wait(60)
    first.config.book_dir = first.dir .. "/book"
    first:save_config()
    power_on(first)
    loop.poll("every onClose", function()
      for _, id in ipairs(ids) do
        if count(id) == 0 then return false end
      end
      return true
    end, 90)
    wait_ready()
    for _, id in ipairs(ids) do
      assert.equal(1, count(id), id)
      assert.is_truthy(second:log():find("closed " .. id .. " certain=false by=lost cause=gateway_lost uid=-", 1, true))
    end
  end)

  -- Whose close was under way when the links broke, and who left while they were away.
  it("tells it once when links break while clients leave", function()
    for _, how in ipairs { "reset", "in order" } do
      local ids, people = connect()
      for i, c in ipairs(people) do
        if i == CLIENTS // 2 then link:cut(how) end
        c:close()
      end
      assert_once(ids, "by=client cause=client")
    end
  end)
end)

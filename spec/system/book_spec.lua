-- onClose begins exactly once for every onConnect, whatever dies: gateways keep a
-- book of who is there.
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"
local uv = require "luv"

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
  print(("closed %s certain=%s by=%s cause=%s uid=%s groups=%s name=%s;"):format(id, info.certain, info.by, info.cause,
    info.uid or "-", table.concat(info.groups or {}, ","), info.session and info.session.name or "-"))
end
]]

local function kill(pids, signal)
  local words = { "kill", "-" .. (signal or "9") }
  for _, pid in ipairs(pids) do words[#words + 1] = tostring(pid) end
  assert.equal(0, process.run(words))
end

describe("a book of clients", function()
  local app, logs, folder

  before_each(function()
    logs = {}
    app = testbed.new {
      script = script,
      gateways = { { listen = "text" } },
      workers = { count = 2 },
      config = function(c) c.log, c.book_dir = { level = "info" }, nil end,
    }
  end)

  after_each(function()
    if app.master and app.master.code == nil then app:stop() end
    app:remove()
  end)

  -- Start it; where its books are.
  local function power_on()
    app:up(60)
    local _, list = process.run { "ls", "-l", ("/proc/%d/fd"):format(app:pids "gateway"[1]) }
    folder = list:match("%-> (/dev/shm/gwrun%-[^/\n]+)/")
    assert.is_truthy(folder, list)
  end

  -- The ids of new clients whose onConnect has ended.
  local function connect(port)
    local ids, people = {}, {}
    for i = 1, CLIENTS do
      people[i] = tcp.connect(port or app.port[1])
      ids[i] = people[i]:receive("\n"):sub(1, -2)
    end
    return ids, people
  end

  local function whole_log() return table.concat(logs) .. app:log() end

  local function count(id)
    return select(2, whole_log():gsub("closed " .. id .. " ", ""))
  end

  -- Nothing is left to do, and each had one onClose, which knew what was known.
  local function assert_ended(ids, info)
    app.master:kill "sigint"
    assert.equal(0, app.master:wait(60), app:log())
    assert.is_nil(uv.fs_stat(folder))
    for _, id in ipairs(ids) do
      local line = whole_log():match("closed " .. id .. " ([^\n]*)")
      assert.equal(1, count(id), id)
      assert.matches(info, line)
      assert.equal(("uid=uid %s groups=room name=name %s;"):format(id, id), line:match "uid=[^;]*;")
    end
  end

  local function assert_once(ids, info)
    loop.poll("every onClose", function()
      for _, id in ipairs(ids) do
        if count(id) == 0 then return false end
      end
      return true
    end, 60)
    assert_ended(ids, info)
  end

  local LOST = "certain=true by=lost cause=gateway_lost"

  local function wait_ready()
    loop.poll("every process to be ready", function()
      for _, p in ipairs(app:status().processes) do
        if p.state ~= "ready" then return false end
      end
      return app:counters("gateway", 0).workers == 2
    end, 60)
  end

  it("tells the end of clients that were idle since their worker was replaced", function()
    power_on()
    local ids = connect()
    local old = app:pids "worker"
    kill(old)
    loop.poll("other workers", function()
      local new = app:pids "worker"
      return #new == 2 and new[1] ~= old[1] and new[2] ~= old[2]
    end)
    wait_ready()
    kill(app:pids "gateway")
    assert_once(ids, LOST)
  end)

  it("tells it when gateway and workers are killed together", function()
    power_on()
    local ids = connect()
    local pids = app:pids "worker"
    pids[#pids + 1] = app:pids "gateway"[1]
    kill(pids)
    assert_once(ids, LOST)
  end)

  it("tells it when workers restart right after their gateway was killed", function()
    power_on()
    local ids = connect()
    local workers = app:pids "worker"
    kill(app:pids "gateway")
    kill(workers, "TERM")
    assert_once(ids, LOST)
  end)

  local function kill_all()
    local pids = { app.master.pid }
    for _, p in ipairs(app:status().processes) do pids[#pids + 1] = p.pid end
    kill(pids)
    app.master:wait()
    logs[#logs + 1] = app:log()
  end

  it("tells it when everything is killed and started again", function()
    power_on()
    local ids = connect()
    kill_all()
    power_on()
    assert_once(ids, "certain=true by=")
  end)

  it("tells it, but not for certain, when it is of another boot", function()
    app.env = { GWRUN_TEST_BOOT = "the first" }
    power_on()
    local ids = connect()
    kill_all()
    app.env = { GWRUN_TEST_BOOT = "the second" }
    power_on()
    app:wait_log "the book is of another boot, what it gives is not certain"
    assert_once(ids, "certain=false by=")
  end)

  it("tells it when the master is killed and the system started again", function()
    power_on()
    local ids = connect()
    kill { app.master.pid }
    app.master:wait(60)
    logs[#logs + 1] = app:log()
    power_on()
    assert_once(ids, "certain=true by=server cause=restart")
  end)

  -- The whole system is killed, and started without the gateway that had the clients.
  it("tells it of clients of a gateway that is in the configuration no more", function()
    local port = testbed.ports()
    app.config.gateways[2] = { name = "Two", listen = "text://127.0.0.1:" .. port, start_port = testbed.ports() }
    app:save_config()
    power_on()
    local ids = connect(port)
    local pids = {}
    for _, p in ipairs(app:status().processes) do pids[#pids + 1] = p.pid end
    kill({ app.master.pid }, "STOP") -- it does nothing about the others' end
    kill(pids)
    kill { app.master.pid }
    app.master:wait()
    logs[#logs + 1] = app:log()
    app.config.gateways[2] = nil
    app:save_config()
    power_on()
    app:wait_log("adopted the book of a gateway that does not come again", 60)
    loop.poll("every onClose", function()
      for _, id in ipairs(ids) do
        if count(id) == 0 then return false end
      end
      return app:counters("gateway", 0).closes_inherited == 0
    end, 60)
    assert_ended(ids, LOST)
  end)

  -- The file system has room for two heads and one block of clients, which those of
  -- the first gateway get. Who is in the book, and who was left out.
  local function connect_without_room()
    local small = testbed.small_disk("books", "192k")
    if not small.prefix then pending(small.reason) end
    small.make(app)
    app.prefix = small.prefix
    app.config.book_dir = "books"
    local port = testbed.ports()
    app.config.gateways[2] = { name = "Two", listen = "text://127.0.0.1:" .. port, start_port = testbed.ports() }
    app:save_config()
    app:up(60)
    local kept, people = connect()
    local left_out, others = connect(port)
    assert.equal(0, app:counters("gateway", 0).book_left_out)
    assert.is_true(app:counters("gateway", 0).book_cut >= CLIENTS)
    assert.equal(CLIENTS, app:counters("gateway", 1).book_left_out)
    app:wait_log "the book of clients has no room (book_dir)"
    for _, someone in ipairs(people) do
      someone:send "here\n"
      assert.equal("here\n", someone:receive "\n")
    end
    others[1]:close()
    loop.poll("the end of one who left", function() return count(left_out[1]) == 1 end)
    for _, p in ipairs(app:status().processes) do assert.equal(0, p.restarts) end
    return kept, left_out, { people, others } -- those hold the connections
  end

  local function wait_closed(ids)
    loop.poll("every onClose", function()
      for _, id in ipairs(ids) do
        if count(id) == 0 then return false end
      end
      return true
    end, 60)
  end

  local function end_without_room(kept, left_out, times)
    app.master:kill "sigint"
    assert.equal(0, app.master:wait(60), app:log())
    for _, id in ipairs(kept) do
      assert.equal(1, count(id))
      assert.matches("closed " .. id .. " certain=true by=lost cause=gateway_lost uid=%- groups= name=%-;", whole_log())
    end
    for i, id in ipairs(left_out) do assert.equal(i == 1 and 1 or times, count(id)) end
  end

  it("without room leaves those whom it left out to their workers", function()
    local kept, left_out, people = connect_without_room()
    kill(app:pids "gateway")
    wait_closed(kept)
    wait_closed(left_out)
    end_without_room(kept, left_out, 1)
    assert.equal(2, #people)
  end)

  it("without room loses the end of those whom it left out with their workers", function()
    local kept, left_out, people = connect_without_room()
    local pids = app:pids "gateway"
    kill(table.move(app:pids "worker", 1, 2, #pids + 1, pids))
    wait_closed(kept)
    end_without_room(kept, left_out, 0)
    assert.equal(2, #people)
  end)

  it("goes with the clients in an orderly stop", function()
    power_on()
    local ids = connect()
    assert.is_truthy(uv.fs_stat(folder))
    assert_ended(ids, "certain=true by=server cause=restart")
  end)

  local function slot() return "127_0_0_1-" .. app.config.gateways[1].start_port end

  -- The one file of the gateway in the folder; what is in it.
  local function read_book()
    local code, list = process.run { "ls", folder }
    assert.equal(0, code)
    local path = folder .. "/" .. assert(list:match "(127_0_0_1%S+)")
    return testbed.read_file(path), path
  end

  local BLOCK = 65536

  -- What was done to the file while the system was off: who may still be told of is
  -- whoever was there, at most once.
  local damages = {
    { "bytes at random all over it", function(text)
      local random = io.open("/dev/urandom", "rb")
      local bytes = random:read(#text)
      random:close()
      return bytes
    end, "book of clients discarded, it is not valid" },
    { "its end cut off", function(text) return text:sub(1, 2 * BLOCK) end, "book of clients is damaged" },
    { "bytes at random where its clients are", function(text)
      local random = io.open("/dev/urandom", "rb")
      local bytes = random:read(480)
      random:close()
      return text:sub(1, BLOCK + 64) .. bytes .. text:sub(BLOCK + 64 + #bytes + 1)
    end, "book of clients is damaged" },
    { "words that have changed places", function(text)
      local at = BLOCK + 48 + 1
      return text:sub(1, at - 1) .. text:sub(at + 48, at + 95) .. text:sub(at, at + 47) .. text:sub(at + 96)
    end, "book of clients is damaged" },
  }

  for _, damage in ipairs(damages) do
    it("invents nobody with " .. damage[1], function()
      power_on()
      local ids, known = connect(), {}
      for _, id in ipairs(ids) do known[id] = true end
      kill_all()
      local text, path = read_book()
      testbed.write_file(path, damage[2](text))
      app.env = { GWRUN_TEST_BOOT = "the second" }
      power_on()
      app:wait_log(damage[3])
      loop.poll("the end of it", function()
        local c = app:counters("gateway", 0)
        return c.book_garbled > 0 and c.closes_inherited == 0
      end, 60)
      for _, p in ipairs(app:status().processes) do assert.equal(0, p.restarts) end
      app.master:kill "sigint"
      assert.equal(0, app.master:wait(60), app:log())
      for id, rest in whole_log():gmatch "closed (%x+) ([^\n]*)" do
        assert.is_true(known[id])
        assert.equal(1, count(id))
        local uid = rest:match "uid=([^=]*) groups"
        assert.is_true(uid == "-" or uid == "uid " .. id, rest)
      end
    end)
  end

  it("that is garbled or of another gateway stays away from everybody", function()
    power_on()
    app.master:kill "sigint"
    assert.equal(0, app.master:wait(60))
    assert(uv.fs_mkdir(folder, 448))
    testbed.write_file(folder .. "/" .. slot() .. ".garbled", ("garbage"):rep(20000))
    testbed.write_file(folder .. "/another.book", "x")
    power_on()
    app:wait_log "book of clients discarded, it is not valid"
    assert.equal(1, app:counters("gateway", 0).book_garbled)
    local ids = connect()
    assert.is_truthy(uv.fs_stat(folder .. "/another.book"))
    assert(uv.fs_unlink(folder .. "/another.book"))
    kill(app:pids "gateway")
    assert_once(ids, LOST)
  end)
end)

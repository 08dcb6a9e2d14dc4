-- What /metrics tells of scripts' connections to databases and web services.
local httpserver = require "httpserver"
local loop = require "loop"
local mariadb = require "mariadb"
local process = require "process"
local redisserver = require "redisserver"
local tcp = require "tcp"
local testbed = require "testbed"
local uv = require "luv"

-- Each message is Lua text to run.
local script = [[
db = Mysql.connect { socket = "MYSQL", user = "root", database = "test", pool_size = 1 }
cache = Redis.connect { host = "REDIS" }
Events = {}
function Events.onMessage(client_id, text)
  local ok, result = pcall(assert(load(text, "=test")))
  Gateway.sendToCurrentClient(tostring(result))
end
]]

describe("the metrics of pools", function()
  local app, port, mysql, redis, web
  local people = {}

  setup(function()
    mysql, redis, web = mariadb.start(), redisserver.start(), httpserver.start()
    port = testbed.ports()
    app = testbed.start {
      gateways = { { listen = "text" } },
      script = script:gsub("%u+", { MYSQL = mysql.socket, REDIS = redis.path }),
      config = function(c) c.admin = "127.0.0.1:" .. port end,
    }
  end)

  teardown(function()
    for _, c in ipairs(people) do c:close() end
    app:stop()
    for _, server in ipairs { mysql, redis, web } do server:stop() end
  end)

  local function person()
    local c = tcp.connect(app.port[1])
    people[#people + 1] = c
    return c
  end

  local function run(c, text, ...)
    c:send(text:format(...):gsub("\n", " ") .. "\n")
    return (c:receive("\n", 60):gsub("\n$", ""))
  end

  local function metrics()
    local code, out = process.run { "curl", "-s", "http://127.0.0.1:" .. port .. "/metrics" }
    assert.equal(0, code)
    return out
  end

  local function value_of(pool, what)
    local value = metrics():match("\ngwrun_pool_" .. what .. "{role=\"worker\",name=\"ChatWorker\",slot=\"0\",pool=\""
      .. pool .. "\"} (%d+)\n")
    return value and tonumber(value)
  end

  -- connections, idle, waiting
  local function wait_for(pool, ...)
    local wanted = { ... }
    for i, what in ipairs { "connections", "idle_connections", "waiting" } do
      loop.poll(pool .. " " .. what, function() return value_of(pool, what) == wanted[i] end)
    end
  end

  it("tell nothing of what a script has never used", function()
    local text = metrics()
    assert.matches("\n# TYPE gwrun_pool_connections gauge\n", text, 1, true)
    assert.is_nil(text:find("\ngwrun_pool_connections{", 1, true))
  end)

  it("are those of the table in the docs, word by word", function()
    local told, said = {}, {}
    for name, help in metrics():gmatch "# HELP (gwrun_pool_[%l_]+) ([^\n]+)" do told[name] = help end
    for name, help in testbed.read_file "docs/monitoring.md":gmatch "\n| `(gwrun_pool_[%l_]+)` | ([^\n]+) |" do said[name] = help end
    assert.same(said, told)
    assert.is_truthy(next(told))
  end)

  it("tell of MySQL's connections, who waits for one, and whose time is over", function()
    local ann, bob = person(), person()
    assert.equal("1", run(ann, "return db:single 'SELECT 1'"))
    wait_for("mysql", 1, 1, 0)
    assert.equal(1, value_of("mysql", "waits_total"))
    ann:send "return db:single('SELECT SLEEP(600)', {}, 10)\n"
    wait_for("mysql", 1, 0, 0)
    bob:send "return db:single('SELECT 2', {}, 600)\n"
    wait_for("mysql", 1, 0, 1)
    assert.equal("nil", (ann:receive("\n", 60):gsub("\n$", "")))
    assert.equal("2", (bob:receive("\n", 60):gsub("\n$", "")))
    wait_for("mysql", 1, 1, 0)
    assert.equal(2, value_of("mysql", "waits_total"))
    assert.equal(1, value_of("mysql", "timeouts_total"))
  end)

  it("tell of Redis", function()
    local ann = person()
    assert.equal("PONG", run(ann, "return cache:ping()"))
    wait_for("redis", 1, 1, 0)
    assert.equal(1, value_of("redis", "waits_total"))
    redis:freeze()
    finally(function() redis:thaw() end)
    ann:send "return select(3, cache:ping())\n"
    wait_for("redis", 1, 0, 0)
    assert.equal("etimedout", (ann:receive("\n", 60):gsub("\n$", "")))
    assert.equal(1, value_of("redis", "timeouts_total"))
  end)

  it("tell of web services", function()
    local ann, bob = person(), person()
    assert.equal("200", run(ann, "return Http.get('%s/status/200').status", web.url))
    wait_for("http", 1, 1, 0)
    assert.equal("200", run(ann, "return Http.get('%s/status/200').status", web.url))
    assert.equal(1, value_of("http", "waits_total")) -- the second call found one
    bob:send(("return select(3, Http.get('%s/drip?n=1&end=wait', { timeout = 10 }))\n"):format(web.url))
    wait_for("http", 1, 0, 0)
    assert.equal("etimedout", (bob:receive("\n", 60):gsub("\n$", "")))
    wait_for("http", 0, 0, 0)
    assert.equal(1, value_of("http", "timeouts_total"))
  end)

  it("count on over a reload and the worker's end, and have no connections then", function()
    local ann = person()
    run(ann, "return cache:ping()")
    local before = value_of("redis", "waits_total")
    assert.equal(0, (app:cli "reload"))
    assert.equal("PONG", run(ann, "return cache:ping()"))
    wait_for("redis", 1, 1, 0)
    local after = value_of("redis", "waits_total")
    assert.equal(before + 1, after)
    uv.kill(app:pids "worker"[1], "sigkill")
    wait_for("redis", 0, 0, 0)
    assert.equal(after, value_of("redis", "waits_total"))
  end)
end)

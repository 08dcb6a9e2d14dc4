-- The operators' port: what it tells, of whom, and to whom.
local cjson = require "cjson"
local bridge = require "bridge"
local loop = require "loop"
local process = require "process"
local running = require "running"
local tcp = require "tcp"
local testbed = require "testbed"
local uv = require "luv"

local function admin_of(c)
  c.admin = "127.0.0.1:" .. testbed.ports()
end

local function port_of(app) return app.config.admin:match "%d+$" end

-- One request: status, head, body. lines: headers in place of Host.
local function ask(port, path, lines, method, body)
  local c = tcp.connect(port)
  c:send(("%s %s HTTP/1.1\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n%s"):format(method or "GET", path,
    lines or "Host: localhost\r\n", #(body or ""), body or ""))
  local answer = c:wait_end()
  c:close()
  local head, rest = answer:match "^(.-\r\n)\r\n(.*)$"
  return tonumber(head:match "^HTTP/1.1 (%d+)"), head:lower(), rest
end

-- The value of a series: its name, and the labels that it must have.
local function value_of(text, name, labels)
  for line in text:gmatch "[^\n]+" do
    local series, value = line:match "^(%S-) (%S+)$"
    if series and series:match "^[^{]+" == name then
      local all = true
      for k, v in pairs(labels or {}) do all = all and series:find(('%s="%s"'):format(k, v), 1, true) end
      if all then return tonumber(value) end
    end
  end
end

describe("the operators' port", function()
  local app, port

  setup(function()
    app = testbed.start {
      gateways = { {}, { listen = "text" } },
      script = "Events = { onMessage = function(id, message) Gateway.sendToClient(id, message) end }",
      config = function(c)
        admin_of(c)
        c.hang_timeout = 600 -- a worker is stopped for a while
        c.programs = { { name = "idle", file = "scripts/events.lua", restart = "never" } }
      end,
    }
    port = port_of(app)
  end)

  teardown(function()
    bridge.close()
    app:stop()
  end)

  local function metrics()
    local status, head, text = ask(port, "/metrics")
    assert.equal(200, status)
    assert.matches("content%-type: text/plain; version=0%.0%.4; charset=utf%-8", head)
    return text
  end

  -- Numbers come about once a second.
  local function wait_value(name, labels, wanted)
    return loop.poll(name .. " to be " .. wanted, function() return value_of(metrics(), name, labels) == wanted end)
  end

  it("tells Prometheus what promtool finds nothing wrong with", function()
    if process.run { "sh", "-c", "command -v promtool" } ~= 0 then running.skip "promtool is missing (prometheus)" end
    local file = app.dir .. "/metrics"
    testbed.write_file(file, metrics())
    local code, out = process.run { "sh", "-c", "promtool check metrics < " .. file }
    assert.same({ 0, "" }, { code, out })
  end)

  it("has every metric that the alerts and the dashboard beside the docs ask for", function()
    local text, count = metrics(), 0
    for _, page in ipairs { "alerts.yml", "grafana.json" } do
      for name in testbed.read_file("docs/monitoring/" .. page):gmatch "gwrun_[%l_]+" do
        local bare = name:gsub("_bucket$", ""):gsub("_count$", "")
        assert.is_truthy(text:find("# TYPE " .. bare .. " ", 1, true), name)
        count = count + 1
      end
    end
    assert.is_true(count > 30)
    if process.run { "sh", "-c", "command -v promtool" } ~= 0 then return end
    local code, out = process.run { "promtool", "check", "rules", "docs/monitoring/alerts.yml" }
    assert.equal(0, code, out)
  end)

  it("counts what clients do, by process and never by client", function()
    local c = tcp.connect(app.port[2])
    c:send "hello\n"
    c:receive "hello"
    wait_value("gwrun_gateway_messages_in_total", { name = "Gateway2" }, 1)
    wait_value("gwrun_gateway_clients", { name = "Gateway2" }, 1)
    c:close()
    wait_value("gwrun_gateway_clients", { name = "Gateway2" }, 0)
    for line in metrics():gmatch "\n([^#\n]+)" do
      for label in (line:match "{(.*)}" or ""):gmatch '([%w_]+)="' do
        assert.is_truthy(({ role = 1, name = 1, slot = 1, version = 1, le = 1 })[label], line)
      end
    end
  end)

  it("has every counter of the status under the name of its role", function()
    local text = metrics()
    for _, role in ipairs { "admin", "register", "gateway", "worker", "program" } do
      for _, name in ipairs { "memory_bytes", "cpu_seconds_total", "up", "restarts_total" } do
        local gone = role == "program" and name == "memory_bytes" -- it has ended
        local value = value_of(text, "gwrun_process_" .. name, { role = role, slot = 0 })
        assert.is_true(gone or value ~= nil, role .. " " .. name)
      end
    end
    for _, name in ipairs { "gateway_connections", "worker_lua_memory_bytes", "worker_events_total",
      "register_workers", "program_timers", "gateway_bytes_in_total" } do
      assert.is_truthy(value_of(text, "gwrun_" .. name) or text:find("# TYPE gwrun_" .. name .. " ", 1, true), name)
    end
  end)

  it("measures how long events and turns of loops take", function()
    local c = tcp.connect(app.port[2])
    local before = value_of(metrics(), "gwrun_worker_event_time_seconds_count")
    c:send "how long?\n"
    c:receive "how long?"
    loop.poll("it to be measured", function()
      return value_of(metrics(), "gwrun_worker_event_time_seconds_count") >= before + 2 -- onConnect, onMessage
    end)
    local text = metrics()
    assert.equal(value_of(text, "gwrun_worker_event_time_seconds_count"),
      value_of(text, "gwrun_worker_event_time_seconds_bucket", { le = "+Inf" }))
    assert.is_true(value_of(text, "gwrun_worker_event_time_seconds_sum") > 0)
    assert.is_true(value_of(text, "gwrun_process_loop_turn_seconds_count", { role = "gateway" }) > 0)
    c:close()
  end)

  it("looks once a second at what waits and at Lua's memory", function()
    for _, name in ipairs { "gateway_queued", "gateway_held", "worker_lua_memory" } do
      name = "gwrun_" .. name .. "_sampled_bytes"
      local count = value_of(metrics(), name .. "_count")
      loop.poll(name .. " to go on", function() return value_of(metrics(), name .. "_count") > count end)
      assert.equal(value_of(metrics(), name .. "_bucket", { le = "+Inf" }) > 0, true)
    end
    assert.is_true(value_of(metrics(), "gwrun_worker_lua_memory_sampled_bytes_sum") > 100000)
  end)

  it("counts from an event's arrival in the gateway, though its worker is busy", function()
    local c, pid = tcp.connect(app.port[2]), app:pids "worker"[1]
    c:send "before\n"
    c:receive "before"
    uv.kill(pid, "sigstop")
    local sum = value_of(metrics(), "gwrun_worker_event_time_seconds_sum")
    c:send "wait\n"
    wait_value("gwrun_gateway_events_unbegun", { name = "Gateway2" }, 1) -- the worker has not read it
    local since = uv.hrtime()
    wait_value("gwrun_process_up", { role = "worker" }, 0) -- some time goes by
    local waited = (uv.hrtime() - since) / 1e9
    uv.kill(pid, "sigcont")
    c:receive "wait"
    loop.poll("the time that it has waited", function()
      return value_of(metrics(), "gwrun_worker_event_time_seconds_sum") >= sum + waited
    end)
    c:close()
    wait_value("gwrun_process_up", { role = "worker" }, 1)
    loop.poll("it to be ready", function() return ask(port, "/readyz") == 200 end)
  end)

  it("has the shape of gwrun status --json", function()
    local function shape(value)
      if type(value) ~= "table" then return type(value) == "userdata" and "null" or "value" end
      local out = {}
      for k, v in pairs(value) do out[k] = shape(v) end
      return out
    end
    -- on a busy machine not all answer in time, and have no counters then
    local function whole(s)
      for _, p in ipairs(s.processes) do
        if p.role ~= "program" and not p.counters then return false end
      end
      return s
    end
    local theirs = loop.poll("all to answer", function() return whole(app:status()) end)
    local status, head, body
    local ours = loop.poll("all to have answered", function()
      status, head, body = ask(port, "/status.json")
      return whole(cjson.decode(body))
    end)
    assert.equal(200, status)
    assert.matches("content%-type: application/json", head)
    for _, s in ipairs { theirs, ours } do
      for _, p in ipairs(s.processes) do -- null or not
        p.pid, p.last_end, p.links = 1, 1, nil -- links: of the command only
        s.problems = {}
        if p.role == "program" then p.counters = {} end -- it may have ended
      end
    end
    assert.same(shape(theirs), shape(ours))
    assert.equal(theirs.pid, ours.pid)
  end)

  it("answers probes", function()
    assert.equal(200, (ask(port, "/livez")))
    local body
    loop.poll("it to be ready", function()
      local status, _, text = ask(port, "/readyz")
      body = text
      return status == 200
    end)
    assert.equal("ok\n", body)
    loop.poll("it to be ready", function() return ask(port, "/readyz", nil, "HEAD") == 200 end)
  end)

  it("answers while a child is stopped, and says so", function()
    local pid = app:pids "worker"[1]
    local before = value_of(metrics(), "gwrun_worker_events_total")
    uv.kill(pid, "sigstop")
    wait_value("gwrun_process_up", { role = "worker" }, 0)
    loop.poll("it to be told, and nothing else", function()
      local status, _, body = ask(port, "/readyz")
      return status == 503 and body == "worker/0 ChatWorker: not answering\n"
    end)
    assert.equal(before, value_of(metrics(), "gwrun_worker_events_total"))
    uv.kill(pid, "sigcont")
    wait_value("gwrun_process_up", { role = "worker" }, 1)
    loop.poll("it to be ready", function() return ask(port, "/readyz") == 200 end)
  end)

  it("keeps what a process has counted that is gone", function()
    local c = tcp.connect(app.port[2])
    c:send "again\n"
    c:receive "again"
    local counted = loop.poll("an event", function()
      local n = value_of(metrics(), "gwrun_worker_events_total")
      return n > 0 and n
    end)
    uv.kill(app:pids "worker"[1], "sigkill")
    wait_value("gwrun_process_restarts_total", { role = "worker" }, 1)
    wait_value("gwrun_process_up", { role = "worker" }, 1)
    assert.is_true(value_of(metrics(), "gwrun_worker_events_total") >= counted)
    c:send "and again\n"
    c:receive "and again"
    loop.poll("the events of both", function()
      return value_of(metrics(), "gwrun_worker_events_total") > counted
    end)
    c:close()
  end)

  it("is started again when it was killed, and nothing else is", function()
    local others = { worker = app:pids "worker", gateway = app:pids "gateway" }
    uv.kill(app:pids "admin"[1], "sigkill")
    wait_value("gwrun_process_restarts_total", { role = "admin" }, 1)
    assert.same(others, { worker = app:pids "worker", gateway = app:pids "gateway" })
  end)

  it("serves its own hosts only, reads only, and nothing else", function()
    assert.equal(421, (ask(port, "/metrics", "Host: evil.example\r\n")))
    assert.equal(421, (ask(port, "/livez", "Host: evil.example:" .. port .. "\r\n")))
    assert.equal(400, (ask(port, "/metrics", "")))
    assert.equal(200, (ask(port, "/metrics", "Host: 127.0.0.1:" .. port .. "\r\n")))
    assert.equal(403, (ask(port, "/metrics", "Host: localhost\r\nOrigin: http://evil.example\r\n", "POST")))
    assert.equal(403, (ask(port, "/live", "Host: localhost\r\nOrigin: http://evil.example\r\n")))
    assert.equal(403, (ask(port, "/live", "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n")))
    assert.equal(405, (ask(port, "/metrics", nil, "POST", "body")))
    assert.equal(404, (ask(port, "/conf/gwrun.lua")))
    assert.equal(404, (ask(port, "/../conf/gwrun.lua")))
  end)

  it("is in nobody's frame", function()
    local _, head = ask(port, "/status.json")
    assert.matches("content%-security%-policy: [^\r]*frame%-ancestors 'none'", head)
    assert.matches("x%-content%-type%-options: nosniff", head)
    assert.matches("cache%-control: no%-store", head)
    local page = bridge.page("http://127.0.0.1:" .. port .. "/metrics")
    local framed = page:call("evaluate", ([[new Promise(done => {
      const frame = document.createElement("iframe");
      frame.onload = () => { try { done(frame.contentDocument && frame.contentDocument.body.textContent || ""); }
        catch { done("another origin"); } };
      frame.src = "http://127.0.0.1:%s/livez";
      document.body.append(frame);
    })]]):format(port))
    assert.is_nil(framed:find("ok", 1, true))
  end)
end)

describe("a system that stops", function()
  it("is not ready any more, and says so as long as it drains", function()
    local app = testbed.start {
      gateways = { { listen = "text" } },
      config = admin_of,
    }
    local c = tcp.connect(app.port[1])
    loop.poll("the client", function() return app:counters("gateway", 0).clients == 1 end)
    local stop = process.spawn(app:command("stop", "-g"), { cwd = app.dir })
    stop:wait_output "waiting for the clients to leave"
    local status, _, body = ask(port_of(app), "/readyz")
    assert.equal(503, status)
    assert.matches("the system is stopping", body)
    assert.equal(200, (ask(port_of(app), "/livez")))
    c:close()
    assert.equal(0, stop:wait())
    assert.equal(0, app.master:wait())
    app:stop()
  end)
end)

describe("an operators' port at a path", function()
  it("is a socket of its user's alone", function()
    local app = testbed.start { config = function(c) c.admin = { listen = "unix:run/admin.sock" } end }
    local path = app.dir .. "/run/admin.sock"
    assert.equal(384, uv.fs_stat(path).mode & 511) -- 0600
    local code, out = process.run { "curl", "-s", "--unix-socket", path, "http://localhost/livez" }
    assert.same({ 0, "ok\n" }, { code, out })
    app:stop()
  end)
end)

describe("gwrun dev", function()
  it("has the port, too", function()
    local app = testbed.new { config = admin_of }
    local dev = process.spawn(app:command "dev", { cwd = app.dir })
    dev:wait_output "script loaded"
    local port = port_of(app)
    loop.poll("it to be ready", function() return ask(port, "/readyz") == 200 end)
    local _, _, text = ask(port, "/metrics")
    assert.equal(1, value_of(text, "gwrun_process_up", { role = "gateway" }))
    assert.is_true(value_of(text, "gwrun_process_memory_bytes", { role = "worker" }) > 0)
    dev:kill "sigint"
    assert.equal(0, dev:wait())
    app:remove()
  end)
end)

describe("gwrun check", function()
  local function check(admin)
    local app = testbed.new { config = function(c) c.admin = admin end }
    testbed.write_file(app.dir .. "/conf/short", "short\n")
    process.run { "chmod", "600", app.dir .. "/conf/short" }
    local _, out = app:cli "check"
    app:remove()
    return out
  end

  it("says what is wrong with the operators' port", function()
    assert.matches('admin: is 7; give "host:port", or a table', check(7), 1, true)
    assert.matches('admin.listen: "nowhere" is not an address', check "nowhere", 1, true)
    assert.matches("admin.listen: is missing", check {}, 1, true)
    assert.matches('admin: unknown key "host"; did you mean "hosts"?', check { listen = "127.0.0.1:1", host = "x" }, 1, true)
    assert.matches('admin.hosts: "a.example:80/" is not a host', check { listen = "127.0.0.1:1", hosts = "a.example:80/" }, 1, true)
    assert.matches('admin.trusted_proxies: "10.0.0.1/8" is not a network',
      check { listen = "127.0.0.1:1", trusted_proxies = "10.0.0.1/8" }, 1, true)
    assert.matches("short has no key of 16 to 255 characters", check { listen = "127.0.0.1:1", key_file = "conf/short" }, 1, true)
    assert.matches("8.8.8.8:80 can be reached from outside, and there is no key_file", check "8.8.8.8:80", 1, true)
    assert.matches("has no path; give one", check "unix:", 1, true)
  end)
end)

it("status.json has a process that failed with more than it has room for", function()
  local app = testbed.new {
    config = function(c)
      admin_of(c)
      c.programs = { { name = "fails", file = "scripts/fails.lua", restart = "never" } }
    end,
  }
  finally(function() app:stop() end)
  testbed.write_file(app.dir .. "/scripts/fails.lua", 'error(("数据库连接失败"):rep(40), 0)')
  app:up()
  loop.poll("the program's end", function()
    local _, _, body = ask(port_of(app), "/status.json")
    for _, p in ipairs(cjson.decode(body).processes) do
      if p.name == "fails" and p.last_end ~= cjson.null then return p.last_end:find "数据库" end
    end
  end)
end)

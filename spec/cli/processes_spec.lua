-- The master and its children as processes: what a frozen one does to the gwrun
-- command, what they inherit, whom they belong to, how they stop.
local cjson = require "cjson"
local uv = require "luv"
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local echo = [[
Events = {}
function Events.onMessage(id, message) Gateway.sendToClient(id, message) end
]]

local function signal(pid, name) assert.equal(0, uv.kill(pid, name)) end

describe("processes", function()
  local app

  before_each(function()
    app = testbed.new {
      script = echo,
      gateways = { { listen = "text" } },
      workers = { count = 2 },
      config = function(c) c.stop_timeout, c.drain_time = 4, 2 end,
    }
  end)

  after_each(function() app:stop() end)

  local function echoes(c, text)
    c:send(text .. "\n")
    c:receive(text .. "\n")
  end

  local function find(role, slot)
    for _, p in ipairs(app:status().processes) do
      if p.role == role and p.slot == slot then return p end
    end
  end

  local function victim_score(pid) return tonumber(testbed.read_file("/proc/" .. pid .. "/oom_score_adj")) end

  it("say that one of them is frozen, and go on saying what the others do", function()
    app:up()
    local pid = find("worker", 1).pid
    signal(pid, "sigstop")
    local code, out = app:cli "status" -- it waits for nobody
    assert.equal(1, code)
    assert.matches("gwrun: worker/1 ChatWorker: not answering\n", out, 1, true)
    assert.same({ "worker/1 ChatWorker: not answering" }, app:status().problems)
    assert.is_table(app:counters("worker", 0))
    assert.is_false(find("worker", 1).answering)
    signal(pid, "sigcont")
    loop.poll("it to answer again", function() return find("worker", 1).answering end)
  end)

  it("warn of a register that stays away", function()
    table.insert(app.config.register_address, "127.0.0.1:1") -- nobody listens there
    app:save_config()
    app:up()
    app:wait_log "warn dialer: cannot connect, trying on address=127.0.0.1:1 "
  end)

  it("tell systemd when all of them are ready, and when they stop", function()
    local path = app.dir .. "/notify"
    local socket = require("socket.unix").dgram()
    assert(socket:bind(path))
    socket:settimeout(0)
    local function hear(text)
      loop.poll(text, function() return socket:receive() == text end)
    end
    app.env = { NOTIFY_SOCKET = path, WATCHDOG_USEC = "60000000" }
    app:up()
    hear "READY=1"
    hear "WATCHDOG=1"
    for _, p in ipairs(app:status().processes) do
      assert.is_nil(testbed.read_file("/proc/" .. p.pid .. "/environ"):find("NOTIFY_SOCKET", 1, true))
    end
    local code, out = app:cli "restart" -- would make it a child of the terminal
    assert.equal(2, code)
    assert.matches("is a service of systemd", out, 1, true)
    assert.equal(0, (app:cli "status"))
    assert.equal(0, (app:cli "stop"))
    hear "STOPPING=1"
    socket:close()
  end)

  it("say which of them a register is missing for", function()
    table.insert(app.config.register_address, "127.0.0.1:1") -- nobody listens there
    app:save_config()
    app:up()
    loop.poll("a gateway and two workers to say so", function()
      local code, out = app:cli "status"
      assert.equal(1, code, out)
      return select(2, out:gsub("register missing\n", "")) == 6 -- in the table, and below it
    end)
    assert.equal(1, app:counters("worker", 1).registers_missing)
  end)

  it("are killed and replaced when they hang", function()
    app.config.hang_timeout = 2
    app:save_config()
    app:up()
    local pid = find("gateway", 0).pid
    signal(pid, "sigstop")
    app:wait_log "child hangs"
    loop.poll("another one", function()
      local p = find("gateway", 0)
      return p.state == "ready" and p.pid ~= pid
    end)
    local c = tcp.connect(app.port[1])
    echoes(c, "hello")
    c:close()
  end)

  -- Nothing inside the process ends that: no hook runs in it.
  it("are replaced when a script does not come back from a function of C", function()
    app.config.hang_timeout = 2
    app:save_config()
    app:write_script [[
      Events = {}
      function Events.onMessage(id, message)
        if message == "bomb" then string.find(("a"):rep(3000), (".-"):rep(6) .. "b") end
        Gateway.sendToClient(id, message)
      end
    ]]
    app:up()
    local bomber, other = tcp.connect(app.port[1]), tcp.connect(app.port[1])
    echoes(other, "before")
    bomber:send "bomb\n"
    app:wait_log "child hangs"
    echoes(other, "still served")
    echoes(bomber, "and so am I")
    bomber:close()
    other:close()
  end)

  it("with a frozen master fail a command after a while, and for good", function()
    app:up()
    signal(app.master.pid, "sigstop")
    for _, command in ipairs { "status", "stop", "reload", "connections" } do
      local code, out = app:cli(command)
      assert.equal(1, code, command)
      assert.matches("does not answer", out, 1, true)
    end
    signal(app.master.pid, "sigcont")
    assert.is_false(app:status().stopping) -- the failed stop stays undone
    assert.equal(1, app:status().generation)
  end)

  it("end by stop_timeout even when one is frozen", function()
    app:up()
    signal(find("worker", 0).pid, "sigstop")
    assert.equal(0, (app:cli "stop")) -- it does not wait much longer itself
    app:wait_log "does not stop, killing it"
    assert.equal(0, app.master:wait())
  end)

  it("bring what they were sent to its end when they are stopped", function()
    app.config.stop_timeout, app.config.drain_time = 60, 30
    app:save_config()
    app:write_script [[
      Events = {}
      function Events.onMessage(id, message)
        print("begun " .. message)
        Timer.sleep(0.3)
        print("ended " .. message)
      end
    ]]
    app:up()
    local function count(what) return select(2, app:log():gsub(what .. " %d", "")) end
    local clients = {}
    for i = 1, 50 do
      clients[i] = tcp.connect(app.port[1])
      clients[i]:send("1\n2\n")
    end
    loop.wait("the first handlers", function() return count "begun" >= 50 end)
    app.master:kill "sigterm"
    assert.equal(0, app.master:wait())
    assert.equal(100, count "ended")
    for _, c in ipairs(clients) do c:close() end
  end)

  it("wait for the clients when they are stopped gracefully", function()
    app:up()
    local c = tcp.connect(app.port[1])
    echoes(c, "hello")
    local stop = process.spawn({ testbed.program, "stop", "-g" }, { cwd = app.dir })
    stop:wait_output "waiting for the clients"
    loop.poll("the gateway to refuse others", function() return find("gateway", 0).state == "stopping" end)
    echoes(c, "still served")
    assert.is_nil(stop.code)
    c:close()
    assert.equal(0, stop:wait(), stop.out)
    assert.equal(0, app.master:wait())
  end)

  it("wait for the clients also at SIGQUIT to the master, as PHP's do", function()
    app:up()
    local c = tcp.connect(app.port[1])
    echoes(c, "hello")
    app.master:kill "sigquit"
    loop.poll("the gateway to refuse others", function() return find("gateway", 0).state == "stopping" end)
    echoes(c, "still served")
    c:close()
    assert.equal(0, app.master:wait())
  end)

  it("stop at SIGINT, whoever is connected", function()
    app:up()
    local c = tcp.connect(app.port[1])
    echoes(c, "hello")
    app.master:kill "sigint"
    assert.equal(0, app.master:wait())
    c:close()
  end)

  it("list their clients a page at a time, without those that leave or come meanwhile", function()
    local clients = 1300 -- three pages
    app:write_script [[
      Events = { onMessage = function(id) Gateway.closeClient(id) end }
      function Events.onConnect(id) Gateway.bindUid(id, "of " .. id) end
    ]]
    app.config.workers.count = 1
    app:save_config()
    app:up()
    local load = process.spawn {
      testbed.gwload, "-x", "-c", tostring(clients), "-t", "600", "connect", "127.0.0.1:" .. app.port[1],
    }
    loop.poll("all clients", function() return app:counters("gateway", 0).uids == clients end)
    local pipe, text = uv.new_pipe(), ""
    local function next_page() -- the gateway's, or the end of all
      local page
      loop.wait("a page", function()
        for line, rest in text:gmatch "([^\n]*)\n()" do
          page = cjson.decode(line)
          if page.type == "connections_end" or #page.rows > 0 or page.more then
            text = text:sub(rest)
            return true
          end
        end
      end)
      return page
    end
    pipe:connect(app.dir .. "/run/gwrun.sock", function()
      pipe:read_start(function(_, chunk) text = text .. (chunk or "") end)
      pipe:write '{"type":"connections"}\n'
    end)
    local page = next_page()
    assert.equal(500, #page.rows)
    for _, row in ipairs(page.rows) do assert.equal("of " .. row.client_id, row.uid) end
    load:kill "sigkill" -- all leave, one comes
    load:wait()
    local c = tcp.connect(app.port[1])
    loop.poll("their end", function() return app:counters("gateway", 0).clients == 1 end)
    local more = ('{"type":"more","row":%d}\n'):format(page.row)
    pipe:write(more)
    assert.equal(0, #next_page().rows)
    pipe:write(more)
    assert.equal("connections_end", next_page().type)
    pipe:close()
    c:close()
  end)

  it("list more clients than fit into one page", function()
    app:up()
    local load = process.spawn {
      testbed.gwload, "-x", "-c", "1300", "-t", "600", "connect", "127.0.0.1:" .. app.port[1],
    }
    loop.poll("all clients", function() return app:counters("gateway", 0).clients == 1300 end)
    local _, out = app:cli("connections", "--json")
    local seen, count = {}, 0
    for line in out:gmatch "[^\n]+" do
      local id = cjson.decode(line).client_id
      assert.is_nil(seen[id])
      seen[id], count = true, count + 1
    end
    assert.equal(1300, count)
    load:kill "sigkill"
    load:wait()
  end)

  it("list no name that commands a terminal, or turns its text round", function()
    app:write_script "Events = {} function Events.onMessage(id, name) Gateway.bindUid(id, name) end"
    app:up()
    local name = "\u{202E}Ann\u{9B}\u{FEFF}你\u{2028}\127"
    local c = tcp.connect(app.port[1])
    c:send(name .. "\n")
    local out
    loop.poll("the name", function()
      out = select(2, app:cli("connections", "--json"))
      return cjson.decode(out).uid == name
    end)
    assert.matches([["\u202eAnn\u009b\ufeff你\u2028\u007f"]], out, 1, true)
    assert.matches("???Ann?????你????", select(2, app:cli "connections"), 1, true)
    c:close()
  end)

  it("say when every user of the machine can send them commands, and what to do", function()
    local _, out = app:cli "check"
    assert.matches("no secret_key", out, 1, true)
    assert.matches('secret_key_file = "conf/secret"', out, 1, true)
    app:up()
    app:wait_log "no secret_key: every user of this machine can send commands"
    app:stop()
    app = testbed.new { script = echo, config = function(c) c.secret_key = "between us" end }
    app:up()
    assert.is_nil(app:log():find("secret_key", 1, true))
    assert.is_nil(select(2, app:cli "check"):find("secret_key", 1, true))
  end)

  it("are restarted at once, then after a while", function()
    app:up()
    -- Each pause is longer than the one before: one of them lasts until it is seen.
    loop.poll("a pause", function()
      local p = find("worker", 0)
      if p.state == "ready" then uv.kill(p.pid, "sigkill") end
      return p.state == "back-off"
    end, 120)
    assert.is_true(select(2, app:log():gsub("starting another one", "")) >= 5)
    app:wait_log "too often, waiting"
    local code, out = app:cli "reload" -- a new script may be the cure
    assert.equal(0, code, out)
    loop.poll("it to be ready", function() return find("worker", 0).state == "ready" end)
  end)

  it("can be seen and stopped while their configuration is being edited", function()
    app:up()
    testbed.write_file(app.dir .. "/conf/gwrun.lua", "return { half a")
    local pid = find("gateway", 0).pid
    signal(pid, "sigkill") -- it comes back with the configuration it was started with
    loop.poll("another gateway", function()
      local p = find("gateway", 0)
      return p.state == "ready" and p.pid ~= pid
    end)
    assert.equal(0, (app:cli "connections"))
    assert.equal(2, (app:cli "restart"))
    assert.equal(0, (app:cli "stop"))
  end)

  it("hold no descriptor of whoever started them", function()
    local secret = app.dir .. "/secret"
    testbed.write_file(secret, "")
    app.master = process.spawn({ "/bin/sh", "-c", 'exec 9<"$1"; exec "$2" start', "sh", secret, testbed.program },
      { cwd = app.dir })
    app.master:wait_output "Press Ctrl+C"
    local pids = { app.master.pid }
    for _, p in ipairs(app:status().processes) do pids[#pids + 1] = p.pid end
    for _, pid in ipairs(pids) do
      local _, list = process.run { "ls", "-l", "/proc/" .. pid .. "/fd" }
      assert.is_nil(list:find("secret", 1, true), list)
      for target in list:gmatch "%-> ([^\n]+)" do
        local known = target:find "^socket:" or target:find "^pipe:" or target:find "^anon_inode:"
          or target == "/dev/null" or target == "/dev/urandom" or target:find("/run/", 1, true)
          or target:find "^/memfd:gwrun config" or target:find "^/memfd:gwrun shared"
          or target:find "^/memfd:gwrun sources" or target:find("/book", 1, true)
        assert.is_truthy(known, pid .. " holds " .. target)
      end
    end
  end)

  it("lose a worker before a gateway when memory is out", function()
    app:up()
    local own = victim_score(app.master.pid)
    assert.equal(math.min(1000, own + 50), victim_score(find("worker", 0).pid))
    assert.equal(own, victim_score(find("gateway", 0).pid))
  end)

  it("have a title that tells what they are", function()
    app:up()
    local function title(pid) return testbed.read_file("/proc/" .. pid .. "/cmdline"):gsub("\0.*", "") end
    assert.equal("gwrun: worker process  ChatWorker 1", (title(find("worker", 1).pid)))
    assert.equal("gwrun: gateway process  Gateway1 0", (title(find("gateway", 0).pid)))
  end)

  it("do not follow a link that lies where the lock should", function()
    assert(uv.fs_mkdir(app.dir .. "/run", 493))
    testbed.write_file(app.dir .. "/victim", "precious")
    assert(uv.fs_symlink(app.dir .. "/victim", app.dir .. "/run/gwrun.lock"))
    local code, out = app:cli("start", "-d")
    assert.equal(1, code)
    assert.matches("symbolic link", out, 1, true)
    assert.equal("precious", testbed.read_file(app.dir .. "/victim"))
  end)

  it("do not follow links in run_dir to folders and files of connection ids", function()
    local run = app.dir .. "/run"
    assert(uv.fs_mkdir(run, 493))
    assert(uv.fs_mkdir(app.dir .. "/victim", 493))
    assert(uv.fs_symlink(app.dir .. "/victim", run .. "/ids"))
    local code, out = app:cli("start", "-d")
    assert.equal(1, code)
    assert.matches("cannot open run/ids", out, 1, true)
    assert.is_nil(uv.fs_scandir_next(uv.fs_scandir(app.dir .. "/victim")))
    assert(uv.fs_unlink(run .. "/ids"))
    assert(uv.fs_mkdir(run .. "/ids", 493))
    local victim, ids = app.dir .. "/victim/file", run .. "/ids/127.0.0.1-" .. app.config.gateways[1].start_port
    testbed.write_file(victim, "precious")
    for _, link in ipairs { uv.fs_symlink, uv.fs_link } do
      assert(link(victim, ids))
      code, out = app:cli("start", "-d")
      assert.equal(1, code)
      assert.matches("cannot open run/ids/127.0.0.1-", out, 1, true)
      assert(uv.fs_unlink(ids))
    end
    assert.equal("precious", testbed.read_file(victim))
  end)

  it("neither run in nor ask in a run_dir that everybody can write to", function()
    app:up()
    assert(uv.fs_chmod(app.dir .. "/run", 1023)) -- 01777
    for _, command in ipairs { "status", "stop", "reload", "connections" } do
      local code, out = app:cli(command)
      assert.equal(1, code)
      assert.matches("everybody can write to the folder run", out, 1, true)
    end
    app.master:kill "sigterm"
    assert.equal(0, app.master:wait())
    local code, out = app:cli("start", "-d")
    assert.equal(1, code)
    assert.matches("everybody can write to the folder run", out, 1, true)
    assert(uv.fs_chmod(app.dir .. "/run", 493))
    app:up()
  end)

  it("do not take a stranger's socket for the master's", function()
    if uv.getuid() ~= 0 then return pending "needs root" end
    app:up()
    local run = app.dir .. "/run"
    assert(uv.fs_unlink(run .. "/gwrun.sock"))
    for _, folder in ipairs { app.dir, run } do assert(uv.fs_chmod(folder, 493)) end
    assert(uv.fs_chown(run, 65534, 65534)) -- as it may be where the system runs as that user
    local stranger = process.spawn { "setpriv", "--reuid=65534", "--clear-groups", "node", "-e", [[
      require("net").createServer(() => console.log("somebody came"))
        .listen(process.argv[1], () => console.log("listens"))]], run .. "/gwrun.sock" }
    stranger:wait_output "listens"
    for _, command in ipairs { "status", "stop" } do
      local code, out = app:cli(command)
      assert.equal(1, code)
      assert.matches("gwrun.sock is not the master's", out, 1, true)
    end
    stranger:kill "sigterm"
    stranger:wait()
  end)

  it("fail with an error of any bytes", function()
    local bad = echo .. 'function Events.onWorkerStart() error("\xff\xfe odd") end'
    app:write_script(bad)
    local code, out = app:cli("start", "-d")
    assert.equal(1, code)
    assert.matches("?? odd", out, 1, true)
    app:write_script(echo)
    app:up()
    app:write_script(bad)
    code, out = app:cli "reload"
    assert.equal(1, code)
    assert.matches("?? odd", out, 1, true)
    assert.equal(1, app:status().generation)
  end)

  it("report a start that was stopped before it was done", function()
    app:write_script(echo .. "function Events.onWorkerStart() Timer.sleep(30) end")
    local start = process.spawn({ testbed.program, "start", "-d" }, { cwd = app.dir })
    loop.poll("the control socket", function() return uv.fs_stat(app.dir .. "/run/gwrun.sock") end)
    loop.poll("it to be stopped", function() return app:cli "stop" == 0 end)
    assert.equal(1, start:wait(), start.out)
  end)

  it("drop their privileges, and stay without", function()
    if uv.getuid() ~= 0 then return pending "needs root" end
    -- nobody must be able to read all of it, wherever this repository is
    local copy = 'mkdir "$1/build" && cp "$2" "$1/build" && cp -r lua "$1" && chmod -R a+rX "$1"'
    local code, out = process.run { "sh", "-c", copy, "sh", app.dir, testbed.program }
    assert.equal(0, code, out)
    app.program = app.dir .. "/build/gwrun"
    app.config.user = "nobody"
    app:save_config()
    app:up()
    local _, uid = process.run { "id", "-u", "nobody" }
    uid = uid:gsub("%s", "")
    for _, p in ipairs(app:status().processes) do
      local status = testbed.read_file("/proc/" .. p.pid .. "/status")
      assert.matches(("Uid:\t%s\t%s\t%s\t%s\n"):format(uid, uid, uid, uid), status, 1, true)
      assert.matches("NoNewPrivs:\t1\n", status, 1, true)
      for _, set in ipairs { "Inh", "Prm", "Eff", "Bnd", "Amb" } do
        assert.matches("Cap" .. set .. ":\t0000000000000000\n", status, 1, true)
      end
    end
    assert.is_true(victim_score(find("worker", 0).pid) > victim_score(app.master.pid))
  end)

  it("of another user are kept by a master that can do little else", function()
    if uv.getuid() ~= 0 then return pending "needs root" end
    local copy = 'mkdir "$1/build" && cp "$2" "$1/build" && cp -r lua "$1" && chmod -R a+rX "$1"'
    assert.equal(0, (process.run { "sh", "-c", copy, "sh", app.dir, testbed.program }))
    app.program = app.dir .. "/build/gwrun"
    app.config.user = "nobody"
    app:save_config()
    assert.equal(0, (app:cli("start", "-d")))
    local master = tonumber(testbed.read_file(app.dir .. "/run/gwrun.lock"))
    -- chown, dac_override, dac_read_search, kill, setgid, setuid, setpcap
    local few = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8
    local status = testbed.read_file("/proc/" .. master .. "/status")
    for _, set in ipairs { "Prm", "Eff", "Bnd" } do
      local bits = tonumber(status:match("Cap" .. set .. ":\t(%x+)"), 16)
      assert.equal(0, bits & ~few, set)
    end
    assert.matches("NoNewPrivs:\t1\n", status, 1, true)
    -- it replaces what was killed, and opens its log again
    local pid = find("worker", 0).pid
    signal(pid, "sigkill")
    loop.poll("another worker", function()
      local p = find("worker", 0)
      return p.state == "ready" and p.pid ~= pid
    end)
    local log = app.dir .. "/log/gwrun.log"
    assert(uv.fs_rename(log, log .. ".1"))
    signal(master, "sighup")
    loop.poll("another log", function() return uv.fs_stat(log) end)
    assert.equal(0, (app:cli "reload"))
    signal(find("worker", 1).pid, "sigstop") -- to be killed at the stop
    assert.equal(0, (app:cli "stop"))
    assert.equal(1, (app:cli "status"))
  end)

  it("stop on SIGTERM to the master, and are replaced on SIGTERM to one of them", function()
    app:up()
    local pid = find("worker", 0).pid
    signal(pid, "sigterm")
    loop.poll("another worker", function()
      local p = find("worker", 0)
      return p.state == "ready" and p.pid ~= pid
    end)
    app.master:kill "sigterm"
    assert.equal(0, app.master:wait())
  end)
end)

-- check, start, restart and reload prove the same, and nothing is ended that
-- could not be started again.
local bridge = require "bridge"
local loop = require "loop"
local openssl = require "openssl"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"
local uv = require "luv"

local echo = [[
Events = {}
function Events.onMessage(id, message) Gateway.sendToClient(id, message) end
]]

local function contains(text, out) assert.is_truthy(out:find(text, 1, true), "“" .. text .. "” in:\n" .. out) end

-- Everybody can read and run all of it, wherever this repository is.
local function share(app)
  local copy = 'mkdir "$1/build" && cp "$2" "$1/build" && cp -r lua "$1" && chmod -R a+rX "$1"'
  assert.equal(0, (process.run { "sh", "-c", copy, "sh", app.dir, testbed.program }))
  app.program = app.dir .. "/build/gwrun"
end

-- Whom the certificate is for that a port shows.
local function certificate_of(port)
  local _, out = process.run { "sh", "-c", "echo | openssl s_client -connect 127.0.0.1:" .. port .. " 2>&1" }
  return out:match "subject=CN = (%S+)"
end

local function echoes(port, text)
  local c = tcp.connect(port)
  c:send(text .. "\n")
  c:receive(text .. "\n")
  c:close()
end

describe("a system that runs", function()
  local app, pid

  before_each(function()
    app = testbed.new { script = echo, gateways = { { listen = "text", count = 2 } } }
    local code, out = app:cli("start", "-d")
    assert.equal(0, code, out)
    pid = app:status().pid
  end)

  after_each(function()
    bridge.close()
    app:cli "stop"
    app:remove()
  end)

  -- Neither check nor restart find it in order, and what runs goes on.
  local function refused(text)
    for _, command in ipairs { "check", "restart" } do
      local code, out = app:cli(command)
      assert.equal(2, code, out)
      contains(text, out)
    end
    assert.equal(pid, app:status().pid)
    echoes(app.port[1], "still served")
  end

  it("is found in order while it holds its own ports", function()
    local code, out = app:cli "check"
    assert.equal(0, code, out)
    assert.is_nil(out:find("warning", 1, true), out)
  end)

  it("is not ended for a port that somebody else has", function()
    local port = testbed.ports()
    local other = uv.new_tcp()
    assert(other:bind("127.0.0.1", port))
    assert(other:listen(1, function() end))
    app.config.gateways[1].start_port = port - 1 -- the second one's
    app:save_config()
    refused(("cannot listen on 127.0.0.1:%d (lan_ip, start_port of gateway \"Gateway1\"): the port is in use by pid %d")
      :format(port, uv.os_getpid()))
    other:close()
  end)

  it("is not ended for a port that a program of the same folder has", function()
    local port = testbed.ports()
    local other = process.spawn({ "lua5.4", "-e", ([[
      local s = assert(require "socket".bind("127.0.0.1", %d))
      print "listens"
      io.stdout:flush()
      s:accept()]]):format(port) }, { cwd = app.dir })
    other:wait_output "listens"
    app.config.gateways[1].listen = "text://127.0.0.1:" .. port
    app:save_config()
    for _, command in ipairs { "check", "restart" } do
      local code, out = app:cli(command)
      assert.equal(2, code, out)
      contains("the port is in use by pid " .. other.pid, out)
    end
    assert.equal(pid, app:status().pid)
    other:kill "sigterm"
    other:wait()
  end)

  it("is in the way of another one in its folder", function()
    app.config.run_dir = "elsewhere"
    app:save_config()
    local code, out = app:cli "check"
    assert.equal(2, code, out)
    contains(("the port is in use by pid %d"):format(pid), out)
    app.config.run_dir = nil
    app:save_config()
  end)

  it("is not ended for an address that is another machine's", function()
    app.config.gateways[1].lan_ip = "10.254.253.252"
    app:save_config()
    refused "no interface of this machine has that address"
    app.config.gateways[1].inner_listen = "127.0.0.1" -- behind NAT
    app:save_config()
    assert.equal(0, (app:cli "check"))
  end)

  it("is not ended for a script that does not start", function()
    app:write_script(echo .. "function Events.onWorkerStart() error 'no database' end")
    refused "no database"
    app:write_script(echo .. "error 'half done'")
    refused "half done"
  end)

  it("is not ended for keys and certificates that do not serve", function()
    app.config.gateways[1].tls = { cert = "cert.pem", key = "key.pem" }
    app:save_config()
    refused "No such file"
    openssl.certificate(app.dir)
    openssl.run(app.dir, "genrsa", "-out", "key.pem", "2048")
    refused "key.pem is not the key of the certificate in cert.pem"
    openssl.certificate(app.dir, "localhost", "key.pem", 1024)
    refused "a key of 1024 bits"
    openssl.expired_certificate(app.dir)
    refused "expired"
  end)

  it("is not ended for a log that cannot be written", function()
    for _, file in ipairs { "scripts", "/proc/none/x.log" } do -- root may write anywhere, but there it cannot
      app.config.log = { file = file }
      app:save_config()
      local code, out = app:cli "restart"
      assert.equal(2, code, out)
      contains("cannot write the log " .. file, out)
      assert.equal(pid, app:status().pid)
      code, out = app:cli "check"
      assert.equal(0, code, out)
      contains("warning: gwrun start -d cannot write the log " .. file, out)
    end
  end)

  it("is not ended for a file of connection ids that is damaged", function()
    local file = ("%s/run/ids/127.0.0.1-%d"):format(app.dir, app.config.gateways[1].start_port + 1)
    for wrong, text in pairs { ["no number\n"] = "is damaged: it should hold a number", [false] = "cannot open" } do
      uv.fs_unlink(file)
      if wrong then testbed.write_file(file, wrong) else assert(uv.fs_mkdir(file, 493)) end
      refused(text)
      if not wrong then assert(uv.fs_rmdir(file)) end
    end
  end)

  -- What an editor or a deployment does while a restart waits for the clients.
  it("starts again what was checked, whatever becomes of the files meanwhile", function()
    app:cli "stop"
    openssl.certificate(app.dir)
    app.config.gateways[1].tls = { cert = "cert.pem", key = "key.pem" }
    table.insert(app.config.gateways, { name = "Plain", listen = "text://127.0.0.1:" .. testbed.ports(),
      start_port = testbed.ports() })
    app.config.secret_key_file = "secret"
    testbed.write_file(app.dir .. "/secret", "key\n")
    assert(uv.fs_chmod(app.dir .. "/secret", 384))
    app:save_config()
    assert.equal(0, (app:cli("start", "-d")))
    local port = tonumber(app.config.gateways[2].listen:match "%d+$")
    local c = tcp.connect(port)
    c:send "hello\n"
    c:receive "hello\n"
    local restart = process.spawn(app:command("restart", "-g"), { cwd = app.dir })
    restart:wait_output "waiting for the clients"
    testbed.write_file(app.dir .. "/conf/gwrun.lua", "return { half a")
    app:write_script "half a"
    for _, name in ipairs { "cert.pem", "key.pem", "secret" } do os.remove(app.dir .. "/" .. name) end
    c:close()
    assert.equal(0, restart:wait(), restart.out)
    echoes(port, "there again")
    assert.equal("localhost", certificate_of(app.port[1]))
    local log = testbed.read_file(app.dir .. "/log/gwrun.log")
    contains("the script on disk does not load, running the one that ran before", log)
    -- and so does a process that is started later
    local gateway = app:pids("gateway")[1]
    assert.equal(0, uv.kill(gateway, "sigkill"))
    loop.poll("another gateway", function()
      for _, p in ipairs(app:status().processes) do
        if p.role == "gateway" and p.slot == 0 then return p.state == "ready" and p.pid ~= gateway end
      end
    end)
  end)
end)

describe("a start", function()
  local app

  before_each(function() app = testbed.new { script = echo, gateways = { { listen = "text" } } } end)
  after_each(function() app:stop() end)

  it("says that a certificate has expired, and serves all the same", function()
    app.config.gateways[1].tls = { cert = "cert.pem", key = "key.pem" }
    openssl.expired_certificate(app.dir)
    app:save_config()
    local code, out = app:cli "check"
    assert.equal(2, code, out)
    app:up()
    contains("conf/gwrun.lua: gateways[1].tls: the certificate in cert.pem expired at 20", app:log())
    assert.equal("localhost", certificate_of(app.port[1]))
  end)

  it("is found impossible when run_dir cannot be made", function()
    app.config.run_dir = "/proc/none"
    app:save_config()
    local code, out = app:cli "check"
    assert.equal(uv.getuid() == 0 and 2 or 0, code, out) -- to others it is a warning: root may start it
    contains("cannot make the folder /proc/none (run_dir)", out)
  end)

  it("of a port below 1024 is a warning to an ordinary user who checks", function()
    if uv.getuid() ~= 0 then return pending "needs root" end
    local limit = testbed.read_file "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    if limit and tonumber(limit) < 1024 then return pending "ordinary users may" end
    app.config.gateways[1].listen = "text://127.0.0.1:843"
    app:save_config()
    share(app)
    local code, out = process.run({ "setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups",
      app.program, "check" }, { cwd = app.dir })
    assert.equal(0, code, out)
    contains("warning: cannot listen on 127.0.0.1:843", out)
    contains("ports below 1024 need root", out)
  end)

  it("becomes a user who cannot read keys and secrets, and reloads them", function()
    if uv.getuid() ~= 0 then return pending "needs root" end
    share(app)
    openssl.certificate(app.dir)
    testbed.write_file(app.dir .. "/secret", "key\n")
    for _, name in ipairs { "secret", "key.pem", "cert.pem" } do assert(uv.fs_chmod(app.dir .. "/" .. name, 384)) end
    app.config.user = "nobody"
    app.config.secret_key_file = "secret"
    app.config.gateways[1].tls = { cert = "cert.pem", key = "key.pem" }
    app:save_config()
    local code, out = app:cli "check"
    assert.equal(0, code, out)
    app:up()
    local function name() return certificate_of(app.port[1]) end
    assert.equal("localhost", name())
    openssl.certificate(app.dir, "second")
    code, out = app:cli "reload"
    assert.equal(0, code, out)
    assert.equal("second", name())
    local gateway = app:pids("gateway")[1]
    assert.equal(0, uv.kill(gateway, "sigkill"))
    loop.poll("another gateway with the new certificate", function() return name() == "second" end)
  end)

  it("is not replaced by one of the user who says restart", function()
    if uv.getuid() ~= 0 then return pending "needs root" end
    share(app)
    assert.equal(0, (process.run { "install", "-d", "-o", "nobody", app.dir .. "/run" }))
    app.prefix = { "setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups" }
    app:up()
    local before = app:status().pid
    app.prefix = {}
    local code, out = app:cli("restart", "-d")
    assert.equal(2, code, out)
    contains("belongs to user nobody; run this as that user, or stop it and start", out)
    assert.equal(before, app:status().pid)
  end)

  it("fails before anything is bound when the user cannot read the script", function()
    if uv.getuid() ~= 0 then return pending "needs root" end
    share(app)
    app:up()
    app.config.user = "nobody"
    app:save_config()
    assert(uv.fs_chmod(app.dir .. "/scripts/events.lua", 384))
    for _, command in ipairs { "check", "restart" } do
      local code, out = app:cli(command)
      assert.equal(2, code, out)
      contains("events.lua: Permission denied", out)
    end
    echoes(app.port[1], "still served")
  end)
end)

describe("a reload", function()
  it("is refused, and the old certificate stays, when the new one is bad", function()
    local app = testbed.new { script = echo, gateways = { { listen = "text", tls = { cert = "cert.pem", key = "key.pem" } } } }
    openssl.certificate(app.dir)
    app:up()
    local function name() return certificate_of(app.port[1]) end
    openssl.certificate(app.dir, "second", "other.pem")
    local code, out = app:cli "reload"
    assert.equal(1, code, out)
    contains("key.pem is not the key of the certificate in cert.pem", out)
    assert.equal("localhost", name())
    assert.equal(1, app:status().generation)
    os.rename(app.dir .. "/other.pem", app.dir .. "/key.pem")
    app:write_script "half a"
    assert.equal(1, (app:cli "reload")) -- all or nothing
    assert.equal("localhost", name())
    app:write_script(echo)
    assert.equal(0, (app:cli "reload"))
    assert.equal("second", name())
    app:stop()
  end)
end)

describe("a configuration with names", function()
  it("finds the register by its name, and is announced by the address of its own", function()
    if not uv.getaddrinfo("localhost", nil, { family = "inet" }) then return pending "nothing knows localhost here" end
    local app = testbed.new {
      script = "Events = { onMessage = function(id) Gateway.sendToClient(id, id) end }",
      gateways = { { listen = "text", lan_ip = "localhost" } },
      config = function(t) t.register_address = "localhost:" .. t.register.listen:match "%d+$" end,
    }
    local code, out = app:cli "check"
    assert.equal(0, code, out)
    app:up()
    local c = tcp.connect(app.port[1])
    c:send "hello\n"
    c:receive "7f000001"
    c:close()
    app:stop()
  end)

  it("stops at once while a name is being looked up, and says which one it was", function()
    local app = testbed.new { script = echo, gateways = { { listen = "text" } },
      config = function(t) table.insert(t.register_address, "register.of.nobody.invalid:1237") end }
    app:up()
    app:wait_log "cannot connect, trying on address=register.of.nobody.invalid:1237 err="
    app:stop()
  end)
end)

describe("a machine that only runs programs", function()
  it("needs a register_address and the key, and nothing else", function()
    local app = testbed.start { script = echo, gateways = { { listen = "text" } },
      config = function(t) t.secret_key = "k" end }
    local other = testbed.new { config = function(t)
      t.register, t.gateways, t.workers, t.secret_key = nil, nil, nil, "k"
      t.register_address = app.config.register.listen
    end }
    local c = tcp.connect(app.port[1])
    c:send "hello\n"
    c:receive "hello\n"
    testbed.write_file(other.dir .. "/push.lua", 'assert(Gateway.sendToAll "pushed")')
    local code, out = other:cli("exec", "push.lua")
    assert.equal(0, code, out)
    c:receive "pushed\n"
    code, out = other:cli "check"
    assert.equal(0, code, out)
    contains("nothing to start", out)
    code, out = other:cli "start"
    assert.equal(2, code, out)
    contains("nothing to run", out)
    c:close()
    other:remove()
    app:stop()
  end)
end)

-- gwrun exec: Lua programs beside the system, and pushes from them to its clients.
local uv = require "luv"
local httpserver = require "httpserver"
local process = require "process"
local redisserver = require "redisserver"
local tcp = require "tcp"
local testbed = require "testbed"

local script = [[
Events = {}
function Events.onMessage(id, uid)
  Gateway.bindUid(id, uid)
  Gateway.sendToClient(id, "bound")
end
]]

describe("gwrun exec", function()
  local app

  before_each(function() app = testbed.new { gateways = { { listen = "text", count = 2 } }, script = script } end)
  after_each(function() app:stop() end)

  local function write(text, name) testbed.write_file(app.dir .. "/" .. (name or "program.lua"), text) end

  --- Run the text away from any configuration: exit code, output.
  local function run(text, ...)
    write(text, "www/program.lua")
    return process.run({ testbed.program, "exec", "program.lua", ... }, { cwd = app.dir .. "/www" })
  end

  local function gives(code, out, text, ...)
    local got_code, got = run(text, ...)
    assert.same({ code, out }, { got_code, got })
  end

  local function fails(code, pattern, text, ...)
    local got_code, got = run(text, ...)
    assert.equal(code, got_code, got)
    assert.matches(pattern, got)
  end

  it("hands over its words and prints plainly", function()
    gives(0, "a\t-c\tx y\t3\tprogram.lua\n", "print(..., arg[2], arg[3], #arg, arg[0])", "a", "-c", "x y")
  end)

  it("runs what stands behind -e, or comes on the standard input", function()
    local function exec(input, ...)
      local program = process.spawn({ testbed.program, "exec", ... }, { stdin = true, cwd = app.dir .. "/www" })
      program:write(input)
      program.stdin:close()
      return { program:wait(), program.out }
    end
    assert.same({ 0, "a\tb\t-e\n" }, exec("", "-e", "print(arg[1], arg[2], arg[0])", "a", "b"))
    assert.same({ 0, "1\tx\n" }, exec("local n = 1\nprint(n, arg[1])\n", "-", "x"))
    assert.same({ 3, "" }, exec("os.exit(3)", "-"))
    local code, out = table.unpack(exec("error 'this'\n", "-"))
    assert.equal(1, code)
    assert.matches("stdin:1: this", out, 1, true)
    code, out = table.unpack(exec("", "-e", "x ="))
    assert.equal(1, code)
    assert.matches("-e:1: unexpected symbol near <eof>", out, 1, true)
    assert.same({ 2, "gwrun: exec: the standard input is no text\n" }, exec("print(1)\0", "-"))
    assert.equal(2, exec("", "-e")[1])
  end)

  it("reaches gateways with either of two secret keys, and with no other", function()
    app.config.secret_key, app.config.secret_key_also = "old", "new"
    app:save_config()
    app:up()
    for _, key in ipairs { "old", "new", "other" } do
      testbed.write_file(app.dir .. "/conf/" .. key .. ".lua", ("return { secret_key = %q, register_address = %q }")
        :format(key, app.config.register.listen))
      local code, out = app:cli("exec", "-c", "conf/" .. key .. ".lua", "-e", "print(Gateway.getAllClientIdCount())")
      assert.equal(0, code, out)
      assert.equal(key ~= "other", out == "0\n", out)
    end
    app:wait_log "wrong secret key"
  end)

  it("reads the standard input and runs commands", function()
    write 'print(io.read "l" .. io.read "a", os.execute "exit 3")'
    local program = process.spawn({ testbed.program, "exec", "../program.lua" }, { stdin = true, cwd = app.dir .. "/www" })
    program:write "one\ntwo"
    program.stdin:close()
    assert.equal(0, program:wait())
    assert.equal("onetwo\tnil\texit\t3\n", program.out)
  end)

  it("waits in its main chunk, and side by side", function()
    gives(0, "1\t2\n", [[
      local begun = 0
      local function meet(value)
        begun = begun + 1
        while begun < 2 do Timer.sleep(0.01) end
        return value
      end
      Timer.sleep(0.01)
      print(gwrun.parallel(function() return meet(1) end, function() return meet(2) end))
    ]])
  end)

  it("asks other servers, and ends although their connections are kept", function()
    local redis, web = redisserver.start(), httpserver.start()
    local code, out = run(([[
      local r = Redis.connect { host = %q }
      assert(r:set("key", "value"))
      print(r:get "key", assert(Http.get(%q)).status)
    ]]):format(redis.path, web.url .. "/status/204"))
    redis:stop()
    web:stop()
    assert.same({ 0, "value\t204\n" }, { code, out })
  end)

  it("ends when nothing is left: no spawned function, no timer", function()
    gives(0, "main\nspawned\ninner\nonce\nthird\n", [[
      local function repeated()
        local id, count = nil, 0
        id = Timer.add(0.02, function()
          count = count + 1
          if count < 3 then return end
          print "third"
          Timer.del(id)
        end)
      end
      gwrun.spawn(function()
        Timer.sleep(0.02)
        print "spawned"
        gwrun.spawn(function()
          print "inner"
          Timer.once(0.02, function()
            print "once"
            repeated()
          end)
        end)
      end)
      print "main"
    ]])
  end)

  it("writes no redis command into another, whatever a finalizer calls", function()
    local redis = redisserver.start()
    local code, out = run(([[
      local r = Redis.connect { host = %q }
      local meta = { __gc = function() pcall(r.set, r, "wrong", 1) end }
      collectgarbage("incremental", 100, 1000) -- often, also in the midst of a command's words
      for i = 1, 50 do
        local words = {}
        for j = 1, 500 do words[j] = i * 1000 + j + 0.5 end
        for _ = 1, 200 do setmetatable({}, meta) end
        r:rpush("list", table.unpack(words))
      end
      print(r:llen "list", r:exists "wrong")
    ]]):format(redis.path))
    redis:stop()
    assert.same({ 0, "25000\t0\n" }, { code, (out:gsub("[^\n]*warn[^\n]*\n", "")) })
  end)

  it("ends as soon as its subscriptions are closed", function()
    local redis = redisserver.start()
    write(([[
      local news = Redis.connect({ host = %q }):subscribe("news", print)
      print(news:waitReady())
      news:close()
    ]]):format(redis.path), "www/program.lua")
    local code, out = process.run({ testbed.program, "exec", "program.lua" }, { cwd = app.dir .. "/www", seconds = 8 })
    redis:stop()
    assert.same({ 0, "true\n" }, { code, out })
  end)

  it("ends at os.exit, wherever it is called", function()
    gives(7, "", "os.exit(7) print 'on'")
    gives(0, "", "os.exit()")
    gives(0, "", "os.exit(true)")
    gives(1, "", "pcall(os.exit, false) print 'on'")
    gives(3, "", "Timer.add(0.01, function() os.exit(3) end) Timer.sleep(60)")
    gives(4, "", "gwrun.spawn(function() os.exit(4) end) Timer.add(60, print)")
  end)

  it("fails with a traceback", function()
    fails(1, "program.lua:2: boom\n.*> 2 | error 'boom' end.*program.lua:3: in local 'outer'.*program.lua:4: in main chunk",
      "local function inner()\nerror 'boom' end\nlocal function outer() inner() return 1 end\nprint(outer())")
    fails(1, "program.lua:2: unexpected symbol", "print 'on'\nx = = 1")
    fails(1, "no words", "error('no words', 0)")
  end)

  it("logs what a spawned function raises, and goes on", function()
    fails(0, "program.lua:2: boom.*goes on", [[
      local begun
      gwrun.spawn(function() begun = true error 'boom' end)
      repeat Timer.sleep(0.01) until begun
      print 'goes on'
    ]])
  end)

  it("ends at Ctrl-C, also in a loop", function()
    write "print 'computing' while true do pcall(error) end"
    local program = process.spawn({ testbed.program, "exec", "program.lua" }, { cwd = app.dir })
    program:wait_output "computing"
    program:kill "sigint"
    assert.equal(-2, program:wait())
  end)

  it("says what is wrong with its words", function()
    local function wrong(text, ...)
      local code, out = app:cli("exec", ...)
      assert.equal(2, code, out)
      assert.matches(text, out, 1, true)
    end
    wrong "name a Lua file"
    wrong("cannot read nowhere.lua: No such file", "nowhere.lua")
    wrong('wrong option "-g"', "-g", "program.lua")
    write "print 'on'"
    wrong("no/such.lua: cannot be read", "-c", "no/such.lua", "program.lua")
    app.config.gateways[1].lisen = "typo"
    app:save_config()
    wrong('did you mean "listen"', "program.lua")
  end)

  it("has no Gateway without a configuration", function()
    fails(1, "Gateway.sendToAll is not available: this program has joined no system.*%-c FILE", "Gateway.sendToAll 'x'")
  end)

  it("begins at once when nothing runs, and Gateway says so", function()
    write "print(Gateway.sendToAll 'x') print(Gateway.getAllClientIdCount())"
    local code, out = app:cli("exec", "program.lua")
    assert.equal(0, code, out)
    assert.matches("cannot connect, trying on address=" .. app.config.register_address[1], out, 1, true)
    assert.matches("nil\tno gateway connected\tenotconn\nnil\tno gateway connected\tenotconn\t0\n", out, 1, true)
  end)

  it("waits a while for a register that does not answer", function()
    local silent = uv.new_tcp()
    assert(silent:bind("127.0.0.1", tonumber(app.config.register_address[1]:match ":(%d+)")))
    assert(silent:listen(5, function() end))
    write "print(Gateway.sendToAll 'x')"
    local code, out = app:cli("exec", "program.lua")
    silent:close()
    assert.equal(0, code)
    assert.equal("nil\tno gateway connected\tenotconn\n", out)
  end)

  it("needs no pause of the handler's and may use memory", function()
    app.config.workers.handler_timeout, app.config.workers.memory_limit = 0.01, 1024 * 1024
    app:save_config()
    write "local began = os.clock() local t = ('x'):rep(2 ^ 21) repeat until os.clock() - began > 0.1 print(#t)"
    local code, out = app:cli("exec", "program.lua")
    assert.equal(0, code)
    assert.matches("2097152\n", out, 1, true)
  end)

  describe("reaches the clients of the system", function()
    local client

    local function start(change)
      if change then
        change(app.config)
        app:save_config()
      end
      app:up()
      client = tcp.connect(app.port[1])
      client:send "ann\n"
      client:receive "bound\n"
    end

    after_each(function() client:close() end)

    local function push(text)
      write(text)
      local code, out = process.run { testbed.program, "exec", "-c", app.dir .. "/conf/gwrun.lua", app.dir .. "/program.lua" }
      assert.equal(0, code, out)
      return out
    end

    it("from its first line on, and asks about them", function()
      start()
      assert.equal("true\t1\ttrue\n", push [[
        print(Gateway.sendToUid("ann", "from beside"), Gateway.getAllClientIdCount(), Gateway.isUidOnline "ann")
      ]])
      client:receive "from beside\n"
    end)

    it("and is refused what the client's gateway does not allow", function()
      start(function(c) c.gateways[1].max_groups, c.gateways[1].max_session = 3, 2048 end)
      local id = push([[print(Gateway.getClientIdByUid("ann")[1])]]):match "%x+"
      assert.equal(table.concat({
        "nil\ta client may be in at most 3 groups (max_groups), not in 4\te2big",
        "nil\tthe session would be 3027 bytes, more than the 2048 that its gateway takes (max_session)\temsgsize", "true\n" }, "\n"),
      push(([[
        local id = %q
        print(Gateway.joinGroup(id, { "a", "b", "c", "d" }))
        print(Gateway.setSession(id, { text = ("x"):rep(3000) }))
        print(Gateway.joinGroup(id, { "a", "b", "c", "a" }))
      ]]):format(id)))
    end)

    it("with the secret key", function()
      start(function(c) c.secret_key = "a very secret key" end)
      push "assert(Gateway.sendToAll 'keyed')"
      client:receive "keyed\n"
    end)

    it("and all that it sent arrives, however soon it ends", function()
      start()
      push "for i = 1, 200 do assert(Gateway.sendToAll(('x'):rep(4000))) end assert(Gateway.sendToAll 'last') os.exit(0)"
      client:receive "last\n"
    end)

    it("as its page shows", function()
      start()
      local count = 0
      local page = testbed.read_file "docs/exec.md":match "^(.-)\n## Programs that are kept running"
      for block in page:gmatch "\n```lua\n(.-)\n```" do
        count = count + 1
        write((block:gsub("sleep%(60%)", "sleep(0.01)")))
        local program = process.spawn({ testbed.program, "exec", "program.lua" }, { cwd = app.dir })
        program:wait_output "1 clients"
        program:kill "sigint"
        program:wait()
      end
      assert.equal(2, count)
      client:receive "down for maintenance in 1 minutes\n"
    end)

    it("without the system taking it for a worker", function()
      start()
      app.config.workers = nil -- nor does its machine need any
      app:save_config()
      write "Timer.sleep(1.2) print('here', Gateway.getAllClientIdCount()) Timer.sleep(60)"
      local program = process.spawn({ testbed.program, "exec", "program.lua" }, { cwd = app.dir })
      program:wait_output "here\t1"
      assert.equal("here\t1\n", program.out) -- nor do its links fill the log
      for _, p in ipairs(app:status().processes) do
        if p.role == "gateway" then assert.equal(1, p.counters.workers) end
      end
      program:kill "sigint"
      program:wait()
    end)
  end)
end)

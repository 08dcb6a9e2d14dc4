-- gwrun attach: Lua in a worker of the running system.
local uv = require "luv"
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local script = [[
Events = {}
seen = {}
function Events.onMessage(id, message)
  seen[#seen + 1] = message
  Gateway.sendToClient(id, "first: " .. message)
end
]]

describe("gwrun attach", function()
  local app

  setup(function()
    app = testbed.start { gateways = { { listen = "text" } }, script = script, workers = { count = 2 } }
  end)
  teardown(function() app:stop() end)

  local function begin(code, ...)
    local p = process.spawn(app:command("attach", ...), { cwd = app.dir, stdin = true })
    p:write(code)
    p.stdin:shutdown()
    return p
  end

  --- Run a piece: exit code and output.
  local function run(code, ...)
    local p = begin(code, ...)
    return p:wait(), p.out
  end

  local function gives(out, code, ...) assert.same({ 0, out }, { run(code, ...) }) end

  local function fails(pattern, code, ...)
    local status, out = run(code, ...)
    assert.equal(1, status, out)
    assert.matches(pattern, out)
  end

  it("shows the values of an expression", function()
    gives("3\n", "1 + 2")
    gives('nil\ttrue\t1.5\t"a\\"b\\\\\\n"\n', [[nil, true, 1.5, 'a"b\\\n']])
    gives("", "")
    gives("", "local x = 1")
    gives('"ü"\n', '"ü"')
  end)

  it("shows tables, however they are made", function()
    gives('{ 1, "b", key = { [true] = 2 }, ["x y"] = {} }\n', '{ 1, "b", key = { [true] = 2 }, ["x y"] = {} }')
    gives("{ again = {…} }\n", "local t = {} t.again = t return t")
    gives("{ { { { { {…} } } } } }\n", "{ { { { { { { 1 } } } } } } }")
    gives("a point\n", "setmetatable({}, { __tostring = function() return 'a point' end })")
    local _, out = run "local t = {} for i = 1, 300 do t[i] = i end return t"
    assert.matches("\n  200,\n  …\n}\n$", out)
  end)

  it("prints to the terminal, and nothing that moves its cursor", function()
    gives("1\t\\027[2J\\194\\155\n\"\\007\\255\"\n", 'print(1, "\\27[2J\\u{9b}") return "\\7\\255"')
    gives('"\\226\\128\\174\\239\\187\\191\\216\\156\\226\\129\\166你"\n', '"\\u{202E}\\u{FEFF}\\u{61C}\\u{2066}你"')
  end)

  it("runs in the worker that is named, with its script's globals", function()
    local c = tcp.connect(app.port[1])
    c:send "hello\n"
    c:receive "first: hello\n"
    local _, zero = run("#seen", "0")
    local _, one = run("#seen", "1")
    assert.same({ "0\n", "1\n" }, zero < one and { zero, one } or { one, zero })
    gives("1\n", "Gateway.getAllClientIdCount()")
    for slot = 0, 1 do
      gives("", "function Events.onMessage(id, m) Gateway.sendToClient(id, 'patched: ' .. m) end", tostring(slot))
    end
    c:send "again\n"
    c:receive "patched: again\n"
    c:close()
  end)

  it("waits, while the others are served", function()
    local p = begin "print 'waits' Timer.sleep(0.3) return 'slept'"
    p:wait_output "waits"
    gives("1\n", "1")
    assert.equal(0, p:wait())
    assert.equal('waits\n"slept"\n', p.out)
  end)

  it("tells what failed, and where", function()
    fails("console:2: boom", "local x\nerror 'boom'")
    fails("console:1: unexpected symbol", "x = = 1")
    fails("an object", "error(setmetatable({}, { __tostring = function() return 'an object' end }))")
    fails("more output than 1048576 bytes", "while true do print(('x'):rep(10000)) end")
    fails("not UTF%-8", "return '\xff'")
    fails("not UTF%-8", "return '\0'")
    fails("there is no worker 2; gwrun status lists them", "1", "2")
    fails("there is no worker Nobody:0; gwrun status lists them", "1", "Nobody")
    local code, out = app:cli("attach", "Nobody:x")
    assert.equal(2, code)
    assert.matches("give the number of a worker, or its name and number", out)
  end)

  it("prints into the log what comes later", function()
    gives("now\n", "Timer.once(0.05, function() print 'later on' end) print 'now'")
    app:wait_log "later on"
  end)

  it("cuts short what waits when nobody looks any more", function()
    local p = begin "print 'waits' local ok, e = pcall(Timer.sleep, 600) print 'unseen' left = { ok, e }"
    p:wait_output "waits"
    p:kill "sigint"
    assert.equal(-2, p:wait())
    loop.poll("it to be cut short", function()
      return select(2, run "left") == '{ false, "the console is gone" }\n'
    end)
  end)

  it("tells when a reload takes the script away, or the worker dies", function()
    local p = begin "print 'waits' Timer.sleep(600)"
    p:wait_output "waits"
    assert.equal(0, (app:cli "reload"))
    assert.equal(1, p:wait())
    assert.matches("cut off: the script was replaced", p.out)
    gives("nil\n", "left")

    p = begin "print 'waits' Timer.sleep(600)"
    p:wait_output "waits"
    local pid
    for _, c in ipairs(app:status().processes) do
      if c.role == "worker" and c.slot == 0 then pid = c.pid end
    end
    uv.kill(pid, "sigkill")
    assert.equal(1, p:wait())
    assert.matches("the worker has ended", p.out)
    loop.poll("another one", function() return run "1" == 0 end)
  end)

  it("asks for a piece after the other on a terminal", function()
    local words = table.concat(app:command("attach", "1"), " ")
    local p = process.spawn({ "script", "-qec", words, "/dev/null" }, { cwd = app.dir, stdin = true })
    p:wait_output "> "
    p:write "for i = 1, 2 do\n"
    p:wait_output ">> "
    p:write "print('line ' .. i) end\n"
    p:wait_output "line 2\r\n> "
    p:write "error 'wrong'\n"
    p:wait_output "wrong"
    p:write "6 * 7\n"
    p:wait_output "42\r\n> "
    p:write "\4"
    assert.equal(0, p:wait())
  end)

  it("needs a system that runs", function()
    local other = testbed.new { script = script }
    local code, out = other:cli "attach"
    other:remove()
    assert.equal(1, code)
    assert.matches("not running", out)
  end)
end)

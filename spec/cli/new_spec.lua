-- gwrun new: a project that runs as it is, made by the program in the source tree
-- and by an installed one.
local uv = require "luv"
local bridge = require "bridge"
local cjson = require "cjson"
local process = require "process"
local testbed = require "testbed"

local function lines_of(command)
  local _, out = process.run { "sh", "-c", command }
  return out
end

describe("gwrun new", function()
  local dir, project

  before_each(function()
    dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-new-XXXXXX"))
    project = dir .. "/my chat"
  end)

  after_each(function()
    bridge.close()
    process.run { "rm", "-rf", dir }
  end)

  local function run(program, ...) return process.run({ program, ... }, { cwd = project }) end

  local function make(program)
    local code, out = process.run({ program, "new", "my chat" }, { cwd = dir })
    assert.equal(0, code, out)
    return out
  end

  -- Free ports instead of those that everybody tries first; the clients' port.
  local function choose_ports()
    local path = project .. "/conf/gwrun.lua"
    local clients = testbed.ports()
    local ports = { ["1237"] = testbed.ports(), ["8283"] = clients, ["2900"] = testbed.ports(2) }
    local text, count = testbed.read_file(path):gsub("%f[%d]%d%d%d%d%f[%D]", ports)
    assert.equal(3, count)
    testbed.write_file(path, text)
    return clients
  end

  local function runs(program)
    local port = choose_ports()
    local code, out = run(program, "check")
    assert.equal(0, code, out)
    local master = process.spawn({ program, "start" }, { cwd = project })
    master:wait_output("Open http://127.0.0.1:" .. port .. "/ in a browser.")
    local page = bridge.page("http://127.0.0.1:" .. port .. "/?name=Ann")
    page:call("waitForSelector", "li:text-is('Ann is here')")
    page:call("waitForSelector", "#state:text-is('Ann')")
    local bob = bridge.connect("ws://127.0.0.1:" .. port .. "/?name=Bob")
    bob:receive "Bob is here" -- Ann's may come to him, too
    page:call("fill", "#text", "hello <b>Bob</b>")
    page:call("press", "#text", "Enter")
    assert.equal("Ann: hello <b>Bob</b>", bob:receive "Ann: ")
    page:call("waitForSelector", "li:text-is('Ann: hello <b>Bob</b>')")
    bob:close()
    page:call("waitForSelector", "li:text-is('Bob has left')")
    code, out = run(program, "stop")
    assert.equal(0, code, out)
    assert.equal(0, master:wait(), master.out)
    assert.is_nil(master.out:find(" error ", 1, true), master.out)
  end

  it("makes a project that serves a page, and passes its own checks", function()
    local out = make(testbed.program)
    assert.matches('cd "my chat"\n  gwrun dev ', out, 1, true)
    local files = "find . ! -path ./conf/secret | sort"
    assert.equal(lines_of("cd lua/new && " .. files), lines_of("cd '" .. project .. "' && " .. files))
    assert.matches("# my chat\n", testbed.read_file(project .. "/README.md"), 1, true)
    assert.is_nil(lines_of("grep -r '@[A-Z_]*@' '" .. project .. "'"):match ".")
    local code, warnings = process.run({ "luacheck", "-q", "." }, { cwd = project })
    assert.equal(0, code, warnings)
    runs(testbed.program)
  end)

  it("has tests that pass, and notice a change of the script", function()
    make(testbed.program)
    local code, out = run(testbed.program, "test")
    assert.equal(0, code, out)
    assert.matches("3 successes", out, 1, true)
    local path = project .. "/scripts/events.lua"
    local script = testbed.read_file(path)
    for _, text in ipairs { '": " .. message', '" is here"', '" has left"', "#name > NAME_MAX" } do
      local from, to = script:find(text, 1, true)
      testbed.write_file(path, script:sub(1, from - 1) .. (text:find "NAME" and "false" or '""') .. script:sub(to + 1))
      code, out = run(testbed.program, "test")
      assert.equal(1, code, text .. "\n" .. out)
    end
  end)

  for template, passes in pairs { chat = 3, push = 3, device = 4, game = 4 } do
    it("has a template, " .. template .. ", that passes its own tests and checks", function()
      local code, out = process.run({ testbed.program, "new", "--template", template, "my chat" }, { cwd = dir })
      assert.equal(0, code, out)
      assert.is_nil(lines_of("grep -r '@[A-Z_]*@' '" .. project .. "'"):match ".")
      local made = out:match "made my chat:\n(.-)\n\n"
      for path in ("\n" .. made):gmatch "\n  (%S+) " do
        local stat = assert(uv.fs_stat(project .. "/" .. path))
        local secret = path == "conf/secret" or path:find "%-keys?$"
        assert.equal(secret and 384 or 0, secret and stat.mode & 511 or 0)
        if secret then assert.equal("", lines_of("cd '" .. project .. "' && git init -q && git status --short " .. path)) end
      end
      code, out = run(testbed.program, "test")
      assert.equal(0, code, out)
      assert.matches(passes .. " successes / 0 failures", out, 1, true)
      code, out = run(testbed.program, "check")
      assert.equal(0, code, out)
      assert.is_nil(out:find("warning", 1, true), out)
      local warnings
      code, warnings = process.run({ "luacheck", "-q", "." }, { cwd = project })
      assert.equal(0, code, warnings)
    end)
  end

  it("knows its templates, and no other", function()
    local code, out = process.run({ testbed.program, "new", "-t", "shop", "my chat" }, { cwd = dir })
    assert.equal(2, code)
    assert.equal('gwrun: new: there is no template "shop"; gwrun new --help lists them\n', out)
    assert.is_nil(uv.fs_stat(project))
    local shown = select(2, process.run { testbed.program, "new", "--help" }):match "%-%-template (%S+)"
    assert.equal("chat|push|device|game", shown)
    assert.equal("new new-device new-game new-push\n", lines_of("cd lua && echo new*"))
  end)

  it("points editors at what is installed", function()
    local build = testbed.program:match "^(.*)/gwrun$"
    local code, out = process.run { "make", "-o", "build", "O=" .. build, "DESTDIR=" .. dir .. "/installed", "install" }
    assert.equal(0, code, out)
    local program = dir .. "/installed/usr/local/bin/gwrun"
    make(program)
    local library = cjson.decode(testbed.read_file(project .. "/.luarc.json"))["workspace.library"]
    assert.equal(dir .. "/installed/usr/local/share/gwrun/lua/meta", library[1])
    assert.is_truthy(testbed.read_file(library[1] .. "/gwrun.lua"))
    runs(program)
  end)

  it("touches nothing that is there", function()
    make(testbed.program)
    local code, out = run(testbed.program, "new", ".")
    assert.equal(2, code)
    assert.equal("gwrun: new: . is not empty; name a folder that is, or a new one\n", out)
    code, out = run(testbed.program, "new", "README.md")
    assert.equal(1, code)
    assert.equal("gwrun: new: cannot open README.md: Not a directory\n", out)
    code, out = run(testbed.program, "new", "no/such")
    assert.equal(1, code)
    assert.matches("cannot make no/such: No such file", out, 1, true)
  end)

  it("gives each project a key of its own, which nobody else can read", function()
    make(testbed.program)
    local path = project .. "/conf/secret"
    local key = testbed.read_file(path)
    assert.matches("^" .. ("%x"):rep(64) .. "\n$", key)
    assert.equal(384, assert(uv.fs_stat(path)).mode & 511) -- 0600
    assert.matches("/conf/secret\n", testbed.read_file(project .. "/.gitignore"), 1, true)
    local code, out = run(testbed.program, "check")
    assert.equal(0, code, out)
    assert.is_nil(out:find("secret_key", 1, true), out)
    project = dir .. "/other"
    assert.equal(0, (process.run({ testbed.program, "new", "other" }, { cwd = dir })))
    assert.is_true(key ~= testbed.read_file(project .. "/conf/secret"))
  end)

  it("fills an empty folder", function()
    assert(uv.fs_mkdir(project, 493))
    local code, out = run(testbed.program, "new", ".")
    assert.equal(0, code, out)
    assert.is_nil(out:find("cd ", 1, true))
    assert.equal(0, (run(testbed.program, "check")))
  end)

  it("says how it is used", function()
    local code, out = process.run { testbed.program, "new" }
    assert.equal(2, code)
    assert.matches("name a folder", out, 1, true)
    assert.equal(2, (process.run { testbed.program, "new", "a", "b" }))
    assert.equal(2, (process.run { testbed.program, "new", "-d", dir .. "/x" }))
    code, out = process.run { testbed.program, "new", "--help" }
    assert.equal(0, code)
    assert.matches("usage: gwrun new [-t TEMPLATE] DIR", out, 1, true)
  end)
end)

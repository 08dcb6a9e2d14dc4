-- The programs of docs/http-api.md.
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

describe("docs/http-api.md", function()
  local page = testbed.read_file "docs/http-api.md"
  local app, ann

  setup(function()
    app = testbed.new {
      script = [[
        Events = {}
        function Events.onConnect(client_id)
          Gateway.bindUid(client_id, 1001)
          Gateway.sendToClient(client_id, "welcome")
        end
      ]],
      gateways = { { listen = "http", api = { keys_file = "conf/api-keys" } }, { listen = "text" } },
    }
    local make_keys = page:match "\n```sh\n(umask.-)\n```"
    assert.equal(0, (process.run({ "sh", "-c", make_keys }, { cwd = app.dir })))
    app:up()
    ann = tcp.connect(app.port[2])
    ann:receive "\n"
  end)

  teardown(function()
    if ann then ann:close() end
    app:stop()
  end)

  local function run(language, pattern, program, option)
    local text = page:match("\n```" .. language .. "\n(" .. pattern .. ".-)\n```")
    text = text:gsub("8283", tostring(app.port[1]))
    local code, out = process.run({ program, option, text },
      { env = { KEY = testbed.read_file(app.dir .. "/conf/api-keys"):match "shop (%x+)" }, seconds = 60 })
    assert.equal(0, code, out)
    assert.equal("your order was sent\n", ann:receive "\n")
    return out
  end

  it("pushes from curl", function()
    assert.matches('{"result":true}', run("sh", "curl", "sh", "-c"), 1, true)
  end)

  it("pushes from Python", function() assert.equal("True\n", run("python", "import", "python3", "-c")) end)

  it("pushes from Node", function() assert.equal("true\n", run("js", "async", "node", "-e")) end)

  local function has(program)
    return process.run { "sh", "-c", "command -v " .. program } == 0
  end

  --- Compile and run the page's code in that language, put into a program of it.
  local function compile(language, file, program, command)
    local text = page:match("\n```" .. language .. "\n(.-)\n```"):gsub("8283", tostring(app.port[1]))
    testbed.write_file(app.dir .. "/" .. file, program(text))
    local code, out = process.run(command, {
      cwd = app.dir,
      env = {
        KEY = testbed.read_file(app.dir .. "/conf/api-keys"):match "shop (%x+)",
        HOME = app.dir, GOCACHE = app.dir .. "/gocache", GO111MODULE = "off", GOTOOLCHAIN = "local",
      },
      seconds = 300,
    })
    assert.equal(0, code, out)
    assert.equal("your order was sent\n", ann:receive "\n")
  end

  -- Compilers that the other tests do without: where there is none, nothing is missed.
  if has "go" then
    it("pushes from Go", function()
      compile("go", "push.go", function(text)
        local functions, statement = text:match "^(.-\n})\n\n(_, err.*)$"
        return 'package main\nimport ("bytes"; "encoding/json"; "errors"; "net/http"; "os")\n' .. functions
          .. "\nfunc main() {\n" .. statement .. "\nif err != nil { panic(err) }\n}\n"
      end, { "go", "run", "push.go" })
    end)
  end

  if has "javac" then
    it("pushes from Java", function()
      compile("java", "Push.java", function(text)
        return "import java.io.IOException; import java.net.URI; import java.net.http.*;\n"
          .. "class Push { public static void main(String[] words) throws Exception {\n" .. text .. "\n} }\n"
      end, { "java", "Push.java" })
    end)
  end

  it("has every call of the API, by its kind", function()
    local documented, there = {}, {}
    for kind, names in page:gmatch "\n| (%l+) | (`[^|]*) |" do
      for name in names:gmatch "`(%w+)`" do documented[name] = kind end
    end
    for name, kind in testbed.read_file "lua/gwrun/api.lua":gmatch "\n  (%w+) = { \"(%l+)\"" do there[name] = kind end
    assert.same(there, documented)
    local keys = {}
    local list = testbed.read_file "src/clients/apikeys.c":match "const calls%[%] = (%b{})"
    for name in list:gmatch '"(%w+)"' do keys[name] = there[name] end
    assert.same(there, keys)
  end)
end)

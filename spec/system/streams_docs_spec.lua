-- The script and the page of docs/streams.md, in a browser.
local bridge = require "bridge"
local loop = require "loop"
local process = require "process"
local testbed = require "testbed"

describe("docs/streams.md", function()
  local app

  after_each(function()
    bridge.close()
    app:stop()
  end)

  it("shows a page what is said, also when it comes back", function()
    local text = testbed.read_file "docs/streams.md"
    app = testbed.new { script = text:match "\n```lua\n(.-)\n```", gateways = { { www = "www" } } }
    testbed.write_file(app.dir .. "/www/index.html", text:match "\n```html\n(.-)\n```")
    app:up()
    local url = "http://127.0.0.1:" .. app.port[1]
    local page = bridge.page(url .. "/")

    local function shown(want)
      local got
      loop.poll(function() return "“" .. want .. "” in “" .. tostring(got) .. "”" end, function()
        got = page:call("evaluate", "[...document.querySelectorAll('li')].map((li) => li.textContent).join('|')")
        return got == want
      end)
    end

    local function say(message)
      assert.equal(0, (process.run { "curl", "-s", "-f", "-d", message, url .. "/say/7" }))
    end

    shown "welcome, you had seen nothing"
    say "hello\nall"
    shown "welcome, you had seen nothing|1: hello\nall"
    assert.equal(1, app:counters("gateway", 0).clients)

    local function run(text_of_program)
      testbed.write_file(app.dir .. "/program.lua", text_of_program)
      local code, out = app:cli("exec", "program.lua")
      assert.equal(0, code, out)
    end

    run [[for id in pairs(assert(Gateway.getClientIdListByGroup "7")) do Gateway.destroyClient(id) end]]
    shown "welcome, you had seen nothing|1: hello\nall|welcome, you had seen 1"
    run [[assert(Gateway.closeGroup("7", "bye", { code = 4000, reason = "over" }))]]
    shown "welcome, you had seen nothing|1: hello\nall|welcome, you had seen 1|bye|closed: over"
    loop.poll("it to be gone", function() return app:counters("gateway", 0).clients == 0 end)
    assert.equal("204", page:call("evaluate", "fetch('/events').then((r) => String(r.status))"))
  end)
end)

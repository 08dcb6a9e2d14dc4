-- The scripts of docs/requests.md.
local cjson = require "cjson"
local bridge = require "bridge"
local process = require "process"
local testbed = require "testbed"

describe("docs/requests.md", function()
  local app
  local scripts = {}

  setup(function()
    for block in testbed.read_file "docs/requests.md":gmatch "\n```lua\n(.-)\n```" do scripts[#scripts + 1] = block end
  end)

  after_each(function()
    bridge.close()
    app:stop()
  end)

  local function curl(...)
    local code, out = process.run({ "curl", "-s", "-w", " %{http_code}", ... }, { seconds = 10 })
    assert.equal(0, code, out)
    return out
  end

  local function url(path) return "http://127.0.0.1:" .. app.port[1] .. path end

  it("tells a room what a program posts", function()
    app = testbed.start {
      script = scripts[1] .. "\nfunction Events.onConnect(client_id) Gateway.joinGroup(client_id, '7') end\n",
    }
    assert.equal("fine 200", curl(url "/health"))
    local member = bridge.connect(app:url())
    assert.equal('{"to":"7"} 202', curl("-d", '{"text": "hello"}', url "/rooms/7"))
    assert.same({ text = "hello" }, cjson.decode(member:receive()))
    assert.matches("^json: .* 400$", curl("-d", "{", url "/rooms/7"))
    assert.equal(" 405", curl(url "/rooms/7"))
    assert.equal("Not Found 404", curl(url "/elsewhere"))
  end)

  it("kicks who has the key", function()
    app = testbed.start {
      script = scripts[2] .. "\nfunction Events.onConnect(client_id) Gateway.bindUid(client_id, 'ann') end\n",
    }
    local ann = bridge.connect(app:url())
    assert.equal("who are you 401", curl("-X", "POST", url "/kick/ann"))
    assert.equal('{"closed":1} 200',
      curl("-X", "POST", "-H", "Authorization: Bearer the key of your hooks", url "/kick/ann"))
    ann:event(function(e) return e.event == "close" end)
  end)

  it("answers a page's fetch", function()
    app = testbed.new { script = scripts[1], gateways = { { www = "www" } } }
    testbed.write_file(app.dir .. "/www/index.html", "<p>the page</p>")
    app:up()
    local page = bridge.page("http://127.0.0.1:" .. app.port[1] .. "/")
    assert.equal('202 {"to":"7"}', page:call("evaluate", [[
      fetch("/rooms/7", { method: "POST", body: JSON.stringify({ text: "hello" }) })
        .then(async (r) => r.status + " " + await r.text())]]))
  end)
end)

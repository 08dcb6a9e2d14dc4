-- app:request: what a script answers, without a network.
local testing = require "gwrun.testing"

describe("app:request", function()
  local app

  local function start(gateways)
    app = testing.start {
      gateways = gateways,
      text = [[
        local json = require "gwrun.json"
        Events = {}
        function Events.onRequest(request)
          if request.path == "/slow" then Timer.sleep(5) end
          if request.path == "/error" then error "boom" end
          if request.path == "/tell" then Gateway.sendToAll "told" end
          if request.path == "/cookies" then return 200, { ["Set-Cookie"] = { "a=1", "b=2" } }, "" end
          return { json = {
            method = request.method, uri = request.uri, body = request.body, ip = request.remote_addr,
            type = request.headers["content-type"], form = request:form(), x = request.headers["x-a"],
          } }
        end
      ]],
    }
  end

  after_each(function() app:stop() end)

  it("asks and returns status, headers and body", function()
    start()
    local answer = app:request { path = "/a?b=1", headers = { ["X-A"] = "c" }, ip = "192.0.2.7" }
    assert.equal(200, answer.status)
    assert.equal("application/json", answer.headers["content-type"])
    assert.same({ method = "GET", uri = "/a?b=1", body = "", ip = "192.0.2.7", x = "c" }, answer:json())
    assert.equal("GET", app:request():json().method)
    assert.same({ "a=1", "b=2" }, app:request { path = "/cookies" }.headers["set-cookie"])
    answer = app:request { method = "HEAD" }
    assert.same({ 200, "" }, { answer.status, answer.body })
  end)

  it("sends text, JSON and forms", function()
    start { "http" }
    local said = app:request { body = "text", method = "PUT" }:json()
    assert.same({ "PUT", "text" }, { said.method, said.body })
    said = app:request { json = { a = { 1 } } }:json()
    assert.same({ "POST", '{"a":[1]}', "application/json" }, { said.method, said.body, said.type })
    said = app:request { json = false }:json()
    assert.equal("false", said.body)
    said = app:request { form = { a = "1 2", ["ü"] = 3 } }:json()
    assert.same({ a = "1 2", ["ü"] = "3" }, said.form)
    said = app:request { body = ("x"):rep(300000) }:json()
    assert.equal(300000, #said.body)
  end)

  it("lets time pass until the answer is there", function()
    start()
    local before = app:now()
    assert.equal(200, app:request { path = "/slow" }.status)
    assert.is_true(app:now() - before >= 5)
  end)

  it("does what the script does to clients", function()
    start { "websocket", "http" }
    local client = app:connect { gateway = 1 }
    app:request { path = "/tell", gateway = 2 }
    assert.same({ "told" }, client:received())
  end)

  it("raises what the script raises", function()
    start()
    assert.has_error(function() app:request { path = "/error" } end)
  end)

  it("refuses options that it does not know", function()
    start()
    assert.error_matches(function() app:request { pth = "/" } end, 'app:request: there is no option "pth"')
    assert.error_matches(function() app:request { body = 1 } end, "app:request: body must be a string")
  end)
end)

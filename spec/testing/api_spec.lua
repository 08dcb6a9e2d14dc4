-- app:api: the push API, without a network.
local testing = require "gwrun.testing"

describe("app:api", function()
  local app

  local text = [[
    Events = {}
    function Events.onConnect(client_id) Gateway.bindUid(client_id, "ann") end
    function Events.onMessage() end
  ]]

  after_each(function() app:stop() end)

  it("calls, with a key that may do all", function()
    app = testing.start { gateways = { "text", { listen = "websocket", api = true } }, text = text, workers = 2 }
    local ann, other = app:connect { gateway = 1 }, app:connect { gateway = 2 }
    assert.same({ result = true }, app:api("sendToUid", { uid = "ann", message = "news" }):json())
    assert.same({ "news" }, ann:received())
    assert.same({ "news" }, other:received())
    app:api("setSession", { client_id = ann.id, session = { a = 1 } })
    assert.same({ a = 1 }, app:api("getSession", { client_id = ann.id }):json().result)
    assert.equal(2, app:api("getAllClientIdCount"):json().result)
    assert.equal(200, app:api("closeClient", { client_id = ann.id, message = "bye" }).status)
    assert.same({ "bye" }, ann:received())
    assert.is_table(ann.closed)
  end)

  it("is refused as a program would be", function()
    app = testing.start { gateways = { { listen = "http", api = true }, "text" }, text = text }
    assert.equal(401, app:api("getAllUidList", {}, { key = "wrong" }).status)
    assert.equal(403, app:api("getAllUidList", {}, { ip = "192.0.2.1" }).status)
    assert.equal(403, app:api("getAllUidList", {}, { headers = { Origin = "http://x" } }).status)
    local problem = app:api "sendToUid":json()
    assert.same({ 400, "uid is missing" }, { problem.status, problem.detail })
  end)

  it("lets a call that its worker has not begun go to another one", function()
    app = testing.start { gateways = { { listen = "http", api = true }, "text" }, text = text, workers = 2 }
    local ann = app:connect { gateway = 2 }
    app:kill_worker(1)
    for i = 1, 4 do
      assert.equal(200, app:api("sendToUid", { uid = "ann", message = i }).status)
      assert.same({ tostring(i) }, ann:received())
    end
  end)

  it("needs a listener that has it", function()
    app = testing.start { text = text }
    assert.error_matches(function() app:api "getAllUidList" end, "no listener has the push API")
  end)
end)

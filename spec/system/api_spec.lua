-- The push API: who may call it, what the calls do, and what they answer.
local cjson = require "cjson"
local bridge = require "bridge"
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local SHOP, OLD, DESK = "key-of-the-shop-1", "key-of-the-shop-0", "key-of-the-desk-1"
local KEYS = ([[
# who may push
shop %s
shop sha256:%s
desk %s getSession, setSession,closeClient sendToUid
]]):format(SHOP, select(2, process.run { "sh", "-c", "printf %s " .. OLD .. " | sha256sum | cut -c-64" }):sub(1, 64), DESK)

local script = [[
Events = {}
function Events.onConnect(client_id)
  Gateway.bindUid(client_id, "ann")
  Gateway.joinGroup(client_id, "lobby")
  Gateway.sendToClient(client_id, client_id)
end
function Events.onMessage(client_id, message) Gateway.sendToClient(client_id, message) end
function Events.onRequest(request) return "onRequest" end
]]

--- Write the file of keys as it must be.
local function write_keys(app, text)
  testbed.write_file(app.dir .. "/conf/keys", text)
  process.run { "chmod", "600", app.dir .. "/conf/keys" }
end

local function new(options)
  local app = testbed.new(options)
  write_keys(app, KEYS)
  return app
end

--- The answer at the front of what a connection has: status, body, headers.
local function answer(c)
  local head = c:receive "\r\n\r\n"
  local headers = {}
  for name, value in head:gmatch "\r\n([^:\r]+): ([^\r]*)" do headers[name:lower()] = value end
  local length = tonumber(headers["content-length"])
  loop.wait("the body", function() return #c.data >= length end)
  local body = c.data:sub(1, length)
  c.data = c.data:sub(length + 1)
  return tonumber(head:match "^HTTP/1.1 (%d%d%d) "), body, headers
end

local function ask(port, target, body, headers, method)
  local lines = { ("%s %s HTTP/1.1\r\nHost: x\r\n"):format(method or "POST", target) }
  headers = headers or {}
  local all = { ["Content-Type"] = "application/json", Authorization = "Bearer " .. SHOP, ["Content-Length"] = #body }
  for name, value in pairs(headers) do all[name] = value end
  for name, value in pairs(all) do
    if value ~= "" then lines[#lines + 1] = name .. ": " .. value .. "\r\n" end
  end
  local c = tcp.connect(port)
  c:send(table.concat(lines) .. "\r\n" .. body)
  local status, text, heads = answer(c)
  c:close()
  return status, text, heads
end

describe("the push API", function()
  local app

  setup(function()
    app = new {
      script = script,
      gateways = {
        { listen = "websocket", www = "www", api = { keys_file = "conf/keys" } },
        { listen = "text" },
        { listen = "http", api = { path = "/push/v1", keys_file = "conf/keys" }, max_body = 1000,
          trusted_proxies = { "127.0.0.1" } },
        { listen = "http", api = { keys_file = "conf/keys", allow = { "192.0.2.0/24" } } },
      },
      workers = { count = 2 },
    }
    testbed.write_file(app.dir .. "/www/api", "a file in the way")
    app:up()
  end)

  teardown(function()
    bridge.close()
    app:stop()
  end)

  --- A text client, and its client_id.
  local function client()
    local c = tcp.connect(app.port[2])
    return c, (c:receive "\n"):gsub("\n", "")
  end

  local function call(name, params, key)
    local body = type(params) == "string" and params or cjson.encode(params)
    if body == "[]" then body = "{}" end
    local status, text, headers = ask(app.port[1], "/api/" .. name, body, key and { Authorization = "Bearer " .. key })
    local json = status < 300 and "application/json" or "application/problem+json"
    assert.equal(json, headers["content-type"])
    assert.equal("no-store", headers["cache-control"])
    return status, cjson.decode(text), headers
  end

  local function expect_problem(want, detail, ...)
    local status, problem = call(...)
    assert.equal(want, status)
    assert.equal(want, problem.status)
    assert.equal("about:blank", problem.type)
    assert.matches(detail, problem.detail)
    return problem
  end

  it("sends, on every gateway", function()
    local c, id = client()
    local page = bridge.connect(app:url())
    page:receive()
    local function sent(name, params)
      assert.same({ result = true }, select(2, call(name, params)))
    end
    sent("sendToUid", { uid = "ann", message = "to ann" })
    assert.equal("to ann\n", c:receive "\n")
    assert.equal("to ann", page:receive())
    sent("sendToUid", { uid = { "ann", "bob" }, message = 17 })
    assert.equal("17\n", c:receive "\n")
    sent("sendToGroup", { group = "lobby", message = "to all but one", exclude = { id } })
    sent("sendToAll", { message = "to all" })
    assert.equal("to all\n", c:receive "\n")
    sent("sendToClient", { client_id = id, message_base64 = "w6QKCg==", raw = true })
    assert.equal("ä\n", c:receive "\n")
    c:close()
  end)

  it("answers questions", function()
    local c, id = client()
    local function result(name, params) return select(2, call(name, params)).result end
    assert.is_true(result("isOnline", { client_id = id }))
    assert.is_true(result("isUidOnline", { uid = "ann" }))
    assert.equal("ann", result("getUidByClientId", { client_id = id }))
    assert.same({ "lobby" }, result("getGroupsByClientId", { client_id = id }))
    assert.same({ ["1"] = false, ["2"] = false }, result("isUidsOnline", { uids = { 1, 2 } }))
    assert.same({ lobby = "lobby" }, result("getAllGroupIdList", {}))
    assert.same({ result = true }, select(2, call("bindUid", { client_id = id, uid = "eve" })))
    assert.same({ id }, result("getClientIdByUid", { uid = "eve" }))
    assert.equal(cjson.null, result("getUidByClientId", { client_id = id:sub(1, -2) .. "f" }))
    local _, text = ask(app.port[1], "/api/getClientIdByUid", '{"uid":"nobody"}')
    assert.equal('{"result":[]}', text)
    _, text = ask(app.port[1], "/api/batchGetClientIdByUid", '{"uids":[1]}')
    assert.equal('{"result":{"1":[]}}', text)
    _, text = ask(app.port[1], "/api/getUidListByGroup", '{"group":"empty"}')
    assert.equal('{"result":{}}', text)
    c:close()
  end)

  it("lets a key do what its line says, or send, join and ask", function()
    local c, id = client()
    assert.same({ result = true }, select(2, call("setSession", { client_id = id, session = { a = { 1, 2 } } }, DESK)))
    assert.same({ result = { a = { 1, 2 } } }, select(2, call("getSession", { client_id = id }, DESK)))
    expect_problem(403, "^the key desk may not call joinGroup$", "joinGroup", { client_id = id, group = "a" }, DESK)
    expect_problem(403, "may not call getSession$", "getSession", { client_id = id })
    expect_problem(403, "may not call closeClient$", "closeClient", { client_id = id })
    assert.same({ result = true },
      select(2, call("closeClient", { client_id = id, message = "bye", code = 4000, reason = "over" }, DESK)))
    assert.equal("bye\n", c:receive "\n")
    c:close()
  end)

  it("says what is wrong with a call", function()
    expect_problem(404, '^there is no call "sendToUds"$', "sendToUds", {})
    expect_problem(404, "^there is no call", "sendToCurrentClient", { message = "x" })
    expect_problem(400, "^the body is not valid, json: ", "sendToUid", "{")
    expect_problem(400, "^the parameters are no object$", "sendToUid", "[1]")
    expect_problem(400, "^uid is missing$", "sendToUid", { message = "x" })
    expect_problem(400, "^uid is missing$", "sendToUid", { uid = cjson.null, message = "x" })
    expect_problem(400, '^sendToUid has no parameter "text"$', "sendToUid", { uid = 1, text = "x" })
    expect_problem(400, "^message: ", "sendToUid", { uid = 1, message = { a = 1 } })
    expect_problem(400, "^uid: ", "sendToUid", { uid = "", message = "x" })
    expect_problem(400, "^uid: an object", "sendToUid", '{"uid":{"ann":1},"message":"x"}')
    expect_problem(400, "^exclude: an object", "sendToAll", '{"exclude":{"ann":1},"message":"x"}')
    expect_problem(400, "^client_id: ", "sendToClient", { client_id = "x", message = "x" })
    expect_problem(400, "binary", "sendToUid", { uid = 1, message = "x", binary = "yes" })
    expect_problem(400, "timeout", "getAllUidList", { timeout = -1 })
    expect_problem(400, "not both", "sendToUid", { uid = 1, message = "x", message_base64 = "eA==" })
    expect_problem(400, "not base64", "sendToUid", { uid = 1, message_base64 = "?" })
    local problem = expect_problem(503, "is not connected$", "isOnline", { client_id = ("0"):rep(19) .. "1" })
    assert.equal("enotconn", problem.code)
  end)

  it("runs a batch in its order", function()
    local c, id = client()
    local status, said = call("batch", { calls = {
      { call = "sendToClient", params = { client_id = id, message = "1" } },
      { call = "closeClient", params = { client_id = id } },
      { call = "sendToClient", params = { client_id = id } },
      "nonsense",
      { call = "sendToClient", params = { client_id = id, message = "2" } },
      { call = "getAllGroupIdList" },
    } })
    assert.equal(200, status)
    assert.equal("1\n2\n", c:receive "1\n2\n")
    local statuses = {}
    for i, one in ipairs(said.result) do statuses[i] = one.problem and one.problem.status or one.result end
    assert.same({ true, 403, 400, 400, true, { lobby = "lobby" } }, statuses)
    local many = {}
    for i = 1, 1000 do many[i] = { call = "sendToClient", params = { client_id = id, message = tostring(i) } } end
    assert.equal(1000, #select(2, call("batch", { calls = many })).result)
    c:receive "\n1000\n"
    many[1001] = many[1]
    expect_problem(400, "at most 1000", "batch", { calls = many })
    expect_problem(400, "calls", "batch", { call = {} })
    expect_problem(400, "calls", "batch", '{"calls":{"call":"getAllUidList"}}')
    local said_wrong = select(2, call("batch", '{"calls":[{"call":"getAllUidCount","params":null},'
      .. '{"call":"isUidOnline","param":{"uid":1}}]}')).result
    assert.equal(1, said_wrong[1].result)
    assert.matches('no "param"$', said_wrong[2].problem.detail)
    assert.equal('{"result":[]}', select(2, ask(app.port[1], "/api/batch", '{"calls":[]}')))
    c:close()
  end)

  it("tells of gateways that do not answer", function()
    local pid = app:pids("gateway")[2]
    local c = client()
    process.run { "kill", "-STOP", tostring(pid) }
    finally(function() process.run { "kill", "-CONT", tostring(pid) } end)
    local status, said = call("getUidCountByGroup", { group = "nobody", timeout = 0.2 })
    assert.equal(200, status)
    assert.is_true(said.partial)
    assert.matches("did not answer in time$", said.missing)
    assert.equal(0, said.result)
    c:close()
  end)

  it("asks for a key, an address, a method and JSON", function()
    local function status(headers, method, target)
      local code, _, said = ask(app.port[1], target or "/api/getAllUidList", "{}", headers, method)
      assert.equal("application/problem+json", said["content-type"])
      return code, said
    end
    local before = app:counters("gateway", 0)
    local code, headers = status { Authorization = "" }
    assert.same({ 401, "Bearer" }, { code, headers["www-authenticate"] })
    assert.equal(401, (status { Authorization = "Bearer " .. SHOP .. "x" }))
    assert.equal(401, (status { Authorization = "Basic " .. SHOP }))
    assert.equal(200, (ask(app.port[1], "/api/getAllUidList", "{}", { Authorization = "bearer " .. OLD })))
    assert.equal(403, (status { Origin = "http://x" }))
    assert.equal(415, (status { ["Content-Type"] = "application/x-www-form-urlencoded" }))
    assert.equal(415, (status { ["Content-Type"] = "" }))
    code, headers = status(nil, "PUT")
    assert.same({ 405, "POST" }, { code, headers.allow })
    assert.equal(404, (status(nil, nil, "/api")))
    assert.equal(404, (status(nil, nil, "/api/")))
    assert.equal(404, (status(nil, nil, "/api/a/b")))
    assert.equal(404, (status(nil, nil, "/api/getAllUidList?a=1")))
    local c = tcp.connect(app.port[1])
    c:send("HEAD /api/getAllUidList HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " .. SHOP .. "\r\n\r\n")
    local head = c:wait_end()
    assert.matches("^HTTP/1.1 405 ", head)
    assert.matches("date: [^\r]+ GMT\r\n", head)
    assert.matches("\r\n\r\n$", head)
    c:close()
    local after = app:counters("gateway", 0)
    assert.equal(3, after.api_wrong_keys - before.api_wrong_keys)
    assert.equal(1, after.api_calls - before.api_calls)
    assert.equal(0, after.requests)
    assert.equal(403, (ask(app.port[4], "/api/getAllUidList", "{}")))
    assert.equal(403, (ask(app.port[3], "/push/v1/getAllUidList", "{}", { ["X-Forwarded-For"] = "198.51.100.7" })))
    assert.equal(200, (ask(app.port[3], "/push/v1/getAllUidList", "{}", { ["X-Forwarded-For"] = "10.0.0.7" })))
    assert.equal(413, (ask(app.port[3], "/push/v1/sendToAll", ("x"):rep(1001))))
  end)

  it("leaves what is beside its path to the others", function()
    assert.equal("onRequest", select(2, ask(app.port[3], "/push/v10", "{}")))
    assert.equal("onRequest", select(2, ask(app.port[3], "/push", "{}")))
    assert.equal("onRequest", select(2, ask(app.port[3], "/api/getAllUidList", "{}")))
  end)

  it("answers one call after the other on a connection", function()
    local c = tcp.connect(app.port[1])
    local text = ("POST /api/isUidOnline HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
      .. "Content-Type: application/json; charset=utf-8\r\nContent-Length: 12\r\n\r\n{\"uid\": %d}  "):format(SHOP, 1)
    c:send(text:rep(3))
    for _ = 1, 3 do
      local status, body = answer(c)
      assert.same({ 200, '{"result":false}' }, { status, body })
    end
    c:close()
  end)

  it("lets nobody guess, and keeps nobody with a key waiting", function()
    local function guess()
      local headers = { Authorization = "Bearer wrong", ["X-Forwarded-For"] = "10.0.0.9" }
      local status, _, said = ask(app.port[3], "/push/v1/getAllUidList", "{}", headers)
      return status, said
    end
    for _ = 1, 10 do assert.equal(401, (guess())) end
    local status, said = guess()
    assert.same({ 429, "60" }, { status, said["retry-after"] })
    assert.equal(200, (ask(app.port[3], "/push/v1/getAllUidList", "{}", { ["X-Forwarded-For"] = "10.0.0.9" })))
    assert.equal(429, (guess()))
    assert.equal(2, app:counters("gateway", 2).api_throttled)
  end)
end)

describe("the keys of the push API", function()
  local app

  after_each(function() app:stop() end)

  local function status(key)
    return (ask(app.port[1], "/api/getAllUidList", "{}", { Authorization = "Bearer " .. key }))
  end

  it("are read again by a reload", function()
    app = new { script = script, gateways = { { listen = "http", api = { keys_file = "conf/keys" } } } }
    app:up()
    assert.equal(200, status(SHOP))
    write_keys(app, "shop a-new-key-of-the-shop\n")
    assert.equal(0, (app:cli "reload"))
    assert.equal(401, status(SHOP))
    assert.equal(200, status "a-new-key-of-the-shop")
    write_keys(app, "shop short\n")
    local code, out = app:cli "reload"
    assert.equal(1, code)
    assert.matches("api of gateway \"Gateway1\": .*/conf/keys: line 1: a key has at least 16 characters", out)
    assert.equal(200, status "a-new-key-of-the-shop")
  end)

  it("are checked with the configuration", function()
    app = new { script = script, gateways = { { listen = "text", api = { path = "api/", allow = "10.0.0.1/8" } } } }
    local code, out = app:cli "check"
    assert.equal(2, code)
    assert.matches("gateways%[1%].api.keys_file: is missing", out)
    app.config.gateways[1].api.keys_file = "conf/keys"
    app:save_config()
    testbed.write_file(app.dir .. "/conf/keys", "a key-of-16-letters sendToUds\n")
    process.run { "chmod", "644", app.dir .. "/conf/keys" }
    code, out = app:cli "check"
    assert.equal(2, code)
    assert.matches('keys: line 1: "sendToUds" is no call of the API; did you mean "sendToUid"%?', out)
    assert.matches("can be read by other users", out)
    assert.matches('gateways%[1%].api.path: "api/" is not a path', out)
    assert.matches('gateways%[1%].api.allow: "10.0.0.1/8" is not a network', out)
    assert.matches("gateways%[1%].api: works on websocket and http ports only", out)
  end)

  it("are of no use while there is no worker", function()
    app = new {
      script = script, workers = { count = 0 },
      gateways = { { listen = "http", accept_before_ready = true, api = { keys_file = "conf/keys" } } },
    }
    app:up()
    local code, body, headers = ask(app.port[1], "/api/getAllUidList", "{}")
    assert.same({ 503, "1", "application/problem+json" }, { code, headers["retry-after"], headers["content-type"] })
    assert.matches('"code":"enotconn"', body)
    local counters = app:counters("gateway", 0)
    assert.same({ 1, 0 }, { counters.requests_refused, counters.api_calls })
  end)
end)

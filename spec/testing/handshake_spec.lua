-- The table that onHandshake may return: who is let in with what, who is refused
-- how, and what a script is told that got it wrong.
local testing = require "gwrun.testing"

describe("onHandshake's table", function()
  local app

  --- Start with a handler that returns this Lua expression.
  local function start(answer, gateway)
    app = testing.start {
      errors = "collect",
      gateways = { gateway or {} },
      text = [[
        Events = {}

        function Events.onHandshake(request)
          return ]] .. answer .. [[

        end

        function Events.onConnect(client_id)
          Gateway.sendToClient(client_id, ("%s %s %s"):format(_SESSION.name,
            Gateway.getUidByClientId(client_id), table.concat(Gateway.getGroupsByClientId(client_id), "+")))
        end

        function Events.onWebSocketConnect(client_id, request)
          Gateway.sendToClient(client_id, "chose " .. tostring(request.server.WEBSOCKET_PROTOCOL))
        end
      ]],
    }
  end

  after_each(function() app:stop() end)

  it("gives a client its session, uid and groups before onConnect", function()
    start [[{ session = { name = "Ann", [7] = { 1, 2 } }, uid = 42, groups = { "b", "a", 7 } }]]
    local client = app:connect()
    assert.same({ "Ann 42 7+a+b", "chose nil" }, client:received())
    assert.same({ name = "Ann", [7] = { 1, 2 } }, client:session())
    assert.equal("42", client:uid())
    assert.same({ "7", "a", "b" }, client:groups())
    assert.same({}, app:errors())
  end)

  it("routes by a uid from the first event on", function()
    app = testing.start {
      workers = 4, gateways = { { router = "hash_uid" } },
      text = [[
        Events = {}
        function Events.onHandshake() return { uid = "ann" } end
        function Events.onWorkerStart(worker) number = worker.id end
        function Events.onConnect(client_id) Gateway.sendToClient(client_id, number) end
        function Events.onMessage(client_id) Gateway.sendToClient(client_id, number) end
      ]],
    }
    local seen = {}
    for i = 1, 8 do
      local client = app:connect { ip = "192.0.2." .. i }
      client:send "x"
      for _, worker in ipairs(client:received()) do seen[worker] = true end
    end
    assert.is_nil(next(seen, next(seen)))
  end)

  it("gives nothing when it is empty", function()
    start "{}"
    local client = app:connect()
    assert.same({ "nil nil ", "chose nil" }, client:received())
    assert.equal(101, client.status)
    assert.same({}, client:session())
  end)

  it("chooses a subprotocol, ahead of the listener's", function()
    start([[{ protocol = "v1" }]], { protocols = { "v2", "v1" } })
    local client = app:connect { subprotocol = "v0, v2, v1" }
    assert.equal("v1", client.subprotocol)
    assert.equal("chose v1", client:last())
  end)

  it("leaves the choice to the listener", function()
    start("{}", { protocols = { "v2", "v1" } })
    assert.equal("v2", app:connect { subprotocol = "v1, v2" }.subprotocol)
    assert.is_nil(app:connect { subprotocol = "v3" }.subprotocol)
  end)

  it("sets headers of the answer that lets in", function()
    start [[{ headers = { ["Set-Cookie"] = { "a=1; HttpOnly", "b=2" }, ["X-Number"] = 7, ["x-empty"] = "" } }]]
    local client = app:connect()
    assert.equal(101, client.status)
    assert.same({ "a=1; HttpOnly", "b=2" }, client.headers["set-cookie"])
    assert.equal("7", client.headers["x-number"])
    assert.equal("", client.headers["x-empty"])
    assert.equal("chose nil", client:last())
  end)

  it("refuses with status, headers and body", function()
    start [[{ status = 401, headers = { ["WWW-Authenticate"] = "Bearer", ["Content-Type"] = "application/json" },
      body = '{"error":"no token"}' }]]
    local client = app:connect()
    assert.equal(401, client.status)
    assert.equal("Bearer", client.headers["www-authenticate"])
    assert.equal("application/json", client.headers["content-type"])
    assert.equal("close", client.headers.connection)
    assert.equal('{"error":"no token"}', client.body)
    assert.equal(401, client.closed.status)
    assert.is_nil(client.id)
  end)

  it("refuses with a status's own words where there is no body", function()
    start [[{ status = tonumber(request.get.status), headers = { Location = "/elsewhere" }, body = request.get.body }]]
    for status, words in pairs { [302] = "Found", [404] = "Not Found", [599] = "Refused", [304] = "" } do
      local client = app:connect { path = "/?status=" .. status }
      assert.same({ status, words, "/elsewhere" }, { client.status, client.body, client.headers.location })
    end
    assert.equal("", app:connect { path = "/?status=404&body=" }.body)
    assert.equal("", app:connect { path = "/?status=304&body=x" }.body)
  end)

  -- Each mistake refuses with 500, and says so with the script's line.
  local mistakes = {
    [ [[{ heders = {} }]] ] = 'unknown key "heders"; did you mean "headers"?',
    [ [[{ cookies = {} }]] ] =
      'unknown key "cookies"; give status, headers and body, or protocol, headers, session, uid and groups',
    [ [[{ 401 }]] ] =
      "a key is a number; give status, headers and body, or protocol, headers, session, uid and groups",
    [ [[setmetatable({}, { __index = { status = 401 } })]] ] =
      "keys are behind __index of a metatable; put them into the table itself",
    [ [[{ headers = setmetatable({}, { __index = request.headers }) }]] ] =
      "headers are behind __index of a metatable; put them into the table itself",
    [ [[{ ["status\0"] = 401 }]] ] = [[unknown key "status\x00"; did you mean "status"?]],
    [ [[{ status = 401.5 }]] ] =
      "status is 401.5; give a whole number from 300 to 599, or leave it out to let the client in",
    [ [[{ status = 401, session = {}, uid = 1 }]] ] =
      "status refuses, and session, uid would let in; give one or the other",
    [ [[{ body = "no" }]] ] = "body is for a refusal; give status with it",
    [ [[{ status = 200 }]] ] =
      "status is 200; give a whole number from 300 to 599, or leave it out to let the client in",
    [ [[{ status = "401" }]] ] =
      "status is 401; give a whole number from 300 to 599, or leave it out to let the client in",
    [ [[{ status = 401, body = {} }]] ] = "body is a table; give a string",
    [ [[{ status = 401, body = ("x"):rep(65537) }]] ] = "body has 65537 bytes, more than 65536",
    [ [[{ headers = "Set-Cookie: a=1" }]] ] = "headers is a string; give a table { name = value }",
    [ [[{ headers = { "a" } }]] ] = "headers has a key that is a number; give the names of headers",
    [ [[{ headers = { ["a b"] = "c" } }]] ] = 'headers: "a b" is no name of a header',
    [ [[{ headers = { ["Upgrade"] = "c" } }]] ] =
      'headers: "Upgrade" belongs to the connection, which the gateway writes',
    [ [[{ headers = { ["sec-websocket-Extensions"] = "c" } }]] ] =
      'headers: "sec-websocket-Extensions" belongs to the connection, which the gateway writes',
    [ [[{ status = 401, headers = { ["Content-Length"] = 3 } }]] ] =
      'headers: "Content-Length" belongs to the connection, which the gateway writes',
    [ [[{ headers = { a = "b\r\nSet-Cookie: c=d" } }]] ] =
      "headers: a has a line break or another control character in it",
    [ [[{ headers = { a = "b\0" } }]] ] = "headers: a has a line break or another control character in it",
    [ [[{ headers = { a = true } }]] ] = "headers: a is a boolean; give a string",
    [ [[{ headers = { a = 1.5 } }]] ] = "headers: a is a number; give a string",
    [ [[{ headers = { Location = { "a", "b" } } }]] ] =
      'headers: Location is a table; only Set-Cookie may be a list, others are one string ("a, b")',
    [ [[{ headers = { ["Set-Cookie"] = { a = "b" } } }]] ] =
      "headers: Set-Cookie is a table with keys; give a list of strings",
    [ [[{ headers = { ["Set-Cookie"] = { "a=1", "b=2\n" } } }]] ] =
      "headers: Set-Cookie has a line break or another control character in it",
    [ [[{ headers = { ["Set-Cookie"] = (function() local t = {} for i = 1, 65 do t[i] = "a" end return t end)() } }]] ] =
      "headers has more than 64 lines, or than 16384 bytes",
    [ [[{ headers = { a = ("x"):rep(16384) } }]] ] = "headers has more than 64 lines, or than 16384 bytes",
    [ [[{ protocol = "v3" }]] ] = 'protocol is "v3", and the client offered "v1, v2"',
    [ [[{ protocol = "" }]] ] = 'protocol is "", and the client offered "v1, v2"',
    [ [[{ protocol = "v1, v2" }]] ] = 'protocol is "v1, v2", and the client offered "v1, v2"',
    [ [[{ protocol = {} }]] ] = "protocol is a table; give a string",
    [ [[{ session = "x" }]] ] = "session is a string; give a table",
    [ [[{ session = { cart = { print } } }]] ] = "session.cart[1] is a function, which cannot be saved",
    [ [[{ session = { x = ("x"):rep(2000) } }]] ] =
      "session would be 2024 bytes, more than the 1024 that its gateway takes (max_session)",
    [ [[{ uid = "" }]] ] = "uid: must not be empty or 0, and not longer than 255 bytes",
    [ [[{ uid = ("x"):rep(256) }]] ] = "uid: must not be empty or 0, and not longer than 255 bytes",
    [ [[{ uid = {} }]] ] = "uid: string or integer expected, got table",
    [ [[{ groups = { "a", 0 } }]] ] = "groups[2]: must not be empty or 0, and not longer than 255 bytes",
    [ [[{ groups = { a = true } }]] ] = "groups is a table with keys; give a list of names",
    [ [[{ groups = { "a", "b", "c", "d" } }]] ] =
      "groups has 4 names, more than the 3 that its gateway allows a client (max_groups)",
  }

  for answer, wrong in pairs(mistakes) do
    it("refuses with 500 and says: " .. wrong, function()
      start(answer, { max_session = 1024, max_groups = 3 })
      local client = app:connect { subprotocol = "v1, v2" }
      assert.equal(500, client.status)
      assert.equal("Internal Server Error", client.body)
      local errors = app:errors()
      assert.equal(1, #errors)
      assert.truthy(errors[1]:find("script.lua:3: onHandshake returned a table in which " .. wrong, 1, true),
        errors[1])
    end)
  end

  it("says where the same header stands twice", function()
    start [[{ headers = { ["X-A"] = "1", ["x-a"] = "2" } }]]
    assert.equal(500, app:connect().status)
    assert.matches("headers: [xX]%-[aA] is there twice, in other letters", app:errors()[1])
  end)

  it("is all that is returned", function()
    start [[{ status = 401 }, "who are you"]]
    assert.equal(500, app:connect().status)
    assert.matches("script.lua:3: onHandshake returned a table and something behind it", app:errors()[1])
  end)

  it("is no refusal that was meant for an assert", function()
    start [[nil, "the token has expired"]]
    assert.equal(500, app:connect().status)
    assert.matches("script.lua:3: onHandshake returned nil and something behind it; to refuse return false", app:errors()[1])
    app:stop()
    start [[true, "and more"]]
    assert.equal(101, app:connect().status)
  end)

  it("may have a status from JSON, whose numbers are floats in some libraries", function()
    start [[401.0, "who are you"]]
    assert.equal(401, app:connect().status)
    app:stop()
    start [[{ status = 302.0 }]]
    assert.equal(302, app:connect().status)
    app:stop()
    start [[404.5]]
    assert.equal(500, app:connect().status)
    assert.equal(1, #app:errors())
  end)

  it("tells the line of a wrong status, too", function()
    start [[302, "elsewhere"]]
    assert.equal(500, app:connect().status)
    assert.matches("script.lua:3: onHandshake must return nothing or true", app:errors()[1])
  end)

  it("survives a callback that is none any more", function()
    start [[(function() Events.onHandshake = 5 return { 1 } end)()]]
    assert.equal(500, app:connect().status)
    assert.matches("^.-onHandshake returned a table in which a key is a number", app:errors()[1])
  end)

  it("may come after a wait, and of a request that the script has changed", function()
    app = testing.start {
      text = [[
        Events = {}
        function Events.onHandshake(request)
          request.headers = nil
          Timer.sleep(1)
          return { protocol = "v2" }
        end
      ]],
    }
    local client = app:connect { subprotocol = "v1, v2" }
    assert.is_nil(client.status)
    app:advance(1)
    assert.same({ 101, "v2" }, { client.status, client.subprotocol })
  end)
end)

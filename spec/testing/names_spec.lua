-- What a script finds under which name: nil, modules, globals, errors.
local testing = require "gwrun.testing"

local header = [[
  Events = {}
  function Events.onMessage(client_id, text)
    local function show(ok, ...)
      local list = table.pack(...)
      for i = 1, list.n do list[i] = tostring(list[i]) end
      return table.concat(list, " ")
    end
    Gateway.sendToClient(client_id, show(pcall(load(text, "=it"))))
  end
]]

describe("a script", function()
  local app

  after_each(function() app:stop() end)

  local function start(text, options)
    options = options or {}
    options.text = header .. (text or "")
    app = testing.start(options)
    return app:connect { path = "/?a=1" }
  end

  local function says(client, expected, text)
    client:send(text)
    assert.equal(expected, client:last())
  end

  describe("is told what is missing by nil:", function()
    it("the uid of a client that has none, in onClose", function()
      local client = start [[
        function Events.onClose(_, info) print(info.uid == nil, #info.groups, info.session) end
      ]]
      client:close()
      assert.same({ "true\t0\tnil" }, app:log())
    end)

    it("a header that was not sent, in onWebSocketConnect and onHandshake", function()
      start [[
        function Events.onHandshake(request)
          print(request.server.CONTENT_TYPE, next(request.cookie), request.headers.origin)
        end
        function Events.onWebSocketConnect(_, request)
          print(request.server.CONTENT_TYPE, next(request.cookie), request.get.a)
        end
      ]]
      assert.same({ "nil\tnil\tnil", "nil\tnil\t1" }, app:log())
    end)

    it("but null within a session stays null, in onClose, too", function()
      local client = start [[
        function Events.onClose(_, info) print(info.session.a == gwrun.json.null) end
      ]]
      says(client, "true", "_SESSION.a = gwrun.json.null return _SESSION.a == gwrun.json.null")
      client:close()
      assert.same({ "true" }, app:log())
    end)
  end)

  describe("requires", function()
    it("its own files, also those with names of files of gwrun's", function()
      app = testing.start { script = "spec/testing/scripts/named/events.lua" }
      local client = app:connect()
      client:send "x"
      assert.equal("my gateway my prelude my globals my misspelt my raise", client:last())
    end)

    it("no file of gwrun's by accident", function()
      local client = start()
      for _, name in ipairs {
        "gateway", "prelude", "globals", "gwrun.console", "gwrun.testing", "gwrun.async", "gwrun.cron", "gwrun.raise",
      } do
        client:send(("return require %q"):format(name))
        assert.matches("module '" .. name .. "' not found", client:last(), 1, true)
      end
      says(client, "true", "return require 'gwrun.jwt' == gwrun.jwt and require 'gwrun' == gwrun")
      says(client, "true", "return gwrun.routes == require 'gwrun.routes' and gwrun.nothing == nil")
    end)

    it("modules that are read when they are needed, and does not see that", function()
      local client = start()
      says(client, "function true", "return type(Http.get), Http == require 'gwrun.http'")
      says(client, "own function", "Mysql.connect = 'own' return Mysql.connect, type(Mysql.Connection)")
      says(client, "function", "for name, f in pairs(Websocket) do if name == 'feed' then return type(f) end end")
      says(client, "nil Redis", "return Redis.nothing, getmetatable(Redis) or 'Redis'")
    end)
  end)

  describe("may make its globals strict", function()
    local strict = {
      ["pl.strict"] = "require 'pl.strict'",
      ["Lua's strict.lua"] = [[
        local mt = getmetatable(_G)
        if mt == nil then mt = {} setmetatable(_G, mt) end
        mt.__declared = {}
        local function what() return (debug.getinfo(3, "S") or { what = "C" }).what end
        mt.__newindex = function(t, n, v)
          if not mt.__declared[n] then
            if what() ~= "main" and what() ~= "C" then error("assign to undeclared global '" .. n .. "'", 2) end
            mt.__declared[n] = true
          end
          rawset(t, n, v)
        end
        mt.__index = function(_, n)
          if not mt.__declared[n] and what() ~= "C" then error("variable '" .. n .. "' is not declared", 2) end
        end
      ]],
      ["a metatable"] = [[
        setmetatable(_G, {
          __index = function(_, n) error("variable '" .. n .. "' is not declared", 2) end,
          __newindex = function(_, n) error("assign to undeclared global '" .. n .. "'", 2) end,
        })
      ]],
    }

    for name, text in pairs(strict) do
      it("with " .. name, function()
        local client = start(text)
        says(client, "it:1: variable 'mispelt' is not declared", "return mispelt")
        client:send "local function f() mispelt = 1 end f()"
        assert.matches("^it:1: assign to undeclared global 'mispelt'", client:last())
        says(client, "1 " .. client.id, "_SESSION.n = 1 return _SESSION.n, _SERVER.GATEWAY_CLIENT_ID")
        says(client, "2", "_SESSION = { n = 2 } return _SESSION.n")
        says(client, "2", "return _SESSION.n")
      end)
    end

    it("with a table of defaults, and take it back", function()
      local client = start "setmetatable(_G, { __index = { answer = 42 } })"
      says(client, "42 nil", "return answer, question")
      says(client, "42", "return getmetatable(_G).__index.answer")
      says(client, "nil nil nil", "setmetatable(_G, nil) return answer, getmetatable(_G), _SESSION.x")
    end)
  end)

  it("is told which listener a client has come through", function()
    local client = start(nil, { gateways = {
      { name = "Web", port = 8283 }, { name = "Phone", listen = "text", port = 8284 }, {},
    } })
    local text = "return _SERVER.GATEWAY_NAME, _SERVER.GATEWAY_PORT"
    local phone, third = app:connect { gateway = 2 }, app:connect { gateway = 3 }
    says(client, "Web 8283", text)
    says(phone, "Phone 8284", text)
    third:send(text)
    assert.matches("^Gateway3 %d+$", third:last())
    says(client, "nil", "return _SERVER.GATEWAY_NAME and gwrun.spawn(function() print(_SERVER) end)")
    assert.same({ "nil" }, app:log())
    app:kill_gateway(1)
    app:start_gateway(1)
    says(app:connect { gateway = 1 }, "Web 8283", text)
  end)

  it("sees the chosen port in a websocket's request, too", function()
    app = testing.start { gateways = { { port = 8283 } }, text = header .. [[
      function Events.onHandshake(request) print(request.server.SERVER_PORT) end
    ]] }
    app:connect()
    assert.same({ "8283" }, app:log())
    assert.error_matches(function()
      testing.start { gateways = { { port = 70000 } }, text = header }
    end, "gateways[1]: port is 70000; give a number from 1 to 65535", 1, true)
  end)

  it("uses metatables of other tables as ever", function()
    local client = start()
    says(client, "true nil true", [[
      local t, meta = {}, {}
      return setmetatable(t, meta) == t, getmetatable({}), getmetatable(t) == meta
    ]])
    says(client, "mine", "return getmetatable(setmetatable({}, { __metatable = 'mine' }))")
    says(client, "it:1: cannot change a protected metatable", "setmetatable(setmetatable({}, { __metatable = 1 }), {})")
    says(client, "it:1: bad argument #2 to 'setmetatable' (nil or table expected, got number)", "setmetatable({}, 1)")
    says(client, "it:1: bad argument #1 to 'getmetatable' (value expected)", "getmetatable()")
  end)

  it("learns what to use when it waits in a coroutine of its own", function()
    local client = start()
    client:send "return select(2, coroutine.resume(coroutine.create(function() Timer.sleep(1) end)))"
    assert.matches("^it:1: cannot wait here: .* gwrun.spawn%(%) or gwrun.parallel%(%)$", client:last())
  end)

  it("gets other random numbers after each reload and in each worker", function()
    start(nil, { workers = 2 })
    local seen = {}
    for _ = 1, 20 do
      local number = app:run "return math.random(0)"
      assert.is_nil(seen[number])
      seen[number] = true
      assert.is_true(app:reload(header))
    end
  end)

  it("has all of Lua's libraries but what docs/scripts.md names", function()
    start()
    local missing = {}
    for _, lib in ipairs { "_G", "coroutine", "debug", "io", "math", "os", "package", "string", "table", "utf8" } do
      for name, value in pairs(_G[lib]) do
        local is_lua = lib ~= "_G" or type(value) == "function" and debug.getinfo(value).what == "C"
        if is_lua and not app:run("local lib, name = ... return _G[lib][name] ~= nil", lib, name) then
          missing[#missing + 1] = lib .. "." .. name
        end
      end
    end
    table.sort(missing)
    assert.same({ "debug.sethook", "io.stdin" }, missing)
    local not_available = {}
    for _, lib in ipairs { "coroutine", "debug", "io", "math", "os", "string", "table", "utf8" } do
      for name in pairs(_G[lib]) do
        local is_refused = app:run([[
          local lib, name = ...
          local at = debug.getinfo(type(_G[lib][name]) == "function" and _G[lib][name] or print)
          return at.what ~= "C" and at.short_src:find "prelude" and select(2, pcall(_G[lib][name], "x")):find "not available"
        ]], lib, name)
        if is_refused then not_available[#not_available + 1] = lib .. "." .. name end
      end
    end
    table.sort(not_available)
    assert.same({ "debug.debug", "io.popen", "io.read", "os.execute", "os.exit", "os.setlocale" }, not_available)
  end)

  it("asks whether it serves, by either name", function()
    says(start(), "true true", "return gwrun.isServing(), gwrun.is_serving == gwrun.isServing")
  end)
end)

describe("a raised", function()
  local function logged(raise, first_line)
    local app = testing.start { errors = "collect", text = [[
      Events = {}
      function Events.onMessage() ]] .. raise .. [[ end
    ]] }
    app:connect():send "x"
    local text = table.concat(app:errors(), "\n")
    app:stop()
    assert.equal(first_line, text:match "\n([^\n]*)\nstack traceback:", text)
    assert.matches("script.lua:2: in function", text, 1, true)
  end

  it("table is logged with what is in it, in one line", function()
    logged("error { code = 42 }", "{code = 42}")
    logged([[error { "a", 2.5, true, code = 42, ["two words"] = "x\ny", [-1] = { b = { c = { d = 1 } } } }]],
      [[{"a", 2.5, true, code = 42, ["two words"] = "x\ny", [-1] = {…}}]])
    logged("error {}", "{}")
  end)

  it("table within itself or without end is cut", function()
    logged("local t = { n = 1 } t.t = t error(t)", "{n = 1, t = {n = 1, t = {n = 1, t = {…}}}}")
    logged("local t = {} for i = 1, 1e5 do t[i] = i end error(t)",
      "{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, …}")
  end)

  it("table with __tostring is what that says", function()
    logged("error(setmetatable({ code = 42 }, { __tostring = function(e) return 'code ' .. e.code end }))",
      "code 42")
    logged("error(setmetatable({ code = 42 }, { __tostring = function() error 'no' end }))", "{code = 42}")
  end)

  it("value of another kind is named", function()
    logged("error()", "nil")
    logged("error(true)", "true")
    logged("error(12)", "12")
  end)
end)

describe("a spec", function()
  it("finds gwrun's modules", function()
    local json, jwt, crypto = require "gwrun.json", require "gwrun.jwt", require "gwrun.crypto"
    local key = ("k"):rep(32)
    assert.equal("ann", jwt.verify(jwt.sign({ sub = "ann" }, key), key).sub)
    assert.equal('{"n":7}', json.encode { n = 7 })
    assert.equal("9dd4e461268c8034f5c8564e155c67a6", crypto.md5 "x")
    assert.equal("a=1", require "gwrun.http".encode { a = 1 })
    assert.equal(json.null, require "gwrun.redis".null)
    assert.equal(json.null, require "gwrun.mysql".null)
    assert.equal(json, require "gwrun".json)
    assert.is_function(require "gwrun.shared".get)
  end)

  it("is told that nothing can wait in it", function()
    local calls = {
      function() require "gwrun.redis".connect() end,
      function() require "gwrun.mysql".connect { user = "u", database = "d" } end,
      function() require "gwrun.http".get "http://127.0.0.1/" end,
      function() require "gwrun".spawn(print) end,
      function() require "gwrun.shared".get "key" end,
      function() require "gwrun.crypto".hashPassword "password" end,
    }
    for _, call in ipairs(calls) do
      assert.error_matches(call, "nothing can wait or connect in a spec; do it in the script, or with app:run()", 1, true)
    end
  end)

  it("finds files of its project before any of gwrun's", function()
    assert.is_nil(package.searchpath("gateway", package.path))
    assert.has_error(function() require "gateway" end)
  end)
end)

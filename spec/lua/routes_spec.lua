-- gwrun.routes: which function a request's path and method find.
describe("lua/gwrun/routes.lua", function()
  local app, handler

  before_each(function()
    local raise = package.loaded["gwrun.raise"]
    package.loaded["gwrun.raise"] = assert(loadfile "lua/gwrun/raise.lua")()
    app = assert(loadfile "lua/gwrun/routes.lua") { raise = require "gwrun.raise" }.new()
    package.loaded["gwrun.raise"] = raise
    handler = app:handler()
  end)

  local function ask(text)
    local method, path = text:match "^(%S+) (%S+)$"
    return handler { method = method, path = path }
  end

  local function say(...)
    local words = table.pack(...)
    return function(_, params)
      local list = {}
      for i, name in ipairs(words) do list[i] = params[name] or name end
      return table.concat(list, " ")
    end
  end

  it("finds plain segments, names and the rest", function()
    app:get("/", say "root"):get("/rooms", say "all"):get("/rooms/:id", say("one", "id"))
    app:get("/rooms/:room/people/:who", say("room", "who")):get("/files/*path", say "path")
    assert.equal("root", ask "GET /")
    assert.equal("all", ask "GET /rooms")
    assert.equal("one 7", ask "GET /rooms/7")
    assert.equal("7 ann", ask "GET /rooms/7/people/ann")
    assert.equal("a/b.txt", ask "GET /files/a/b.txt")
    assert.equal("", ask "GET /files/")
    for _, path in ipairs { "/rooms/", "/rooms/7/", "/rooms/7/people", "/files", "/Rooms", "//" } do
      assert.is_nil(ask("GET " .. path), path)
    end
  end)

  it("takes plain text before a name, and that before the rest", function()
    app:get("/a/*rest", say("rest:", "rest")):get("/a/:id", say("id:", "id")):get("/a/new", say "new")
    app:get("/a/:id/x", say("x:", "id"))
    assert.equal("new", ask "GET /a/new")
    assert.equal("id: other", ask "GET /a/other")
    assert.equal("x: new", ask "GET /a/new/x")
    assert.equal("rest: new/y", ask "GET /a/new/y")
  end)

  it("decodes each segment by itself", function()
    app:get("/rooms/:id/x", say("id")):get("/ü", say "plain")
    assert.equal("a/b c", ask "GET /rooms/a%2Fb%20c/x")
    assert.equal("plain", ask "GET /%c3%BC")
    for _, path in ipairs { "/rooms/%/x", "/rooms/%2/x", "/rooms/%zz/x" } do
      assert.equal(400, (ask("GET " .. path)), path)
    end
  end)

  it("answers HEAD, OPTIONS and other methods", function()
    app:get("/a", say "get"):post("/a", say "post"):on("PURGE", "/b", say "purge")
    assert.equal("get", ask "HEAD /a")
    assert.equal("purge", ask "PURGE /b")
    local status, headers = ask "OPTIONS /a"
    assert.same({ 204, "GET, HEAD, OPTIONS, POST" }, { status, headers.Allow })
    status, headers = ask "DELETE /a"
    assert.same({ 405, "GET, HEAD, OPTIONS, POST" }, { status, headers.Allow })
    status, headers = ask "HEAD /b"
    assert.same({ 405, "OPTIONS, PURGE" }, { status, headers.Allow })
  end)

  it("passes by a path that does not have the method, if another that matches does", function()
    app:post("/rooms/new", say "create"):get("/rooms/:id", say("id:", "id")):put("/rooms/*rest", say("put:", "rest"))
    assert.equal("create", ask "POST /rooms/new")
    assert.equal("id: new", ask "GET /rooms/new")
    assert.equal("id: new", ask "HEAD /rooms/new")
    assert.equal("put: new", ask "PUT /rooms/new")
    local status, headers = ask "DELETE /rooms/new"
    assert.same({ 405, "GET, HEAD, OPTIONS, POST, PUT" }, { status, headers.Allow })
    status, headers = ask "OPTIONS /rooms/7"
    assert.same({ 204, "GET, HEAD, OPTIONS, PUT" }, { status, headers.Allow })
  end)

  it("runs what is used around all routes, the first outermost", function()
    app:get("/a", say "a")
    app:use(function(request, next)
      if request.path == "/secret" then return 401 end
      return "<" .. tostring(next()) .. ">"
    end)
    app:use(function(_, next) return "(" .. tostring(next()) .. ")" end)
    assert.equal("<(a)>", ask "GET /a")
    assert.equal("<(nil)>", ask "GET /b")
    assert.equal(401, ask "GET /secret")
  end)

  it("says what is wrong with a route, and where", function()
    local function fails(text, f)
      local ok, message = pcall(f)
      assert.is_false(ok)
      assert.is_truthy(message:find("routes_spec.lua:%d+: routes: "), message)
      assert.is_truthy(message:find(text, 1, true), message)
    end
    app:get("/a/:id", say "a")
    fails("GET /a/:x is there already", function() app:get("/a/:x", say "b") end)
    fails("the path is a; give one that begins with /", function() app:get("a", say "b") end)
    fails("*rest is not the last part", function() app:get("/*rest/b", say "b") end)
    fails(":1 in /:1 has no name", function() app:get("/:1", say "b") end)
    fails("/:a/:a has a twice", function() app:get("/:a/:a", say "b") end)
    fails("the method is get", function() app:on("get", "/", say "b") end)
    fails("GET /b has no function", function() app:get "/b" end)
    fails("use(f) has no function", function() app:use "f" end)
  end)
end)

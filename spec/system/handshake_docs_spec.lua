-- The scripts of docs/handshakes.md, with clients that see their answers.
local bridge = require "bridge"
local testbed = require "testbed"

--- The script below that heading.
local function script_of(heading)
  local text = "\n" .. testbed.read_file "docs/handshakes.md"
  local _, from = text:find("\n" .. heading .. "\n", 1, true)
  for block in text:sub(from):gmatch "\n```lua\n(.-)\n```" do
    if block:find("Events = {}", 1, true) then return block end
  end
  error(heading)
end

describe("docs/handshakes.md", function()
  local app

  local function start(heading, gateway)
    gateway = gateway or {}
    gateway.www = "www"
    app = testbed.new { script = script_of(heading), gateways = { gateway } }
    testbed.write_file(app.dir .. "/www/index.html", "<p>the page</p>")
    app:up()
  end

  after_each(function()
    bridge.close()
    app:stop()
  end)

  local function try(target, options)
    return bridge.try(app:url() .. target, options):event(function(e)
      return e.event == "refused" or e.event == "open"
    end)
  end

  --- A token that the page's secret signs.
  local function sign(claims)
    local secret = script_of "## A cookie":match 'local secret = "([^"]+)"'
    testbed.write_file(app.dir .. "/sign.lua", ([[
      print(require("gwrun.jwt").sign({ sub = "ann", aud = %q, exp = os.time() + 30, %s }, %q))
    ]]):format(claims.aud, claims.more or "", secret))
    local code, out = app:cli("exec", "sign.lua")
    assert.equal(0, code, out)
    return (out:gsub("%s", ""))
  end

  --- What a page's websocket at that URL gets: its subprotocol and a message.
  local function in_browser(page, target, protocols)
    return page:call("evaluate", ([[new Promise((resolve) => {
      const ws = new WebSocket(`ws://${location.host}/%s`, %s);
      ws.onmessage = (e) => resolve(ws.protocol + "|" + e.data);
      ws.onclose = (e) => resolve("closed " + e.code);
    })]]):format(target, protocols or "[]"))
  end

  local function open_page() return bridge.page("http://127.0.0.1:" .. app.port[1] .. "/") end

  it("refuses with a status", function()
    start "# Who is let in"
    local e = try "elsewhere"
    assert.same({ 404, "nobody lives here" }, { e.status, e.body })
    assert.equal("open", try "chat".event)
  end)

  describe("logs in with a cookie", function()
    before_each(function() start "## A cookie" end)

    it("from ws", function()
      assert.same({ 401, "log in first" }, { try("").status, try("").body })
      assert.equal(401, try("?ticket=" .. sign { aud = "cookie" }).status) -- no ticket
      local c = bridge.try(app:url() .. "?ticket=" .. sign { aud = "ticket" })
      local cookies = c:event(function(e) return e.event == "open" end).headers["set-cookie"]
      assert.equal("welcome ann", c:receive())
      assert.equal(2, #cookies)
      assert.matches("^login=.*; Path=/; Max%-Age=604800; HttpOnly; SameSite=Strict$", cookies[1])
      assert.equal("greeted=yes; Path=/", cookies[2])
      local again = bridge.try(app:url(), { headers = { Cookie = cookies[1]:match "^[^;]*" } })
      assert.is_nil(again:event(function(e) return e.event == "open" end).headers["set-cookie"])
      assert.equal("welcome ann", again:receive())
    end)

    it("from a browser, which sends the cookie by itself the next time", function()
      local page = open_page()
      assert.equal("closed 1006", in_browser(page, ""))
      assert.equal("|welcome ann", in_browser(page, "?ticket=" .. sign { aud = "ticket" }))
      assert.equal("|welcome ann", in_browser(page, ""))
      assert.equal("greeted=yes", page:call("evaluate", "document.cookie")) -- the other one is HttpOnly
    end)
  end)

  describe("takes a token as a subprotocol", function()
    before_each(function() start "## A token as a subprotocol" end)

    it("from ws", function()
      local e = try "?"
      assert.same({ 401, 'Bearer error="invalid_token"', "application/json", '{"error":"invalid_token"}' },
        { e.status, e.headers["www-authenticate"], e.headers["content-type"], e.body })
      assert.equal(401, try("", { protocols = { "bearer", sign { aud = "other" } } }).status)
      local c = bridge.try(app:url(),
        { protocols = { "bearer", sign { aud = "chat", more = 'rooms = { "lua", "c" }' } } })
      assert.equal("bearer", c:event(function(x) return x.event == "open" end).protocol)
      assert.equal("ann is here", c:receive())
    end)

    it("from a browser", function()
      local token = sign { aud = "chat", more = 'rooms = { "lua" }' }
      assert.equal("bearer|ann is here", in_browser(open_page(), "", ('["bearer", "%s"]'):format(token)))
      assert.equal("closed 1006", in_browser(open_page(), "", '["bearer", "x"]'))
    end)
  end)

  it("sends somewhere else", function()
    start "## Somewhere else"
    local e = try "v1"
    assert.same({ 302, "/v2", "moved" }, { e.status, e.headers.location, e.body })
    local c = bridge.connect(app:url() .. "v1", { followRedirects = true })
    assert.equal("/v2", c:receive())
  end)

  describe("chooses a subprotocol without a script", function()
    before_each(function() start("## A subprotocol without a script", { protocols = { "v2", "v1" } }) end)

    it("for ws", function()
      for offer, want in pairs { v1 = "v1", ["v0,v1,v2"] = "v2" } do
        local protocols = {}
        for name in offer:gmatch "[^,]+" do protocols[#protocols + 1] = name end
        local c = bridge.try(app:url(), { protocols = protocols })
        assert.equal(want, c:event(function(e) return e.event == "open" end).protocol)
        c:send "hello"
        assert.equal(want .. ": hello", c:receive())
      end
      local c = bridge.connect(app:url())
      c:send "hello"
      assert.equal("none: hello", c:receive())
    end)

    it("for a browser", function()
      assert.equal("v2 v2: hello", open_page():call("evaluate", [[new Promise((resolve) => {
        const ws = new WebSocket(`ws://${location.host}/`, ["v1", "v2"]);
        ws.onopen = () => ws.send("hello");
        ws.onmessage = (e) => resolve(ws.protocol + " " + e.data);
      })]]))
    end)
  end)
end)

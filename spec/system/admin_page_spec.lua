-- The operators' page in a browser: what it shows, of whom, and to whom.
local cjson = require "cjson"
local bridge = require "bridge"
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local KEY = "a key of the operators"

describe("the operators' page", function()
  local app, port, url

  setup(function()
    port = testbed.ports()
    url = "http://127.0.0.1:" .. port .. "/"
    app = testbed.new {
      gateways = { { listen = "text" } },
      script = [[
        Events = {}
        function Events.onMessage(id, message)
          if message == "raise" then error "boom" end
          Gateway.bindUid(id, message)
          Gateway.joinGroup(id, "room")
          Gateway.sendToClient(id, "bound")
        end
      ]],
      config = function(c) c.admin = { listen = "127.0.0.1:" .. port, key_file = "conf/key" } end,
    }
    testbed.write_file(app.dir .. "/conf/key", KEY .. "\n")
    assert(process.run { "chmod", "600", app.dir .. "/conf/key" } == 0)
    app:up()
  end)

  teardown(function()
    bridge.close()
    app:stop()
  end)

  local function ask(path, lines, body, method)
    local c = tcp.connect(port)
    c:send(("%s %s HTTP/1.1\r\n%s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"):format(
      method or (body and "POST" or "GET"), path, lines or "Host: localhost", #(body or ""), body or ""))
    local answer = c:wait_end()
    c:close()
    local head, rest = answer:match "^(.-\r\n)\r\n(.*)$"
    return tonumber(head:match "^HTTP/1.1 (%d+)"), head, rest
  end

  local authorized = "Host: localhost\r\nAuthorization: Bearer " .. KEY

  local function client(uid)
    local c = tcp.connect(app.port[1])
    c:send(uid .. "\n")
    c:receive "bound"
    return c
  end

  local function open(options)
    local page = bridge.page(url, options)
    page:call("waitForSelector", "#state[data-state=ready]")
    return page
  end

  local function enter(page)
    page:call("fill", "#key", KEY)
    page:call("press", "#key", "Enter")
    page:call("waitForSelector", "#search:not([hidden])")
  end

  local function find(page, by, value)
    page:call("selectOption", "#by", by)
    page:call("fill", "#value", value)
    page:call("press", "#value", "Enter")
  end

  it("shows live what there is, without a key", function()
    local page = open()
    local c = client "live"
    page:call("waitForSelector", "#tiles div:first-child b:text-is(\"1\")")
    page:call("waitForSelector", "#processes tbody tr:nth-child(4) >> text=gateway/0")
    assert.is_false(page:call("isVisible", "#search"))
    assert.is_false(page:call("isVisible", "#found"))
    assert.is_true(page:call("isVisible", "#login"))
    c:close()
    page:call("waitForSelector", "#tiles div:first-child b:text-is(\"0\")")
  end)

  it("tells where in the script errors are raised", function()
    local page, c = open(), tcp.connect(app.port[1])
    for _ = 1, 3 do c:send "raise\n" end
    page:call("waitForSelector", "#faults tr:has(td:text-is(\"scripts/events.lua:3\")) >> td:text-is(\"3\")")
    c:close()
  end)

  it("shows how long each callback takes", function()
    local page, c = open(), client "slow"
    page:call("waitForSelector", "#slowest tr:has(td:text-is(\"onMessage\")) td:text-is(\"ChatWorker\")")
    c:close()
  end)

  it("shows the largest groups, for the key", function()
    local page, c, other = open(), client "one", client "two"
    assert.is_false(page:call("isVisible", "#groups-section"))
    enter(page)
    page:call("waitForSelector", "#groups tr:has(td:text-is(\"room\")) td:text-is(\"2\")")
    assert.equal(401, (ask "/groups.json"))
    local _, _, body = ask("/groups.json", authorized)
    assert.same({ { group = "room", members = 2 } }, cjson.decode(body).groups)
    c:close()
    other:close()
  end)

  it("lists clients for the key, by id, uid, group and address", function()
    loop.poll("earlier clients to be gone", function() return app:counters("gateway", 0).clients == 0 end)
    local page, ann, bob = open(), client "ann", client "bob"
    page:call("fill", "#key", "not the key, though")
    page:call("press", "#key", "Enter")
    page:call("waitForSelector", "#note:has-text(\"that is not the key\")")
    enter(page)
    for by, value in pairs { uid = "ann", group = "room", ip = "127.0.0.0/8" } do
      find(page, by, value)
      page:call("waitForSelector", ("#note:text-is(\"%d found\")"):format(by == "uid" and 1 or 2))
      page:call("waitForSelector", "#clients td:text-is(\"ann\")")
    end
    find(page, "uid", "nobody")
    page:call("waitForSelector", "#note:text-is(\"0 found\")")
    assert.equal("", page:call("evaluate", "document.cookie")) -- HttpOnly
    page:call "reload"
    page:call("waitForSelector", "#search:not([hidden])") -- still known
    page:call("click", "#leave")
    page:call("waitForSelector", "#login:not([hidden])")
    ann:close()
    bob:close()
  end)

  it("shows what clients sent as text", function()
    local uid = "<img src=x onerror=document.title='owned'>"
    local page, c = open(), client(uid)
    enter(page)
    find(page, "uid", uid)
    page:call("waitForSelector", "#clients tbody tr")
    assert.equal(uid, page:call("textContent", "#clients tbody td:nth-child(4)"))
    assert.equal(0, page:call("evaluate", "document.querySelectorAll('#clients img').length"))
    assert.equal("gwrun", page:call "title")
    c:close()
  end)

  it("kicks, and the log says who did", function()
    local page, c, other = open(), client "kicked", client "stays"
    enter(page)
    find(page, "uid", "kicked")
    page:call("waitForSelector", "#clients tbody tr")
    page:call("evaluate", "window.confirm = () => true")
    page:call("click", "#clients tbody button")
    page:call("waitForSelector", "#note:text-is(\"1 closed\")")
    c:wait_end()
    app:wait_log "an operator kicks peer=127.0.0.1:"
    app:wait_log "kicked by an operator closed=1 peer=127.0.0.1:"
    assert.is_nil(other.ended)
    other:close()
  end)

  it("wants the key for each list and each kick", function()
    for _, path in ipairs { "/clients.json", "/kick" } do
      local status, head = ask(path, nil, '{"uid":"x"}')
      assert.equal(401, status)
      assert.matches("\r\nwww%-authenticate: Bearer", head:lower():gsub("bearer", "Bearer"))
      assert.equal(401, (ask(path, "Host: localhost\r\nCookie: gwrun_admin=", '{"uid":"x"}')))
      assert.equal(405, (ask(path, authorized)))
      assert.equal(403, (ask(path, authorized .. "\r\nOrigin: http://evil.example", '{"uid":"x"}')))
      assert.equal(421, (ask(path, "Host: evil.example\r\nAuthorization: Bearer " .. KEY, '{"uid":"x"}')))
    end
    assert.equal(403, (ask("/login", "Host: localhost\r\nOrigin: http://evil.example", KEY)))
  end)

  it("answers programs that send the key", function()
    local c = client "program"
    local status, _, body = ask("/clients.json", authorized, '{"uid":"program"}')
    assert.equal(200, status)
    local found = cjson.decode(body)
    assert.same({ 1, false, 0 }, { #found.rows, found.more, found.unanswered })
    assert.equal("program", found.rows[1].uid)
    assert.equal("Gateway1/0", found.rows[1].gateway)
    status, _, body = ask("/kick", authorized, cjson.encode { client_id = found.rows[1].client_id })
    assert.same({ 200, 1 }, { status, cjson.decode(body).clients })
    c:wait_end()
    for _, wrong in ipairs { "", "{}", "[]", '{"uid":1}', '{"uid":"a","all":true}', "{" } do
      assert.equal(400, (ask("/kick", authorized, wrong)))
    end
    assert.equal(400, (ask("/clients.json", authorized, '{"uid":1}')))
    assert.equal(413, (ask("/kick", authorized, ("x"):rep(5000))))
  end)

  it("stops at 200 clients, and says that there are more", function()
    local clients = {}
    for i = 1, 210 do clients[i] = tcp.connect(app.port[1]) end
    loop.poll("all clients", function() return app:counters("gateway", 0).clients >= 210 end)
    local _, _, body = ask("/clients.json", authorized, "{}")
    local found = cjson.decode(body)
    assert.same({ 200, true }, { #found.rows, found.more })
    _, _, body = ask("/clients.json", authorized, '{"uid":"nobody"}') -- the next question
    assert.same({ rows = {}, more = false, unanswered = 0 }, cjson.decode(body))
    for _, c in ipairs(clients) do c:close() end
  end)

  local function assert_good(axe)
    assert.same({}, axe.violations)
    assert.is_true(axe.passes > 15, axe.passes .. " rules") -- it has looked
  end

  it("shuts nobody out before the key is given: axe finds nothing", function()
    local page = open { viewport = { width = 390, height = 844 } }
    page:call("waitForSelector", "#login:not([hidden])")
    assert_good(page:axe())
  end)

  for _, locale in ipairs { "en-US", "zh-CN" } do
    for _, scheme in ipairs { "light", "dark" } do
      for _, width in ipairs { 390, 1280 } do
        describe(("of %d px in %s, %s,"):format(width, locale, scheme), function()
          local c, page

          local function show() -- all that there can be
            if page then return end
            local bad = tcp.connect(app.port[1])
            bad:send "raise\n"
            c = client(("a long uid "):rep(10))
            page = open { viewport = { width = width, height = 844 }, locale = locale, colorScheme = scheme }
            page:call("waitForSelector", "#faults tbody tr")
            page:call("waitForSelector", "#slowest tbody tr")
            bad:close()
            enter(page)
            page:call("waitForSelector", "#groups tbody tr")
            find(page, "", "")
            page:call("waitForSelector", "#clients tbody tr")
          end

          teardown(function() if c then c:close() end end)

          it("fits, without an error", function()
            show()
            assert.equal(0, page:call("evaluate", "document.documentElement.scrollWidth - innerWidth"))
            assert.equal(locale == "en-US" and "Processes" or "进程", page:call("textContent", "h2"))
            assert.equal(locale == "en-US" and "en" or "zh-CN", page:call("evaluate", "document.documentElement.lang"))
            local dark = page:call("evaluate", "getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
            assert.equal(scheme == "dark", dark)
            for _, e in ipairs(page.events) do
              assert.is_false(e.event == "console" or e.event == "error", tostring(e.message))
            end
          end)

          it("shuts nobody out: axe finds nothing", function()
            show()
            assert_good(page:axe())
          end)
        end)
      end
    end
  end

  it("changes its language", function()
    local page = open()
    page:call("click", "#language")
    page:call("waitForSelector", "h2:text-is(\"进程\")")
    page:call "reload"
    page:call("waitForSelector", "h2:text-is(\"进程\")")
  end)
end)

describe("who kicks", function()
  local FORWARDED = "X-Forwarded-For: 203.0.113.7"

  local function kick(trusted)
    local port = testbed.ports()
    local app = testbed.new {
      gateways = { { listen = "text" } },
      config = function(c)
        c.admin = { listen = "127.0.0.1:" .. port, key_file = "conf/key", trusted_proxies = trusted }
      end,
    }
    testbed.write_file(app.dir .. "/conf/key", KEY .. "\n")
    assert(process.run { "chmod", "600", app.dir .. "/conf/key" } == 0)
    app:up()
    local code, out = process.run { "curl", "-s", "-H", "Authorization: Bearer " .. KEY, "-H", FORWARDED,
      "-d", '{"uid":"nobody"}', ("http://127.0.0.1:%d/kick"):format(port) }
    assert.same({ 0, 0 }, { code, cjson.decode(out).clients })
    app:wait_log "kicked by an operator"
    app:stop()
    return app.master.out:match "an operator kicks [^\n]*"
  end

  it("is who connected, whatever its headers say", function()
    local line = kick(nil)
    assert.matches("peer=127%.0%.0%.1:%d+ uid=", line)
    assert.is_nil(line:find("203.0.113.7", 1, true))
  end)

  it("is told behind a trusted proxy, too, as what the proxy says", function()
    assert.matches("peer=127%.0%.0%.1:%d+ forwarded=203%.0%.113%.7:0 uid=", kick "127.0.0.0/8")
  end)
end)

describe("without a key_file", function()
  it("nobody sees clients, or closes any", function()
    local port = testbed.ports()
    local app = testbed.start { gateways = { { listen = "text" } }, config = function(c) c.admin = "127.0.0.1:" .. port end }
    local function status_of(path, body)
      local code, out = process.run { "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-d", body,
        "http://127.0.0.1:" .. port .. path }
      assert.equal(0, code)
      return tonumber(out)
    end
    assert.equal(403, status_of("/clients.json", "{}"))
    assert.equal(403, status_of("/kick", '{"uid":"x"}'))
    assert.equal(404, status_of("/login", "x"))
    app:stop()
  end)
end)

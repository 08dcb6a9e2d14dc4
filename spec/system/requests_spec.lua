-- Events.onRequest: what clients send, cut anywhere, what a script returns, and
-- what is refused before it.
local loop = require "loop"
local openssl = require "openssl"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"
local uv = require "luv"

local script = [[
local routes = require "gwrun.routes"
local json = require "gwrun.json"
Events = {}
local app = routes.new()
local released = false

app:on("GET", "/see", function(request)
  local all = {}
  for name, value in pairs(request) do all[name] = value end
  all.list = request:headerList "X-Two"
  return { json = all }
end)
app:on("POST", "/echo", function(request)
  return 200, { ["Content-Type"] = request.headers["content-type"] }, request.body
end)
app:on("POST", "/form", function(request)
  local form, message, code = request:form()
  return { json = form or { message = message, code = code } }
end)
app:on("POST", "/json", function(request)
  local value, message, code = request:json()
  return { json = { value = value, message = message, code = code } }
end)
app:on("GET", "/worker", function() return tostring(worker_index) end)
app:on("GET", "/hold", function()
  released = false
  Log.notice "holds"
  while not released do Timer.sleep(0.01) end
  Log.notice "lets go"
  return "released"
end)
app:on("GET", "/release", function()
  released = true
  return ""
end)
app:on("GET", "/forever", function()
  Log.notice "begins for ever"
  Timer.sleep(1000)
end)
app:on("GET", "/spin", function()
  Log.notice "spins"
  while true do end
end)
app:on("GET", "/big", function(request) return ("x"):rep(tonumber(request.get.n)) end)

local returns = {
  nothing = function() end,
  text = function() return "text" end,
  number = function() return 201 end,
  all = function() return 202, { ["X-A"] = "b", ["Set-Cookie"] = { "a=1", "b=2" } }, "body" end,
  json = function() return { status = 203, json = { a = { 1, json.null } } } end,
  body = function() return { body = "<p>", headers = { ["content-type"] = "text/html" } } end,
  redirect = function() return { redirect = "/elsewhere?a=1" } end,
  moved = function() return { status = 301, redirect = "/elsewhere" } end,
  empty = function() return 204 end,
  unchanged = function() return 304, { ETag = '"a"' }, "never sent" end,
  failed = function() return nil, "no database", "enotconn" end,
  raised = function() error "boom" end,
  typo = function() return { staus = 200 } end,
  two = function() return { body = "a", json = 1 } end,
  status = function() return 100 end,
  length = function() return 200, { ["Content-Length"] = "3" }, "abc" end,
  split = function() return 200, { ["X-A"] = "b\r\nX-C: d" } end,
  confused = function() return 200, "text" end,
  both = function() return "text", 404 end,
  third = function() return "200", nil, "body" end,
  behind = function() return { status = 200 }, nil, "body" end,
  code = function() return print end,
}
app:on("GET", "/return/:what", function(_, params) return returns[params.what]() end)

function Events.onWorkerStart(worker) worker_index = worker.id end
Events.onRequest = app:handler()
function Events.onMessage(client_id, message) Gateway.sendToClient(client_id, message) end
]]

describe("Events.onRequest", function()
  local app

  setup(function()
    app = testbed.new {
      script = script,
      gateways = {
        { listen = "websocket", www = "www" },
        { listen = "http", max_body = 1000, max_response = 2000 },
        { listen = "https", tls = { cert = "cert.pem", key = "key.pem" } },
        { listen = "http", request_timeout = 0.3, body_timeout = 0.3, keepalive_timeout = 0.3 },
        { listen = "http", allowed_origins = { "https://friend" }, trusted_proxies = { "127.0.0.1" } },
      },
      workers = { count = 2, handler_timeout = 0.5 },
    }
    openssl.certificate(app.dir)
    testbed.write_file(app.dir .. "/www/index.html", "<p>the page</p>")
    app:up()
  end)

  teardown(function() app:stop() end)

  --- The answer at the front of what a connection has: status, headers, body.
  local function answer(c, method)
    local head = c:receive "\r\n\r\n"
    local status = tonumber(head:match "^HTTP/1.1 (%d%d%d) ")
    local headers = {}
    for name, value in head:gmatch "\r\n([^:\r]+): ([^\r]*)" do
      name = name:lower()
      headers[name] = headers[name] and headers[name] .. "|" .. value or value
    end
    local length = method ~= "HEAD" and tonumber(headers["content-length"]) or 0
    loop.wait("the body", function() return #c.data >= length end)
    local body = c.data:sub(1, length)
    c.data = c.data:sub(length + 1)
    return status, body, headers
  end

  local function pair(status, body) return { status, body } end

  local function ask(i, text, method)
    local c = tcp.connect(app.port[i])
    c:send(text)
    local status, body, headers = answer(c, method)
    return status, body, headers, c
  end

  local function get(target, i)
    local status, body, headers, c = ask(i or 1, "GET " .. target .. " HTTP/1.1\r\nHost: x\r\n\r\n")
    c:close()
    return status, body, headers
  end

  local function post(target, content_type, body)
    local status, text, headers, c = ask(1, ("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s")
      :format(target, content_type, #body, body))
    c:close()
    return status, text, headers
  end

  it("sees all of the request", function()
    local _, body = ask(1, "GET /see?a=1&b[]=2 HTTP/1.1\r\nHost: x\r\nX-Two: a\r\nX-Two: b\r\nCookie: c=1\r\nCookie: d=2\r\n\r\n")
    for _, text in ipairs {
      '"method":"GET"', '"path":"/see"', '"uri":"/see?a=1&b[]=2"', '"b":["2"]', '"x-two":"a, b"', '"list":["a","b"]',
      '"cookie":"c=1; d=2"', '"d":"2"', '"remote_addr":"127.0.0.1"', '"HTTP_X_TWO":"a, b"', '"REQUEST_METHOD":"GET"',
      '"body":""', '"SERVER_PROTOCOL":"HTTP/1.1"',
    } do
      assert.is_truthy(body:find(text, 1, true), text .. " in " .. body)
    end
  end)

  it("returns what a script may return", function()
    local function is(what, status, body, name, value)
      local got, text, headers = get("/return/" .. what)
      assert.same({ what, status, body }, { what, got, text })
      if name then assert.equal(value, headers[name]) end
      assert.is_truthy(headers.date)
    end
    is("nothing", 404, "Not Found")
    is("text", 200, "text", "content-type", "text/plain; charset=utf-8")
    is("number", 201, "")
    is("all", 202, "body", "set-cookie", "a=1|b=2")
    is("json", 203, '{"a":[1,null]}', "content-type", "application/json")
    is("body", 200, "<p>", "content-type", "text/html")
    is("redirect", 302, "", "location", "/elsewhere?a=1")
    is("moved", 301, "", "location", "/elsewhere")
    is("empty", 204, "", "content-length", nil)
    is("unchanged", 304, "", "etag", '"a"')
  end)

  it("answers 500 for a mistake, and logs it", function()
    for what, text in pairs {
      failed = 'onRequest returned nil, "no database" and "enotconn"',
      raised = "boom",
      typo = 'unknown key "staus"; did you mean "status"?',
      two = "give one of them",
      status = "a status that is 100",
      length = '"Content-Length" belongs to the connection',
      split = "X-A has a line break",
      confused = "a text behind the status",
      both = "a text and something behind it",
      third = "a text and something behind it",
      behind = "a table and something behind it",
      code = "onRequest returned a function",
    } do
      assert.same({ 500, "Internal Server Error" }, pair(get("/return/" .. what)), what)
      app:wait_log(text)
    end
  end)

  it("reads forms", function()
    local _, body = post("/form", "application/x-www-form-urlencoded; charset=utf-8", "a=1+2&b[x]=%C3%BC")
    assert.equal('{"a":"1 2","b":{"x":"ü"}}', body:gsub('^{("b":.-}),("a":.-)}$', "{%2,%1}"))
    local parts = table.concat {
      "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n",
      "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x%22.txt\"\r\nContent-Type: text/x\r\n\r\nl1\r\n--c\r\n",
      "\r\n--b--\r\n",
    }
    _, body = post("/form", "multipart/form-data; boundary=b", parts)
    for _, text in ipairs { '"a":"1"', '"filename":"x\\".txt"', '"type":"text/x"', '"data":"l1\\r\\n--c\\r\\n"' } do
      assert.is_truthy(body:find(text, 1, true), text .. " in " .. body)
    end
    for cut = 0, #parts - 5 do
      _, body = post("/form", "multipart/form-data; boundary=b", parts:sub(1, cut))
      assert.is_truthy(body:find('"code":"eproto"', 1, true), cut .. body)
    end
    _, body = post("/form", "application/json", "{}")
    assert.is_truthy(body:find('"code":"enotsup"', 1, true))
  end)

  it("reads JSON", function()
    local _, body = post("/json", "application/json", '{"a":1}')
    assert.equal('{"value":{"a":1}}', body)
    _, body = post("/json", "application/json", '{"a":')
    assert.is_truthy(body:find("json: value expected", 1, true))
  end)

  it("is the same however a request is cut", function()
    local text = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\nT: u\r\n\r\n"
    local all = {}
    for cut = 1, #text - 1 do
      all[cut] = tcp.connect(app.port[1])
      all[cut]:send(text:sub(1, cut))
    end
    loop.pass(0.05)
    for cut, c in ipairs(all) do c:send(text:sub(cut + 1)) end
    for cut, c in ipairs(all) do
      local status, body, headers = answer(c)
      assert.same({ cut, 200, "abcdefg", "a/b" }, { cut, status, body, headers["content-type"] })
      c:close()
    end
  end)

  it("answers the requests of a connection one by one, in order", function()
    local one = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"
    local c = tcp.connect(app.port[1])
    c:send(one .. "1" .. "\r\n" .. one .. "2GET /return/empty HTTP/1.1\r\nHost: x\r\n\r\n" .. one .. "3")
    for _, body in ipairs { "1", "2", "", "3" } do
      local status, text = answer(c)
      assert.same({ body == "" and 204 or 200, body }, { status, text })
    end
    c:send(one:gsub("Host", "Connection: close\r\nHost") .. "4")
    local _, text, headers = answer(c)
    assert.same({ "4", "close" }, { text, headers.connection })
    c:wait_end()
    c:close()
  end)

  it("keeps a connection of HTTP/1.0 when asked to", function()
    local _, _, headers, c = ask(1, "GET /return/text HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert.equal("keep-alive", headers.connection)
    c:send "GET /return/text HTTP/1.0\r\n\r\n"
    _, _, headers = answer(c)
    assert.equal("close", headers.connection)
    c:wait_end()
    c:close()
  end)

  it("answers HEAD without a body", function()
    local status, _, headers, c = ask(1, "HEAD /return/text HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD")
    assert.same({ 200, "4" }, { status, headers["content-length"] })
    c:send "GET /return/number HTTP/1.1\r\nHost: x\r\n\r\n"
    assert.equal(201, (answer(c)))
    c:close()
  end)

  it("may be an upgrade after others", function()
    local _, _, _, c = ask(1, "GET /return/text HTTP/1.1\r\nHost: x\r\n\r\n")
    c:send("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      .. "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    c:receive "101 Switching Protocols"
    c:close()
  end)

  it("leaves the files of www to themselves", function()
    assert.same({ 200, "<p>the page</p>" }, pair(get "/"))
    assert.equal(404, (get "/missing.html"))
    local status, _, headers = get("/see", 2)
    assert.same({ 200, "application/json" }, { status, headers["content-type"] })
  end)

  it("takes the host of an absolute target", function()
    local _, body, _, c = ask(2, "GET http://other:80/see?a=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.is_truthy(body:find('"host":"other:80"', 1, true))
    assert.is_truthy(body:find('"uri":"/see?a=1"', 1, true))
    c:close()
  end)

  it("says 100 when a head and its size are accepted", function()
    local c = tcp.connect(app.port[2])
    local head = "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    c:send(head:format(3))
    c:receive "HTTP/1.1 100 Continue\r\n\r\n"
    c:send "abc"
    assert.same({ 200, "abc" }, pair(answer(c)))
    c:send(head:format(1001))
    assert.equal(413, (answer(c)))
    c:wait_end()
    c:close()
  end)

  it("works over TLS", function()
    local code, out = process.run({ "curl", "-sk", "-d", "a=1", ("https://127.0.0.1:%d/form"):format(app.port[3]) },
      { seconds = 10 })
    assert.same({ 0, '{"a":"1"}' }, { code, out })
  end)

  it("refuses what could be understood in two ways, and closes", function()
    local post_head = "POST /echo HTTP/1.1\r\nHost: x\r\n"
    local smuggled = "GET /return/text HTTP/1.1\r\nHost: x\r\n\r\n"
    for text, want in pairs {
      [post_head .. "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] = 400,
      [post_head .. "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"] = 400,
      [post_head .. "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"] = 400,
      [post_head .. "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"] = 501,
      [post_head .. "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"] = 400,
      [post_head .. "Content-Length: 0\r\nContent-Length: 44\r\n\r\n"] = 400,
      [post_head .. "Content-Length: +0\r\n\r\n"] = 400,
      ["POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] = 400,
      [post_head .. "Transfer-Encoding: chunked\r\n\r\n0\n\r\n"] = 400,
      [post_head .. "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n"] = 400,
      [post_head .. "X: a\r\n Content-Length: 44\r\n\r\n"] = 400,
      ["GET /see HTTP/1.1\r\nHost: x\nContent-Length: 44\r\n\r\n"] = 400,
      ["GET /see HTTP/1.1\r\n\r\n"] = 400,
      ["GET /see HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"] = 400,
    } do
      local status, _, headers, c = ask(2, text .. smuggled)
      assert.same({ text, want, "close" }, { text, status, headers.connection })
      assert.matches("GMT$", headers.date)
      assert.equal("", c:wait_end())
      c:close()
    end
  end)

  it("waits for no end of a head whose lines do not end with CRLF", function()
    for _, text in ipairs { "\n", "GET /see HTTP/1.1\n", "GET /see HTTP/1.1\r\nHost: x\n", "GET /see HTTP/1.1\r\n\n" } do
      for cut = 0, #text - 1 do
        local c = tcp.connect(app.port[2])
        if cut > 0 then
          c:send(text:sub(1, cut))
          assert.equal(200, (get("/return/text", 2))) -- it is read by then
        end
        c:send(text:sub(cut + 1))
        assert.equal(400, (answer(c)))
        c:wait_end()
        c:close()
      end
    end
  end)

  it("answers OPTIONS of the whole server", function()
    assert.equal(204, (ask(2, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")))
  end)

  describe("asked by a page", function()
    local function from(i, origin, method, more)
      local status, _, headers, c = ask(i, method .. " /echo HTTP/1.1\r\nHost: x:80\r\nContent-Length: 0\r\n"
        .. (origin and "Origin: " .. origin .. "\r\n" or "") .. (more or "") .. "\r\n")
      c:close()
      return status, headers
    end

    it("answers its own host's, and programs, and refuses others what changes something", function()
      assert.equal(200, (from(1, nil, "POST")))
      assert.equal(200, (from(1, "http://x:80", "POST")))
      assert.equal(200, (from(1, "HTTP://X:80", "POST")))
      for _, origin in ipairs { "http://y:80", "https://x:80", "http://x:81", "null", "", "http://x:80\r\nOrigin: a" } do
        for _, method in ipairs { "POST", "PUT", "DELETE", "PATCH", "ANY" } do
          assert.equal(403, (from(1, origin, method)), origin)
        end
      end
      local status, headers = from(1, "http://y:80", "GET")
      assert.same({ 405 }, { status, headers["access-control-allow-origin"] })
      assert.equal(204, (from(1, "http://y:80", "OPTIONS", "Access-Control-Request-Method: POST\r\n")))
    end)

    it("answers those of allowed_origins, and says that they may read it", function()
      local status, headers = from(5, "https://friend", "POST")
      assert.same({ 200, "https://friend", "true", "Origin" }, {
        status, headers["access-control-allow-origin"], headers["access-control-allow-credentials"], headers.vary,
      })
      status, headers = from(5, "https://friend", "OPTIONS",
        "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a, x-b\r\n")
      assert.same({ 204, "https://friend", "PUT", "x-a, x-b", "600" }, {
        status, headers["access-control-allow-origin"], headers["access-control-allow-methods"],
        headers["access-control-allow-headers"], headers["access-control-max-age"],
      })
      local _, too_long
      status, _, too_long = ask(5, "POST /echo HTTP/1.1\r\nHost: x\r\nOrigin: https://friend\r\nContent-Length: 1048577\r\n\r\n")
      headers = too_long
      assert.same({ 413, "https://friend", "Origin", "close" },
        { status, headers["access-control-allow-origin"], headers.vary, headers.connection })
      assert.equal(403, (from(5, "https://foe", "OPTIONS", "Access-Control-Request-Method: PUT\r\n")))
      assert.equal(403, (from(5, "https://foe", "POST")))
      status, headers = from(5, "https://foe", "GET")
      assert.same({ 405, "Origin" }, { status, headers.vary, headers["access-control-allow-origin"] })
    end)

    it("takes a trusted proxy's word for the scheme", function()
      assert.equal(200, (from(5, "https://x:80", "POST", "X-Forwarded-Proto: https\r\n")))
      assert.equal(403, (from(5, "https://x:80", "POST")))
      assert.equal(403, (from(1, "https://x:80", "POST", "X-Forwarded-Proto: https\r\n")))
    end)
  end)

  it("bounds bodies and answers", function()
    local head = "POST /echo HTTP/1.1\r\nHost: x\r\n"
    assert.equal(413, (ask(2, head .. "Content-Length: 1001\r\n\r\n")))
    assert.equal(413, (ask(2, head .. "Transfer-Encoding: chunked\r\n\r\n3e9\r\n")))
    assert.equal(200, (ask(2, head .. "Content-Length: 1000\r\n\r\n" .. ("x"):rep(1000))))
    assert.equal(200, (get("/big?n=2000", 2)))
    assert.equal(500, (get("/big?n=2001", 2)))
    app:wait_log "more than the 2000 that its gateway takes (max_response)"
  end)

  it("ends what takes too long", function()
    local status, body, _, c = ask(4, "GET /forever HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.same({ 504, "Gateway Timeout" }, { status, body })
    c:send "GET /return/text HTTP/1.1\r\nHost: x\r\n\r\n"
    assert.same({ 200, "text" }, pair(answer(c)))
    c:wait_end()
    c:close()
    c = tcp.connect(app.port[4])
    c:send "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc"
    assert.equal(408, (answer(c)))
    c:wait_end()
    c:close()
    local counters = app:counters("gateway", 3)
    assert.same({ 1, 1 }, { counters.requests_timed_out, counters.bodies_timed_out })
  end)

  local function count_lines(text) return select(2, app:log():gsub(text, "")) end

  -- Each worker has a say of its own, and any of them may be asked.
  local function release(count)
    loop.poll("all that hold to let go", function()
      get "/release"
      return count_lines "lets go" == count
    end)
  end

  it("answers who says no more, and forgets who left", function()
    local c = tcp.connect(app.port[1])
    c:send "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
    c.socket:shutdown()
    local gone = tcp.connect(app.port[1])
    gone:send "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
    loop.wait("both to hold", function() return count_lines "holds" == 2 end)
    gone:close()
    release(2)
    local status, body, headers = answer(c)
    assert.same({ 200, "released", "close" }, { status, body, headers.connection })
    c:close()
  end)

  it("answers all that was sent by who says no more", function()
    local c = tcp.connect(app.port[1])
    c:send "GET /hold HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n2"
    c.socket:shutdown()
    loop.wait("it to hold", function() return count_lines "holds" == 3 end)
    release(3)
    local status, body = answer(c)
    assert.same({ 200, "released" }, { status, body })
    status, body = answer(c)
    assert.same({ 200, "2" }, { status, body })
    c:wait_end()
    c:close()
  end)

  it("paces a long answer", function()
    local c = tcp.connect(app.port[1])
    c.socket:read_stop()
    c:send "GET /big?n=5000000 HTTP/1.1\r\nHost: x\r\n\r\nGET /return/text HTTP/1.1\r\nHost: x\r\n\r\n"
    assert.equal(200, (get "/return/text"))
    c.socket:read_start(function(_, data) c.data = c.data .. (data or "") end)
    local status, body = answer(c)
    assert.same({ 200, 5000000 }, { status, #body })
    assert.same({ 200, "text" }, pair(answer(c)))
    c:close()
  end)

  it("is cut off when it computes too long, and answers 500", function()
    assert.equal(500, (get "/spin"))
    app:wait_log "exceeded"
  end)

  it("answers 502 when the worker is lost that has begun", function()
    local c = tcp.connect(app.port[1])
    local lost = app:counters("gateway", 0).requests_lost
    local _, before = app:log():gsub("begins for ever", "")
    c:send "GET /forever HTTP/1.1\r\nHost: x\r\n\r\n"
    loop.wait("the handler", function() return select(2, app:log():gsub("begins for ever", "")) > before end)
    for _, pid in ipairs(app:pids "worker") do os.execute("kill -9 " .. pid) end
    local status, body = answer(c)
    assert.same({ 502, "Bad Gateway" }, { status, body })
    assert.equal(lost + 1, app:counters("gateway", 0).requests_lost)
    c:close()
    app:wait_linked()
    loop.poll("a worker", function() return get "/return/text" == 200 end)
  end)
end)

-- What the handler's worker had to say of it was still in the process.
describe("a request that kills its worker", function()
  it("begins once, is answered with 502, and takes no other with it", function()
    local app = testbed.start {
      workers = { count = 2 },
      script = [[
        Events = {}
        function Events.onRequest(request)
          if request.path ~= "/poison" then return "well" end
          Log.notice "poison taken"
          while true do end
        end
      ]],
    }
    finally(function() app:stop() end)
    local function times() return select(2, app:log():gsub("poison taken", "")) end
    local c = tcp.connect(app.port[1])
    c:send "GET /poison HTTP/1.1\r\nHost: x\r\n\r\n"
    loop.wait("the poison to be taken", function() return times() == 1 end)
    -- Of these those that the same worker is given wait in its link.
    local others = {}
    for i = 1, 6 do
      others[i] = tcp.connect(app.port[1])
      others[i]:send "GET /well HTTP/1.1\r\nHost: x\r\n\r\n"
    end
    loop.poll("them to be given", function() return app:counters("gateway", 0).requests == 7 end)
    local pid = app:log():match "%[(%d+) worker/%d%] notice [^\n]-poison taken"
    assert.equal(0, process.run { "kill", "-9", pid })
    local function status(peer) return tonumber(peer:receive "\r\n\r\n":match "^HTTP/1.1 (%d+) ") end
    assert.equal(502, status(c))
    for _, other in ipairs(others) do
      assert.equal(200, status(other))
      other:close()
    end
    c:close()
    assert.equal(1, times())
    local counters = app:counters("gateway", 0)
    assert.equal(1, counters.requests_lost)
    assert.is_true(counters.requests_again > 0)
  end)
end)

-- Another master's worker shares no page with the gateway.
describe("requests of a worker of another machine that is killed", function()
  it("are answered with 502, begun or not, and given to nobody else", function()
    local gateways = testbed.new { config = function(c) c.workers = nil end }
    local address = { gateways.config.register.listen }
    local workers = testbed.new {
      script = "Events = {} function Events.onRequest() return 'well' end",
      workers = { count = 2 },
      config = function(c) c.register, c.gateways, c.register_address = nil, nil, address end,
    }
    finally(function()
      workers:stop()
      gateways:stop()
    end)
    gateways:up()
    workers:up()
    loop.poll("both workers", function() return gateways:counters("gateway", 0).workers == 2 end)
    local victim = workers:pids "worker"[1]
    assert(uv.kill(victim, "sigstop"))
    local asked = {}
    for i = 1, 6 do
      asked[i] = tcp.connect(gateways.port[1])
      asked[i]:send "GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
    end
    loop.poll("them to be given", function() return gateways:counters("gateway", 0).requests == 6 end)
    assert(uv.kill(victim, "sigkill"))
    local count = { [200] = 0, [502] = 0 }
    for _, c in ipairs(asked) do
      local status = tonumber(c:receive "\r\n\r\n":match "^HTTP/1.1 (%d+) ")
      count[status] = count[status] + 1
      c:close()
    end
    assert.same({ [200] = 3, [502] = 3 }, count)
    local counters = gateways:counters("gateway", 0)
    assert.same({ 3, 0 }, { counters.requests_lost, counters.requests_again })
  end)
end)

describe("bodies of requests whose handlers wait", function()
  it("leave them room in their script's memory", function()
    local app = testbed.start {
      script = [[
        Events = {}
        local released = false
        function Events.onRequest(request)
          if request.path == "/release" then
            released = true
            return ""
          end
          Log.notice("holds " .. #request.body)
          while not released do Timer.sleep(0.01) end
          return tostring(#request.body)
        end
      ]],
      gateways = { { listen = "http" } },
      workers = { count = 1, memory_limit = 8 * 1024 * 1024 },
    }
    finally(function() app:stop() end)
    local function post(path, size)
      local c = tcp.connect(app.port[1])
      c:send(("POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"):format(path, size)
        .. ("x"):rep(size))
      return c
    end
    local held = {}
    for _, size in ipairs { 1048576, 1048000, 10 } do
      held[#held + 1] = post("/", size)
      app:wait_log("holds " .. size)
    end
    local refused = post("/", 500000):wait_end()
    assert.matches("^HTTP/1.1 503 ", refused)
    assert.matches("[Rr]etry%-[Aa]fter: 1\r\n", refused)
    assert.matches("^HTTP/1.1 200 ", post("/release", 5):wait_end())
    for i, size in ipairs { "1048576", "1048000", "10" } do
      assert.matches("\r\n\r\n" .. size .. "$", held[i]:wait_end())
    end
  end)
end)

describe("without onRequest", function()
  local app

  setup(function()
    app = testbed.start {
      script = "Events = { onMessage = print }",
      gateways = { { listen = "websocket" }, { listen = "http" } },
    }
  end)
  teardown(function() app:stop() end)

  local function status(i, text)
    local c = tcp.connect(app.port[i])
    c:send(text)
    local got = tonumber(c:receive "\r\n\r\n":match " (%d+)")
    c:wait_end()
    c:close()
    return got
  end

  it("answers 426 or 404, and 405, until a reload brings it", function()
    assert.equal(426, status(1, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert.equal(404, status(2, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert.equal(405, status(1, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"))
    app:write_script "Events = { onMessage = print, onRequest = function() return 'here' end }"
    assert.equal(0, (app:cli "reload"))
    loop.poll("onRequest", function()
      return status(2, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") == 200
    end)
    app:write_script "Events = { onMessage = print }"
    assert.equal(0, (app:cli "reload"))
    loop.poll("no onRequest", function() return status(2, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") == 404 end)
  end)
end)

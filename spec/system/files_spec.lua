-- Files of www: what browsers and caches ask of them (RFC 9110, RFC 9112).
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

local script = [[
Events = {}
function Events.onRequest(request)
  local q = request.get
  if request.path == "/waits" then
    while not gwrun.shared.get "go" do Timer.sleep(0.05) end
    return { file = "of/ann.txt" }
  end
  if request.path == "/go" then
    gwrun.shared.set("go", "1")
    return "gone"
  end
  if request.path ~= "/named" then return end
  local headers = { ["Content-Type"] = q.as, ETag = q.tag, Vary = q.vary, ["Last-Modified"] = q.date }
  return { file = q.file, status = tonumber(q.status), headers = headers }
end
]]

describe("files of www", function()
  local app
  local large = {}
  for i = 1, 400000 do large[i] = ("%07d "):format(i) end
  large = table.concat(large)

  local function write(name, text) testbed.write_file(app.dir .. "/www/" .. name, text) end

  setup(function()
    app = testbed.new {
      script = script,
      gateways = {
        { listen = "websocket", www = "www", files = "kept" },
        { listen = "http", www = "www", cache_control = "public, max-age=60", allowed_origins = "https://a.example" },
        { listen = "http", files = "www", allowed_origins = "https://a.example" },
      },
    }
    assert(process.run { "mkdir", "-p", app.dir .. "/kept/of" } == 0)
    assert(process.run { "ln", "-s", "/etc/hostname", app.dir .. "/kept/out" } == 0)
    testbed.write_file(app.dir .. "/kept/of/ann.txt", "only for Ann")
    testbed.write_file(app.dir .. "/kept/.secret", "nobody's")
    write("index.html", "<p>the page</p>")
    write("plain.txt", "0123456789")
    write("app.js", "as it is")
    write("app.js.br", "brotli")
    write("app.js.gz", "gzip")
    write("large.txt", large)
    write("empty.txt", "")
    app:up()
  end)

  teardown(function() app:stop() end)

  -- The next answer of c: status, headers by lower-case name, body.
  local function answer(c, is_head)
    local head = c:receive "\r\n\r\n"
    local headers = {}
    for name, value in head:gmatch "\r\n([^:\r\n]+): ([^\r\n]*)" do
      headers[name:lower()] = (headers[name:lower()] and headers[name:lower()] .. " + " or "") .. value
    end
    local status, body = tonumber(head:match "^HTTP/1%.1 (%d+)"), ""
    local len = not is_head and status ~= 304 and tonumber(headers["content-length"]) or 0
    if len > 0 then
      loop.wait("a body of " .. len .. " bytes", function() return #c.data >= len end)
      body, c.data = c.data:sub(1, len), c.data:sub(len + 1)
    end
    return status, headers, body
  end

  local function ask(c, path, lines, method)
    method = method or "GET"
    c:send(method .. " " .. path .. " HTTP/1.1\r\nHost: x\r\n" .. (lines or "") .. "\r\n")
    return answer(c, method == "HEAD")
  end

  -- One request over a connection of its own.
  local function get(path, lines, port, method)
    local c = tcp.connect(app.port[port or 1])
    local status, headers, body = ask(c, path, lines, method)
    c:close()
    return status, headers, body
  end

  it("come with their type, length, validators and a Cache-Control", function()
    local status, h, body = get "/plain.txt"
    assert.same({ 200, "0123456789" }, { status, body })
    assert.same({ "text/plain; charset=utf-8", "10", "no-cache", "nosniff", "bytes", "gwrun" },
      { h["content-type"], h["content-length"], h["cache-control"], h["x-content-type-options"], h["accept-ranges"], h.server })
    assert.matches('^"%x+%-a"$', h.etag)
    assert.matches("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$", h["last-modified"])
    assert.matches(" GMT$", h.date)
    assert.is_nil(h.vary)
    status, h, body = get("/empty.txt")
    assert.same({ 200, "0", "" }, { status, h["content-length"], body })
    h = select(2, get("/plain.txt", "Origin: https://a.example\r\n", 2))
    assert.same({ "public, max-age=60", "Origin", "https://a.example" },
      { h["cache-control"], h.vary, h["access-control-allow-origin"] })
  end)

  it("are asked for one behind the other on one connection", function()
    local c = tcp.connect(app.port[1])
    for i = 1, 3 do
      local status, h, body = ask(c, "/plain.txt")
      assert.same({ 200, "0123456789" }, { status, body }, i)
      assert.is_nil(h.connection)
    end
    -- in one go; a body that a GET brings is read and does not matter
    c:send("GET /plain.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
      .. "HEAD /plain.txt HTTP/1.1\r\nHost: x\r\n\r\n"
      .. "GET /index.html HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert.equal("0123456789", (select(3, answer(c))))
    local status, h = answer(c, true)
    assert.same({ 200, "10" }, { status, h["content-length"] })
    status, h = answer(c)
    assert.same({ 200, "close" }, { status, h.connection })
    assert.equal("", c:wait_end())
    c:close()
  end)

  it("are not sent again to who has them", function()
    local _, h = get "/plain.txt"
    for _, line in ipairs {
      "If-None-Match: " .. h.etag, "If-None-Match: W/" .. h.etag, "If-Modified-Since: " .. h["last-modified"],
    } do
      local c = tcp.connect(app.port[1])
      local status, again = ask(c, "/plain.txt", line .. "\r\n")
      assert.same({ 304, h.etag, h["last-modified"], "no-cache" },
        { status, again.etag, again["last-modified"], again["cache-control"] }, line)
      assert.is_nil(again["content-length"])
      assert.is_nil(again["content-type"])
      assert.equal(200, (ask(c, "/plain.txt"))) -- and the connection goes on
      c:close()
    end
    write("changing.txt", "one")
    h = select(2, get "/changing.txt")
    write("changing.txt", "two, and longer")
    local status, _, body = get("/changing.txt", "If-None-Match: " .. h.etag .. "\r\n")
    assert.same({ 200, "two, and longer" }, { status, body })
    assert.equal(412, (get("/plain.txt", 'If-Match: "other"\r\n')))
  end)

  it("are sent in part", function()
    local status, h, body, _ = get("/plain.txt", "Range: bytes=2-4\r\n")
    assert.same({ 206, "bytes 2-4/10", "3", "234" }, { status, h["content-range"], h["content-length"], body })
    status, h, body = get("/plain.txt", "Range: bytes=-3\r\nIf-Range: " .. h.etag .. "\r\n")
    assert.same({ 206, "bytes 7-9/10", "789" }, { status, h["content-range"], body })
    status, _, body = get("/plain.txt", 'Range: bytes=-3\r\nIf-Range: "other"\r\n')
    assert.same({ 200, "0123456789" }, { status, body })
    status, h = get("/plain.txt", "Range: bytes=10-\r\n")
    assert.same({ 416, "bytes */10" }, { status, h["content-range"] })
    status, _, body = get("/plain.txt", "Range: bytes=0-1,4-5\r\n")
    assert.same({ 200, "0123456789" }, { status, body })
    local from = #large - 100000
    status, _, body = get("/large.txt", ("Range: bytes=%d-\r\n"):format(from))
    assert.equal(206, status)
    assert.is_true(body == large:sub(from + 1))
  end)

  it("come encoded when they lie there so and the client takes it", function()
    local tags = {}
    for accepted, want in pairs {
      [""] = { nil, "as it is" }, ["gzip"] = { "gzip", "gzip" }, ["gzip, br"] = { "br", "brotli" },
      ["br;q=0, gzip;q=0.1"] = { "gzip", "gzip" }, ["deflate"] = { nil, "as it is" },
    } do
      local status, h, body = get("/app.js", "Accept-Encoding: " .. accepted .. "\r\nRange: bytes=0-1\r\n")
      if want[1] then
        assert.same({ 200, want[1], want[2] }, { status, h["content-encoding"], body }, accepted)
        assert.is_nil(h["accept-ranges"])
      else
        assert.same({ 206, "as" }, { status, body }, accepted)
        assert.is_nil(h["content-encoding"])
      end
      assert.same({ "Accept-Encoding", "text/javascript; charset=utf-8" }, { h.vary, h["content-type"] }, accepted)
      tags[h.etag] = true
    end
    local count = 0
    for _ in pairs(tags) do count = count + 1 end
    assert.equal(3, count) -- an ETag for each encoding
  end)

  it("have the tag and the date that onRequest says", function()
    local path, gzip = "/named?file=app.js&tag=%22v7%22", "Accept-Encoding: gzip\r\n"
    local function ask_for(lines, more) return get(path .. (more or ""), lines, 3) end
    local status, h = ask_for ""
    assert.same({ 200, '"v7"' }, { status, h.etag })
    status, h = ask_for 'If-None-Match: W/"v6", "v7"\r\n'
    assert.same({ 304, '"v7"' }, { status, h.etag })
    assert.equal(412, (ask_for 'If-Match: "v6"\r\n'))
    assert.equal(200, (ask_for 'If-Match: "v7"\r\n'))
    assert.equal(206, (ask_for 'If-Range: "v7"\r\nRange: bytes=0-1\r\n'))
    assert.equal(200, (ask_for 'If-Range: "v6"\r\nRange: bytes=0-1\r\n'))
    -- the same tag for other bytes would have a cache mix them
    status, h = ask_for(gzip)
    assert.same({ 200, "gzip", '"v7-gzip"' }, { status, h["content-encoding"], h.etag })
    assert.equal(304, (ask_for(gzip .. 'If-None-Match: "v7-gzip"\r\n')))
    assert.equal(200, (ask_for(gzip .. 'If-None-Match: "v7"\r\n')))
    -- a weak one says that only the meaning is the same
    path = "/named?file=app.js&tag=W/%22v7%22"
    status, h = ask_for(gzip)
    assert.same({ 200, "gzip", 'W/"v7"' }, { status, h["content-encoding"], h.etag })
    assert.equal(304, (ask_for 'If-None-Match: "v7"\r\n'))
    assert.equal(412, (ask_for 'If-Match: W/"v7"\r\n'))
    assert.equal(200, (ask_for 'If-Range: W/"v7"\r\nRange: bytes=0-1\r\n'))
    -- what is no tag is none
    path = "/named?file=app.js&tag=v7"
    status, h = ask_for 'If-None-Match: v7\r\n'
    assert.equal(200, status)
    assert.matches('^"%x+%-8"$', h.etag)
    path = "/named?file=app.js&date=Mon,%2001%20Jan%202001%2000:00:00%20GMT"
    assert.equal(304, (ask_for "If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT\r\n"))
    assert.equal(200, (ask_for "If-Modified-Since: Sun, 31 Dec 2000 00:00:00 GMT\r\n"))
  end)

  it("say in one Vary what they vary with", function()
    local function vary(said, lines)
      local _, h = get("/named?file=app.js" .. (said and "&vary=" .. said or ""), lines, 3)
      return h.vary
    end
    assert.equal("Accept-Encoding, Origin", vary())
    assert.equal("Cookie, Accept-Encoding, Origin", vary "Cookie")
    assert.equal("origin, Cookie, Accept-Encoding", vary "origin,%20Cookie")
    assert.equal("*", vary "*")
    assert.equal("Cookie, Accept-Encoding, Origin", vary("Cookie", "If-None-Match: *\r\n"))
    assert.equal("Cookie", (select(2, get "/named?file=of/ann.txt&vary=Cookie")).vary)
  end)

  it("are waited for by heads that count as unfinished", function()
    local function unfinished() return app:counters("gateway", 0).unfinished end
    local c = tcp.connect(app.port[1])
    c:send("GET /waits HTTP/1.1\r\nHost: x\r\nX-Large: " .. ("x"):rep(20000) .. "\r\n\r\n")
    loop.poll("its head to count", function() return unfinished() > 20000 end)
    assert.equal("gone", (select(3, get "/go")))
    assert.equal("only for Ann", (select(3, answer(c))))
    loop.poll("nothing to be unfinished", function() return unfinished() == 0 end)
    c:close()
  end)

  it("lie in folders that are asked for with a slash", function()
    assert(process.run { "mkdir", app.dir .. "/www/docs" } == 0)
    write("docs/index.html", "the docs")
    local status, h = get "/docs?page=1"
    assert.same({ 301, "/docs/?page=1" }, { status, h.location })
    h = select(2, get "//docs")
    assert.equal("/docs/", h.location) -- and not another host
    assert.equal("the docs", (select(3, get "/docs/")))
  end)

  it("may lie elsewhere, where onRequest decides who gets them", function()
    local status, h, body, _ = get "/named?file=of/ann.txt"
    assert.same({ 200, "only for Ann", "text/plain; charset=utf-8", "private, no-cache" },
      { status, body, h["content-type"], h["cache-control"] })
    assert.equal(304, (get("/named?file=of/ann.txt", "If-None-Match: " .. h.etag .. "\r\n")))
    status, h, body = get("/named?file=of/ann.txt", "Range: bytes=-3\r\n")
    assert.same({ 206, "Ann", "bytes 9-11/12" }, { status, body, h["content-range"] })
    status, h, body = get("/named?file=of/ann.txt&as=text/x-note&status=410", "Range: bytes=-3\r\n")
    assert.same({ 410, "only for Ann", "text/x-note" }, { status, body, h["content-type"] })
    assert.is_nil(h.etag)
    status, h = get("/named?file=of/ann.txt", nil, 1, "HEAD")
    assert.same({ 200, "12" }, { status, h["content-length"] })
    status, _, body = get("/named?file=of/ann.txt&status=204")
    assert.same({ 204, "" }, { status, body })
    status, _, body = get("/named?file=of/ann.txt", 'If-None-Match: *\r\nContent-Length: 0\r\n', 1, "POST")
    assert.same({ 200, "only for Ann" }, { status, body })
    for _, path in ipairs {
      "of", "of/", "none", "/of/ann.txt", "../www/index.html", "of/../../www/index.html", ".secret", "out",
    } do
      assert.equal(404, (get("/named?file=" .. path)), path)
    end
    assert.equal(500, (get("/named?file=")))
    assert.equal(500, (get("/named?file=of/ann.txt", nil, 2))) -- a listener without files
    assert.equal(404, (get "/of/ann.txt"))
    app:wait_log "onRequest names a file that is not there, or not below files file=\"none\""
    local c = tcp.connect(app.port[1])
    for _ = 1, 2 do assert.equal("only for Ann", (select(3, ask(c, "/named?file=of/ann.txt")))) end
    c:close()
  end)

  it("arrive whole at slow clients, and hold up nobody else", function()
    local slow = tcp.connect(app.port[1])
    slow.socket:read_stop()
    slow:send "GET /large.txt HTTP/1.1\r\nHost: x\r\n\r\n"
    for _ = 1, 20 do assert.equal(200, (get "/plain.txt")) end
    slow.socket:read_start(function(err, data)
      if data then slow.data = slow.data .. data else slow.ended = err or "eof" end
    end)
    local status, _, body = answer(slow)
    assert.equal(200, status)
    assert.is_true(body == large)
    slow:close()
  end)

  it("are cut off when they shrink on their way", function()
    local path = app.dir .. "/www/shrinks.bin"
    assert(process.run { "truncate", "-s", "200M", path } == 0)
    local c = tcp.connect(app.port[1])
    c.socket:read_stop()
    c:send "GET /shrinks.bin HTTP/1.1\r\nHost: x\r\n\r\n"
    get "/plain.txt" -- answered behind the beginning of the other
    assert(process.run { "truncate", "-s", "0", path } == 0)
    local got, ended = 0, false
    c.socket:read_start(function(_, data)
      got = got + #(data or "")
      ended = not data
    end)
    loop.wait("the end", function() return ended end)
    assert.is_true(got < 200 * 1024 * 1024)
    c:close()
    app:wait_log "a file became shorter while it was sent, closing"
  end)
end)

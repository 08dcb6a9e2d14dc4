-- gwrun.http in a real worker against real servers.
-- luacheck: no max line length
local cjson = require "cjson"
local httpserver = require "httpserver"
local openssl = require "openssl"
local process = require "process"
local scripting = require "scripting"
local testbed = require "testbed"
local uv = require "luv"

describe("gwrun.http", function()
  local server, bed, dir, secure

  setup(function()
    dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-http-XXXXXX"))
    openssl.authority(dir, "ca")
    openssl.signed(dir, "server", "DNS:localhost", "2", "ca")
    server = httpserver.start()
    secure = httpserver.start(dir .. "/server.pem", dir .. "/server.key")
    bed = scripting.start { prefix = ("url = %q assert(require 'gwrun.http' == Http and gwrun.http == Http)\n"):format(server.url) }
  end)

  teardown(function()
    if bed then bed:stop() end
    server:stop()
    secure:stop()
    process.run { "rm", "-rf", dir }
  end)

  it("gets a page with status, headers and body", function()
    local status, ok, two, cookies, blank, body, final = bed:run [[
      local r = assert(Http.get(url .. "/echo"))
      return r.status, r.ok, r.headers["x-two"], r.headers["set-cookie"], r.headers["x-blank"], r:json(), r.url
    ]]
    assert.same({ 200, true, "a, b", { "a=1", "b=2" }, "" }, { status, ok, two, cookies, blank })
    assert.equal("GET", body.method)
    assert.matches("^gwrun/", body.headers["user-agent"])
    assert.equal(server.url .. "/echo", final)
  end)

  it("goes on after requests that were cut short", function()
    assert.same({ 100, 100 }, { bed:run [[
      local list, cut, good = {}, 0, 0
      for i = 1, 100 do
        local path = i % 2 == 0 and "/silent" or "/slowly"
        list[i] = function() return (select(3, gwrun.deadline(0.02, Http.get, url .. path))) end
      end
      for _, code in ipairs { gwrun.parallel(table.unpack(list)) } do cut = cut + (code == "deadline" and 1 or 0) end
      for i = 1, 100 do list[i] = function() return Http.get(url .. "/echo?n=" .. i):json().url == "/echo?n=" .. i end end
      for _, right in ipairs { gwrun.parallel(table.unpack(list)) } do good = good + (right and 1 or 0) end
      return cut, good
    ]] })
  end)

  it("returns every status, as the server says it", function()
    assert.same({ 404, false, "no such page" }, { bed:run "local r = Http.get(url .. '/none') return r.status, r.ok, r.body" })
    assert.same({ 503, "status" }, { bed:run "local r = Http.get(url .. '/status/503') return r.status, r.body" })
    assert.same({ 204, "" }, { bed:run "local r = Http.delete(url .. '/status/204') return r.status, r.body" })
    assert.equal("PATCH", bed:run "return Http.patch(url .. '/echo', 'x'):json().method")
    assert.same({ 200, "" }, { bed:run "local r = Http.head(url .. '/echo') return r.status, r.body" })
  end)

  it("sends bodies, JSON, forms, queries and headers", function()
    local echo = bed:run [[return Http.post(url .. "/echo", { a = 1 }, { headers = { ["X-My"] = { "one", "two" }, ["X-None"] = "" } }):json()]]
    assert.same({ "POST", '{"a":1}', "application/json", "one, two", "" },
      { echo.method, echo.body, echo.headers["content-type"], echo.headers["x-my"], echo.headers["x-none"] })
    assert.is_nil(echo.headers.expect)
    echo = bed:run [[return Http.put(url .. "/echo", "a\0b", { headers = { ["content-type"] = "text/plain" } }):json()]]
    assert.same({ "PUT", "a\0b", "text/plain" }, { echo.method, echo.body, echo.headers["content-type"] })
    echo = bed:run [[return Http.request({ url = url .. "/echo", method = "POST", form = { q = "a b&c", n = 1 } }):json()]]
    assert.same({ "n=1&q=a%20b%26c", "application/x-www-form-urlencoded" }, { echo.body, echo.headers["content-type"] })
    echo = bed:run [[return Http.get(url .. "/echo", { query = { q = "ä", z = 1 } }):json()]]
    assert.equal("/echo?q=%C3%A4&z=1", echo.url)
    assert.equal("a=1001&b=0.1&c=1700000000123456",
      bed:run "return Http.encode { a = 1001.0, b = 0.1, c = 1700000000123456.0 }")
    echo = bed:run [[return Http.get(url .. "/echo", { headers = { ["X-Id"] = 1700000000123456.0 } }):json()]]
    assert.equal("1700000000123456", echo.headers["x-id"])
    echo = bed:run [[return Http.post(url .. "/echo"):json()]]
    assert.same({ "POST", "0", "" }, { echo.method, echo.headers["content-length"], echo.body })
    assert.equal("OPTIONS", bed:run [[return Http.request({ url = url .. "/echo", method = "OPTIONS" }):json().method]])
    assert.equal(3000000, bed:run [[return #Http.post(url .. "/echo", ("x"):rep(3000000)):json().body]])
  end)

  it("uses connections again", function()
    assert.is_true(bed:run [[
      local before = Http.get(url .. "/echo"):json().connections
      for _ = 1, 20 do Http.get(url .. "/echo") end
      return Http.get(url .. "/echo"):json().connections == before
    ]])
  end)

  it("runs many requests side by side", function()
    assert.equal(100, bed:run [[
      local list = {}
      for i = 1, 100 do list[i] = function() return Http.get(url .. "/echo?" .. i):json().url == "/echo?" .. i end end
      local good = 0
      for _, ok in ipairs { gwrun.parallel(table.unpack(list)) } do if ok then good = good + 1 end end
      return good
    ]])
  end)

  it("follows redirects so far", function()
    assert.same({ 200, cjson.null, "/echo" }, { bed:run [[
      local r = Http.get(url .. "/redirect?n=5")
      return r.status, r.headers["x-old"], r:json().url
    ]] })
    bed:fails("eloop", "redirects", "Http.get(url .. '/redirect?n=6')")
    assert.equal(302, bed:run "return Http.get(url .. '/redirect?n=1', { max_redirects = 0 }).status")
    assert.equal("GET", bed:run "return Http.post(url .. '/redirect?n=1', 'x'):json().method")
  end)

  it("speaks nothing but http and https", function()
    bed:fails("eprotonosupport", "rotocol", "Http.get 'file:///etc/passwd'")
    bed:fails("eprotonosupport", "rotocol", "Http.get 'gopher://127.0.0.1/'")
    bed:fails("eprotonosupport", "rotocol", "Http.get(url .. '/to?url=file:///etc/passwd')")
  end)

  it("ends a request at its deadline", function()
    bed:fails("etimedout", "timed out", "Http.get(url .. '/silent', { timeout = 0.05 })")
    bed:fails("etimedout", "timed out", "Http.get(url .. '/slowly', { timeout = 0.05 })")
  end)

  it("refuses responses that are too large", function()
    assert.equal(1000, bed:run "return #Http.get(url .. '/big?n=1000', { max_size = 1000 }).body")
    bed:fails("emsgsize", "too large", "Http.get(url .. '/big?n=1001', { max_size = 1000 })")
    assert.equal(1000, bed:run "return #Http.get(url .. '/gzip?n=1000', { max_size = 1000 }).body")
    bed:fails("emsgsize", "too large", "Http.get(url .. '/gzip?n=1000000', { max_size = 1000 })")
    bed:fails("emsgsize", "too large", "Http.get(url .. '/headers')")
  end)

  it("tells what went wrong", function()
    bed:fails("econnrefused", "onnect", "Http.get 'http://127.0.0.1:1/'")
    bed:fails("eai_noname", "resolve", "Http.get 'http://no-such-host.invalid/'")
    bed:fails("econnreset", ".", "Http.get(url .. '/gone')")
    bed:fails("econnreset", ".", "Http.get(url .. '/cut')")
    bed:fails("einval", "URL", "Http.get 'http://'")
    bed:fails("eproto", "no JSON", "Http.get(url .. '/big?n=3'):json()")
  end)

  it("raises for wrong arguments, in the script's line", function()
    for text, message in pairs {
      ["Http.get()"] = "spec:1: http: a url expected, got a nil",
      ["Http.get('http://x/ y')"] = "spec:1: http: the url has blanks",
      ["Http.get(url, { timeuot = 1 })"] = "spec:1: http: unknown option 'timeuot'",
      ["Http.get(url, { timeout = -1 })"] = "spec:1: http: option 'timeout' must be a number from",
      ["Http.get(url, { headers = { a = 'b\\r\\nc: d' } })"] = "spec:1: http: header 'a' has a line break",
      ["Http.get(url, { headers = { ['a\\n'] = 'b' } })"] = "spec:1: http: bad header name",
      ["Http.post(url, { print })"] = "spec:1: http: option 'json': json: a function cannot be written",
      ["Http.request { url = url, method = 'GET /x' }"] = "spec:1: http: option 'method' must be in capitals",
      ["Http.get(url, { query = { tags = { 1 } } })"] = "spec:1: http: the value of 'tags' is a table; give text",
      ["Http.request { url = url, form = { a = require 'cjson'.null } }"] = "spec:1: http: the value of 'a' is a userdata",
      ["Http.get(url, { headers = { a = print } })"] = "spec:1: http: header 'a' is a function; give text",
      ["Http.encode { [print] = 1 }"] = "spec:1: http: a name is a function; give text",
      ["Http.escape(nil)"] = "spec:1: http: the text is a nil; give text",
      ["Http.request {}"] = "spec:1: http: option 'url' is missing",
    } do
      assert.error_matches(function() bed:run(text) end, message)
    end
  end)

  it("trusts no certificate but those of known authorities, for their name", function()
    local localhost = "https://localhost:" .. secure.port
    bed:fails("eacces", "certificate", "Http.get '%s/echo'", localhost)
    assert.equal(200, bed:run("return Http.get('%s/echo', { ca_file = '%s/ca.pem' }).status", localhost, dir))
    bed:fails("eacces", "name", "Http.get('%s/echo', { ca_file = '%s/ca.pem' })", secure.url, dir)
    assert.is_string((select(2, bed:run("return Http.get '%s/'", server.url:gsub("^http", "https")))))
  end)

  it("leaves nothing behind when the script goes while requests wait", function()
    for _ = 1, 5 do bed:begin "return Http.get(url .. '/silent', { timeout = 60 })" end
    bed:run "gwrun.spawn(function() Http.get(url .. '/silent') end)"
    bed.app:write_script(testbed.read_file(bed.app.dir .. "/scripts/events.lua"):gsub("^", "-- new\n"))
    assert.equal(0, (bed.app:cli "reload"))
    assert.equal(200, bed:run "return Http.get(url .. '/echo').status")
  end)

  describe("in pieces", function()
    it("gives the head at once, and chunks until the end", function()
      assert.same({ 200, "yes", true }, { bed:run [[
        local r <close> = assert(Http.get(url .. "/head", { stream = true }))
        return r.status, r.headers["x-now"], r.body == nil
      ]] })
      assert.same({ ("piece\n"):rep(100), "eof", "http: the response is over" }, { bed:run [[
        local r, list = assert(Http.get(url .. "/drip?n=100", { stream = true })), {}
        for chunk in r:chunks() do list[#list + 1] = chunk end
        return table.concat(list), r.ended.code, r.ended.message
      ]] })
      assert.same({ ("piece\n"):rep(50), 200, true }, { bed:run [[
        local list = {}
        local r = assert(Http.get(url .. "/drip?n=50", { onData = function(chunk, r) assert(r.ok) list[#list + 1] = chunk end }))
        return table.concat(list), r.status, r.ended.code == "eof"
      ]] })
      assert.same({ 404, "no such page" }, { bed:run [[
        local r = assert(Http.get(url .. "/none", { stream = true }))
        return r.status, r:read()
      ]] })
    end)

    it("gives the head of the last of several redirects", function()
      assert.same({ 200, "POST", 302, "moved" }, { bed:run [[
        local r = assert(Http.get(url .. "/redirect?n=3", { stream = true }))
        local posted = assert(Http.request { method = "POST", url = url .. "/echo", body = "x", stream = true })
        local none = assert(Http.get(url .. "/redirect?n=1", { stream = true, max_redirects = 0 }))
        assert(r:read():find '"GET"')
        return r.status, posted:read():match '"(POST)"', none.status, none:read()
      ]] })
      bed:fails("eloop", "redirects", "Http.get(url .. '/redirect?n=9', { stream = true, max_redirects = 2 })")
    end)

    it("reads no more from the server than is taken", function()
      local written, sum = bed:run [[
        local r, sum, written, last = assert(Http.get(url .. "/flood?n=200000000", { stream = true })), 0, 0, nil
        repeat -- until the server can write no more
          last, written = written, tonumber(assert(Http.get(url .. "/flooded")).body)
          Timer.sleep(0.05)
        until written == last and written > 0
        for chunk in r:chunks() do sum = sum + #chunk end
        return written, sum
      ]]
      assert.is_true(written < 100000000, written)
      assert.equal(200015872, sum) -- whole blocks
    end)

    it("tells what cut the body short", function()
      assert.same({ "piece\n", "econnreset" }, { bed:run [[
        local r, last = assert(Http.get(url .. "/drip?n=1&end=cut", { stream = true })), nil
        for chunk in r:chunks() do last = chunk end
        return last, r.ended.code
      ]] })
      bed:fails("econnreset", "^http: ", "Http.get(url .. '/drip?n=3&end=cut', { onData = function() end })")
      bed:fails("emsgsize", "too large", "Http.get(url .. '/drip?n=100', { onData = function() end, max_size = 300 })")
    end)

    it("refuses what is too large when it is taken late", function()
      assert.equal("emsgsize", (bed:run [[
        local r, chunk, code, _ = assert(Http.get(url .. "/pieces?n=78", { stream = true, max_size = 68000 })), nil, nil, nil
        repeat until assert(Http.get(url .. "/flooded")).body == "79872"
        for _ = 1, 20 do Http.get(url .. "/flooded") end -- all that may be ahead is
        repeat chunk, _, code = r:read(20) until not chunk
        return code
      ]]))
    end)

    it("waits as long as it is told, for the head and for each piece", function()
      bed:fails("etimedout", "no response within timeout", "Http.get(url .. '/silent', { stream = true, timeout = 0.05 })")
      bed:fails("etimedout", "nothing came in time", "Http.get(url .. '/drip?n=2&end=wait', { onData = function() end, idle_timeout = 0.05 })")
      assert.same({ "etimedout", "deadline" }, { bed:run [[
        local r = assert(Http.get(url .. "/head", { stream = true }))
        local code = select(3, r:read(0.02))
        return code, (select(3, gwrun.deadline(0.02, r.read, r)))
      ]] })
      assert.equal("deadline", (bed:run "return (select(3, gwrun.deadline(0.02, Http.get, url .. '/silent', { stream = true })))"))
    end)

    it("closes the connection when the rest is not wanted", function()
      assert.is_true(bed:run [[
        local before = tonumber(Http.get(url .. "/closed").body)
        for _ = 1, 3 do
          local r <close> = assert(Http.get(url .. "/drip?n=1&end=wait", { stream = true }))
          assert(r:read() == "piece\n")
        end
        local r = assert(Http.get(url .. "/drip?n=1&end=wait", { stream = true }))
        r:close()
        r:close()
        assert(select(3, r:read()) == "ecanceled")
        pcall(Http.get, url .. "/drip?n=1&end=wait", { onData = function() error "enough" end })
        repeat Timer.sleep(0.01) until tonumber(Http.get(url .. "/closed").body) >= before + 5
        return true
      ]])
    end)

    it("ends with its script", function()
      local before = tonumber((bed:run "return Http.get(url .. '/closed').body"))
      local other = scripting.start { prefix = ("url = %q\n"):format(server.url) }
      other:run "r = assert(Http.get(url .. '/drip?n=1&end=wait', { stream = true })) return (r:read())"
      other:send "r:read()"
      other:stop()
      bed:run("repeat Timer.sleep(0.01) until tonumber(Http.get(url .. '/closed').body) > %d return true", before)
    end)

    it("raises for what a script gives wrongly", function()
      local function raises(pattern, text)
        assert.matches("^spec:1: .*" .. pattern, bed:run("return (select(2, pcall(function() " .. text .. " end)))"))
      end
      raises("'stream' must be a boolean", "Http.get(url, { stream = 1 })")
      raises("'onData' must be a function", "Http.get(url, { onData = 1 })")
      raises("'idle_timeout' is for", "Http.get(url, { idle_timeout = 1 })")
      raises("this response has a body", "Http.get(url .. '/echo'):read()")
      raises("comes in pieces", "Http.get(url .. '/echo', { stream = true }):json()")
    end)
  end)
end)

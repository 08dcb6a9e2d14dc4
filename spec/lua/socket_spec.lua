-- gwrun.socket in a real worker against a server that does what it is told.
-- luacheck: no max line length
local openssl = require "openssl"
local process = require "process"
local scripting = require "scripting"
local socketserver = require "socketserver"
local uv = require "luv"

describe("gwrun.socket", function()
  local server, bed, dir

  setup(function()
    server = socketserver.start()
    bed = scripting.start {
      prefix = ([[
        port = %d
        assert(require "gwrun.socket" == Socket and gwrun.socket == Socket)
        function dial(options) return assert(Socket.connect("127.0.0.1", port, options)) end
      ]]):format(server.port),
    }
    dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-socket-XXXXXX"))
  end)

  teardown(function()
    bed:stop()
    server:stop()
    process.run { "rm", "-rf", dir }
  end)

  it("reads lines, bytes and what there is", function()
    assert.same({ "one", "two", "", "xxxx", "xx" }, { bed:run [[
      local s = dial()
      assert(s:write "echo one\ncrlf two\necho \nbytes 4\n")
      local a, b, c, d = s:read "line", s:read "line", s:read "line", s:read(4)
      s:write "bytes 2\n"
      return a, b, c, d, s:read "any"
    ]] })
  end)

  it("reads until a text, wherever it is cut", function()
    assert.same({ "a+", "b=+", "\r", "x" }, { bed:run [[
      local s = dial()
      s:write 'split "a++==b=++==\\r\\r\\r\\nx"\n'
      local a, b = s:readUntil "+==", s:readUntil "+=="
      local c, d = s:readUntil "\r\r\n", s:read(1)
      return a, b, c, d
    ]] })
  end)

  it("reads lines in a loop until the end", function()
    assert.same({ { "a", "b" }, "eof", "tail" }, { bed:run [[
      local s, list = dial(), {}
      s:write "echo a\necho b\nclose tail\n"
      for line in s:lines() do list[#list + 1] = line end
      return list, s.ended.code, s:read "any"
    ]] })
  end)

  it("reads much in one piece", function()
    assert.same({ 3000000, "end" }, { bed:run [[
      local s = dial()
      s:write "bytes 3000000\necho end\n"
      return #s:read(3000000), s:read "line"
    ]] })
  end)

  it("keeps the limit of a line, and what has come", function()
    assert.same({ "emsgsize", "emsgsize", 70000, "y" }, { bed:run [[
      local s = dial()
      s:write "bytes 70000\n"
      local first = select(3, s:read "line")
      local second = select(3, s:readUntil("y", { limit = 1000 }))
      local rest = s:read(70000)
      s:write "echo y\n"
      return first, second, #rest, s:read("line", { limit = 1 })
    ]] })
  end)

  it("tells an end from a loss, after what came before", function()
    assert.same({ "bye", "eof", "last", "econnreset" }, { bed:run [[
      local s = dial()
      s:write "close bye\n"
      local a = s:read(3)
      local code = select(3, s:read(1))
      local t = dial()
      t:write "echo last\n"
      local b = t:read "line"
      t:write "drop\n"
      return a, code, b, (select(3, t:read(1)))
    ]] })
    bed:fails("eof", "^socket: 127.0.0.1:%d+: the peer has closed the connection$", "(function() local s = dial() s:write 'close\\n' return s:read(1) end)()")
  end)

  it("waits as long as it is told, and loses nothing", function()
    bed:fails("etimedout", "not enough came in time", "dial():read(1, { timeout = 0.02 })")
    bed:fails("etimedout", "not enough came in time", "dial({ timeout = 0.02 }):read 'line'")
    assert.same({ "etimedout", "half and half" }, { bed:run [[
      local s = dial()
      s:write 'say "half "\n'
      local none, _, code = s:readUntil("!", { timeout = 0.05 })
      assert(none == nil)
      s:write 'say "and half\\n"\n'
      return code, s:read "line"
    ]] })
  end)

  it("is cut short by a deadline, at each of its waits", function()
    assert.same({ "deadline", "here" }, { bed:run [[
      local s = dial()
      local code = select(3, gwrun.deadline(0.02, s.read, s, 1))
      s:write "echo here\n"
      return code, s:read "line"
    ]] })
  end)

  it("lets one coroutine wait at a time, and ends its wait with close", function()
    assert.same({ "ecanceled", true }, { bed:run [[
      local s, done, code = dial(), gwrun.ticket()
      gwrun.spawn(function() code = select(3, s:read(1)) done:set() end)
      Timer.sleep(0.01)
      local _, message = pcall(s.read, s, 1)
      s:close()
      assert(done:wait(20))
      return code, message:find "another coroutine waits" ~= nil
    ]] })
  end)

  it("stops reading when nobody takes, and goes on", function()
    assert.same({ 20000000, true }, { bed:run [[
      local s, sum, before = dial(), 0, collectgarbage "count"
      s:write "bytes 20000000\n"
      assert(s:read(1))
      Timer.sleep(0.05)
      sum = 1
      while sum < 20000000 do sum = sum + #assert(s:read "any") end
      return sum, collectgarbage "count" < before + 20000
    ]] })
  end)

  it("sends no more than max_queue to who reads too slowly", function()
    assert.same({ "enobufs", true }, { bed:run [[
      local s, block, code = dial { max_queue = 1000000 }, ("x"):rep(100000), nil
      s:write "deaf\n"
      local sent = 0
      repeat
        local ok, _, why = s:write(block)
        if ok then sent = sent + #block else code = why end
        Timer.sleep(0.001)
      until code
      return code, sent >= 1000000
    ]] })
  end)

  it("sends what waits when it is closed", function()
    assert.equal("end 5000000", (bed:run [[
      local s = dial()
      s:write "count\n"
      s:write(("x"):rep(5000000))
      s:close()
      local none, _, code = s:write "more"
      assert(none == nil and code == "enotconn")
      local last
      repeat
        Timer.sleep(0.01)
        local t = dial()
        t:write "last\n"
        last = t:read "line"
        t:close()
      until last:find "000"
      return last
    ]]))
  end)

  it("sends what waits to who says no more but reads on", function()
    assert.same({ "half", "eof", "end 20000000" }, { bed:run [[
      local s = dial { max_queue = 30000000 }
      s:write "half\n"
      assert(s:write(("x"):rep(20000000)))
      local half, code, last = s:read "line", select(3, s:read(1)), nil
      repeat
        Timer.sleep(0.01)
        local t = dial()
        t:write "last\n"
        last = t:read "line"
        t:close()
      until last == "end 20000000"
      return half, code, last
    ]] })
  end)

  it("ends with its script", function()
    local other = scripting.start { prefix = ("port = %d\n"):format(server.port) }
    other:run "here = assert(Socket.connect('127.0.0.1', port)) here:write 'count\\n' here:write '1234567' Timer.sleep(0.01) return true"
    other:stop()
    assert.equal("end 7", (bed:run [[
      local last
      repeat
        Timer.sleep(0.01)
        local t = dial()
        t:write "last\n"
        last = t:read "line"
        t:close()
      until last == "end 7"
      return last
    ]]))
  end)

  it("tells what is wrong", function()
    bed:fails("econnrefused", "^socket: 127.0.0.1:1: nobody answers there$", "Socket.connect('127.0.0.1', 1)")
    bed:fails("eai_noname", "^socket: no.such.invalid:25: ", "Socket.connect('no.such.invalid', 25)")
    bed:fails("enoent", "^socket: /nowhere/socket: ", "Socket.connect '/nowhere/socket'")
    bed:fails("eproto", "TLS failed", "Socket.connect('127.0.0.1', port, { tls = true, connect_timeout = 20 })")
    bed:fails("enoent", "no certificate can be read", "Socket.connect('127.0.0.1', port, { tls = true, ca_file = '/nowhere.pem' })")
  end)

  it("raises for what a script gives wrongly", function()
    local function raises(pattern, text)
      assert.matches("^spec:1: .*" .. pattern, bed:run("return (select(2, pcall(function() " .. text .. " end)))"))
    end
    raises("string expected", "Socket.connect({}, 1)")
    raises("port from 1 to 65535", "Socket.connect('localhost')")
    raises("port from 1 to 65535", "Socket.connect('localhost', 0)")
    raises("bad host", "Socket.connect('a b', 1)")
    raises("unknown option 'tiemout'", "Socket.connect('localhost', 1, { tiemout = 1 })")
    raises("'connect_timeout' must be a number from", "Socket.connect('localhost', 1, { connect_timeout = 0 })")
    raises("number of bytes from 1 to 16777216", "dial():read(0)")
    raises("number of bytes from 1 to 16777216", "dial():read '*l'")
    raises("'limit' must be a number", "dial():read('line', { limit = 1e9 })")
    raises("text to read until", "dial():readUntil ''")
    raises("sent is text, got a table", "dial():write {}")
  end)

  it("opens no more than 256 at once", function()
    local other = scripting.start { prefix = ("port = %d\n"):format(server.port) }
    local results = { other:run [[
      local list, code = {}, nil
      repeat
        local s, _, why = Socket.connect("127.0.0.1", port)
        if s then list[#list + 1] = s else code = why end
      until code
      for _, s in ipairs(list) do s:close() end
      return #list, code, Socket.connect("127.0.0.1", port) ~= nil
    ]] }
    other:stop()
    assert.same({ 256, "enobufs", true }, results)
  end)

  -- ---- TLS ----

  local function with_server(name, plain, f)
    local secure = socketserver.start(dir .. "/" .. name .. ".pem", dir .. "/" .. name .. ".key", plain)
    local ok, message = pcall(f, secure)
    secure:stop()
    assert(ok, message)
  end

  describe("over TLS", function()
    setup(function()
      openssl.certificates(dir)
    end)

    it("trusts whom ca_file names, by name and by address", function()
      with_server("good", false, function(secure)
        for _, host in ipairs { "localhost", "127.0.0.1" } do
          assert.same({ "secret", 2000000, "end" }, { bed:run([[
            local s = assert(Socket.connect(%q, %d, { tls = true, ca_file = %q }))
            s:write "echo secret\nbytes 2000000\necho end\n"
            local line = s:read "line"
            return line, #s:read(2000000), s:read "line"
          ]], host, secure.port, dir .. "/ca.pem") })
        end
      end)
    end)

    it("sends much, and says goodbye", function()
      with_server("good", false, function(secure)
        assert.same({ "end 5000000", "eof" }, { bed:run([[
          local function dial_tls() return assert(Socket.connect("127.0.0.1", %d, { tls = true, ca_file = %q })) end
          local s, last = dial_tls(), nil
          s:write "count\n"
          s:write(("x"):rep(5000000))
          s:close()
          repeat
            Timer.sleep(0.01)
            local t = dial_tls()
            t:write "last\n"
            last = t:read "line"
            t:close()
          until last:find "000"
          local u = dial_tls()
          u:write "close\n"
          return last, (select(3, u:read(1)))
        ]], secure.port, dir .. "/ca.pem") })
      end)
    end)

    it("takes an end of TCP alone for a loss: somebody may have cut it", function()
      with_server("good", false, function(secure)
        assert.same({ "half", "econnreset" }, { bed:run([[
          local s = assert(Socket.connect("127.0.0.1", %d, { tls = true, ca_file = %q }))
          s:write "cut half\n"
          return s:read(4), (select(3, s:read(1)))
        ]], secure.port, dir .. "/ca.pem") })
      end)
    end)

    it("refuses wrong, expired and foreign certificates", function()
      for name, why in pairs {
        other = "IP address mismatch", old = "certificate has expired", foreign = "unable to get local issuer certificate",
      } do
        with_server(name, false, function(secure)
          bed:fails("eacces", "^socket: 127.0.0.1:%d+: the certificate is not accepted: " .. why .. "$",
            "Socket.connect('127.0.0.1', %d, { tls = true, ca_file = %q })", secure.port, dir .. "/ca.pem")
        end)
      end
      with_server("good", false, function(secure)
        bed:fails("eacces", "the certificate is not accepted", "Socket.connect('127.0.0.1', %d, { tls = true })", secure.port)
        bed:fails("eacces", "[Hh]ostname mismatch", "Socket.connect('127.0.0.1', %d, { tls = true, ca_file = %q, server_name = 'example.com' })",
          secure.port, dir .. "/ca.pem")
      end)
    end)

    it("takes any certificate when it is told not to verify", function()
      with_server("foreign", false, function(secure)
        assert.equal("x", (bed:run("local s = assert(Socket.connect('127.0.0.1', %d, { tls = true, verify = false })) s:write 'echo x\\n' return s:read 'line'",
          secure.port)))
      end)
    end)

    it("begins later, with starttls", function()
      with_server("good", true, function(secure)
        assert.same({ "go", true, "secret" }, { bed:run([[
          local s = assert(Socket.connect("localhost", %d))
          s:write "starttls\n"
          local go = s:read "line"
          local ok = s:starttls { ca_file = %q }
          s:write "echo secret\n"
          return go, ok, s:read "line"
        ]], secure.port, dir .. "/ca.pem") })
        assert.same({ "eproto", "eacces" }, { bed:run([[
          local s = assert(Socket.connect("localhost", %d))
          s:write "starttls injected\n"
          s:read(3 + 1)
          local none, _, code = s:starttls { ca_file = %q }
          local t = assert(Socket.connect("localhost", port))
          t:close()
          local u = assert(Socket.connect("localhost", %d))
          u:write "starttls\n"
          u:read "line"
          return code, (select(3, u:starttls()))
        ]], secure.port, dir .. "/ca.pem", secure.port) })
        bed:fails("eproto", "TLS failed", "(function() local s = assert(Socket.connect('localhost', %d)) s:write 'notls\\n' s:read 'line' return s:starttls() end)()",
          secure.port)
        assert.matches("has TLS already", (bed:run([[
          local s = assert(Socket.connect("localhost", %d))
          s:write "starttls\n"
          s:read "line"
          assert(s:starttls { verify = false })
          return (select(2, pcall(s.starttls, s)))
        ]], secure.port)))
      end)
    end)
  end)
end)

-- gwrun.redis by TLS, and where sentinels say which server is the master: against
-- Debian's redis-server and redis-sentinel.
local cjson = require "cjson"
local loop = require "loop"
local openssl = require "openssl"
local process = require "process"
local redisserver = require "redisserver"
local scripting = require "scripting"
local testbed = require "testbed"
local uv = require "luv"

describe("gwrun.redis by TLS", function()
  local dir, port, server, bed

  setup(function()
    dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-tls-XXXXXX"))
    openssl.certificate(dir)
    port = testbed.ports()
    server = redisserver.start {
      "--tls-port", tostring(port), "--tls-cert-file", dir .. "/cert.pem", "--tls-key-file", dir .. "/key.pem",
      "--tls-ca-cert-file", dir .. "/cert.pem", "--tls-auth-clients", "optional",
    }
    server:cli("acl", "setuser", "ann", "on", ">s/e@ret", "~*", "&*", "+@all")
    server:cli("acl", "setuser", "bob", "on", ">pw", "~*", "+get")
    server:cli("acl", "setuser", "default", "resetpass")
    bed = scripting.start {
      prefix = ([[
        function open(options)
          options.timeout = 20
          return Redis.connect(options)
        end
        dir, port = %q, %d
        url = "rediss://ann:s%%2Fe%%40ret@localhost:" .. port
      ]]):format(dir, port),
    }
  end)

  teardown(function()
    if bed then bed:stop() end
    if server then server:stop() end
    process.run { "rm", "-rf", dir }
  end)

  it("talks to a server whose certificate it trusts, as an ACL user", function()
    assert.same({ "OK", 300000, "ann" }, bed:run [[
      local r = open { url = url .. "/3", ca_file = dir .. "/cert.pem" }
      local ok = r:set("k", ("x"):rep(300000))
      return { ok, #r:get("k"), r:acl("WHOAMI") }]])
    assert.equal("hello", bed:run [[
      local r = open { url = url, ca_file = dir .. "/cert.pem" }
      local heard
      local s = r:subscribe("news", function(message) heard = message end)
      assert(s:waitReady(20))
      r:publish("news", "hello")
      while not heard do Timer.sleep(0.01) end
      s:close()
      return heard]])
  end)

  it("lets a user in who may not even PING", function()
    assert.same({ cjson.null, "noperm" }, { bed:run [[
      local r = open { url = ("rediss://bob:pw@localhost:%d"):format(port), ca_file = dir .. "/cert.pem" }
      local _, _, code = r:set("a", 1)
      return r:get("missing"), code]] })
  end)

  it("shows a certificate of its own", function()
    assert.equal("PONG", bed:run [[
      return open { url = url, ca_file = dir .. "/cert.pem", cert_file = dir .. "/cert.pem",
        key_file = dir .. "/key.pem" }:ping()]])
  end)

  it("says what is wrong", function()
    local cases = {
      { "{ url = url }", "eacces", "self%-signed certificate" },
      { "{ url = url:gsub('localhost', '127.0.0.1'), ca_file = dir .. '/cert.pem' }", "eacces", "IP address mismatch" },
      { "{ url = url:gsub('ret', 'rat'), ca_file = dir .. '/cert.pem' }", "eacces", "WRONGPASS" },
    }
    for _, case in ipairs(cases) do
      local _, message, code = bed:run("return open(%s):ping()", case[1])
      assert.equal(case[2], code)
      assert.matches(case[3], message)
    end
    local message = bed:run "return select(2, pcall(open, { url = url, ca_file = '/no/such' }))"
    assert.matches("ca_file /no/such: no certificate can be read", message)
  end)

  it("takes a certificate of another name where it is told so", function()
    assert.equal("PONG", bed:run [[
      return open { url = url:gsub("localhost", "127.0.0.1"), ca_file = dir .. "/cert.pem",
        server_name = "localhost" }:ping()]])
    assert.equal("PONG", bed:run "return open { url = url:gsub('localhost', '127.0.0.1'), verify = false }:ping()")
  end)

  it("takes an address as one line, too, and refuses options that do not fit it", function()
    local cases = {
      ['"nonsense"'] = "redis: url: it must begin with redis://",
      ['{ url = "redis://a", port = 1 }'] = "the url has option 'port' already",
      ['{ url = "redis://a", ca_file = "x" }'] = "option 'ca_file' is for a url that begins with rediss",
      ['{ url = "redis://a", sentinel_user = "x" }'] = "option 'sentinel_user' is for a url of sentinels",
      ['{ url = 5 }'] = "option 'url' must be a string",
      ['{ verify = 1 }'] = "option 'verify' must be a boolean",
    }
    for options, expected in pairs(cases) do
      local ok, message = bed:run("return pcall(Redis.connect, %s)", options)
      assert.is_false(ok)
      assert.matches(expected, message, 1, true)
    end
    assert.equal("noauth", bed:run([[
      return (select(3, Redis.connect("unix://%s"):ping()))]], server.path))
  end)
end)

describe("gwrun.redis with sentinels", function()
  local ports, servers, sentinel, bed

  setup(function()
    ports = { testbed.ports(), testbed.ports(), testbed.ports() }
    servers = {}
    for i = 1, 2 do
      servers[i] = redisserver.start { "--port", tostring(ports[i]), "--bind", "127.0.0.1" }
    end
    servers[2]:cli("replicaof", "127.0.0.1", tostring(ports[1]))
    loop.poll("the replica", function() return servers[2]:cli("info", "replication"):find "master_link_status:up" end)
    sentinel = redisserver.sentinel(ports[3], ports[1])
    loop.poll("the sentinel to know the replica", function()
      return sentinel:cli("sentinel", "replicas", "mymaster"):find(tostring(ports[2]), 1, true)
    end)
    bed = scripting.start {
      prefix = ([[
        -- nobody listens at the first
        r = Redis.connect { url = "redis+sentinel://127.0.0.1:1,127.0.0.1:%d/mymaster", timeout = 20 }
      ]]):format(ports[3]),
    }
  end)

  teardown(function()
    if bed then bed:stop() end
    if sentinel then sentinel:stop() end
    for _, server in ipairs(servers) do server:stop() end
  end)

  it("talks to the master, and to the new one after a fail-over", function()
    loop.poll("a call to arrive", function() return bed:run "return r:set('a', 1)" == "OK" end)
    assert.equal("1\n", servers[1]:cli("get", "a"))
    loop.poll("a fail-over to begin", function()
      return sentinel:cli("sentinel", "failover", "mymaster") == "OK\n"
    end)
    loop.poll("a call to reach the new master", function()
      bed:run "return r:set('b', 2)"
      -- Who becomes the master cuts its connections.
      local heard, b = pcall(servers[2].cli, servers[2], "get", "b")
      local told, role = pcall(servers[2].cli, servers[2], "role")
      return heard and told and b == "2\n" and role:find "master"
    end, 60)
    assert.equal("eacces", bed:run([[
      return (select(3, Redis.connect { url = "redis+sentinel://127.0.0.1:%d/mymaster",
        sentinel_password = "x", timeout = 20 }:ping()))]], ports[3]))
    local _, message, code = bed:run([[
      return Redis.connect { url = "redis+sentinel://127.0.0.1:%d/other", timeout = 20 }:ping()]], ports[3])
    assert.equal("enoent", code)
    assert.matches("it knows no master 'other'", message)
  end)
end)
